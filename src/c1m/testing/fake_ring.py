"""A ring of the fake kernel: the same queues, flags and rules as io_uring, in memory.

Facts modelled (Linux 6.18 with SINGLE_ISSUER, DEFER_TASKRUN, TASKRUN_FLAG, SUBMIT_ALL)
- Submissions run when they are handed over; what they complete at once is in the queue then.
- What files wake is deferred: it runs only in an enter with GETEVENTS, at most max(20,
  min_complete) requests a pass; a sleeper that is woken runs one.
- TASKRUN is set, and the doorbell rings, when the list of deferred work becomes non-empty; a run
  clears the flag, and sets it again if it leaves something behind. It may stay set for nothing.
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
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from c1m.kernel import uring_abi as abi
from c1m.kernel.libc import view_of
from c1m.kernel.ring import Completions, Rows
from c1m.testing.fake_network import Event, File, error
from c1m.testing.fake_operations import ON_A_FILE, OPERATIONS, Done, Request, Sqe, Wait

if TYPE_CHECKING:
    from c1m.testing.fake_kernel import FakeKernel

_TAIL_AT = 14
RUN_MAX = 20  # IO_LOCAL_TW_DEFAULT_MAX


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


class FakeRing:
    """Satisfies kernel.ring.RingLike."""

    locked_bytes = 0

    def __init__(
        self, kernel: FakeKernel, index: int, sq_entries: int, cq_entries: int, at_rest: bool
    ) -> None:
        self.index = index
        self.at_rest = at_rest
        self.pending = 0
        self.sq_entries = 1 << (sq_entries - 1).bit_length()
        self.cq_entries = 1 << (cq_entries - 1).bit_length()
        self.chance = kernel.chance
        self.refusals = kernel.refusals
        self.network = kernel.network
        self.table = FileTable(self.chance.counts)
        self.buffers: dict[int, ProvidedBuffers] = {}
        self.armed: dict[int, list[Request]] = {}
        self.is_closed = False
        self._kernel = kernel
        self._bell: Event | None = None
        self._sq: list[Rows] = []
        self._cq: deque[Cqe] = deque()
        self._overflow: deque[Cqe] = deque()
        self._work: list[Request] = []
        self._has_taskrun = False
        self._has_overflow = False

    # --- the engine's side: the same steps as in kernel.ring.Ring --------------------------------

    def push(self, rows: Rows) -> None:
        assert rows.dtype == np.uint64 and rows.shape[1:] == (8,)
        done = 0
        while done < len(rows):
            room = self.sq_entries - self.pending
            if room == 0:
                self.chance.counts["full_submission_queue"] += 1
                self.submit()
                continue
            block = rows[done : done + room].copy()
            self._sq.append(block)
            self.pending += len(block)
            done += len(block)

    def push_one(self, first: int, address: int, third: int, user_data: int) -> None:
        self.push(np.array([[first, 0, address, third, user_data, 0, 0, 0]], np.uint64))

    def submit(self) -> None:
        self._enter(0, get_events=False)

    def drain(self, most: int, least: int, timeout_ns: int) -> int:
        if least and timeout_ns:
            self._enter(1, get_events=True, timeout_ns=timeout_ns)
        else:
            self._enter(0, get_events=True)
        there = len(self._cq)
        while there < most and (self._has_taskrun or self._has_overflow):
            self._enter(min(there, most - there), get_events=True)
            if len(self._cq) == there:
                break
            there = len(self._cq)
        return there

    def reap(self, into: Completions) -> int:
        count = min(len(self._cq), len(into))
        for row in range(count):
            user_data, result, flags = self._cq.popleft()
            into[row] = (user_data & 0xFFFFFFFF, user_data >> 32, result & 0xFFFFFFFF, flags)
        return count

    def wants_attention(self) -> bool:
        self._kernel.take_wake()
        return self._has_taskrun or self._has_overflow or bool(self._cq)

    def has_overflow(self) -> bool:
        return self._has_overflow

    def register(self, opcode: int, arg: npt.NDArray[np.generic], count: int) -> int:
        self._kernel.register(self, opcode, arg, count)
        return 0

    def start(self) -> None:
        self.refusals.call("start")
        assert self.at_rest, "it was started before"
        self.at_rest = False

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._kernel.ring_closed(self)
        for requests in list(self.armed.values()):
            for request in requests:
                request.leave()
        self.armed.clear()
        self.table.clear_all()

    # --- the kernel's side ----------------------------------------------------------------------

    def watch(self, bell: Event) -> None:
        self._bell = bell

    def _enter(self, least: int, get_events: bool, timeout_ns: int = 0) -> None:
        """io_uring_enter: all submissions, then with `get_events` the passes that collect."""
        assert not self.is_closed, "the ring is closed"
        assert not self.at_rest, "the ring was not started"
        blocks, self._sq = self._sq, []
        submitted, self.pending = self.pending, 0
        for block in blocks:
            for sqe in Sqe.read(block):
                self._issue_new(sqe)
        if not get_events:
            return
        self._kernel.take_wake()
        if submitted:
            self._run_work(least, max(RUN_MAX, least))
        least = min(least, self.cq_entries)
        self._run_work(least, max(RUN_MAX, least))
        self._flush_overflow()
        if len(self._cq) < least:
            self._sleep(least, timeout_ns)

    def _sleep(self, least: int, timeout_ns: int) -> None:
        """What an enter does that finds less than it was asked for."""
        if self.chance.strikes("interrupt"):
            return
        while len(self._cq) < least:
            if not self._kernel.idle_until(lambda: bool(self._work), timeout_ns):
                return
            self._run_work(least, least)

    def _issue_new(self, sqe: Sqe) -> None:
        file: File | None = None
        if sqe.opcode in ON_A_FILE:
            is_direct = sqe.flags & abi.FIXED_FILE
            file = self.table.get(sqe.fd) if is_direct else self._kernel.file(sqe.fd)
            if file is None:
                self.chance.counts["bad_files"] += 1
                self._post_last(Cqe(sqe.user_data, -errno.EBADF, 0))
                return
        self._issue(Request(self, sqe, file))

    def _issue(self, request: Request) -> None:
        try:
            outcome = OPERATIONS[request.sqe.opcode](request)
        except OSError as problem:
            outcome = Done(-(problem.errno or 0))
        if isinstance(outcome, Wait):
            self._arm(request, outcome)
            return
        self._end(request, outcome)

    def _arm(self, request: Request, wait: Wait) -> None:
        file = request.file
        assert file is not None
        if not request.is_armed:
            request.is_armed = True
            self.armed.setdefault(request.sqe.user_data, []).append(request)
            file.watch(request, wait.events)
        # Tried already, and ready nevertheless: short by a fault only.
        was_tried = request.sqe.opcode != abi.OP_POLL_ADD
        if wait.again or (was_tried and file.ready() & wait.events):
            self.queue_work(request)

    def _end(self, request: Request, done: Done) -> None:
        if request.is_armed:
            same = self.armed[request.sqe.user_data]
            same.remove(request)
            if not same:
                del self.armed[request.sqe.user_data]
        request.leave()
        has_failed = done.failed or done.result < 0
        if has_failed or not request.has(abi.SKIP_SUCCESS):
            self._post_last(Cqe(request.sqe.user_data, done.result, done.flags))

    def queue_work(self, request: Request) -> None:
        """A file has woken a request, or it was cancelled: to be run in a later enter."""
        if request.is_queued or request.is_over or self.is_closed:
            return
        request.is_queued = True
        self._work.append(request)
        if len(self._work) == 1:
            self._has_taskrun = True
            self._ring_bell()

    def _run_work(self, least: int, most: int) -> None:
        """One pass: up to `most` requests, in an order of chance (each at most once a round)."""
        if not self._work:
            return
        self._has_taskrun = self.chance.strikes("sticky_taskrun")
        done = 0
        while self._work and done < most:
            round_, self._work = self._work, []
            self.chance.random.shuffle(round_)
            now, later = round_[: most - done], round_[most - done :]
            for request in now:
                self._run_one(request)
            done += len(now)
            self._work = later + self._work
            if done >= least:
                break
        if self._work:
            self._has_taskrun = True

    def _run_one(self, request: Request) -> None:
        request.is_queued = False
        if request.is_over:
            return  # it was woken by what it did itself, and ended
        if request.is_cancelled:
            self._end(request, Done(-errno.ECANCELED))
        else:
            self._issue(request)

    def _ring_bell(self) -> None:
        if self._bell is not None:
            self._bell.signal()

    # --- completions ----------------------------------------------------------------------------

    def post_more(self, request: Request, result: int, flags: int) -> bool:
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
            self._has_overflow = True
        else:
            self._cq.append(cqe)
        self._ring_bell()

    def _flush_overflow(self) -> None:
        while self._overflow and len(self._cq) < self.cq_entries:
            self._cq.append(self._overflow.popleft())
        self._has_overflow = bool(self._overflow)
