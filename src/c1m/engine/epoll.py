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
- os.readv and os.write on a memoryview cost 0.5 us less for each call than ctypes.
- A listener whose connections cannot be accepted (no descriptor is left: EMFILE, ENFILE) is
  reported by every epoll_wait: it must leave the epoll set, or the loop spins. Its connections wait
  in the accept queue; the kernel completes handshakes and keeps what peers send meanwhile.
- accept(2) also returns errors of the connection itself (ECONNABORTED, EPROTO, EHOSTUNREACH...):
  they concern no other, and the next call takes the next connection. What is accepted may still
  be refused by epoll (max_user_watches, memory).

What they mean here
- Columns are bytearrays: the events come one by one from the kernel, and a bytearray's element
  costs a quarter of a NumPy array's. An idle connection is three bytes in them.
- All reads of a tick go one behind the other into one arena; each may take its fair share, so the
  arena never runs out within a tick and no connection starves.
- A slot's interest has IN in it if and only if the connection is open and being read from, and OUT
  if and only if it has output pending: so one look at that column is enough on the hot path.
- A descriptor is closed at the start of the next `wait`, so that no slot of a batch can belong to
  another connection while the caller works through it.
- A send that fails lets the read side speak first, so that what the peer sent before it went
  away still arrives.
- Whatever is refused, accepting pauses (`shortage`): the listeners leave the epoll set until a
  connection has ended or the pause is over. A connection that epoll refused is kept, and is the
  first then.
