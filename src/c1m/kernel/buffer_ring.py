"""Provided buffers: one arena for all rings, and for each ring a queue of buffers to pick from.

Facts
- The kernel picks a buffer only when data has come; an idle armed receive holds none.
- A buffer ring's entries are {addr u64, len u32, bid u16}; the tail is a u16 in the last two bytes
  of the *first* entry and runs free (Linux 5.19, struct io_uring_buf_ring).
- Buffer ids are ours to choose: here they number the whole arena, so that a completion's id alone
  says where its data lies, whichever ring it came from.
- What a queue holds cannot be taken back. So each ring's keeps only its base, for data that comes
  unasked; what is about to be read from parked connections is lent out of a pool that all rings
  share, and returns to it. Of a million connections' fifty rings a few are busy at a time.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from c1m.kernel import uring_abi as abi
from c1m.kernel.ring import RingLike

Ids = npt.NDArray[np.uint16]
Memory = Callable[[int], mmap.mmap]

_ENTRY = np.dtype("V16")  # one whole entry
_FIELDS = struct.Struct("<QIH")  # all of it but the last two bytes
LENT_MAX = 8192  # buffers, over all rings: what a burst may touch, 8 MiB
GROUP = 0  # the buffer group id every ring uses: groups are per ring


def anonymous(length: int) -> mmap.mmap:
    """Page-aligned memory of this process alone; raises OSError."""
    return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class BufferArena:
    """`count` buffers of `size` bytes in one anonymous mapping; pages cost memory once touched."""

    def __init__(self, count: int, size: int, memory: Memory = anonymous) -> None:
        assert 0 < count <= abi.BUFFER_IDS_MAX
        self.count = count
        self.size = size
        self._mapping = memory(count * size)
        self.memory = np.frombuffer(self._mapping, np.uint8)
        self.address = self.memory.ctypes.data
        self._make_columns()

    def _make_columns(self) -> None:
        count = self.count
        self.owners = np.zeros(count, np.uint16)  # which ring each buffer belongs to
        self.owner_of = self.owners.data  # one at a time
        # A buffer's entry is always the same: made once, copied whole when it is given back.
        self.entries = np.zeros(count, abi.BUFFER)
        self._fresh = 0  # buffers from here on were never used
        self._pool = np.zeros(count, np.uint16)  # a stack of those that have come back
        self._pooled = 0
        self.lent = 0  # that rings have over their base

    def begin_afresh(self) -> None:
        """No ring has any: their memory goes back."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
        self._make_columns()

    def left(self) -> int:
        """Buffers that no ring has."""
        return self.count - self._fresh + self._pooled

    def put(self, ids: Ids) -> None:
        """Buffers that no ring has any more. The last to come are the first to go: their pages
        have memory already.
        """
        assert len(ids) <= self.count - self._pooled
        self._pool[self._pooled : self._pooled + len(ids)] = ids
        self._pooled += len(ids)

    def take(self, count: int, ring: int) -> Ids:
        """`count` buffers that no ring has, from now on this ring's."""
        assert count <= self.left()
        old = min(count, self._pooled)
        self._pooled -= old
        ids = self._pool[self._pooled : self._pooled + old].copy()
        self.owners[ids] = ring
        return ids if old == count else np.concatenate((ids, self._take_fresh(count - old, ring)))

    def _take_fresh(self, count: int, ring: int) -> Ids:
        first = self._fresh
        self._fresh += count
        ids = np.arange(first, first + count, dtype=np.uint16)
        some = slice(first, first + count)
        self.owners[some] = ring
        self.entries["addr"][some] = np.arange(first, first + count) * self.size + self.address
        self.entries["len"][some] = self.size
        self.entries["bid"][some] = ids
        return ids


