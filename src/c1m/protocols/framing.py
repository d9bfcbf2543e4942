"""Where a message ends in a stream of bytes: with a delimiter, or behind its length. Pure.

Functions of a `stream` return the bytes of the first whole message that it begins with; 0: more
must come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


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


def windows(memory: npt.NDArray[np.uint8], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A record of `dtype` from each byte of the memory on: a view, to gather those that begin
    anywhere with one index (`[places]`: `take` would first copy the whole of it)."""
    dtype = np.dtype(dtype)
    count = max(len(memory) - dtype.itemsize + 1, 0)
    return np.ndarray((count,), dtype, memory.data, strides=(1,))
