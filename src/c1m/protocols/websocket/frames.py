"""Frames of WebSocket (RFC 6455, 5), one by one: the plain form. Pure.

A reader keeps a header of at most 14 bytes, a control frame of at most 125, and what has come of
one message. Every byte is looked at once, in however small pieces it comes.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Op(IntEnum):
    """Opcodes (RFC 6455, 5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Close(IntEnum):
    """Codes of closing (RFC 6455, 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    NO_CODE = 1005  # never sent: the peer's close frame had none
    ABNORMAL = 1006  # never sent: the connection ended without a close frame
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_LARGE = 1009
    INTERNAL_ERROR = 1011
    TRY_LATER = 1013


FIN, RSV, RSV1 = 0x80, 0x70, 0x40  # of a frame's first byte
CONTROL_MAX = 125  # bytes in a control frame (RFC 6455, 5.5)
REASON_MAX = CONTROL_MAX - 2
LONG = 1024  # bytes from which on a mask is put on by arrays
_OPS = frozenset(Op)
_UTF8 = codecs.getincrementaldecoder("utf-8")


@dataclass(slots=True)
class Message:
    """What came: a whole TEXT or BINARY message, or a control frame (PING, PONG, CLOSE)."""

    op: Op
    payload: bytes


class Broken(Exception):
    """The peer does not keep to the protocol: the connection is failed with `code`."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(op: int, payload: bytes, mask: bytes = b"", *, first: int = FIN) -> bytes:
    """One frame; `mask`: the four bytes of a client's; `first`: FIN and reserved bits."""
    size, bit = len(payload), 0x80 if mask else 0
    if size < 126:
        head = bytes((first | op, bit | size))
    elif size < 1 << 16:
        head = bytes((first | op, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first | op, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + (masked(payload, mask) if mask else payload)


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload with the mask put on it, or taken off (RFC 6455, 5.3)."""
    size = len(payload)
    if size < LONG:
        key = mask * (size // 4 + 1)
        number = int.from_bytes(payload, "little") ^ int.from_bytes(key[:size], "little")
        return number.to_bytes(size, "little")
    words = np.frombuffer(payload, np.uint32, size // 4) ^ np.frombuffer(mask, np.uint32)
    return words.tobytes() + bytes(a ^ b for a, b in zip(payload[size & ~3 :], mask, strict=False))


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A server's close frame; one without a code for NO_CODE. A long reason is cut."""
    if code == Close.NO_CODE:
        return frame(Op.CLOSE, b"")
    cut = reason[:REASON_MAX].decode("utf-8", "ignore").encode()
    return frame(Op.CLOSE, code.to_bytes(2, "big") + cut)


def closing(payload: bytes) -> tuple[int, bytes]:
    """The code and the reason in a close frame that a FrameReader gave."""
    return int.from_bytes(payload[:2], "big") if payload else int(Close.NO_CODE), payload[2:]


def may_be_sent(code: int) -> bool:
    """Whether a code may be in a close frame (RFC 6455, 7.4, and its registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class FrameReader:
    """Takes a connection's stream apart. Made when there is something unfinished, or odd.

    `is_server`: the frames are a client's, and masked. `message_max` in bytes, of a message that
    may be of many frames. `inflated(payload, message_max)`: takes the compression off a message,
    where that was negotiated (RFC 7692); else no reserved bit may be set.
    """

    __slots__ = (
        "_at", "_control", "_decoder", "_first", "_head", "_inflated", "_is_compressed", "_is_over",
        "_is_server", "_left", "_mask", "_max", "_message", "_op", "counted",
    )  # fmt: skip

    def __init__(
        self,
        message_max: int,
        *,
        is_server: bool = True,
        inflated: Callable[[bytes, int], bytes] | None = None,
    ) -> None:
        self._max = message_max
        self._is_server = is_server
        self._inflated = inflated
        self._head = bytearray()  # of a frame, as far as it has come
        self._first = 0  # a frame's first byte
        self._left = -1  # bytes of its payload that are still to come; -1: it has not begun
        self._mask = b""
        self._at = 0  # where in its payload we are
        self._control = bytearray()  # the payload of a control frame
        self._op: Op | None = None  # of the message that has begun
        self._message = bytearray()  # the payload of that
        self._is_compressed = False
        self._decoder: codecs.IncrementalDecoder | None = None  # of a text in several parts
        self._is_over = False  # a close frame came, or something broken
        self.counted = 0  # for its owner

    def __bool__(self) -> bool:
        """Whether anything is unfinished."""
        return bool(self._head) or self._left >= 0 or self._op is not None

    @property
    def kept(self) -> int:
        """Bytes of the message that has begun."""
        return len(self._message)

    def take(self, piece: bytes) -> Iterator[Message]:
        """What is whole with this piece, in order. Raises Broken, behind what was before it.

        What follows a close frame, or something broken, is ignored (RFC 6455, 1.4 and 7.1.7).
        """
        if self._is_over:
            return
        try:
            at = 0
            while True:
                if self._left < 0:
                    at = self._take_head(piece, at)
                    if self._left < 0:
                        return
                part = piece[at : at + self._left]
                at += len(part)
                found = self._take_payload(part)
                if found is not None:
                    self._is_over = found.op == Op.CLOSE
                    yield found
                if self._left >= 0 or at == len(piece) or self._is_over:
                    return
        except Broken:
            self._is_over = True
            raise

    # --- headers --------------------------------------------------------------------------------

    def _take_head(self, piece: bytes, at: int) -> int:
        """Go on with a header; where the piece goes on behind it."""
        head = self._head
        while True:
            size = 2
            if len(head) >= 2:
                self._check(head[0], head[1])
                length = head[1] & 127
                size += (0, 2, 8)[max(length - 125, 0)] + 4 * self._is_server
            missing = size - len(head)
            if not missing:
                break
            if at == len(piece):
                if len(head) >= 2:  # a wrong length is told before the mask that follows it
                    _length(head)
                return at
            head += piece[at : at + missing]
            at = min(at + missing, len(piece))
        self._begin(bytes(head))
        head.clear()
        return at

    def _check(self, first: int, second: int) -> None:
        """The first two bytes of a frame."""
        op = first & 15
        reserved = first & RSV
        if reserved == RSV1 and self._inflated and op in (Op.TEXT, Op.BINARY):
            reserved = 0  # RFC 7692, 6: only in a message's first frame
        if reserved:
            raise _error("A reserved bit is set.")
        if op not in _OPS:
            raise _error(f"Opcode {op} is reserved.")
        if bool(second & 0x80) != self._is_server:
            said = "not masked" if self._is_server else "masked"
            raise _error(f"A frame is {said}.")
        if op >= Op.CLOSE:
            if not first & FIN:
                raise _error("A control frame is fragmented.")
            if second & 127 > CONTROL_MAX:
                raise _error("A control frame is too long.")
        elif (op == Op.CONTINUATION) != (self._op is not None):
            said = "A message begins within another." if op else "Nothing is continued."
            raise _error(said)

    def _begin(self, head: bytes) -> None:
        """A whole header."""
        op = head[0] & 15
        size, at = _length(head)
        if op < Op.CLOSE:
            if len(self._message) + size > self._max:
                raise Broken(Close.TOO_LARGE, f"A message has more than {self._max} bytes.")
            if op != Op.CONTINUATION:
                self._op = Op(op)
                self._is_compressed = bool(head[0] & RSV1)
        self._first, self._left, self._mask, self._at = head[0], size, head[at:], 0

    # --- payloads -------------------------------------------------------------------------------

    def _take_payload(self, part: bytes) -> Message | None:
        """Go on with a frame's payload; the message that ends with it."""
        if self._mask and part:
            turn = self._at & 3
            part = masked(part, self._mask[turn:] + self._mask[:turn])
        self._at += len(part)
        self._left -= len(part)
        is_done = not self._left
        if is_done:
            self._left = -1
        op = self._first & 15
        if op < Op.CLOSE:
            return self._take_data(part, is_done and bool(self._first & FIN))
        self._control += part
        if not is_done:
            return None
        payload = bytes(self._control)
        self._control.clear()
        if op == Op.CLOSE:
            _check_close(payload)
        return Message(Op(op), payload)

    def _take_data(self, part: bytes, is_last: bool) -> Message | None:
        op = self._op
        assert op is not None
        if op == Op.TEXT and not self._is_compressed:
            if self._decoder is None and not is_last:
                self._decoder = _UTF8()
            if self._decoder is not None:  # as early as it can be seen (RFC 6455, 8.1)
                _check_text(lambda: self._decoder.decode(part, is_last))  # type: ignore[union-attr]
            elif not part.isascii():
                _check_text(part.decode)
        if not is_last:
            self._message += part
            return None
        payload = b"".join((self._message, part)) if self._message else part
        if self._is_compressed:
            assert self._inflated is not None
            payload = self._inflated(payload, self._max)
            if op == Op.TEXT and not payload.isascii():
                _check_text(payload.decode)
        self._op, self._decoder = None, None
        self._message = bytearray()
        return Message(op, payload)


def _length(head: bytes | bytearray) -> tuple[int, int]:
    """A payload's size, and where the mask is; size 0 of a header that is not whole yet."""
    size = head[1] & 127
    if size < 126:
        return size, 2
    at, least = (4, 126) if size == 126 else (10, 1 << 16)
    if len(head) < at:
        return 0, at
    size = int.from_bytes(head[2:at], "big")
    if size < least or size >> 63:
        raise _error("A length is not written as it has to be.")
    return size, at


def _check_text(decode: Callable[[], str]) -> None:
    try:
        decode()
    except UnicodeDecodeError:
        raise Broken(Close.INVALID_DATA, "A text is not UTF-8.") from None


def _check_close(payload: bytes) -> None:
    """A close frame's payload (RFC 6455, 5.5.1)."""
    if not payload:
        return
    if len(payload) == 1 or not may_be_sent(int.from_bytes(payload[:2], "big")):
        raise _error("A close frame has no valid code.")
    _check_text(payload[2:].decode)


def _error(why: str) -> Broken:
    return Broken(Close.PROTOCOL_ERROR, why)
