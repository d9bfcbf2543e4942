"""The kernel's side of a provided buffer ring, over the engine's real memory.

Layout (struct io_uring_buf_ring): entries {addr u64, len u32, bid u16}, the tail a free-running u16
in the last two bytes of the first entry. The head is the kernel's own. What a kernel would let pass
and then corrupt data for is an AssertionError here: a buffer given twice, more than the ring holds.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from c1m.kernel import uring_abi as abi
from c1m.kernel.libc import view_of

_TAIL_AT = 14


@dataclass(frozen=True, slots=True)
class Buffer:
    """One buffer to fill."""

    address: int
    size: int
    id: int


class ProvidedBuffers:
    """Buffers in the order in which they were given."""

    def __init__(self, address: int, entries: int) -> None:
        memory = view_of(address, entries * abi.BUFFER.itemsize)
        self._entries = np.frombuffer(memory, abi.BUFFER)
        self._tail = ctypes.c_uint16.from_address(address + _TAIL_AT)
        self._mask = entries - 1
        self._head = 0
        self._seen = 0
        self._here: set[int] = set()  # ids that are in the queue

    def _look(self) -> None:
        tail = self._tail.value
        count = (tail - self._head) & 0xFFFF
        assert count <= self._mask + 1, f"{count} buffers in a ring of {self._mask + 1}"
        while self._seen != tail:
            given = int(self._entries["bid"][self._seen & self._mask])
            assert given not in self._here, f"buffer {given} was given twice"
            self._here.add(given)
            self._seen = (self._seen + 1) & 0xFFFF

    def __len__(self) -> int:
        """Buffers that can be picked."""
        self._look()
        return len(self._here)

    def first(self) -> Buffer | None:
        """The buffer that would be picked next."""
        self._look()
        if not self._here:
            return None
        entry = self._entries[self._head & self._mask]
        return Buffer(int(entry["addr"]), int(entry["len"]), int(entry["bid"]))

    def fill(self, buffer: Buffer, data: bytes) -> None:
        """Write into the first buffer and take it out of the queue."""
        assert len(data) <= buffer.size
        ctypes.memmove(buffer.address, data, len(data))
        self._here.remove(buffer.id)
        self._head = (self._head + 1) & 0xFFFF
