"""What a ring of the fake kernel has: its table, buffers, requests and completions.

Facts modelled (Linux 6.18)
- TASKRUN is set, and the doorbell rings, when the list of deferred work becomes non-empty.
- A full completion queue loses nothing: completions go to a list, flushed by an enter with
  GETEVENTS; a multishot that cannot post ends there, with a valid result and without MORE.
- A ring's table: the search for a free place goes on from the place after the last one taken, or
  from the last one freed, to the end, then from the start (io_uring/filetable.c).
- A provided buffer ring (struct io_uring_buf_ring): entries {addr u64, len u32, bid u16}, the tail
  a free-running u16 in the last two bytes of the first entry; the head is the kernel's own.

What a kernel would let pass and then corrupt data for is an AssertionError here: a buffer given
twice, or more of them than the ring holds.
"""

from __future__ import annotations

import ctypes
import errno
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from c1m.kernel import uring_abi as abi
from c1m.kernel.libc import view_of
from c1m.testing.fake_host import Host
from c1m.testing.fake_network import Event, File, error

_TAIL_AT = 14


class Sqe(NamedTuple):
    """The fields of struct io_uring_sqe, in its order."""

    opcode: int
    flags: int
    ioprio: int
    fd: int
    off: int
    addr: int
    len: int
    op_flags: int
    user_data: int
    buf_group: int
    personality: int
    file_index: int
    addr3: int
    pad: int

    @classmethod
    def read(cls, rows: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> list[Sqe]:
        """Submissions out of [n, 8] words of 8 bytes."""
        return [cls(*row) for row in np.ascontiguousarray(rows).view(abi.SQE)[:, 0].tolist()]


class Cqe(NamedTuple):
    """One completion."""

    user_data: int
    result: int
    flags: int


class FileTable:
    """Places 0..size-1, each empty or with a file."""

    def __init__(self, counts: Counter[str]) -> None:
        self.size = 0
        self._files: dict[int, File] = {}
        self._hint = 0
        self._counts = counts

    def __len__(self) -> int:
        return len(self._files)

    def get(self, place: int) -> File | None:
        return self._files.get(place)

    def install(self, file: File) -> int | None:
        """Put a file into a free place; None (and the file not held) when there is none."""
        if len(self._files) >= self.size:
            return None
        place = self._hint if self._hint < self.size else 0
        while place in self._files:
            place = (place + 1) % self.size
        self._put(place, file)
        return place

    def put(self, place: int, file: File) -> None:
        """Put a file into this place; what is there is replaced (and counted: nobody wants it)."""
        if not 0 <= place < self.size:
            raise error(errno.EINVAL)
        if place in self._files:
            self._counts["replaced_files"] += 1
            self._files.pop(place).drop()
        self._put(place, file)

    def _put(self, place: int, file: File) -> None:
        file.hold()
        self._files[place] = file
        self._hint = place + 1

    def clear(self, place: int) -> None:
        """Empty a place. Raises OSError(EBADF) where it is."""
        file = self._files.pop(place, None)
        if file is None:
            self._counts["bad_files"] += 1
            raise error(errno.EBADF)
        self._hint = place
        file.drop()

    def clear_all(self) -> None:
        for place in list(self._files):
            self.clear(place)


@dataclass(frozen=True, slots=True)
class Buffer:
    """One buffer to fill."""

    address: int
    size: int
    id: int


class ProvidedBuffers:
    """Buffers in the order in which they were given."""

    def __init__(self, address: int, entries: int) -> None:
        self._place = address, entries * abi.BUFFER.itemsize
        memory = view_of(*self._place)
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

    def places(self) -> Iterator[tuple[int, int]]:
        """Address and length of the ring, and then of the buffer that is first in it."""
        yield self._place
        first = self.first()
        if first is not None:
            yield first.address, first.size

    def first(self) -> Buffer | None:
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


class FakeRequest:
    """One submission in the kernel, from its issue to its last completion."""

    def __init__(self, ring: RingState, sqe: Sqe, file: File | None) -> None:
        self.ring = ring
        self.sqe = sqe
        self.file = file
        self.is_queued = False  # work for it is waiting to be run
        self.is_cancelled = False
        self.is_armed = False
        self.is_over = False
        if file is not None:
            file.hold()

    def wake(self) -> None:
        self.ring.queue_work(self)

    def has(self, flag: int) -> bool:
        return bool(self.sqe.flags & flag)

    def leave(self) -> None:
        """The request is over: let go of its file."""
        self.is_over = True
        if self.file is not None:
            file, self.file = self.file, None
            file.forget(self)
            file.drop()


class RingState:
    """What one ring has. `table` and `buffers` are what was registered with it."""

    def __init__(self, host: Host, cq_entries: int) -> None:
        self.host = host
        self.chance = host.chance
        self.refusals = host.refusals
        self.network = host.network
        self.cq_entries = cq_entries
        self.table = FileTable(self.chance.counts)
        self.buffers: dict[int, ProvidedBuffers] = {}
        self.armed: dict[int, list[FakeRequest]] = {}
        self.is_closed = False
        self._bell: Event | None = None
        self._cq: deque[Cqe] = deque()
        self._overflow: deque[Cqe] = deque()
        self._work: list[FakeRequest] = []
        self._has_taskrun = False

    def queue_work(self, request: FakeRequest) -> None:
        """A file has woken a request, or it was cancelled: to be run in a later enter."""
        if request.is_queued or request.is_over or self.is_closed:
            return
        request.is_queued = True
        self._work.append(request)
        if len(self._work) == 1:
            self._has_taskrun = True
            self._ring_bell()

    def _ring_bell(self) -> None:
        if self._bell is not None:
            self._bell.signal()

    def post_more(self, request: FakeRequest, result: int, flags: int) -> bool:
        """A completion that is not the last; False: it cannot be posted, the request must end."""
        if len(self._cq) >= self.cq_entries or self._overflow:
            self.chance.counts["ended_by_overflow"] += 1
            return False
        if self.chance.strikes("end_multishot"):
            return False
        self._cq.append(Cqe(request.sqe.user_data, result, flags | abi.CQE_MORE))
        self._ring_bell()
        return True

    def _post_last(self, cqe: Cqe) -> None:
        if len(self._cq) >= self.cq_entries or self._overflow:
            self.chance.counts["overflowed_completions"] += 1
            self._overflow.append(cqe)
        else:
            self._cq.append(cqe)
        self._ring_bell()

    def _flush_overflow(self) -> None:
        while self._overflow and len(self._cq) < self.cq_entries:
            self._cq.append(self._overflow.popleft())
