"""One io_uring instance: its queues as arrays, blocks of entries in and out.

Facts
- With SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1) every completion is written by a system call of
  this very thread, so plain loads and stores of the ring's words are enough: the call is the
  barrier. The kernel writes asynchronously only to the submission queue's flags word.
- Deferred completions are produced only by an enter with GETEVENTS, and since 6.13 at most
  max(20, min_complete) of them a call. `drain` asks again with what is already there as
  min_complete: that never sleeps and doubles the batch each time.
- TASKRUN may stay set with nothing left to do, so a drain ends when a call brought nothing new.
- A full completion queue loses nothing (FEAT_NODROP): the kernel keeps a list, says so by
  CQ_OVERFLOW and moves it into the queue at the next enter with GETEVENTS.
- An enter may be refused (EAGAIN: no memory for a request), or take only some of what is queued.
  Who queued it counts on all of it being in the kernel when `submit` or `drain` returns: a send's
  memory is given up after that. So they go on until it is, with a pause that doubles.
- With SINGLE_ISSUER only one thread may use a ring: the one that made it or, where it was made at
  rest (R_DISABLED), the one that starts it. Until then anybody may register things with it.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import struct
from typing import Protocol

import numpy as np
import numpy.typing as npt

from c1m.kernel import libc
from c1m.kernel import uring_abi as abi

WORD = 0xFFFFFFFF
SQE_SIZE, CQE_SIZE = abi.SQE.itemsize, abi.CQE.itemsize
PAUSE_FIRST_S, PAUSE_MOST_S = 0.001, 0.064  # while there is no memory for requests
ATTENTION = abi.SQ_TASKRUN | abi.SQ_CQ_OVERFLOW
_SLEEP = abi.ENTER_GETEVENTS | abi.ENTER_EXT_ARG
_ARG_SIZE = libc.SIZE(abi.GETEVENTS_ARG_SIZE)
_SUBMISSION = struct.Struct("<Ii8xQIIII24x").pack_into  # a Row; all else is zero
_COMPLETION = struct.Struct("<IIiI")  # slot, tag, result, flags

Rows = npt.NDArray[np.uint64]  # submissions as [n, 8] words of 8 bytes: one plain copy each block
Completions = npt.NDArray[np.uint32]  # completions as [n, 4]: slot, tag, result, flags
Row = tuple[int, int, int, int, int]
"""Of a submission: file, address, length, and the halves of the user data."""


def whole_pages(size: int) -> int:
    """Bytes of memory that so many take."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


class RingLike(Protocol):
    """What an engine needs of a ring; the fake kernel has one too."""

    index: int
    cq_entries: int
    locked_bytes: int  # what it counts for against RLIMIT_MEMLOCK, without its buffer ring
    pending: int  # submissions written and not yet handed over
    refused: int  # enters that the kernel had no memory for

    def push(self, rows: Rows) -> None:
        """Queue submissions, entering the kernel in between where the queue is full."""

    def push_few(self, first: int, flags: int, rows: list[Row]) -> None:
        """Queue submissions of one kind: the low half of the first word and the operation's
        flags are the same for all. Far quicker than `push` for a few.
        """

    def submit(self) -> None:
        """Hand all queued submissions over; receive nothing."""

    def drain(self, most: int, least: int, timeout_ns: int) -> int:
        """Hand over and collect; the number of completions that can now be reaped.

        Stops near `most` completions. With `least` 1 it sleeps until there is one, up to
        `timeout_ns` (negative: for ever); a signal or the timeout ends the sleep early.
        """

    def reap(self, into: Completions) -> int:
        """Copy completions out, at most len(into) of them; returns how many."""

    def peek(self, count: int) -> list[tuple[int, int, int, int]]:
        """The first `count` completions that are there, as numbers (the result signed). They stay.

        Far quicker than `reap` for a few.
        """

    def skip(self, count: int) -> None:
        """Take so many out that were looked at."""

    def wants_attention(self) -> bool:
        """Whether the kernel has something for us (a hint: it may be nothing)."""

    def has_overflow(self) -> bool:
        """Whether completions wait outside of the full queue, for a drain after a reap."""

    def register(self, opcode: int, arg: npt.NDArray[np.generic], count: int) -> int:
        """io_uring_register with an array as the argument; raises OSError."""

    def start(self) -> None:
        """Make this thread the one that uses a ring that was made at rest; raises OSError."""

    def close(self) -> None:
        """Give the ring back."""


def register_table(ring: RingLike, size: int) -> None:
    """Give the ring an empty table of so many direct descriptors. Raises OSError."""
    arg = np.zeros(1, abi.FILES_REGISTER)
    arg["nr"], arg["flags"] = size, abi.FILES_SPARSE
    ring.register(abi.REGISTER_FILES2, arg, abi.FILES_REGISTER.itemsize)


