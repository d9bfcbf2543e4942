"""What the hand-off must know of a ClientHello: its random, and whether it wants short records.

Pure. RFC 8446: 4.1.2 (ClientHello), 5.1 (records); RFC 6066: 4 (max_fragment_length).
"""

from __future__ import annotations

from dataclasses import dataclass, field

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_MAX_FRAGMENT_LENGTH = 1


@dataclass(frozen=True, slots=True)
class Hello:
    """A ClientHello. `wants_short_records`: max_fragment_length, which binds the server, too."""

    random: bytes = field(repr=False)
    wants_short_records: bool


def hello_of(said: bytes) -> Hello | None:
    """What a client said first, as records; None where that is no whole ClientHello."""
    message, at = b"", 0
    while at + 5 <= len(said) and said[at] == _HANDSHAKE:
        size = int.from_bytes(said[at + 3 : at + 5], "big")
        message += said[at + 5 : at + 5 + size]
        at += 5 + size
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
    kinds = []
    at -= size
    while at < len(message):
        kinds.append(int.from_bytes(message[at : at + 2], "big"))
        at += 4 + int.from_bytes(message[at + 2 : at + 4], "big")
    return Hello(message[2:34], _MAX_FRAGMENT_LENGTH in kinds)
