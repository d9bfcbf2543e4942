"""Records of TLS 1.3 behind the handshake: a row of arrays a connection. Pure.

A connection is its two traffic secrets, two counts of records and a byte for the cipher suite. Keys
are made of a secret when there is something to say, and kept while that goes on (`Keys`).
RFC 8446: 5 (records), 4.6.3 (KeyUpdate), 6 (alerts).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from c1m.tls.reasons import ALERT, Alert, Broken
from c1m.tls.suites import SECRET_MAX, SUITES, TAG_SIZE, Aead, cipher_of, next_secret

HEADER = 5
PLAIN_MAX = 1 << 14  # bytes in a record (RFC 8446, 5.1)
CIPHERED_MAX = PLAIN_MAX + 256  # and of one with its type, padding and tag (5.2)
CHANGE_CIPHER_SPEC, ALERT_TYPE, HANDSHAKE, DATA = 20, 21, 22, 23
NEW_SESSION_TICKET, KEY_UPDATE = 4, 24
READ, WRITE = 0, 1


@dataclass(slots=True)
class Opened:
    """What came: plain text, what is to be sent in reply, and whether the peer has ended it.

    `is_eof`: by close_notify. `reason`: by an alert, or because it broke the protocol; 0: not.
    """

    plain: list[bytes] = field(default_factory=list)
    reply: bytes = b""
    is_eof: bool = False
    reason: int = 0


class Records:
    """The record layers of all connections that were handed over."""

    def __init__(self, capacity: int) -> None:
        self._suites = np.zeros(capacity, np.uint8)
        self._secrets = np.zeros((2, capacity, SECRET_MAX), np.uint8)
        self._counts = np.zeros((2, capacity), np.int64)
        self._unfinished: dict[int, bytearray] = {}
        self._keys: tuple[dict[int, tuple[Aead, int]], dict[int, tuple[Aead, int]]] = ({}, {})

    def take_over(
        self, slot: int, suite: int, read_secret: bytes, write_secret: bytes, written: int
    ) -> None:
        """A connection whose handshake is done; `written`: records sent under these keys so far."""
        self._suites[slot] = suite
        for way, secret in ((READ, read_secret), (WRITE, write_secret)):
            self._set_secret(way, slot, secret)
        self._counts[WRITE, slot] = written

    def forget(self, slot: int) -> None:
        """It has ended: its keys are wiped."""
        self._secrets[:, slot] = 0
        self._unfinished.pop(slot, None)
        for keys in self._keys:
            keys.pop(slot, None)

    # --- out --------------------------------------------------------------------------------------

    def seal(self, slot: int, data: bytes) -> bytes:
        """Plain text -> records."""
        if len(data) <= PLAIN_MAX:
            return self._seal(slot, data, DATA)
        view = memoryview(data)
        parts = [view[at : at + PLAIN_MAX] for at in range(0, len(data), PLAIN_MAX)]
        return b"".join([self._seal(slot, bytes(part), DATA) for part in parts])

    def close_notify(self, slot: int) -> bytes:
        """The alert that says: nothing more will come (RFC 8446, 6.1)."""
        return self._seal(slot, bytes((1, Alert.CLOSE_NOTIFY)), ALERT_TYPE)

    def _seal(self, slot: int, data: bytes, kind: int) -> bytes:
        aead, iv = self._key(WRITE, slot)
        count = int(self._counts[WRITE, slot])
        self._counts[WRITE, slot] = count + 1
        head = b"\x17\x03\x03" + (len(data) + 1 + TAG_SIZE).to_bytes(2, "big")
        nonce = (iv ^ count).to_bytes(12, "big")
        return head + aead.encrypt(nonce, data + bytes((kind,)), head)

    # --- in ---------------------------------------------------------------------------------------

    def open(self, slot: int, data: bytes) -> Opened:
        """Bytes that came, in order."""
        opened = Opened()
        before = self._unfinished.pop(slot, None)
        if before is not None:
            data = bytes(before + data)
        try:
            at = self._open_all(slot, data, opened)
        except Broken as broken:
            opened.reply += self._seal(slot, bytes((2, broken.alert)), ALERT_TYPE)
            opened.reason = ALERT + broken.alert
            return opened
        if at < len(data) and not opened.reason and not opened.is_eof:
            self._unfinished[slot] = bytearray(data[at:])
        return opened

    def _open_all(self, slot: int, data: bytes, opened: Opened) -> int:
        at = 0
        while len(data) - at >= HEADER and not opened.is_eof and not opened.reason:
            kind, size = data[at], int.from_bytes(data[at + 3 : at + 5], "big")
            if kind != DATA:
                raise Broken(Alert.UNEXPECTED_MESSAGE, "A record is not protected.")
            if size > CIPHERED_MAX:
                raise Broken(Alert.RECORD_OVERFLOW, "A record is too long.")
            if len(data) - at - HEADER < size:
                break
            head, body = data[at : at + HEADER], data[at + HEADER : at + HEADER + size]
            at += HEADER + size
            self._take(slot, self._open(slot, head, body), opened)
        return at

    def _open(self, slot: int, head: bytes, body: bytes) -> bytes:
        aead, iv = self._key(READ, slot)
        count = int(self._counts[READ, slot])
        self._counts[READ, slot] = count + 1
        try:
            return aead.decrypt((iv ^ count).to_bytes(12, "big"), body, head)
        except Exception:  # InvalidTag, or one that is too short to have a tag
            raise Broken(Alert.BAD_RECORD_MAC, "A record cannot be opened.") from None

    def _take(self, slot: int, inner: bytes, opened: Opened) -> None:
        """The inner plain text of a record: content, type, zeros (RFC 8446, 5.2)."""
        if inner[-1:] == b"\x17":
            if len(inner) > 1:
                opened.plain.append(inner[:-1])
            return
        inner = inner.rstrip(b"\0")
        if not inner:
            raise Broken(Alert.UNEXPECTED_MESSAGE, "A record has no type.")
        kind, content = inner[-1], inner[:-1]
        if kind == DATA:
            if content:
                opened.plain.append(content)
        elif kind == ALERT_TYPE:
            self._alert(content, opened)
        elif kind == HANDSHAKE:
            self._handshake(slot, content, opened)
        else:
            raise Broken(Alert.UNEXPECTED_MESSAGE, "A record is of no type that may come here.")

    def _alert(self, content: bytes, opened: Opened) -> None:
        if len(content) != 2:
            raise Broken(Alert.DECODE_ERROR, "An alert is not two bytes.")
        if content[1] == Alert.CLOSE_NOTIFY:
            opened.is_eof = True
        elif content[1] != Alert.USER_CANCELED:
            opened.reason = ALERT + content[1]

    def _handshake(self, slot: int, content: bytes, opened: Opened) -> None:
        if content[:1] == bytes((NEW_SESSION_TICKET,)):
            return
        if content[:4] != b"\x18\0\0\x01" or len(content) != 5 or content[4] > 1:
            raise Broken(Alert.UNEXPECTED_MESSAGE, "A handshake message may not come here.")
        self._renew(READ, slot)
        if content[4]:
            opened.reply += self._seal(slot, b"\x18\0\0\x01\0", HANDSHAKE)
            self._renew(WRITE, slot)

    # --- keys -------------------------------------------------------------------------------------

    def _renew(self, way: int, slot: int) -> None:
        suite = SUITES[self._suites[slot]]
        secret = self._secrets[way, slot, : suite.secret_size].tobytes()
        self._set_secret(way, slot, next_secret(suite, secret))

    def _set_secret(self, way: int, slot: int, secret: bytes) -> None:
        self._secrets[way, slot, : len(secret)] = np.frombuffer(secret, np.uint8)
        self._counts[way, slot] = 0
        self._keys[way].pop(slot, None)

    def _key(self, way: int, slot: int) -> tuple[Aead, int]:
        found = self._keys[way].get(slot)
        if found is None:
            suite = SUITES[self._suites[slot]]
            secret = self._secrets[way, slot, : suite.secret_size].tobytes()
            found = self._keys[way][slot] = cipher_of(suite, secret)
        return found
