"""Frames of WebSocket (RFC 6455, 5), one by one: the plain form. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


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


def frame(op: int, payload: bytes, mask: bytes = b"", *, first: int = 0x80) -> bytes:
    """One frame; `mask`: the four bytes of a client's; `first`: FIN (0x80) and reserved bits."""
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
    key = mask * (size // 4 + 1)
    number = int.from_bytes(payload, "little") ^ int.from_bytes(key[:size], "little")
    return number.to_bytes(size, "little")


class FrameReader:
    """Takes a connection's stream apart. Made when there is something unfinished, or odd.

    `is_server`: whose frames it reads are a client's, and masked. `message_max` in bytes.
    """

    def __init__(self, message_max: int, *, is_server: bool = True) -> None:
        self._max = message_max
        self._is_server = is_server
        self._stream = bytearray()

    def __bool__(self) -> bool:
        """Whether anything is unfinished."""
        return bool(self._stream)

    def take(self, piece: bytes) -> Iterator[Message]:
        """What is whole with this piece, in order. Raises Broken, behind what was before it."""
        self._stream += piece
        while len(self._stream) >= 2:
            first, second = self._stream[:2]
            size, at = second & 127, 2
            if size >= 126:
                width = 2 if size == 126 else 8
                at += width
                if len(self._stream) < at:
                    return
                size = int.from_bytes(self._stream[2:at], "big")
            if size > self._max:
                raise Broken(Close.TOO_LARGE, "The message is too large.")
            mask = bytes(self._stream[at : at + 4]) if second & 0x80 else b""
            at += len(mask) if second & 0x80 else 0
            if len(self._stream) < at + size:
                return
            payload = bytes(self._stream[at : at + size])
            del self._stream[: at + size]
            yield Message(Op(first & 15), masked(payload, mask) if mask else payload)
