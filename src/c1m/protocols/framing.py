"""Where a message ends in a stream of bytes: with a delimiter, or behind its length. Pure.

Each function returns the bytes of the first whole message that `stream` begins with; 0: more must
come.
"""

from __future__ import annotations


def delimited(stream: bytes, end: bytes) -> int:
    """A message that ends with `end`: a line, for example."""
    at = stream.find(end)
    return 0 if at < 0 else at + len(end)


def sized(stream: bytes, size: int) -> int:
    """A message of `size` bytes."""
    return size if len(stream) >= size else 0


def length_prefixed(stream: bytes, width: int, most: int) -> int:
    """A message behind its length, big-endian in `width` bytes.

    One of more than `most` bytes in all is no message: everything that came is taken for it.
    """
    if len(stream) < width:
        return 0
    size = width + int.from_bytes(stream[:width], "big")
    return len(stream) if size > most else sized(stream, size)
