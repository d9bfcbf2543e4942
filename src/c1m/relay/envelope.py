"""What goes over a broker: some publications of one server, in order, and who says them. Pure.

    magic 4 bytes | origin 12 | number of the first, 8 | how many, 4 | of each: its size, 4, and it

Numbers are little-endian. An envelope without publications is a probe: it says which number is
next, so that who misses something knows soon, and its sender, that the broker is there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

MAGIC = b"c1m\x01"
ORIGIN_BYTES = 6  # in hexadecimal digits: 12
_HEAD = struct.Struct("<4s12sQI")
_SIZE = struct.Struct("<I")
HEAD_BYTES, ITEM_BYTES = _HEAD.size, _SIZE.size


class Envelope(NamedTuple):
    """Publications `first`, `first` + 1 and so on of a server's life, which `origin` names."""

    origin: str
    first: int
    items: list[bytes]


def packed(origin: str, first: int, items: Sequence[bytes]) -> bytes:
    """An envelope as bytes."""
    parts = [_HEAD.pack(MAGIC, origin.encode(), first, len(items))]
    for item in items:
        parts += (_SIZE.pack(len(item)), item)
    return b"".join(parts)


def unpacked(payload: bytes) -> Envelope | None:
    """What bytes say; None: it is no envelope, but somebody else's."""
    if len(payload) < HEAD_BYTES or not payload.startswith(MAGIC):
        return None
    _, origin, first, count = _HEAD.unpack_from(payload)
    if not origin.isalnum() or not origin.isascii() or count > len(payload):
        return None
    items, at = [], HEAD_BYTES
    for _ in range(count):
        if at + ITEM_BYTES > len(payload):
            return None
        (size,) = _SIZE.unpack_from(payload, at)
        at += ITEM_BYTES
        items.append(payload[at : at + size])
        at += size
    return Envelope(origin.decode(), first, items) if at == len(payload) else None
