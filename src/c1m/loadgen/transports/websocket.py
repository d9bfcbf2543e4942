"""WebSocket (RFC 6455) between connections and a scenario. Pure.

What comes in a tick is taken by arrays as far as it is whole messages, or pings; fragments, other
control frames and parts of frames have a reader of their connection's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import BAD_HANDSHAKE, BROKE_OFF, HTTP_STATUS, NOT_HTTP, SAID_CLOSE
from c1m.loadgen.transports.base import MESSAGE_MAX, SAID_MAX, Rows, Taken, Transport, Where, chosen
from c1m.loadgen.transports.places import Places
from c1m.protocols.http.messages import Refused
from c1m.protocols.http.replies import ResponseReader
from c1m.protocols.websocket.batch import whole_frames
from c1m.protocols.websocket.client import Upgrades, wrong_in
from c1m.protocols.websocket.framed import masked_frames_of
from c1m.protocols.websocket.frames import Broken, Close, FrameReader, Message, Op, frame
from c1m.scenarios.messages import Numbers

# A connection's kind. ODD: open, with a reader of its own.
NONE, SHAKING, OPEN, ODD = range(4)

_PING, _SHORT = 0x80 | Op.PING, 126  # bytes from which a length needs more room
_NORMAL = int(Close.NORMAL).to_bytes(2, "big")


class WebSocketTransport(Transport):
    """Up to `count` WebSockets to one target; `fields` are further ones of the upgrade. Both are
    templates.

    `is_binary`: messages are sent as binary ones. Else they are text where they are UTF-8.
    """

    def __init__(
        self,
        count: int,
        target: str,
        host: str,
        fields: Sequence[str] = (),
        *,
        is_binary: bool = False,
        seed: int = 0,
        first: int = 0,
        message_max: int = MESSAGE_MAX,
    ) -> None:
        self._rng = np.random.default_rng((seed, 0x6455, first))
        self._upgrades = Upgrades(target, host, fields, self._rng)
        self._places = Places(target, fields, count, seed, first)
        self._offered = _subprotocols(fields)
        self._is_binary = is_binary
        self._max = message_max
        self._kinds = np.zeros(count, np.uint8)
        self._accepts: dict[int, bytes] = {}  # of those that are SHAKING
        self._heads: dict[int, ResponseReader] = {}  # of those of which a part of the head came
        self._readers: dict[int, FrameReader] = {}  # of those that are ODD
        self._around = b"?", b""  # what stood before and behind the accept in the last good head

    # --- opening ------------------------------------------------------------------------------

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: all of them ask to upgrade."""
        requests, accepts = self._upgrades.make(len(numbers))
        self._kinds[numbers] = SHAKING
        self._accepts.update(zip(numbers.tolist(), accepts, strict=True))
        return numbers, self._places.put_in(numbers, requests)

    def _shake(self, number: int, piece: bytes, taken: Taken, rows: Rows) -> bytes:
        """A piece of a response; returns what came behind it."""
        accept, (before, behind) = self._accepts[number], self._around
        if piece == before + accept + behind and number not in self._heads:
            self._is_ready(number, rows)
            return b""
        reader = self._heads.setdefault(number, ResponseReader())
        try:
            reader.feed(piece)
        except Refused:
            self._fail(number, NOT_HTTP, taken, piece)
            return b""
        head = reader.head
        if head is None:
            return b""
        if head.status != 101:
            self._fail(number, HTTP_STATUS + head.status, taken, reader.body())
            return b""
        if wrong := wrong_in(head, accept, self._offered):
            said = wrong.encode() + b": " + (head.get(wrong.lower().encode()) or b"")
            self._fail(number, BAD_HANDSHAKE, taken, said)
            return b""
        rest = reader.rest()
        before, _, behind = piece[: len(piece) - len(rest)].partition(accept)
        if before.startswith(b"HTTP/") and behind:  # the whole head was in this piece
            self._around = before, behind
        self._is_ready(number, rows)
        return rest

    def _is_ready(self, number: int, rows: Rows) -> None:
        self._forget(number)
        self._kinds[number] = OPEN
        rows.ready.append(number)

    # --- receiving ----------------------------------------------------------------------------

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """See Transport."""
        taken, rows = Taken(), Rows()
        kinds = self._kinds.take(numbers)
        is_plain = kinds == OPEN
        if not is_plain.all():
            slow = np.flatnonzero(~is_plain)
            is_plain &= ~np.isin(numbers, numbers[slow])  # the order within a connection
            self._take_some(numbers, data, ~is_plain, taken, rows)
            numbers, data = numbers[is_plain], data.take(is_plain)
        if len(numbers):
            self._take_plain(numbers, data, taken, rows)
        rows.into(taken)
        return taken

    def _take_plain(self, numbers: Numbers, data: Ragged, taken: Taken, rows: Rows) -> None:
        """Pieces of connections that have nothing unfinished."""
        found = whole_frames(data, self._max, is_server=False)
        if found.is_plain.all():
            if len(found.rows):
                taken.messages.append((numbers[found.rows], found.messages))
            return
        pings = ~found.is_plain & _are_pings(data)
        slow = ~found.is_plain & ~pings
        if slow.any():
            slow |= np.isin(numbers, numbers[slow])
            found = found.take(~slow[found.rows])
            pings &= ~slow
        if len(found.rows):
            taken.messages.append((numbers[found.rows], found.messages))
        if pings.any():
            those, came = chosen(numbers, data, pings)
            asked = Ragged(came.memory, came.offsets + 2, came.lengths - 2, came.address)
            taken.replies.append((those, masked_frames_of(Op.PONG, asked, self._masks(len(those)))))
        if slow.any():
            self._take_some(numbers, data, slow, taken, rows)

    def _take_some(
        self, numbers: Numbers, data: Ragged, which: Where, taken: Taken, rows: Rows
    ) -> None:
        """Pieces one by one."""
        for row in np.flatnonzero(which).tolist():
            number, piece = int(numbers[row]), data.piece(row)
            if self._kinds[number] == SHAKING:
                piece = self._shake(number, piece, taken, rows)
            if piece and self._kinds[number] >= OPEN:
                self._take_piece(number, piece, taken, rows)

    def _take_piece(self, number: int, piece: bytes, taken: Taken, rows: Rows) -> None:
        reader = self._readers.get(number)
        if reader is None:
            reader = self._readers[number] = FrameReader(self._max, is_server=False)
            self._kinds[number] = ODD
        try:
            for message in reader.take(piece):
                if message.op in (Op.TEXT, Op.BINARY):
                    rows.messages.append((number, message.payload))
                elif not self._control(number, message, taken, rows):
                    return
        except Broken as broken:
            rows.last_words.append((number, self._frame(Op.CLOSE, broken.code.to_bytes(2, "big"))))
            self._fail(number, BROKE_OFF + broken.code, taken, str(broken).encode())
            return
        if not reader:
            del self._readers[number]
            self._kinds[number] = OPEN

    def _control(self, number: int, message: Message, taken: Taken, rows: Rows) -> bool:
        """A ping, a pong or a close; whether anything may follow."""
        if message.op == Op.PING:
            rows.replies.append((number, self._frame(Op.PONG, message.payload)))
        elif message.op == Op.CLOSE:
            code = int.from_bytes(message.payload[:2], "big") or int(Close.NO_CODE)
            rows.last_words.append((number, self._frame(Op.CLOSE, message.payload[:2])))
            self._fail(number, SAID_CLOSE + code, taken, message.payload[2:])
            return False
        return True

    # --- sending ------------------------------------------------------------------------------

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport: a frame each."""
        op = Op.BINARY
        if not self._is_binary:
            packed = messages.packed()
            if not len(packed.memory) or int(packed.memory.max()) < 0x80:
                op, messages = Op.TEXT, packed
            else:
                return Ragged.of([self._text(piece) for piece in packed.pieces()])
        return masked_frames_of(op, messages, self._masks(len(messages)))

    def _text(self, piece: bytes) -> bytes:
        """One that is not all ASCII: a text message must be UTF-8 (RFC 6455, 5.6)."""
        try:
            piece.decode()
        except UnicodeDecodeError:
            return self._frame(Op.BINARY, piece)
        return self._frame(Op.TEXT, piece)

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: a close frame."""
        count = len(numbers)
        said = Ragged.repeat(_NORMAL, count)
        return numbers, masked_frames_of(Op.CLOSE, said, self._masks(count))

    def _masks(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        return self._rng.integers(0, 1 << 32, count, np.uint32)

    def _frame(self, op: Op, payload: bytes) -> bytes:
        return frame(op, payload, self._rng.bytes(4))

    # --- ends ---------------------------------------------------------------------------------

    def _fail(self, number: int, reason: int, taken: Taken, said: bytes) -> None:
        self._forget(number)
        self._kinds[number] = NONE
        taken.failed.append((number, reason))
        taken.said.setdefault(reason, said[:SAID_MAX].decode("utf-8", "replace").strip())

    def _forget(self, number: int) -> None:
        self._accepts.pop(number, None)
        self._heads.pop(number, None)
        self._readers.pop(number, None)

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        if self._accepts or self._readers:
            kinds = self._kinds.take(numbers)
            for number in numbers[(kinds == SHAKING) | (kinds == ODD)].tolist():
                self._forget(number)
        self._kinds[numbers] = NONE

    def is_idle(self, number: int) -> bool:
        """See Transport: it is to stay."""
        return False


def _are_pings(data: Ragged) -> Where:
    """Which pieces are one whole ping each, and nothing else: bool[n]."""
    memory, count = data.memory, len(data.memory)
    if count < 2:
        return np.zeros(len(data), np.bool_)
    first = memory[np.minimum(data.offsets, count - 1)]
    second = memory[np.minimum(data.offsets + 1, count - 1)]
    is_short = (data.lengths >= 2) & (data.lengths < _SHORT + 2)
    are: Where = is_short & (first == _PING) & (second == data.lengths - 2)
    return are


def _subprotocols(fields: Sequence[str]) -> list[bytes]:
    found = []
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "sec-websocket-protocol":
            found += [each.strip().encode() for each in value.split(",")]
    return found
