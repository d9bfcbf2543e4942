"""Unfinished input: the bytes of a message that has not arrived whole yet, by connection. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

LONG_MESSAGE = 4096  # bytes: such a one is only looked at when it is all there
BEYOND_MAX = 1 << 16  # bytes more than a message should have in which none ends: garbage
UNKNOWN_MAX = 1 << 24  # where it is not known how many it should have


class Inbox:
    """Bytes that wait for the rest of their message. A connection without such costs nothing.

    `messages` cuts a stream into messages; `append`, `pop` and `keep` are for records of one size
    and whatever else needs no frame.
    """

    def __init__(self) -> None:
        self._pending: dict[int, bytearray] = {}

    def __len__(self) -> int:
        """Connections with unfinished input."""
        return len(self._pending)

    def __contains__(self, connection: int) -> bool:
        return connection in self._pending

    def append(self, connection: int, piece: bytes) -> int:
        """Add a piece; returns how many bytes are pending now."""
        pending = self._pending.setdefault(connection, bytearray())
        pending += piece
        return len(pending)

    def peek(self, connection: int) -> bytes:
        """What is pending, b"" if nothing is."""
        return bytes(self._pending.get(connection, b""))

    def pop(self, connection: int) -> bytes:
        """The same, and it is pending no longer."""
        return bytes(self._pending.pop(connection, b""))

    def keep(self, connection: int, rest: bytes) -> None:
        """These bytes, at least one, are what is pending from now on."""
        self._pending[connection] = bytearray(rest)

    def messages(
        self,
        connection: int,
        piece: bytes,
        frame: Callable[[bytes], int],
        stray: Callable[[bytes], int] = lambda stream: 0,
        expected: int = 0,
    ) -> Iterator[bytes]:
        """The messages that are whole with this piece; what follows the last stays pending.

        `frame(stream)` returns the bytes of the first whole message that the stream begins with; 0:
        more must come. `stray(stream)` returns how many of its first bytes belong to no message:
        they are passed over. Both are called again after each message. `expected`: bytes of the
        next message, 0 if that is not known. Where none ends in far more, all of it is returned.
        """
        size = self.append(connection, piece)
        if size < expected and expected > LONG_MESSAGE:
            return  # looking at it every time would cost a square
        stream = self.pop(connection)
        most = expected + BEYOND_MAX if expected else UNKNOWN_MAX
        # Cutting each message off all that follows would cost a square, too.
        at, look = 0, max(2 * expected, LONG_MESSAGE)
        while at < len(stream):
            rest = stream[at : at + look]
            passed = stray(rest)
            if passed:
                at += passed
                continue
            length = frame(rest)
            if length == 0 and at + look < len(stream) and look < most:
                look *= 2
                continue
            if length == 0 and len(rest) <= most:
                self.keep(connection, rest)
                return
            yield rest[:length] if length else rest
            at += length or len(rest)