def register_file(ring: RingLike, place: int, fd: int) -> None:
    """Put the file of an ordinary descriptor into a place of the ring's table. Raises OSError."""
    fds = np.array([fd], np.int32)
    arg = np.zeros(1, abi.FILES_UPDATE)
    arg["offset"], arg["fds"] = place, fds.ctypes.data
    ring.register(abi.REGISTER_FILES_UPDATE, arg, 1)


class Ring:
    """A ring of the real kernel. Raises OSError where the kernel refuses it.

    `at_rest`: it can be used only after `start`.
    """

    def __init__(
        self,
        index: int,
        sq_entries: int,
        cq_entries: int,
        no_sqarray: bool,
        at_rest: bool = False,
    ) -> None:
        self.index = index
        self.pending = self.refused = 0
        self._pause_s = PAUSE_FIRST_S
        self._params = np.zeros(1, abi.PARAMS)
        self._params["cq_entries"] = cq_entries
        self._params["flags"] = (
            abi.SETUP_CQSIZE | abi.SETUP_CLAMP | abi.SETUP_SUBMIT_ALL | abi.SETUP_SINGLE_ISSUER
            | abi.SETUP_DEFER_TASKRUN | abi.SETUP_TASKRUN_FLAG
            | (abi.SETUP_NO_SQARRAY if no_sqarray else 0)
            | (abi.SETUP_R_DISABLED if at_rest else 0)
        )  # fmt: skip
        self.fd = libc.io_uring_setup(sq_entries, self._params.ctypes.data)
        try:
            self._map(no_sqarray)
        except OSError:
            os.close(self.fd)
            raise

    def _map(self, no_sqarray: bool) -> None:
        params = self._params[0]
        self.sq_entries = int(params["sq_entries"])
        self.cq_entries = int(params["cq_entries"])
        assert self.sq_entries.bit_count() == self.cq_entries.bit_count() == 1
        sq, cq = params["sq_off"], params["cq_off"]
        array_end = 0 if no_sqarray else int(sq["array"]) + 4 * self.sq_entries
        self._ring_bytes = max(int(cq["cqes"]) + abi.CQE.itemsize * self.cq_entries, array_end)
        self._sqes_bytes = abi.SQE.itemsize * self.sq_entries
        self.locked_bytes = whole_pages(self._ring_bytes) + whole_pages(self._sqes_bytes)
        self._ring_address = libc.map_shared(self.fd, self._ring_bytes, abi.OFF_SQ_RING)
        try:
            self._sqes_address = libc.map_shared(self.fd, self._sqes_bytes, abi.OFF_SQES)
        except OSError:
            libc.unmap(self._ring_address, self._ring_bytes)
            raise
        ring = libc.view_of(self._ring_address, self._ring_bytes)
        words = ring[: self._ring_bytes // 4 * 4].cast("I")
        self._sq_head = words[int(sq["head"]) // 4 :][:1]
        self._sq_tail = words[int(sq["tail"]) // 4 :][:1]
        self._sq_flags = words[int(sq["flags"]) // 4 :][:1]
        self._cq_head = words[int(cq["head"]) // 4 :][:1]
        self._cq_tail = words[int(cq["tail"]) // 4 :][:1]
        sqes = libc.view_of(self._sqes_address, self._sqes_bytes)
        self._sqes = np.frombuffer(sqes, np.uint64).reshape(self.sq_entries, 8)
        self._sqe_bytes = sqes
        start = int(cq["cqes"])
        self._cqe_bytes = ring[start : start + CQE_SIZE * self.cq_entries]
        self._cqes = np.frombuffer(self._cqe_bytes, np.uint32).reshape(self.cq_entries, 4)
        if not no_sqarray:
            start = int(sq["array"])
            indices = np.frombuffer(ring[start : start + 4 * self.sq_entries], np.uint32)
            indices[:] = np.arange(self.sq_entries)
        self._tail = 0
        self._head = 0
        self._arg = np.zeros(1, abi.GETEVENTS_ARG)
        address = self._arg.ctypes.data
        self._arg_pointer = libc.POINTER(address)
        self._arg["sigmask_sz"] = 8
        self._arg["ts"] = address + abi.GETEVENTS_ARG_SIZE
        self._ts = memoryview(self._arg.view(np.int64).data)[3:5]
        self._timeout_ns = 0  # what is in _ts

    def push(self, rows: Rows) -> None:
        assert rows.shape[1] == 8
        done = 0
        count = len(rows)
        mask = self.sq_entries - 1
        while done < count:
            room = self.sq_entries - self.pending
            if room == 0:
                self.submit()
                continue
            at = self._tail & mask
            n = min(room, count - done, self.sq_entries - at)
            self._sqes[at : at + n] = rows[done : done + n]
            self._tail = (self._tail + n) & WORD
            self.pending += n
            done += n

    def push_few(self, first: int, flags: int, rows: list[Row]) -> None:
        count = len(rows)
        if self.pending + count > self.sq_entries:
            for row in rows:
                if self.pending == self.sq_entries:
                    self.submit()
                self.push_few(first, flags, [row])
            return
        tail, mask, memory, pack = self._tail, self.sq_entries - 1, self._sqe_bytes, _SUBMISSION
        for file, address, length, low, high in rows:
            at = (tail & mask) * SQE_SIZE
            pack(memory, at, first, file, address, length, flags, low, high)
            tail += 1
        self._tail = tail & WORD
        self.pending += count

    def submit(self) -> None:
        self._sq_tail[0] = self._tail
        while self.pending:
            self._account(libc.enter_now(self.fd, self.pending, 0, 0))

    def _account(self, result: int) -> None:
        """Take what the kernel says it consumed. Where it has no memory, wait a little."""
        assert result <= self.pending
        if result >= 0:
            self.pending -= result
            self._pause_s = PAUSE_FIRST_S
        elif result in (-errno.EAGAIN, -errno.EBUSY):
            self.refused += 1
            libc.enter_now(self.fd, 0, 0, abi.ENTER_GETEVENTS)  # what has come gives memory back
            select.select((), (), (), self._pause_s)
            self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S)
        elif result != -errno.EINTR:
            raise OSError(-result, f"io_uring_enter: {os.strerror(-result)}")

    def wants_attention(self) -> bool:
        return bool(self._sq_flags[0] & ATTENTION) or self._cq_tail[0] != self._head

    def has_overflow(self) -> bool:
        return bool(self._sq_flags[0] & abi.SQ_CQ_OVERFLOW)

    def drain(self, most: int, least: int, timeout_ns: int) -> int:
        self._sq_tail[0] = self._tail
        if least and timeout_ns:
            self._sleep(timeout_ns)
        else:
            self._account(libc.enter_now(self.fd, self.pending, 0, abi.ENTER_GETEVENTS))
        if self.pending:
            self.submit()
        there = (self._cq_tail[0] - self._head) & WORD
        while there < most and self._sq_flags[0] & ATTENTION:
            step = min(there, most - there)
            self._account(libc.enter_now(self.fd, self.pending, step, abi.ENTER_GETEVENTS))
            now = (self._cq_tail[0] - self._head) & WORD
            if now == there:
                break
            there = now
        return there

    def _sleep(self, timeout_ns: int) -> None:
        if timeout_ns != self._timeout_ns:
            self._timeout_ns = timeout_ns
            # Some thirty years: the kernel takes no 'for ever' here.
            some = timeout_ns if timeout_ns > 0 else 1 << 60
            self._ts[0], self._ts[1] = divmod(some, 1_000_000_000)
        pending = self.pending
        try:
            result = libc.enter(self.fd, pending, 1, _SLEEP, self._arg_pointer, _ARG_SIZE)
        except BaseException:  # by a signal's handler: what the kernel has taken is seen in memory
            self.pending = (self._tail - self._sq_head[0]) & WORD
            raise
        if result == pending:
            self.pending = 0
        elif result != -errno.ETIME:
            self._account(result)

    def reap(self, into: Completions) -> int:
        head = self._head
        there = (self._cq_tail[0] - head) & WORD
        assert there <= self.cq_entries
        count = min(there, len(into))
        at = head & (self.cq_entries - 1)
        first = min(count, self.cq_entries - at)
        into[:first] = self._cqes[at : at + first]
        if first < count:
            into[first:count] = self._cqes[: count - first]
        self._head = (head + count) & WORD
        self._cq_head[0] = self._head
        return count

    def peek(self, count: int) -> list[tuple[int, int, int, int]]:
        at = (self._head & (self.cq_entries - 1)) * CQE_SIZE
        end = at + count * CQE_SIZE
        memory = self._cqe_bytes
        if end <= len(memory):
            return list(_COMPLETION.iter_unpack(memory[at:end]))
        unpack = _COMPLETION.iter_unpack
        return [*unpack(memory[at:]), *unpack(memory[: end - len(memory)])]

    def skip(self, count: int) -> None:
        self._head = (self._head + count) & WORD
        self._cq_head[0] = self._head

    def register(self, opcode: int, arg: npt.NDArray[np.generic], count: int) -> int:
        return libc.io_uring_register(self.fd, opcode, arg.ctypes.data, count)

    def start(self) -> None:
        libc.io_uring_register(self.fd, abi.REGISTER_ENABLE_RINGS, 0, 0)

    def close(self) -> None:
        if self.fd < 0:
            return
        fd, self.fd = self.fd, -1
        # The views go before the memory they look at.
        del self._sq_head, self._sq_tail, self._sq_flags, self._cq_head, self._cq_tail
        del self._sqes, self._cqes, self._sqe_bytes, self._cqe_bytes
        libc.unmap(self._ring_address, self._ring_bytes)
        libc.unmap(self._sqes_address, self._sqes_bytes)
        os.close(fd)
