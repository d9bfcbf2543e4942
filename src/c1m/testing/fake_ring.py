"""A ring of the fake kernel: the same queues, flags and rules as io_uring, in memory.

Facts modelled (Linux 6.18 with SINGLE_ISSUER, DEFER_TASKRUN, TASKRUN_FLAG, SUBMIT_ALL)
- Submissions run when they are handed over; what they complete at once is in the queue then.
- What files wake is deferred: it runs only in an enter with GETEVENTS, at most max(20,
  min_complete) requests a pass; a sleeper that is woken runs one.
- A run of deferred work clears TASKRUN, and sets it again if it leaves something behind. It may
  stay set for nothing.

What it holds, and the rules of that, is in fake_requests; here is what enters do.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.kernel import uring_abi as abi
from c1m.kernel.ring import Completions, Row, Rows
from c1m.testing.fake_host import OPERATION, REGISTRATIONS, Host
from c1m.testing.fake_network import Event, File, error
from c1m.testing.fake_operations import ON_A_FILE, OPERATIONS, Done, Wait
from c1m.testing.fake_requests import Cqe, FakeRequest, ProvidedBuffers, RingState, Sqe

NAMES = {
    code: OPERATION + name.removeprefix("OP_").lower().replace("_", " ")
    for name, code in vars(abi).items() if name.startswith("OP_")
}  # fmt: skip
RUN_MAX = 20  # IO_LOCAL_TW_DEFAULT_MAX


class FakeRing(RingState):
    """Satisfies kernel.ring.RingLike."""

    locked_bytes = 0

    def __init__(
        self, host: Host, index: int, sq_entries: int, cq_entries: int, at_rest: bool
    ) -> None:
        super().__init__(host, 1 << (cq_entries - 1).bit_length())
        self.index = index
        self.at_rest = at_rest
        self.pending = self.refused = 0
        self.sq_entries = 1 << (sq_entries - 1).bit_length()
        self._sq: list[list[Sqe]] = []

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
            block = Sqe.read(rows[done : done + room])
            if self.host.pointers is not None:
                self.host.pointers.queued(block)
            self._sq.append(block)
            self.pending += len(block)
            done += len(block)

    def push_few(self, first: int, flags: int, rows: list[Row]) -> None:
        words = [
            [first | file << 32, 0, address, length | flags << 32, low | high << 32, 0, 0, 0]
            for file, address, length, low, high in rows
        ]
        self.push(np.array(words, np.uint64))

    def submit(self) -> None:
        self._enter(0, get_events=False)

    def drain(self, most: int, least: int, timeout_ns: int) -> int:
        if least and timeout_ns:
            self._enter(1, get_events=True, timeout_ns=timeout_ns)
        else:
            self._enter(0, get_events=True)
        there = len(self._cq)
        while there < most and (self._has_taskrun or self._overflow):
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

    def peek(self, count: int) -> list[tuple[int, int, int, int]]:
        assert count <= len(self._cq)
        first = itertools.islice(self._cq, count)
        return [(data & 0xFFFFFFFF, data >> 32, result, flags) for data, result, flags in first]

    def skip(self, count: int) -> None:
        for _ in range(count):
            self._cq.popleft()

    def wants_attention(self) -> bool:
        self.host.take_wake()
        return self._has_taskrun or bool(self._overflow or self._cq)

    def has_overflow(self) -> bool:
        return bool(self._overflow)

    def register(self, opcode: int, arg: npt.NDArray[np.generic], count: int) -> int:
        first: Any = arg[0]
        self.refusals.call(REGISTRATIONS.get(opcode, ""))
        if opcode == abi.REGISTER_FILES2:
            assert arg.dtype == abi.FILES_REGISTER and count == abi.FILES_REGISTER.itemsize
            size = int(first["nr"])
            if self.table.size:
                raise error(errno.EBUSY)
            if size > min(self.host.files_max(), abi.FILES_MAX):
                raise error(errno.EMFILE)
            self.table.size = size
        elif opcode == abi.REGISTER_FILES_UPDATE:
            self._update_files(int(first["offset"]), int(first["fds"]), count)
        elif opcode == abi.REGISTER_PBUF_RING:
            entries, group = int(first["ring_entries"]), int(first["bgid"])
            if group in self.buffers:
                raise error(errno.EEXIST)
            if entries > abi.BUFFER_RING_MAX or entries & (entries - 1):
                raise error(errno.EINVAL)
            self.buffers[group] = ProvidedBuffers(int(first["ring_addr"]), entries)
        elif opcode == abi.REGISTER_EVENTFD:
            bell = self.host.file(int(first))
            assert isinstance(bell, Event)
            self._bell = bell
        elif opcode != abi.REGISTER_IOWQ_MAX_WORKERS:
            raise error(errno.EINVAL)
        return 0

    def _update_files(self, first: int, address: int, count: int) -> None:
        for i, fd in enumerate((ctypes.c_int32 * count).from_address(address)):
            file = self.host.file(fd)
            if file is None:
                raise error(errno.EBADF)
            self.table.put(first + i, file)

    def start(self) -> None:
        self.refusals.call("start")
        assert self.at_rest, "it was started before"
        self.at_rest = False

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        for requests in list(self.armed.values()):
            for request in requests:
                request.leave()
        self.armed.clear()
        self.table.clear_all()

    # --- the kernel's side ----------------------------------------------------------------------

    def _enter(self, least: int, get_events: bool, timeout_ns: int = 0) -> None:
        """io_uring_enter: all submissions, then with `get_events` the passes that collect."""
        assert not self.is_closed, "the ring is closed"
        assert not self.at_rest, "the ring was not started"
        blocks, self._sq = self._sq, []
        submitted, self.pending = self.pending, 0
        if self.host.pointers is not None:
            self._check_pointers([sqe for block in blocks for sqe in block])
        for block in blocks:
            for sqe in block:
                self._issue_new(sqe)
        if not get_events:
            return
        self.host.take_wake()
        if submitted:
            self._run_work(least, max(RUN_MAX, least))
        least = min(least, self.cq_entries)
        self._run_work(least, max(RUN_MAX, least))
        self._flush_overflow()
        if len(self._cq) < least:
            self._sleep(least, timeout_ns)

    def _check_pointers(self, sqes: list[Sqe]) -> None:
        pointers = self.host.pointers
        assert pointers is not None
        pointers.issued(sqes)
        for buffers in self.buffers.values():
            pointers.used("a receive may take a buffer", buffers.places())

    def _sleep(self, least: int, timeout_ns: int) -> None:
        """What an enter does that finds less than it was asked for."""
        if self.chance.strikes("interrupt"):
            return
        while len(self._cq) < least:
            if not self.host.idle_until(lambda: bool(self._work), timeout_ns):
                return
            self._run_work(least, least)

    def _issue_new(self, sqe: Sqe) -> None:
        file: File | None = None
        if sqe.opcode in ON_A_FILE:
            is_direct = sqe.flags & abi.FIXED_FILE
            file = self.table.get(sqe.fd) if is_direct else self.host.file(sqe.fd)
            if file is None:
                self.chance.counts["bad_files"] += 1
                self._post_last(Cqe(sqe.user_data, -errno.EBADF, 0))
                return
        self._issue(FakeRequest(self, sqe, file))

    def _issue(self, request: FakeRequest) -> None:
        opcode = request.sqe.opcode
        try:
            self.refusals.call(NAMES[opcode])
            outcome = OPERATIONS[opcode](request)
        except OSError as problem:
            outcome = Done(-(problem.errno or 0))
        if isinstance(outcome, Wait):
            self._arm(request, outcome)
            return
        self._end(request, outcome)

    def _arm(self, request: FakeRequest, wait: Wait) -> None:
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

    def _end(self, request: FakeRequest, done: Done) -> None:
        if request.is_armed:
            same = self.armed[request.sqe.user_data]
            same.remove(request)
            if not same:
                del self.armed[request.sqe.user_data]
        request.leave()
        has_failed = done.failed or done.result < 0
        if has_failed or not request.has(abi.SKIP_SUCCESS):
            self._post_last(Cqe(request.sqe.user_data, done.result, done.flags))

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

    def _run_one(self, request: FakeRequest) -> None:
        request.is_queued = False
        if request.is_over:
            return  # it was woken by what it did itself, and ended
        if request.is_cancelled:
            self._end(request, Done(-errno.ECANCELED))
        else:
            self._issue(request)