class BufferRing:
    """The queue of buffers of one ring. `free` of its `owned` buffers are the kernel's to pick.

    `base` is how many it keeps when all have come back; more are lent. Raises OSError.
    """

    def __init__(
        self,
        ring: RingLike,
        arena: BufferArena,
        count: int,
        entries: int,
        memory: Memory = anonymous,
    ) -> None:
        assert entries <= abi.BUFFER_RING_MAX and entries & (entries - 1) == 0
        self._arena = arena
        # The kernel wants page-aligned memory and keeps reading it until the ring is gone: the
        # mapping lives as long as this object, which the engine keeps beside the ring.
        self._mapping = memory(max(entries * 16, mmap.PAGESIZE))
        self.entries = np.frombuffer(self._mapping, _ENTRY, entries)
        self._ready = arena.entries.view(_ENTRY)
        self._mask = entries - 1
        self._tail = 0
        self._bytes = memoryview(self._mapping)
        self._tail_word = self._bytes.cast("H")[7:8]  # bytes 14 and 15
        arg = np.zeros(1, abi.BUFFER_REGISTER)
        arg["ring_addr"] = self.entries.ctypes.data
        arg["ring_entries"] = entries
        arg["bgid"] = GROUP
        ring.register(abi.REGISTER_PBUF_RING, arg, 1)
        self._index = ring.index
        self.owned = 0
        self.free = 0
        self.base = 0
        self.grow(count)

    def give_up(self) -> None:
        """Its ring is closed and has never been used: nobody has any of its buffers."""
        assert self.free == self.owned == self.base
        self._arena.put(self.entries.view(abi.BUFFER)["bid"][: self.owned].copy())
        self.owned = self.free = self.base = 0

    def grow(self, count: int) -> None:
        """Keep up to `count` more buffers, as many as there are."""
        self.base += self._take(count)

    def lend(self, count: int) -> int:
        """Have up to `count` more buffers for now; returns how many there were."""
        taken = self._take(min(count, LENT_MAX - self._arena.lent))
        self._arena.lent += taken
        return taken

    def _take(self, count: int) -> int:
        count = min(count, self._arena.left(), len(self.entries) - self.owned)
        if count > 0:
            self.owned += count
            self.give(self._arena.take(count, self._index))
        return max(count, 0)

    def take_back(self, ids: Ids) -> None:
        """Buffers whose data has been used up: to the kernel again, up to the base."""
        room = self.base - self.free
        if len(ids) > room:
            room = max(room, 0)
            self._arena.put(ids[room:])
            self._arena.lent -= len(ids) - room
            assert self._arena.lent >= 0
            self.owned -= len(ids) - room
            ids = ids[:room]
        self.give(ids)

    def take_one_back(self, buffer: int) -> None:
        """The scalar form of `take_back`."""
        if self.free < self.base:
            self.give_one(buffer)
            assert self.free <= self.owned
        else:
            self.owned -= 1
            self._arena.lent -= 1
            self._arena.put(np.array([buffer], np.uint16))

    def take_few_back(self, buffers: list[int]) -> None:
        """`take_one_back` for each."""
        if self.free + len(buffers) > self.base:
            for buffer in buffers:
                self.take_one_back(buffer)
            return
        memory, mask, tail, arena = self._bytes, self._mask, self._tail, self._arena
        start, size, pack = arena.address, arena.size, _FIELDS.pack_into
        for buffer in buffers:
            pack(memory, (tail & mask) * 16, start + buffer * size, size, buffer)
            tail += 1
        self._tail = tail & 0xFFFF
        self._tail_word[0] = self._tail
        self.free += len(buffers)

    def give(self, ids: Ids) -> None:
        """Hand buffers to the kernel."""
        n = len(ids)
        if n == 0:
            return
        at = self._tail & self._mask
        room = self._mask + 1 - at
        entries = self._ready.take(ids)
        if n <= room:
            self.entries[at : at + n] = entries
        else:
            self.entries[at:] = entries[:room]
            self.entries[: n - room] = entries[room:]
        self._tail = (self._tail + n) & 0xFFFF
        # Last, because the first entry's copy has written over it. Nobody has looked meanwhile:
        # the kernel reads it only in this thread's own calls.
        self._tail_word[0] = self._tail
        self.free += n
        assert self.free <= self.owned <= len(self.entries)

    def give_one(self, buffer: int) -> None:
        """The scalar form of `give`."""
        arena = self._arena
        _FIELDS.pack_into(
            self._bytes, (self._tail & self._mask) * 16,
            arena.address + buffer * arena.size, arena.size, buffer,
        )  # fmt: skip
        self._tail = (self._tail + 1) & 0xFFFF
        self._tail_word[0] = self._tail
        self.free += 1
