"""Records of TLS 1.3 for tests: made one by one, right ones and wrong ones, and read the slow way.

Nothing of c1m's is used but the numbers of alerts: keys come from cryptography's HKDF.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from c1m.tls.reasons import ALERT, OUR_ALERT, Alert

CCS, ALERT_TYPE, HANDSHAKE, DATA = range(20, 24)
TICKET, UPDATE = 4, 24
PLAIN_MAX = 1 << 14
IDLE_MAX = 32
CLOSE_NOTIFY, USER_CANCELED = 0, 90
# By the index in c1m's SUITES: the hash, the AEAD, the size of its key.
SUITES = (
    (hashes.SHA256(), AESGCM, 16),
    (hashes.SHA384(), AESGCM, 32),
    (hashes.SHA256(), ChaCha20Poly1305, 32),
)


class Direction:
    """The keys of one direction."""

    def __init__(self, suite: int, secret: bytes) -> None:
        self.suite, self.secret = suite, secret
        self._use()

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
        return HKDFExpand(SUITES[self.suite][0], size, info).derive(self.secret)

    def _use(self) -> None:
        _, aead, key_size = SUITES[self.suite]
        self.aead = aead(self._expand(b"key", key_size))
        self.iv = self._expand(b"iv", 12)
        self.count = 0

    def update(self) -> None:
        """The next generation of keys."""
        self.secret = self._expand(b"traffic upd", SUITES[self.suite][0].digest_size)
        self._use()

    def nonce(self) -> bytes:
        """Of the next record."""
        count = self.count.to_bytes(12, "big")
        self.count += 1
        return bytes(a ^ b for a, b in zip(self.iv, count, strict=True))


class Maker(Direction):
    """Makes the records of a peer."""

    def inner(self, inner: bytes, start: bytes = b"\x17\x03\x03") -> bytes:
        """A record with this inside."""
        head = start + (len(inner) + 16).to_bytes(2, "big")
        return head + self.aead.encrypt(self.nonce(), inner, head)

    def record(self, kind: int, content: bytes, zeros: int = 0) -> bytes:
        """A record of this type."""
        return self.inner(content + bytes((kind,)) + bytes(zeros))

    def data(self, content: bytes, zeros: int = 0) -> bytes:
        """A record of data."""
        return self.record(DATA, content, zeros)

    def key_update(self, asks: int = 0) -> bytes:
        """A KeyUpdate, behind which there are other keys."""
        said = self.record(HANDSHAKE, b"\x18\0\0\x01" + bytes((asks,)))
        self.update()
        return said


def ticket(size: int = 50, extensions: bytes = b"", lifetime: int = 7200) -> bytes:
    """A NewSessionTicket."""
    body = lifetime.to_bytes(4, "big") + bytes(4) + b"\x08" + bytes(8)
    body += size.to_bytes(2, "big") + bytes(size)
    body += len(extensions).to_bytes(2, "big") + extensions
    return b"\x04" + len(body).to_bytes(3, "big") + body


class _Over(Exception):
    """Reading ends here."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Read:
    """What a stream says. `reason`: why it ended, by tls/reasons.py; 0: it has not, or by eof."""

    plain: bytes = b""
    is_asked: bool = False
    is_eof: bool = False
    reason: int = 0


@dataclass
class SlowReader:
    """A stream of records as a whole, one step after the other."""

    keys: Direction
    is_client: bool
    got: Read = field(default_factory=Read)
    message: bytes = b""
    idle: int = 0

    def read(self, stream: bytes) -> Read:
        """All of it."""
        try:
            while stream and not self.got.is_eof:
                stream = self._record(stream)
        except _Over as over:
            self.got.reason = over.reason
        return self.got

    def _record(self, stream: bytes) -> bytes:
        require(stream[0] == DATA, Alert.UNEXPECTED_MESSAGE)
        require(b"\x03\x03".startswith(stream[1:3]), Alert.PROTOCOL_VERSION)
        if len(stream) < 5:
            return b""
        size = int.from_bytes(stream[3:5], "big")
        require(size <= PLAIN_MAX + 256, Alert.RECORD_OVERFLOW)
        head, body, rest = stream[:5], stream[5 : 5 + size], stream[5 + size :]
        if len(body) < size:
            return b""
        try:
            inner = self.keys.aead.decrypt(self.keys.nonce(), body, head)
        except InvalidTag:
            raise _Over(OUR_ALERT + Alert.BAD_RECORD_MAC) from None
        require(len(inner) <= PLAIN_MAX + 1, Alert.RECORD_OVERFLOW)
        while inner and not inner[-1]:
            inner = inner[:-1]
        require(inner != b"", Alert.UNEXPECTED_MESSAGE)
        kind, content = inner[-1], inner[:-1]
        require(kind in (ALERT_TYPE, HANDSHAKE, DATA), Alert.UNEXPECTED_MESSAGE)
        if kind == ALERT_TYPE:
            self._alert(content)
        elif kind == HANDSHAKE:
            self._messages(content)
        else:
            require(not self.message, Alert.UNEXPECTED_MESSAGE)
            self.got.plain += content
            self._bring(bool(content))
        return rest

    def _bring(self, something: bool) -> None:
        self.idle = 0 if something else self.idle + 1
        require(self.idle <= IDLE_MAX, Alert.UNEXPECTED_MESSAGE)

    def _alert(self, content: bytes) -> None:
        require(content != b"", Alert.UNEXPECTED_MESSAGE)
        require(len(content) == 2, Alert.DECODE_ERROR)
        if content[1] == CLOSE_NOTIFY:
            self.got.is_eof = True
        elif content[1] == USER_CANCELED:
            self._bring(False)
        else:
            raise _Over(ALERT + content[1])

    def _messages(self, content: bytes) -> None:
        require(content != b"", Alert.UNEXPECTED_MESSAGE)
        self.message += content
        while self.message:
            kind, size = self.message[0], int.from_bytes(self.message[1:4], "big")
            allowed = (TICKET, UPDATE) if self.is_client else (UPDATE,)
            require(kind in allowed, Alert.UNEXPECTED_MESSAGE)
            if len(self.message) < 4:
                return
            require(size == 1 if kind == UPDATE else size <= 131337, Alert.DECODE_ERROR)
            if len(self.message) < 4 + size:
                return
            body, self.message = self.message[4 : 4 + size], self.message[4 + size :]
            if kind == TICKET:
                require(is_ticket(body), Alert.DECODE_ERROR)
                continue
            require(not self.message, Alert.UNEXPECTED_MESSAGE)
            require(body[0] <= 1, Alert.ILLEGAL_PARAMETER)
            self._bring(False)
            self.keys.update()
            self.got.is_asked |= body[0] == 1


def require(is_right: bool, alert: int) -> None:
    """Ends reading with this alert where it is not."""
    if not is_right:
        raise _Over(OUR_ALERT + alert)


def is_ticket(body: bytes) -> bool:
    """Whether the fields of a NewSessionTicket fill it."""
    rest = body[8:]
    for size_size, least in ((1, 0), (2, 1), (2, 0)):
        size = int.from_bytes(rest[:size_size], "big")
        if len(rest) < size_size + size or size < least:
            return False
        rest = rest[size_size + size :]
    return len(body) >= 8 and not rest


def cut(random: Random, stream: bytes, most: int = 12) -> list[bytes]:
    """The stream in random pieces."""
    places = sorted(random.randrange(len(stream) + 1) for _ in range(random.randrange(most)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
