"""Records of TLS 1.3 behind the handshake: a row of arrays a connection. Pure.

A connection is its two traffic secrets, two counts of records (`keys.py`) and a byte for its cipher
suite and its side. What only a few have, such as a record that has not come in whole, is in a dict.
RFC 8446: 5 (records), 4.6.3 (KeyUpdate), 6 (alerts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag

from c1m.engine.contract import Pieces
from c1m.engine.ragged import Ragged, starts_of
from c1m.tls.keys import SEQUENCE_MAX, Key, Keys, Suites
from c1m.tls.messages import Messages, alert_in, key_update
from c1m.tls.reasons import ALERT, OUR_ALERT, Alert, Broken
from c1m.tls.suites import TAG_SIZE

HEADER = 5
OVERHEAD = HEADER + 1 + TAG_SIZE  # what a record without padding has more than its content
PLAIN_MAX = 1 << 14  # bytes in a record (RFC 8446, 5.1)
CIPHERED_MAX = PLAIN_MAX + 256  # and of one with its type, padding and tag (5.2)
CHANGE_CIPHER_SPEC, ALERT_TYPE, HANDSHAKE, DATA = 20, 21, 22, 23
IDLE_MAX = 32  # records one after the other that bring nothing; OpenSSL has the same bound
TICK_NS = 1_000_000_000  # keys that were not used for one to two of them are dropped

_START = bytes((DATA, 3, 3))
_DATA = bytes((DATA,))
_NO_HEAD = b"no header"
_HEADS_MAX = 1 << 11
# The header of a record that takes so many bytes; short ones are looked up in half the time.
_HEADS = [_NO_HEAD] * OVERHEAD + [
    _START + (size - HEADER).to_bytes(2, "big") for size in range(OVERHEAD, _HEADS_MAX)
]


def _head(size: int) -> bytes:
    """The header of a record that takes `size` bytes, itself included."""
    if size < _HEADS_MAX:
        return _HEADS[size]
    return _START + (size - HEADER).to_bytes(2, "big") if size < 1 << 16 else _NO_HEAD


@dataclass(slots=True)
class Opened:
    """What came: plain text, what is to be sent in reply, and who has ended it.

    `eof`: by close_notify. `ended`: by an alert, or because it broke the protocol, with the reason
    (tls/reasons.py); what `replies` has for it is to go out before the connection is closed.
    """

    plain: Pieces = field(default_factory=list)
    replies: Pieces = field(default_factory=list)
    eof: list[int] = field(default_factory=list)
    ended: list[tuple[int, int]] = field(default_factory=list)


class _Odd:
    """What few connections have, and only for a while."""

    __slots__ = ("idle", "is_heard", "is_said", "messages", "unfinished", "wanted")

    def __init__(self) -> None:
        self.unfinished = bytearray()  # of a record
        self.wanted = 0  # bytes in it before it is worth a look
        self.messages: Messages | None = None  # of which a part has come
        self.idle = 0  # records since the last one that brought something
        self.is_heard = self.is_said = False  # close_notify or an error: the last of the peer, ours

    def is_over(self) -> bool:
        """Whether there is nothing odd left."""
        return not (self.unfinished or self.messages or self.idle or self.is_heard or self.is_said)


class Records:
    """The record layers of all connections that were handed over."""

    def __init__(self, capacity: int, *, records_max: int = SEQUENCE_MAX) -> None:
        """`records_max`: records that are sent under one key, if the suite does not allow less."""
        self._suites = Suites(capacity)
        self._reading = Keys(capacity, "decrypt")
        self._writing = Keys(capacity, "encrypt", records_max)
        self._odd: dict[int, _Odd] = {}
        self._swept_ns = 0

    def take_over(
        self,
        slot: int,
        suite: int,
        read_secret: bytes,
        write_secret: bytes,
        *,
        is_client: bool = False,
        read: int = 0,
        written: int = 0,
    ) -> None:
        """A connection whose handshake is done; so many records were read and written since."""
        self._suites.set(slot, suite, is_client=is_client)
        self._reading.set(slot, read_secret, read)
        self._writing.set(slot, write_secret, written)

    def forget(self, slots: int | npt.NDArray[np.integer]) -> None:
        """These have ended: their secrets are wiped."""
        self._reading.forget(slots)
        self._writing.forget(slots)
        for slot in (slots,) if isinstance(slots, int) else slots.tolist():
            self._odd.pop(slot, None)

    def forget_all(self) -> None:
        """All have ended."""
        self._reading.forget_all()
        self._writing.forget_all()
        self._odd.clear()

    def export(self, slot: int) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
        """Secret and count of records, of reading and of writing: for who goes on with them."""
        suite = self._suites.of(slot)
        return self._reading.export(slot, suite), self._writing.export(slot, suite)

    def is_heard(self, slot: int) -> bool:
        """Whether the peer has said close_notify."""
        odd = self._odd.get(slot)
        return odd is not None and odd.is_heard

    def tick(self, now_ns: int) -> int:
        """Drop keys that were not used for a while; ns until this is due again, -1: never."""
        if now_ns - self._swept_ns >= TICK_NS:
            self._swept_ns = now_ns
            self.sweep()
        if not len(self._reading) and not len(self._writing):
            return -1
        return self._swept_ns + TICK_NS - now_ns

    def sweep(self) -> None:
        """Drop keys that were not used since the last time."""
        self._reading.sweep()
        self._writing.sweep()

    # --- out --------------------------------------------------------------------------------------

    def seal_many(self, slots: Sequence[int], pieces: Sequence[bytes]) -> Ragged:
        """Plain text -> records; as `seal` of each piece, in order."""
        get, odd, heads = self._writing.young.get, self._odd, _HEADS
        lengths = np.fromiter(map(len, pieces), np.int32, len(pieces))
        lengths += OVERHEAD
        parts: list[bytes] = []
        add = parts.append
        for row, (slot, piece) in enumerate(zip(slots, pieces, strict=True)):
            key = get(slot) or self._write_key(slot)
            count, size = key.count, len(piece) + OVERHEAD
            if count >= key.most or size >= _HEADS_MAX or not piece or slot in odd:
                sealed = self.seal(slot, piece)
                lengths[row] = len(sealed)
                add(sealed)
                continue
            key.count = count + 1
            head = heads[size]
            add(head)
            add(key.run((key.iv ^ count).to_bytes(12, "big"), piece + _DATA, head))
        memory = np.frombuffer(b"".join(parts), np.uint8)
        return Ragged(memory, starts_of(lengths), lengths)

    def seal(self, slot: int, data: bytes) -> bytes:
        """Plain text -> records. None of nothing, or behind our close_notify."""
        if not data or (slot in self._odd and self._odd[slot].is_said):
            return b""
        if len(data) <= PLAIN_MAX:
            return self._seal(slot, data, _DATA)
        parts = (data[at : at + PLAIN_MAX] for at in range(0, len(data), PLAIN_MAX))
        return b"".join([self._seal(slot, part, _DATA) for part in parts])

    def update_key(self, slot: int, *, is_requested: bool = False) -> bytes:
        """Another key from here on (RFC 8446, 4.6.3); `is_requested`: the peer shall do so, too."""
        if slot in self._odd and self._odd[slot].is_said:
            return b""
        message = key_update(is_requested=is_requested)
        said = self._record(slot, self._write_key(slot), message, b"\x16")
        self._writing.renew(slot, self._suites.of(slot))
        return said

    def close_notify(self, slot: int) -> bytes:
        """The alert that says: nothing more will come (RFC 8446, 6.1); b"" where it was said."""
        return self._last(slot, 1, Alert.CLOSE_NOTIFY)

    def _last(self, slot: int, level: int, alert: int) -> bytes:
        odd = self._oddity(slot)
        if odd.is_said:
            return b""
        said = self._seal(slot, bytes((level, alert)), b"\x15")
        odd.is_said = True
        return said

    def _seal(self, slot: int, data: bytes, kind: bytes) -> bytes:
        key = self._write_key(slot)
        if key.count < key.most:
            return self._record(slot, key, data, kind)
        # A key is used up (RFC 8446, 5.5). The KeyUpdate itself is the last record under it.
        before = self.update_key(slot)
        return before + self._record(slot, self._write_key(slot), data, kind)

    def _record(self, slot: int, key: Key, data: bytes, kind: bytes) -> bytes:
        count = key.count
        key.count = count + 1
        head = _head(len(data) + OVERHEAD)
        return head + key.run((key.iv ^ count).to_bytes(12, "big"), data + kind, head)

    def _write_key(self, slot: int) -> Key:
        return self._writing.of(slot, self._suites.of(slot))

    # --- in ---------------------------------------------------------------------------------------

    def open_many(self, came: Pieces) -> Opened:
        """Bytes that came, in order."""
        opened = Opened()
        get, odd, heads = self._reading.young.get, self._odd, _HEADS
        add = opened.plain.append
        for slot, piece in came:
            size = len(piece)
            head = heads[size] if size < _HEADS_MAX else _head(size)
            if slot in odd or not piece.startswith(head) or size > CIPHERED_MAX:
                self._open_odd(slot, piece, opened)
                continue
            # One record, whole, of a connection that has nothing odd.
            key = get(slot) or self._reading.of(slot, self._suites.of(slot))
            count = key.count
            try:
                inner = key.run((key.iv ^ count).to_bytes(12, "big"), piece[HEADER:], head)
            except InvalidTag:
                self._open_odd(slot, piece, opened)
                continue
            if inner[-1] == DATA and 1 < len(inner) <= PLAIN_MAX + 1 and count < SEQUENCE_MAX:
                key.count = count + 1
                add((slot, inner[:-1]))
            else:
                self._open_odd(slot, piece, opened)
        return opened

    def _open_odd(self, slot: int, piece: bytes, opened: Opened) -> None:
        odd = self._oddity(slot)
        if odd.is_heard:  # what is behind close_notify is ignored (RFC 8446, 6.1)
            return
        if odd.unfinished:
            odd.unfinished += piece
            if len(odd.unfinished) < odd.wanted:
                return
            piece = bytes(odd.unfinished)
            odd.unfinished.clear()
        try:
            at = self._open_all(slot, odd, piece, opened)
        except Broken as broken:
            odd.is_heard = True
            odd.unfinished.clear()
            said = self._last(slot, 2, broken.alert)
            if said:
                opened.replies.append((slot, said))
            opened.ended.append((slot, OUR_ALERT + broken.alert))
            return
        if odd.is_heard:
            return
        if at < len(piece):
            odd.unfinished += piece[at:]
        if odd.is_over():
            del self._odd[slot]

    def _open_all(self, slot: int, odd: _Odd, data: bytes, opened: Opened) -> int:
        """All records that are whole; where the rest begins."""
        at, is_asked = 0, False
        while not odd.is_heard:
            size = _size_at(data, at)
            if size > len(data) - at:
                odd.wanted = size
                break
            inner = self._open(slot, data[at : at + HEADER], data[at + HEADER : at + size])
            at += size
            kind, content = _content_of(inner)
            if kind == DATA:
                self._take_data(slot, odd, content, opened)
            elif kind == HANDSHAKE:
                is_asked |= self._take_messages(slot, odd, content)
            else:
                self._take_alert(slot, odd, content, opened)
        if is_asked and not odd.is_said:  # one answer to all of them
            opened.replies.append((slot, self.update_key(slot)))
        return at

    def _open(self, slot: int, head: bytes, body: bytes) -> bytes:
        key = self._reading.of(slot, self._suites.of(slot))
        count = key.count
        if count >= SEQUENCE_MAX:
            raise Broken(Alert.INTERNAL_ERROR, "There were too many records under one key.")
        key.count = count + 1
        try:
            inner = key.run((key.iv ^ count).to_bytes(12, "big"), body, head)
        except InvalidTag:  # also one that is too short to have a tag
            raise Broken(Alert.BAD_RECORD_MAC, "A record cannot be opened.") from None
        if len(inner) > PLAIN_MAX + 1:
            raise Broken(Alert.RECORD_OVERFLOW, "A record has too much in it.")
        return inner

    def _take_data(self, slot: int, odd: _Odd, content: bytes, opened: Opened) -> None:
        if odd.messages is not None:
            raise Broken(Alert.UNEXPECTED_MESSAGE, "A handshake message is interrupted.")
        if content:
            odd.idle = 0
            opened.plain.append((slot, content))
        else:
            _bound(odd)

    def _take_alert(self, slot: int, odd: _Odd, content: bytes, opened: Opened) -> None:
        alert = alert_in(content)
        if alert == Alert.USER_CANCELED:  # close_notify follows (RFC 8446, 6.1)
            _bound(odd)
            return
        odd.is_heard = True
        if alert == Alert.CLOSE_NOTIFY:
            opened.eof.append(slot)
            return
        odd.is_said = True  # nothing is sent behind an error (6.2)
        opened.ended.append((slot, ALERT + alert))

    def _take_messages(self, slot: int, odd: _Odd, content: bytes) -> bool:
        """Whether a KeyUpdate asks for one in return."""
        if odd.messages is None:
            odd.messages = Messages()
        is_asked = False
        is_client = self._suites.is_client(slot)
        for each in odd.messages.take(content, is_client=is_client):
            _bound(odd)
            self._reading.renew(slot, self._suites.of(slot))
            is_asked |= each
        if not odd.messages.rest:
            odd.messages = None
        return is_asked

    def _oddity(self, slot: int) -> _Odd:
        odd = self._odd.get(slot)
        if odd is None:
            odd = self._odd[slot] = _Odd()
        return odd


def _bound(odd: _Odd) -> None:
    """Of records that bring nothing only so many may follow each other."""
    odd.idle += 1
    if odd.idle > IDLE_MAX:
        raise Broken(Alert.UNEXPECTED_MESSAGE, "Too many records bring nothing.")


def _size_at(data: bytes, at: int) -> int:
    """Bytes of the record that begins here, or of its header while that is not whole."""
    start = data[at : at + HEADER]
    if start[:1] not in (b"", _DATA):  # a change_cipher_spec among them (RFC 8446, 5)
        raise Broken(Alert.UNEXPECTED_MESSAGE, "A record is not protected.")
    if not _START.startswith(start[:3]):
        raise Broken(Alert.PROTOCOL_VERSION, "A record is of another version.")
    if len(start) < HEADER:
        return HEADER
    size = int.from_bytes(start[3:], "big")
    if size > CIPHERED_MAX:
        raise Broken(Alert.RECORD_OVERFLOW, "A record is too long.")
    return HEADER + size


def _content_of(inner: bytes) -> tuple[int, bytes]:
    """Type and content of a record's plain text: content, type, zeros (RFC 8446, 5.2)."""
    inner = inner.rstrip(b"\0")
    if not inner:
        raise Broken(Alert.UNEXPECTED_MESSAGE, "A record has no type.")
    if inner[-1] not in (ALERT_TYPE, HANDSHAKE, DATA):
        raise Broken(Alert.UNEXPECTED_MESSAGE, "A record is of no type that may come here.")
    return inner[-1], inner[:-1]
