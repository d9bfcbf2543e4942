"""What the hand-off must know of a ClientHello: its random, and whether it wants short records.

Pure. RFC 8446: 4.1.2 (ClientHello), 5.1 (records); RFC 6066: 4 (max_fragment_length).
"""

from __future__ import annotations

from dataclasses import dataclass, field

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_MAX_FRAGMENT_LENGTH = b"\0\1\0\1"  # its type, and its length, which is always one


@dataclass(frozen=True, slots=True)
class Hello:
    """A ClientHello. `wants_short_records`: max_fragment_length, which binds the server, too."""

    random: bytes = field(repr=False)
    wants_short_records: bool


class HelloReader:
    """Reads what a client says first, piece by piece, each byte once.

    A ClientHello may come in thousands of records (RFC 8446, 5.1), and those in pieces.
    """

    __slots__ = ("_at", "_message", "_said")

    def __init__(self) -> None:
        self._said, self._at = bytearray(), 0
        self._message = bytearray()

    def take(self, said: bytes) -> Hello | None:
        """None while that is no whole ClientHello."""
        self._said += said
        all_said, at, message = self._said, self._at, self._message
        while at + 5 <= len(all_said) and all_said[at] == _HANDSHAKE:
            end = at + 5 + int.from_bytes(all_said[at + 3 : at + 5], "big")
            if end > len(all_said):
                break
            message += all_said[at + 5 : end]
            at = end
        self._at = at
        if len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
            return None
        return _hello_in(bytes(message))


def _hello_in(message: bytes) -> Hello | None:
    if message[:1] != bytes((_CLIENT_HELLO,)):
        return None
    if len(message) != 4 + int.from_bytes(message[1:4], "big"):
        return None
    message = message[4:]
    at = 2 + 32  # behind legacy_version and random
    for size_size in (1, 2, 1, 2):  # session id, cipher suites, compression; then extensions
        size = int.from_bytes(message[at : at + size_size], "big")
        at += size_size + size
    if at != len(message):
        return None
    extensions = message[at - size :]
    wants = _MAX_FRAGMENT_LENGTH in extensions and _wants_short_records(extensions)
    return Hello(message[2:34], wants)


def _wants_short_records(extensions: bytes) -> bool:
    """Whether max_fragment_length begins one of them."""
    at = 0
    while at < len(extensions):
        if extensions.startswith(_MAX_FRAGMENT_LENGTH, at):
            return True
        at += 4 + int.from_bytes(extensions[at + 2 : at + 4], "big")
    return False
