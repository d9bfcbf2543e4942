"""The epoll engine: the classic reactor behind the contract of `engine.contract`.

Facts
- The kernel gives out the lowest free descriptor, so descriptors are small dense numbers: the slot
  of a connection is its descriptor, and the columns are indexed by it.
- epoll is level-triggered here: what one tick leaves unread or unaccepted, the next one reports
  again, and epoll moves what it has reported to the end of its ready list.
- EPOLLERR and EPOLLHUP are reported whether asked for or not. On TCP a hang-up means that the
  connection is over in both directions (a RST); on a unix socket it also follows the peer's
  close(2) while there is data to read, and stays.
- read(2) gives what arrived before a RST first and the error after it. A failed write takes the
  socket's error with it: a read then ends with 0.
- write(2) to a broken connection raises SIGPIPE, which Python ignores from the start.
- os.readv and os.write on a memoryview cost 0.5 us less a call than the same by ctypes.

What they mean here
- Columns are bytearrays: the events come one by one from the kernel, and a bytearray's element
  costs a quarter of a NumPy array's. An idle connection is three bytes in them.
- All reads of a tick go one behind the other into one arena; each may take its fair share, so the
  arena never runs out within a tick and nobody starves.
- A slot's interest has IN in it if and only if the connection is open and being read from, and OUT
  if and only if it has output pending: so one look at that column is enough on the hot path.
- A descriptor is closed at the start of the next `wait`, so that no slot of a batch can belong to
  somebody else while the caller works through it.
- A send that fails lets the read side speak first, so that what the peer sent before it went
  away still arrives.
- The limit is RLIMIT_NOFILE, and the descriptors of the rest of the process count too.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
import select
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from c1m.addresses import Endpoint, SockAddrs
from c1m.bounds import LINGER_NS, OUTBOX_HIGH
from c1m.clock import SystemClock
from c1m.engine.contract import EngineStatistics, EventBatch, Slots
from c1m.engine.epoll.accept import Acceptor
from c1m.engine.epoll.batch import NextBatch
from c1m.engine.epoll.connect import open_sockets, start_connects
from c1m.engine.lingering import Lingering
from c1m.engine.outbox import Outbox
from c1m.engine.ragged import Ragged
from c1m.engine.states import ConnState
from c1m.errors import EngineUnavailable
from c1m.kernel import socket_calls
from c1m.kernel.libc import trim
from c1m.kernel.limits import descriptors_left
from c1m.kernel.refusals import refusal

EVENTS_MAX = 1024  # connections one tick may serve
ARENA_SIZE = EVENTS_MAX * 4096  # bytes one tick may read: a page each, or more of fewer
FLUSH_MAX = 1 << 18  # bytes of one outbox that one tick hands to the kernel
CAPACITY_MAX = 1 << 22  # rows, where RLIMIT_NOFILE is "unlimited"
SELECT_BELOW = 1024  # FD_SETSIZE: select(2) takes no descriptor from here on
TRIM_NS = 1_000_000_000  # memory is given back at most once in this time
RESERVE = 64  # descriptors left to the rest of the process, but at most half of them
DESCRIPTORS_LEAST = 2  # a listener and a connection

FREE = int(ConnState.FREE)
CONNECTING = int(ConnState.CONNECTING)
OPEN = int(ConnState.OPEN)
HALF_CLOSED = int(ConnState.HALF_CLOSED)
LINGERING = int(ConnState.LINGERING)
USABLE = (OPEN, HALF_CLOSED)

IN = select.EPOLLIN
OUT = select.EPOLLOUT
GONE = select.EPOLLERR | select.EPOLLHUP
UNWATCHED = 2  # in the column of interests: not in the epoll set (no bit of IN or OUT)
assert not UNWATCHED & (IN | OUT)

_GONE_ERRNOS = (errno.EPIPE, errno.ECONNRESET)  # of a send: the peer is gone, its data is not


class EpollEngine:
    """See `engine.contract.Engine`. The slot of a connection is its descriptor.

    `live_max`: accept no further above it (at most the soft RLIMIT_NOFILE less a reserve);
    `outbox_high`: unsent bytes of a connection at which it is reported as blocked; `linger_ns`: a
    closed connection whose peer takes nothing of its output for so long is reset;
    `receive_size`: bytes read from one connection in one tick at most; `reason`: for people.
    """

    name = "epoll"
    sends_in_wait = False

    def __init__(
        self,
        *,
        live_max: int | None = None,
        outbox_high: int = OUTBOX_HIGH,
        linger_ns: int = LINGER_NS,
        receive_size: int = 65536,
        reason: str = "asked for",
    ) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.capacity = CAPACITY_MAX if soft < 0 else min(soft, CAPACITY_MAX)
        most = max(1, self.capacity - min(RESERVE, self.capacity // 2))
        self.live_max = most if live_max is None else min(live_max, most)
        self.reason = f"{reason} (a descriptor a connection: {self.capacity:,} at most, ulimit -n)"
        self._outbox = Outbox(outbox_high)
        self._lingering = Lingering(linger_ns)
        self._next_trim_ns = 0
        self._counts = EngineStatistics()
        self._released: list[int] = []  # descriptors to close at the next wait
        self._broken: dict[int, int] = {}  # open for the caller, but a send met this errno
        self._receive_size = receive_size
        with ExitStack() as made:
            try:
                self._epoll = made.enter_context(select.epoll())
                self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                made.callback(os.close, self._wake_fd)
                self._epoll.register(self._wake_fd, IN)
                self._states = bytearray(self.capacity)  # ConnState
                self._interests = bytearray(self.capacity)  # what epoll was asked for
                self._muted = bytearray(self.capacity)  # 1: the caller has turned receiving off
                self._next = NextBatch(EVENTS_MAX, ARENA_SIZE)
                if descriptors_left() < DESCRIPTORS_LEAST:
                    raise OSError(errno.EMFILE, "")
            except (OSError, MemoryError) as error:
                raise EngineUnavailable(*refusal("room for the epoll engine", error)) from None
            made.pop_all()
        self._acceptor = Acceptor(self._epoll)

    def room(self) -> int:
        """Connections that fit: those that are there, and one for each descriptor that is left."""
        there = self._counts.live + self._counts.lingering + self._counts.connecting
        return min(there + descriptors_left(), self.live_max)

    # ---- what the caller asks for

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Endpoint]:
        """Listen on exactly these endpoints; see the contract."""
        return self._acceptor.listen(endpoints, backlog)

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        """Start n connects; see the contract. Raises LimitError."""
        fds = open_sockets(destinations.family, len(destinations), self.capacity)
        codes = start_connects(self._epoll, fds, sources, destinations)
        for fd, code in zip(fds, codes, strict=True):
            self._states[fd] = CONNECTING
            self._interests[fd] = OUT
            if code:
                self._next.failed[fd] = code
        self._counts.connecting += len(fds)
        return np.array(fds, np.int32)

    def send(self, slots: Slots, data: Ragged) -> None:
        """Send piece i to slots[i]: at once what the kernel takes, the rest from the outbox.

        Bytes for slots that are not open are counted as unsent.
        """
        states, interests, counts, write = self._states, self._interests, self._counts, os.write
        memory = data.memory.data
        sent = 0
        for slot, start, length in zip(
            slots.tolist(), data.offsets.tolist(), data.lengths.tolist(), strict=True
        ):
            interest = interests[slot]
            if interest != IN and states[slot] not in USABLE:
                counts.unsent_bytes += length
                continue
            taken = 0
            if not interest & OUT:  # nothing waits in the outbox
                try:
                    taken = write(slot, memory[start : start + length])
                except BlockingIOError:
                    pass
                except OSError as error:
                    counts.unsent_bytes += length
                    self._break(slot, error.errno or errno.EIO)
                    continue
                sent += taken
                if taken == length:
                    continue
            passed = self._outbox.append(slot, memory[start + taken : start + length])
            if passed:
                self._next.blocked.update(each for each in passed if states[each] in USABLE)
            self._watch(slot)
        counts.sent_bytes += sent

    def receive(self, slots: Slots, on: bool) -> None:
        """Turn receiving off or on; see the contract."""
        for slot in slots.tolist():
            if self._states[slot] in USABLE:
                self._muted[slot] = not on
                self._watch(slot)

    def close(self, slots: Slots, *, abort: bool = False) -> None:
        """End connections; see the contract. A connect that is under way is given up."""
        for slot in slots.tolist():
            state = self._states[slot]
            if state == FREE or (state == LINGERING and not abort):
                continue
            self._next.forget(slot)
            if slot in self._outbox and not abort:
                self._states[slot] = LINGERING
                self._counts.live -= 1
                self._counts.lingering += 1
                self._lingering.add(slot, self._outbox.size(slot), SystemClock.now_ns())
                self._watch(slot)
                continue
            if abort:
                socket_calls.reset_on_close(slot)
            elif state == OPEN:
                socket_calls.discard_input(slot)
            self._release(slot)

    def wake(self) -> None:
        """Make the current or the next `wait` return."""
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def statistics(self) -> EngineStatistics:
        """The counters now."""
        extra = {"turned_away": self._acceptor.turned_away}
        shortage = self._acceptor.shortage
        return dataclasses.replace(
            self._counts, outbox_bytes=self._outbox.total, extra=extra,
            refused=dict(shortage.counts), refusal=shortage.text,
        )  # fmt: skip

    def shutdown(self) -> None:
        """End everything that is left; may be called twice."""
        if self._wake_fd < 0:
            return
        self._acceptor.close()
        for slot in np.flatnonzero(np.frombuffer(self._states, np.uint8)).tolist():
            self._release(slot)
        self._close_released()
        self._epoll.close()
        os.close(self._wake_fd)
        self._wake_fd = -1

    # ---- the tick

    def wait(self, timeout_ns: int) -> EventBatch:
        """Serve one block of events; a negative time-out waits without end."""
        self._counts.ticks += 1
        shortage, has_room = self._acceptor.shortage, bool(self._released)
        if has_room:
            self._close_released()
        if shortage.until_ns and (has_room or not shortage.holds(SystemClock.now_ns())):
            shortage.may_be_over()
            self._open_or_pause()
        if self._broken or self._next.failed:
            self._settle()
        if len(self._lingering):
            self._expire()
        is_open = self._welcome() > 0 and not shortage.until_ns
        if self._acceptor.is_armed != is_open:
            self._open_or_pause()
        if self._next.has_news() or self._next.opened:
            timeout_ns = 0
        poll = self._poll_while_short if shortage.until_ns else self._poll
        events = poll(timeout_ns)
        came_ns = SystemClock.now_ns()
        pieces, nbytes = self._serve(events)
        if self._broken:
            self._settle()
        if came_ns >= self._next_trim_ns:
            self._next_trim_ns = came_ns + TRIM_NS
            if self._outbox.has_shrunk():
                trim()
        batch = self._next.take(pieces, nbytes)
        batch.came_ns = came_ns
        return batch

    def _welcome(self) -> int:
        """How many more connections are welcome; those that linger still have their descriptors."""
        return self.live_max - self._counts.live - self._counts.lingering

    def _poll_while_short(self, timeout_ns: int) -> list[tuple[int, int]]:
        """The same while accepting pauses: when the pause is over it is tried again."""
        shortage, begin_ns = self._acceptor.shortage, SystemClock.now_ns()
        while shortage.until_ns:
            pause_ns = max(shortage.until_ns - begin_ns, 0)
            if 0 <= timeout_ns <= pause_ns:
                break
            events = self._poll(pause_ns)
            if events:
                return events
            then_ns, begin_ns = begin_ns, SystemClock.now_ns()
            if timeout_ns > 0:
                timeout_ns = max(timeout_ns - (begin_ns - then_ns), 0)
            shortage.may_be_over()
            self._open_or_pause()
            if self._next.opened:
                return []
        return self._poll(timeout_ns)

    def _poll(self, timeout_ns: int) -> list[tuple[int, int]]:
        """epoll_wait(2) counts in milliseconds, and Python rounds up: what is due would be late.
        select(2) counts in microseconds; it sees to what is left."""
        if timeout_ns < 0 or self._epoll.fileno() >= SELECT_BELOW:
            return self._epoll.poll(None if timeout_ns < 0 else timeout_ns / 1e9, EVENTS_MAX)
        whole, rest = divmod(timeout_ns, 1_000_000)
        # Half below, so that no rounding of the quotient makes it one more.
        events = self._epoll.poll(max(whole - 0.5, 0) / 1e3, EVENTS_MAX)
        if events or not rest:
            return events
        select.select((self._epoll,), (), (), rest / 1e9)
        return self._epoll.poll(0, EVENTS_MAX)

    def _serve(self, events: list[tuple[int, int]]) -> tuple[int, int]:
        """Do what the events are about; returns how many pieces of data were read, and bytes."""
        interests, arena, readv = self._interests, self._next.arena, os.readv
        slots, offsets, lengths = self._next.columns
        share = min(self._receive_size, ARENA_SIZE // (len(events) or 1))
        at = pieces = 0
        for slot, mask in events:
            if interests[slot] & mask != IN and not self._is_to_read(slot, mask):
                continue
            try:
                length = readv(slot, (arena[at : at + share],))
            except BlockingIOError:
                continue
            except OSError as error:
                self._end(slot, error.errno or errno.EIO)
                continue
            if length == 0:
                self._end_of_input(slot)
                continue
            slots[pieces] = slot
            offsets[pieces] = at
            lengths[pieces] = length
            pieces += 1
            at += length
        self._counts.received_bytes += at
        return pieces, at

    def _is_to_read(self, slot: int, mask: int) -> bool:
        """Serve an event that is not plain input; True if there may be input as well."""
        state = self._states[slot]
        if state == FREE:
            if slot == self._wake_fd:
                os.eventfd_read(slot)
            elif slot in self._acceptor.indices:
                self._accept(slot)
            return False
        if state == CONNECTING:
            self._end_connect(slot)
            return False
        if mask & OUT:
            self._flush(slot)
        state = self._states[slot]
        if state == OPEN and not self._muted[slot]:
            return bool(mask & (IN | GONE))
        if state != FREE and mask & GONE:
            self._hang_up(slot)
        return False

    def _open_or_pause(self) -> None:
        """Accept or do not, as there is room; who was accepted and had to wait goes first."""
        self._acceptor.update(self._welcome())
        for listener in self._acceptor.waiting():
            self._accept(listener)

    def _accept(self, listener: int) -> None:
        index = self._acceptor.indices[listener]
        fds = self._acceptor.accept(listener, self._welcome(), self.capacity)
        for fd in fds:
            self._states[fd] = OPEN
            self._interests[fd] = IN
            self._next.opened[fd] = index
        self._counts.accepted += len(fds)
        self._counts.live += len(fds)

    def _end_connect(self, slot: int) -> None:
        code = socket_calls.pending_error(slot)
        if code:
            self._next.failed[slot] = code
            self._release(slot)
        else:
            self._states[slot] = OPEN
            self._watch(slot)
            self._next.connected.append(slot)
            self._counts.connecting -= 1
            self._counts.connected += 1
            self._counts.live += 1

    def _end_of_input(self, slot: int) -> None:
        if slot in self._broken:
            self._end(slot, errno.EPIPE)
        else:
            self._states[slot] = HALF_CLOSED
            self._watch(slot)
            self._next.eof.append(slot)

    def _flush(self, slot: int) -> None:
        """Hand a part of the outbox to the kernel, which has room again."""
        outbox = self._outbox
        try:
            taken = os.write(slot, outbox.head(slot, FLUSH_MAX))
        except BlockingIOError:
            return
        except OSError as error:
            self._break(slot, error.errno or errno.EIO)
            return
        self._counts.sent_bytes += taken
        if outbox.consume(slot, taken) and self._states[slot] != LINGERING:
            self._next.drained.add(slot)
        if slot not in outbox:
            self._watch(slot)
            if self._states[slot] == LINGERING:
                socket_calls.discard_input(slot)
                self._release(slot)

    # ---- ends

    def _expire(self) -> None:
        """Reset those that were closed and whose peers have not taken what they are owed."""
        now_ns = SystemClock.now_ns()
        if now_ns >= self._lingering.next_ns:
            expired = self._lingering.expire(now_ns, self._outbox.size)
            for slot in expired:
                socket_calls.reset_on_close(slot)
                self._release(slot)
            self._next.expired += expired

    def _break(self, slot: int, code: int) -> None:
        """A send has failed: drop the output; the input may go on (see `_settle`)."""
        self._counts.unsent_bytes += self._outbox.drop(slot)
        if self._states[slot] == LINGERING:
            self._release(slot)
        else:
            self._broken.setdefault(slot, code)
            self._watch(slot)

    def _settle(self) -> None:
        """End the connects that failed at once, and the connections whose sends failed.

        The latter not while their input is being read: what comes there ends them.
        """
        for slot in self._next.failed:
            if self._states[slot] == CONNECTING:
                self._release(slot)
        for slot, code in [*self._broken.items()]:
            is_reading = self._states[slot] == OPEN and not self._muted[slot]
            if not is_reading or code not in _GONE_ERRNOS:
                self._end(slot, code)

    def _hang_up(self, slot: int) -> None:
        """The connection is over in both directions, and its input is not being read.

        What is still unread of it is kept, and the error behind it: reading will meet both.
        """
        is_unread = self._states[slot] == OPEN
        code = self._broken.get(slot) or (0 if is_unread else socket_calls.pending_error(slot))
        if code or self._states[slot] == LINGERING:
            self._end(slot, code)
        else:  # epoll would report it for ever
            self._epoll.unregister(slot)
            self._interests[slot] = UNWATCHED

    def _end(self, slot: int, code: int) -> None:
        """The connection is gone by an error; of a lingering one nobody is told."""
        if self._states[slot] != LINGERING:
            self._next.closed[slot] = self._broken.get(slot, code)
        self._release(slot)

    def _release(self, slot: int) -> None:
        """Count the end of a connection or of a connect; its descriptor waits to be closed."""
        counts = self._counts
        state = self._states[slot]
        if state == CONNECTING:
            counts.connecting -= 1
            counts.connect_failed += 1
        else:
            counts.unsent_bytes += self._outbox.drop(slot)
            counts.live -= state in USABLE
            if state == LINGERING:
                counts.lingering -= 1
                self._lingering.remove(slot)
            counts.closed += 1
        self._broken.pop(slot, None)
        self._states[slot] = FREE
        self._muted[slot] = 0
        self._interests[slot] = 0
        self._released.append(slot)

    def _close_released(self) -> None:
        """Give descriptors back to the kernel."""
        released, self._released = self._released, []
        for fd in released:
            os.close(fd)  # takes it out of the epoll set as well

    def _watch(self, slot: int) -> None:
        """Ask epoll for what the slot's state calls for."""
        wanted = IN if self._states[slot] == OPEN and not self._muted[slot] else 0
        if slot in self._outbox:
            wanted |= OUT
        now = self._interests[slot]
        if wanted == now or (not wanted and now == UNWATCHED):
            return
        if now == UNWATCHED:
            try:
                self._epoll.register(slot, wanted)
            except OSError as error:  # ENOSPC, ENOMEM: its output has no way to go out
                self._broken.setdefault(slot, error.errno or errno.EIO)
                return
        else:
            self._epoll.modify(slot, wanted)
        self._interests[slot] = wanted