- The limit is RLIMIT_NOFILE, and the descriptors of the rest of the process count too.
"""

from __future__ import annotations

import errno
import os
import resource
import select
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress

import numpy as np

from c1m.addresses import AF_UNIX, Endpoint, ListeningSocket, SockAddrs
from c1m.bounds import LINGER_NS, OUTBOX_HIGH
from c1m.clock import SystemClock
from c1m.engine import checks
from c1m.engine.choose import ENGINES
from c1m.engine.contract import NOTHING, EngineStatistics, EventBatch, Owed, Pieces, Slots
from c1m.engine.epoll_accept import Acceptor
from c1m.engine.epoll_batch import ARENA_SIZE, EVENTS_MAX, NextBatch
from c1m.engine.epoll_interests import Interests
from c1m.engine.lingering import NEVER, Lingering
from c1m.engine.outbox import Outbox
from c1m.engine.ragged import Ragged
from c1m.engine.shortage import refusals
from c1m.engine.states import ConnState
from c1m.errors import EngineUnavailable, LimitError
from c1m.kernel import libc
from c1m.kernel.limits import descriptors_left
from c1m.kernel.refusals import NO_MEMORY, refusal
from c1m.kernel.sleeping import poll

SHARE_MAX = 1 << 16  # bytes one connection may bring in one tick
SHARES = ARENA_SIZE // SHARE_MAX  # so many may bring so much
FLUSH_MAX = 1 << 18  # bytes of one outbox that one tick hands to the kernel
CAPACITY_MAX = 1 << 22  # rows, where RLIMIT_NOFILE is "unlimited"
TRIM_NS = 1_000_000_000  # memory is given back at most once in this time,
TRIM_TICKS = 255  # and not looked at in each tick
RESERVE = 64  # descriptors left to the rest of the process, but at most half of them
DESCRIPTORS_LEAST = 2  # a listener and a connection

FREE, CONNECTING, OPEN, HALF_CLOSED, LINGERING = map(int, ConnState)
USABLE = (OPEN, HALF_CLOSED)

IN, OUT = select.EPOLLIN, select.EPOLLOUT
GONE = select.EPOLLERR | select.EPOLLHUP
UNWATCHED = 2  # in the column of interests: not in the epoll set (no bit of IN or OUT)
assert not UNWATCHED & (IN | OUT)

_GONE_ERRNOS = (errno.EPIPE, errno.ECONNRESET)  # of a send: the peer is gone, its data is not


class EpollEngine:
    """See `engine.contract.Engine`; `live_max` is at most the soft RLIMIT_NOFILE less a reserve.

    Raises EngineUnavailable where no descriptor is left for it.
    """

    name = "epoll"
    sends_in_wait = False
    uses_descriptors = ENGINES[name].uses_descriptors
    thread: int | None = None

    def __init__(
        self,
        *,
        live_max: int | None = None,
        outbox_high: int = OUTBOX_HIGH,
        linger_ns: int = LINGER_NS,
        busy_poll_ns: int = 0,  # for the uring engine: this one sleeps at once
        needs_descriptors: bool = False,  # here each connection has one
        reason: str = "asked for",
    ) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.capacity = CAPACITY_MAX if soft < 0 else min(soft, CAPACITY_MAX)
        most = max(1, self.capacity - min(RESERVE, self.capacity // 2))
        self.live_max = most if live_max is None else min(live_max, most)
        self.reason = (
            f"{reason}; a descriptor for each connection, at most {self.capacity:,}: ulimit -n"
        )
        self._outbox = Outbox(outbox_high)
        self._lingering = Lingering(linger_ns)
        self._next_trim_ns = 0
        self._counts = EngineStatistics()
        self._released: list[int] = []  # descriptors to close at the next wait
        self._shared: set[int] = set()  # those of which the caller has asked for a copy
        self._shutting: set[int] = set()  # half-closed by the caller, when the outbox is empty
        self._watched_fd = -1
        self.watched_is_ready = False
        self.reports_ends = False
        self._broken: dict[int, int] = {}  # open for the caller, but a send met this errno
        with ExitStack() as made:
            try:
                self._epoll = made.enter_context(select.epoll())
                self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                made.callback(os.close, self._wake_fd)
                self._epoll.register(self._wake_fd, IN)
                self._states = bytearray(self.capacity)  # ConnState
                self._interests = bytearray(self.capacity)  # what epoll was asked for
                self._muted = bytearray(self.capacity)  # 1: the caller has turned receiving off
                self._next = NextBatch()
                if descriptors_left() < DESCRIPTORS_LEAST:
                    raise OSError(errno.EMFILE, "")
            except (OSError, MemoryError) as error:
                raise EngineUnavailable(*refusal("room for the epoll engine", error)) from None
            made.pop_all()
        self._acceptor = Acceptor(self._epoll)
        self._asked = Interests(self._epoll, self._interests, self._acceptor.shortage)
        self._peer_name = libc.PeerName()
        self._checks = checks.COSTLY

    def live(self) -> int:
        """Connections that have a descriptor: open, lingering, connecting."""
        return self._counts.live + self._counts.lingering + self._counts.connecting

    def is_short(self) -> bool:
        """Whether accepting pauses, because the kernel has refused something."""
        return self._acceptor.shortage.until_ns > 0

    def has_work(self) -> bool:
        """Whether `wait` has something to do or to say without asking the kernel."""
        is_due = self.due_ns() < NEVER and SystemClock.now_ns() >= self.due_ns()
        return bool(self._released or self._broken or is_due) or self._next.has_news()

    def due_ns(self) -> int:
        """When it has at the latest: monotonic."""
        pause_ns = self._acceptor.shortage.until_ns * bool(self._acceptor.held or self._asked.late)
        return min(self._lingering.next_ns, pause_ns or NEVER)

    def fileno(self) -> int:
        """The epoll set's descriptor, which is readable while something waits in it."""
        return self._epoll.fileno()

    def listening(self) -> list[ListeningSocket]:
        """The sockets that are listened on, in the caller's order."""
        return self._acceptor.listening()

    def room(self) -> int:
        return min(self.live() + descriptors_left(), self.live_max)

    # ---- what the caller asks for

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        return self._acceptor.listen(endpoints, backlog)

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        fds = libc.open_streams(destinations.family, len(destinations), self.capacity)
        size, to = destinations.size, np.ascontiguousarray(destinations.rows)
        to_address, own_address = to.ctypes.data, 0
        if sources is not None:
            own = np.ascontiguousarray(sources.rows)
            assert own.shape == to.shape
            own_address = own.ctypes.data
        for at, fd in zip(range(0, to.nbytes, size), fds, strict=True):
            self._states[fd] = CONNECTING
            self._interests[fd] = OUT
            code = -libc.bind(fd, own_address + at, size) if own_address else 0
            code = code or self._begin_connect(fd, to_address + at, size)
            if code:
                self._next.failed[fd] = code
        self._counts.connecting += len(fds)
        return np.array(fds, np.int32)

    def _begin_connect(self, fd: int, address: int, size: int) -> int:
        """Connect, and have epoll report when that is done: 0 for what is under way, or errno."""
        code = -libc.connect(fd, address, size)
        if code not in (0, errno.EINPROGRESS):
            return code
        try:
            self._epoll.register(fd, OUT)
        except OSError as error:  # ENOSPC: epoll's max_user_watches
            return error.errno or errno.EIO
        return 0

    def send(self, slots: Slots, data: Ragged) -> None:
        assert len(slots) == len(data)
        memory = data.memory.data
        columns = zip(data.offsets.tolist(), data.lengths.tolist(), strict=True)
        self.send_each(slots.tolist(), [memory[at : at + length] for at, length in columns])

    def send_each(self, slots: Collection[int], pieces: Collection[bytes | memoryview]) -> None:
        """At once what the kernel takes, the rest from the outbox."""
        interests, write = self._interests, os.write
        sent = 0
        for slot, piece in zip(slots, pieces):  # noqa: B905  a tenth of a short call's time
            taken = 0
            if interests[slot] == IN:  # open, and nothing waits in the outbox
                try:
                    taken = write(slot, piece)
                except OSError:  # `_send_rest` meets it again
                    taken = 0
                sent += taken
                if taken == len(piece):
                    continue
            self._send_rest(slot, memoryview(piece)[taken:])
        self._counts.sent_bytes += sent

    def _send_rest(self, slot: int, piece: memoryview) -> None:
        """The same for what is not open and empty, or full now."""
        if self._states[slot] not in USABLE:
            self._counts.unsent_bytes += len(piece)
            return
        taken = 0 if self._interests[slot] & OUT else self._write(slot, piece)
        if taken < 0:
            self._counts.unsent_bytes += len(piece)
            return
        for each in self._outbox.append(slot, piece[taken:]):
            if self._states[each] in USABLE:
                self._next.passed(each)
        self._watch(slot)

    def _write(self, slot: int, data: bytes | memoryview) -> int:
        """How much the kernel took; -1: the send has failed."""
        try:
            taken = os.write(slot, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            code = error.errno or errno.EIO
            if code in NO_MEMORY:
                self._asked.output_refused(slot, code)
                return 0
            self._break(slot, code)
            return -1
        self._counts.sent_bytes += taken
        return taken

    def flush(self) -> None:
        """Nothing to do: `send` has handed over what the kernel takes."""

    def unsent(self, slot: int) -> int:
        return self._outbox.size(slot)

    def owed(self) -> Owed:
        return self._outbox.sizes()

    def failure(self, slot: int) -> int:
        return self._broken.get(slot, 0)

    def limit_output(self, slot: int, low: int, high: int) -> None:
        if self._states[slot] != FREE:
            self._outbox.limit(slot, low, high)
            if self._outbox.is_over(slot):
                self._next.drained.discard(slot)

    def end_output(self, slot: int) -> None:
        if slot in self._outbox:
            self._shutting.add(slot)
        elif self._states[slot] in USABLE:
            libc.shut_writing(slot)

    def receive(self, slots: Slots, on: bool) -> None:
        for slot in slots.tolist():
            if self._states[slot] in USABLE:
                self._muted[slot] = not on
                self._watch(slot)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        for slot in slots.tolist():
            state = self._states[slot]
            if state == FREE:
                self._next.closed_late(slot, self.reports_ends and not abort)
            if state == FREE or (state == LINGERING and not (abort or drop)):
                continue
            self._next.forget(slot)
            if slot in self._outbox and not (abort or drop):
                self._states[slot] = LINGERING
                self._counts.live -= 1
                self._counts.lingering += 1
                self._lingering.add(slot, self._outbox.size(slot), SystemClock.now_ns())
                self._watch(slot)
                continue
            if abort:
                libc.reset_on_close(slot)
            elif state in (OPEN, LINGERING):
                libc.discard_input(slot)
            if self.reports_ends and state != CONNECTING and (state == LINGERING or not abort):
                code = errno.ECONNABORTED if abort else self._broken.get(slot, 0)
                self._next.ended[slot] = code
            self._release(slot)

    def adopt(self, fd: int) -> int:
        taken: list[int] = []
        try:
            while self._next.still_ends(fd):  # the one before it
                taken.append(fd)
                fd = os.dup(fd)
            if fd >= self.capacity:
                why, remedy = refusal("further connection", errno.EMFILE)
                raise LimitError(why, remedy)
            os.set_blocking(fd, False)
            self._epoll.register(fd, IN)
        except (OSError, LimitError):
            if fd not in taken:
                os.close(fd)
            raise
        finally:
            for each in taken:
                os.close(each)
        self._states[fd], self._interests[fd] = OPEN, IN
        self._counts.connected += 1
        self._counts.live += 1
        return fd

    def descriptor(self, slot: int) -> int:
        if self._states[slot] == FREE:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._shared.add(slot)
        return os.dup(slot)

    def peers(self, slots: Slots, family: int) -> list[bytes]:
        if family == AF_UNIX:
            return [b""] * len(slots)
        states = self._states
        return [self._peer_name.of(each) if states[each] else b"" for each in slots.tolist()]

    def watch(self, fd: int) -> None:
        self._epoll.register(fd, IN)
        self._watched_fd = fd

    def wake(self) -> None:
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def statistics(self) -> EngineStatistics:
        counts = self._counts
        counts.outbox_bytes = self._outbox.total
        counts.extra = {"turned_away": self._acceptor.turned_away}
        counts.refused, counts.refusal = refusals(self._acceptor.shortage)
        return counts

    def shutdown(self) -> None:
        if self._wake_fd < 0:
            return
        self._acceptor.listen([], 0)
        for slot in np.flatnonzero(np.frombuffer(self._states, np.uint8)).tolist():
            self._release(slot)
        self._close_released()
        self._epoll.close()
        os.close(self._wake_fd)
        self._wake_fd = -1

    # ---- the tick

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        counts, acceptor = self._counts, self._acceptor
        counts.ticks += 1
        self.watched_is_ready = False
        if (
            self._released or self._broken or self._next.failed
            or self._lingering.next_ns < NEVER or acceptor.shortage.until_ns
            or acceptor.is_armed != (counts.live + counts.lingering < self.live_max)
        ):  # fmt: skip
            self._prepare()
        if has_news := self._next.has_news():
            timeout_ns = 0
        if acceptor.shortage.until_ns:
            events = self._poll_while_short(timeout_ns)
        elif timeout_ns < 0:  # `poll` without the call
            events = self._epoll.poll(None, EVENTS_MAX)
        else:
            events = poll(self._epoll, timeout_ns, EVENTS_MAX)
        count = nbytes = 0
        is_plain = pieces is not None and self._read_each(events, pieces)
        if is_plain and not has_news and counts.ticks & TRIM_TICKS:
            return NOTHING
        came_ns = SystemClock.now_ns()
        if pieces is None:
            count, nbytes = self._serve(events)
        if self._broken:
            self._settle()
        if came_ns >= self._next_trim_ns:
            self._next_trim_ns = came_ns + TRIM_NS
            if self._outbox.has_shrunk():
                libc.trim()
        batch = self._next.take(count, nbytes)
        batch.came_ns = came_ns
        if self._checks and (len(batch) or not self._counts.ticks & 15):
            self._check(batch)
        return batch

    def _prepare(self) -> None:
        """What is to be done before the kernel is asked."""
        shortage, has_room = self._acceptor.shortage, bool(self._released)
        self._close_released()
        if shortage.until_ns and (has_room or not shortage.holds()):
            shortage.may_be_over()
            self._open_or_pause()
        if self._broken or self._next.failed:
            self._settle()
        if len(self._lingering):
            self._expire()
        is_open = self._welcome() > 0 and not shortage.until_ns
        if self._acceptor.is_armed != is_open:
            self._open_or_pause()

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
            events = poll(self._epoll, pause_ns, EVENTS_MAX)
            if events:
                return events
            then_ns, begin_ns = begin_ns, SystemClock.now_ns()
            if timeout_ns > 0:
                timeout_ns = max(timeout_ns - (begin_ns - then_ns), 0)
            shortage.may_be_over()
            self._open_or_pause()
            if self._next.opened:
                return []
        return poll(self._epoll, timeout_ns, EVENTS_MAX)

    def _serve(self, events: list[tuple[int, int]]) -> tuple[int, int]:
        """Do what the events are about; returns how many pieces of data were read, and bytes."""
        interests, arena, readv = self._interests, self._next.arena, os.readv
        slots, offsets, lengths = self._next.columns
        share = min(SHARE_MAX, ARENA_SIZE // (len(events) or 1))
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

    def _read_each(self, events: list[tuple[int, int]], pieces: Pieces) -> bool:
        """The same for a caller who wants Python's objects; whether there was nothing but data."""
        interests, read, add = self._interests, os.read, pieces.append
        share = SHARE_MAX if len(events) <= SHARES else ARENA_SIZE // len(events)
        is_plain = True
        received = 0
        for slot, mask in events:
            if interests[slot] & mask != IN:
                is_plain = False
                if not self._is_to_read(slot, mask):
                    continue
            try:
                piece = read(slot, share)
            except BlockingIOError:
                continue
            except OSError as error:
                is_plain = False
                self._end(slot, error.errno or errno.EIO)
                continue
            if piece:
                received += len(piece)
                add((slot, piece))
            else:
                is_plain = False
                self._end_of_input(slot)
        self._counts.received_bytes += received
        return is_plain

    def _is_to_read(self, slot: int, mask: int) -> bool:
        """Serve an event that is not plain input; True if there may be input as well."""
        state = self._states[slot]
        if state == FREE:
            if slot == self._wake_fd:
                os.eventfd_read(slot)
            elif slot == self._watched_fd:
                self.watched_is_ready = True
            elif slot in self._acceptor.indices:
                self._accept(slot)
            return False
        if state == CONNECTING:
            self._end_connect(slot)
            return False
        if mask & OUT and slot in self._outbox:
            self._flush(slot)
        if self._is_read(slot):
            return bool(mask & (IN | GONE))
        if self._states[slot] != FREE and mask & GONE:
            self._hang_up(slot)
        return False

    def _open_or_pause(self) -> None:
        """Accept or not, by the room there is; connections that epoll refused before come first."""
        if self._asked.late and not self._acceptor.shortage.until_ns:
            self._asked.again()
        for listener in self._acceptor.update(self._welcome()):
            self._accept(listener)

    def _accept(self, listener: int) -> None:
        fds = self._acceptor.accept(listener, self._welcome(), self.capacity)
        for fd in fds:
            self._states[fd] = OPEN
            self._interests[fd] = IN
            self._next.opened[fd] = self._acceptor.indices[listener]
        self._counts.accepted += len(fds)
        self._counts.live += len(fds)

    def _end_connect(self, slot: int) -> None:
        if code := libc.pending_error(slot):
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
        taken = self._write(slot, outbox.head(slot, FLUSH_MAX))
        if taken <= 0:
            return
        if outbox.consume(slot, taken) and self._states[slot] != LINGERING:
            self._next.drained.add(slot)
        if slot not in outbox:
            self._watch(slot)
            if self._states[slot] == LINGERING:
                libc.discard_input(slot)
                self._end(slot, 0)
            elif slot in self._shutting:
                self._shutting.remove(slot)
                libc.shut_writing(slot)

    def _expire(self) -> None:
        """Reset those that were closed and whose peers have not taken what they are owed."""
        now_ns = SystemClock.now_ns()
        if now_ns >= self._lingering.next_ns:
            expired = self._lingering.expire(now_ns, self._outbox.size)
            for slot in expired:
                libc.reset_on_close(slot)
                self._end(slot, errno.ETIMEDOUT)
            if not self.reports_ends:
                self._next.expired += expired

    def _break(self, slot: int, code: int) -> None:
        """A send has failed: drop the output; the input may go on (see `_settle`)."""
        self._counts.unsent_bytes += self._outbox.drop(slot)
        if self._states[slot] == LINGERING:
            self._end(slot, code)
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
            if not self._is_read(slot) or code not in _GONE_ERRNOS:
                self._end(slot, code)

    def _hang_up(self, slot: int) -> None:
        """The connection is over in both directions, and its input is not being read.

        What is still unread of it is kept, and the error behind it: reading will meet both.
        """
        is_unread = self._states[slot] == OPEN
        code = self._broken.get(slot) or (0 if is_unread else libc.pending_error(slot))
        if code or self._states[slot] == LINGERING:
            self._end(slot, code)
        else:  # epoll would report it for ever
            self._epoll.unregister(slot)
            self._interests[slot] = UNWATCHED
            self._asked.late.discard(slot)

    def _end(self, slot: int, code: int) -> None:
        """The connection is gone, by an error or because all that it lingered for has been sent."""
        if self._states[slot] != LINGERING:
            self._next.closed[slot] = self._broken.get(slot, code)
        elif self.reports_ends:
            self._next.ended[slot] = code
        self._release(slot)

    def _release(self, slot: int) -> None:
        """Count the end of a connection or of a connect; its descriptor waits to be closed."""
        counts, state = self._counts, self._states[slot]
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
        self._shutting.discard(slot)
        self._outbox.forget_limits((slot,))
        self._states[slot] = self._muted[slot] = self._interests[slot] = FREE  # 0
        self._released.append(slot)

    def _close_released(self) -> None:
        """Give descriptors back to the kernel."""
        released, self._released = self._released, []
        for fd in released:
            if fd in self._shared:  # a copy that is still open would keep it in the set
                self._shared.remove(fd)
                with suppress(OSError):
                    self._epoll.unregister(fd)
            os.close(fd)  # takes it out of the epoll set as well

    def _is_read(self, slot: int) -> bool:
        return self._states[slot] == OPEN and not self._muted[slot]

    def _wanted(self, slot: int) -> int:
        """What epoll is to report of a connection."""
        return (IN if self._is_read(slot) else 0) | (OUT if slot in self._outbox else 0)

    def _watch(self, slot: int) -> None:
        """Have epoll report what the slot's state calls for."""
        wanted, now = self._wanted(slot), self._interests[slot]
        if wanted == now or (not wanted and now == UNWATCHED):
            return
        self._asked.ask(slot, wanted, is_new=now == UNWATCHED)

    def _check(self, batch: EventBatch) -> None:
        """A costly check: whatever is counted or kept twice agrees."""
        counts, number = self._counts, self._states.count
        assert counts.connecting == number(CONNECTING)
        assert counts.live == number(OPEN) + number(HALF_CLOSED)
        assert counts.lingering == number(LINGERING)
        assert counts.accepted + counts.connected == counts.closed + counts.live + counts.lingering
        batch.check(self.capacity)
        self._outbox.check()
        used = np.flatnonzero(np.frombuffer(self._states, np.uint8)).tolist()
        assert not set(self._released) & set(used), "a descriptor is free and in use"
        assert {*self._outbox.slots()} <= {*used}
        for slot in used:
            if self._states[slot] != CONNECTING and slot not in self._broken:
                assert self._interests[slot] in (self._wanted(slot), UNWATCHED)
