"""Memory for keys: columns that take pages of 4 KiB as they are used, and stay in this process.

Not in core dumps, empty in forked children, and without huge pages, of which each of a few columns
would take 2 MiB for its first row. A disk that is swapped to may see them.
"""

from __future__ import annotations

import contextlib
import mmap
import os

import numpy as np
import numpy.typing as npt

MADV_WIPEONFORK = 18  # include/uapi/asm-generic/mman-common.h
WANTED = (mmap.MADV_NOHUGEPAGE, mmap.MADV_DONTDUMP, MADV_WIPEONFORK)


def zeros(rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """uint8[rows, columns]; what was never written to takes nothing."""
    mapping = mmap.mmap(-1, rows * columns, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in WANTED:
        with contextlib.suppress(OSError):  # a kernel without it
            mapping.madvise(advice)
    return np.frombuffer(mapping, np.uint8).reshape(rows, columns)


def file() -> int:
    """The descriptor of a file without a name, in memory."""
    return os.memfd_create("c1m-tls", os.MFD_CLOEXEC)


def give_back(fd: int, at: int, size: int) -> None:
    """Give the pages of a part of such a file back; it is read as zeros from now on."""
    with mmap.mmap(fd, size, offset=at) as part:
        part.madvise(mmap.MADV_REMOVE)
