"""Unfinished input: the bytes of a message that has not arrived whole yet, by connection. Pure."""

from __future__ import annotations


class Inbox:
    """Bytes that wait for the rest of their message. A connection without such costs nothing.

    `append` and `pop` when a piece comes, then `keep` what is left behind the last whole message.
    A long message may be appended piece by piece, and popped once.
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
