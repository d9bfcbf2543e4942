"""The connections of a run: opened up to a number, closed down to one, lost, opened again.

A connection is a number (0 .. count - 1) with a row in a few columns; a number that was closed may
be opened again. What is under way is counted, never listed. opened = open + lost + closed + ended +
renewed.
"""

from __future__ import annotations

import errno
from collections import Counter

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Engine, Slots
from c1m.errors import LimitError
from c1m.limits.reasons import count_failures
from c1m.loadgen.sources import AddressPlan
from c1m.results.histogram import Histogram
from c1m.results.ramp import RampTimes
from c1m.results.record import Connections
from c1m.scenarios.messages import Numbers

# LEAVING: open, sends nothing more. SECURING: connected, and its TLS handshake is not done.
# SHAKING: the same of a transport's handshake (`spoken`), which comes after that.
FRESH, CONNECTING, OPEN, LEAVING, FAILED, LOST, CLOSED, SECURING, SHAKING = range(9)
UNDER_WAY = (CONNECTING, SECURING, SHAKING)

UNKNOWN_QUEUE = 128  # net.core.somaxconn before Linux 5.4, and the backlog many servers ask for
WINDOW_MAX = 4096  # more brings nothing: it is several times what a tick handles
TLS_WINDOW_MAX = 512  # each has an ssl object on both ends, and waits for the others' handshakes
BLOCK = 1 << 16  # connections handed to the engine in one piece
REFUSED_NS = 1_000_000_000  # how long a refusal must last before no more connects are begun: what
# was closed a moment ago is given back a little later, by other processes too


class Window:
    """How many connects may be under way at once, and a pace where one was asked for.

    A connect counts as under way until the server has been heard of on it: the kernel completes
    the handshake by itself, before the server has accepted, so 'connected' says nothing about the
    accept queue. If more were under way than the accept queue takes, the kernel would drop SYNs and
    each such client would wait 1 s, then 2, then 4, for its retransmission.

    `queue` is the length of one target's accept queue (None: not known), `targets` how many share
    the connects evenly.
    """

    def __init__(self, queue: int | None, targets: int) -> None:
        each = UNKNOWN_QUEUE if queue is None else max(queue, 1)
        self.size = min(each * targets, WINDOW_MAX)
        self.pace(None, 0, 0)

    def pace(self, rate_per_s: float | None, started: int, now_ns: int) -> None:
        """From now on, with `started` connects so far, so many a second (None: no pace)."""
        self._rate = rate_per_s
        self._started, self._since_ns = started, now_ns

    @property
    def step(self) -> int:
        """Fewer connects are not worth a tick of their own while others are under way: a quarter
        of the window, and with a pace what comes due in 10 ms.
        """
        step = self.size // 4
        if self._rate is not None:
            step = min(step, int(self._rate / 100))
        return max(step, 1)

    def may_start(self, started: int, under_way: int, now_ns: int) -> int:
        """How many more connects may start now."""
        room = self.size - under_way
        if self._rate is not None:
            due = int(self._rate * (now_ns - self._since_ns) / 1e9) + 1
            room = min(room, due - (started - self._started))
        return max(room, 0)


class ConnectionPool:
    """Up to `count` connections on an engine.

    `states` uint8[count], `slots` int32[count]. `wanted` is how many there should be: `short` says
    how many more are to be started, `open` starts them. A connect that fails or a connection that
    is lost is not tried again: it counts for what was wanted, until fewer are.
    """

    def __init__(self, engine: Engine, count: int, addresses: AddressPlan, now_ns: int) -> None:
        self.counts = Connections()  # `unfinished` are those under way
        self.live = 0  # open now
        self.connect_errnos: Counter[int] = Counter()
        self.lost_errnos: Counter[int] = Counter()
        self.tls_errnos: Counter[int] = Counter()  # and of handshakes, where there are any
        self.tls_first: dict[int, int] = {}  # the first one of each
        self.handshake_errnos: Counter[int] = Counter()
        self.said: dict[int, str] = {}  # what the server said where it ended one, by reason
        self.states = np.zeros(count, np.uint8)
        self.slots = np.zeros(count, np.int32)
        self.state_at, self.slot_at = self.states.data, self.slots.data  # an element, quickly
        self.latency = Histogram()  # of connects
        self.securing = Histogram()  # of TLS handshakes, from there on
        self.handshake = Histogram()  # of others, from there on
        self.secured_ns = 0  # when the last TLS handshake was done
        self.ramp = RampTimes(now_ns)
        self.ramp_to = 0  # what opens now belongs to it, up to so many
        self.is_full = False  # the engine has no slot left, or the kernel nothing for another one
        self.refusal: LimitError | None = None  # the limit that was met
        self.shortfalls: list[str] = []
        self._engine = engine
        self._addresses = addresses
        self._since_ns = np.zeros(count, np.int64)
        self._numbers = np.zeros(engine.capacity, np.int32)  # by slot
        self.number_at = self._numbers.data
        self.below = 0  # numbers from here on were never opened
        self._again: list[Numbers] = []  # numbers that were closed and may be opened again
        self._missed: list[Numbers] = []  # numbers that failed or were lost and count as wanted
        self._wanted = self._assigned = 0  # assigned: open, connecting or missed
        self._waived = 0  # wanted, and not to be started any more
        self.is_tls = False
        self._refused_ns: int | None = None  # since when nothing more could be begun

    def numbers_of(self, slots: Slots) -> Numbers:
        """The numbers of the connections with these slots: int64[n]."""
        return self._numbers.take(slots).astype(np.int64)

    @property
    def wanted(self) -> int:
        """How many there should be. Where that is fewer than there were, what failed, was lost or
        was waived is missed no more."""
        return self._wanted

    @wanted.setter
    def wanted(self, count: int) -> None:
        self._wanted = count
        forgiven = self._assigned - max(count, self.live + self.counts.unfinished)
        if forgiven > 0:
            self._assigned -= forgiven
            self._again.append(_popped(self._missed, forgiven))
        self._waived = min(self._waived, max(count - self._assigned, 0))

    @property
    def assigned(self) -> int:
        """How many are open, under way or missed."""
        return self._assigned

    @property
    def short(self) -> int:
        """How many more are to be started."""
        return 0 if self.is_full else max(self.wanted - self._assigned - self._waived, 0)

    @property
    def is_refused(self) -> bool:
        """Whether nothing more could be begun when that was tried last, for want of room here."""
        return self._refused_ns is not None

    def waive(self) -> None:
        """Give up the connections that are wanted and not started yet: nobody answers."""
        self._waived += self.short

    @property
    def surplus(self) -> int:
        """How many are open beyond what is wanted."""
        return max(min(self._assigned - self.wanted, self.live), 0)

    # --- opening ------------------------------------------------------------------------------

    def open(self, count: int, now_ns: int) -> bool:
        """Start `count` connects, or as many as there is room for; False where there is none.

        Where that goes on for REFUSED_NS no more are begun, until some are closed.
        """
        numbers = self._take_numbers(count)
        sources, destinations = self._addresses.rows(numbers)
        try:
            slots = self._engine.connect(sources, destinations)
        except LimitError as limit:
            self._again.append(numbers)
            if 0 < limit.free < count:
                return self.open(limit.free, now_ns)
            self._refused(limit, now_ns)
            return False
        self._refused_ns = None
        self.slots[numbers] = slots
        self._numbers[slots] = numbers
        self.states[numbers] = CONNECTING
        self._since_ns[numbers] = now_ns
        self._assigned += count
        self.counts.attempted += count
        self.counts.unfinished += count
        return True

    def _refused(self, limit: LimitError, now_ns: int) -> None:
        if self._refused_ns is None:
            self._refused_ns = now_ns
        self.is_full = now_ns - self._refused_ns >= REFUSED_NS
        if self.is_full and self.refusal is None:
            self.refusal = limit
            self.shortfalls.append(str(limit))

    def _take_numbers(self, count: int) -> Numbers:
        again = min(count, sum(map(len, self._again)))
        fresh = np.arange(self.below, self.below + count - again)
        self.below += len(fresh)
        return np.concatenate((_popped(self._again, again), fresh)) if again else fresh

    def connected(self, numbers: Numbers, now_ns: int) -> Numbers:
        """Connects that succeeded; returns those that are open by that: all, or with TLS none."""
        self.counts.connected += len(numbers)
        self.latency.record(now_ns - self._since_ns[numbers])
        self._since_ns[numbers] = now_ns
        if self.is_tls:
            self.states[numbers] = SECURING
            return numbers[:0]
        return self._begin(numbers, now_ns)

    def secured(self, numbers: Numbers, now_ns: int) -> Numbers:
        """TLS handshakes that are done; as `connected`."""
        self.counts.secured += len(numbers)
        self.secured_ns = now_ns
        self.securing.record(now_ns - self._since_ns[numbers])
        self._since_ns[numbers] = now_ns
        return self._begin(numbers, now_ns)

    def _begin(self, numbers: Numbers, now_ns: int) -> Numbers:
        """The bytes of these connections are their owner's now; returns those that are open."""
        self._open(numbers, now_ns)
        return numbers

    def _open(self, numbers: Numbers, now_ns: int) -> None:
        counts = self.counts
        self.states[numbers] = OPEN
        counts.unfinished -= len(numbers)
        counts.opened += len(numbers)
        self.live += len(numbers)
        counts.peak_open = max(counts.peak_open, self.live)
        self.ramp.add(min(len(numbers), self.ramp_to - self.ramp.count), now_ns)

    def failed(self, numbers: Numbers, errnos: npt.NDArray[np.int32]) -> None:
        """Those among these that were under way, in a connect or a handshake, and are no more."""
        states, counts = self.states.take(numbers), self.counts
        for state in UNDER_WAY:
            codes = Counter(errnos[states == state].tolist())
            if state == CONNECTING:
                self.connect_errnos.update(codes)
                count_failures(counts, codes)
            elif state == SECURING:
                self.tls_errnos.update(codes)
                counts.tls_failed += codes.total()
                for code in codes.keys() - self.tls_first.keys():
                    is_first = (states == state) & (errnos == code)
                    self.tls_first[code] = int(numbers[is_first.argmax()])
            else:
                self.handshake_errnos.update(codes)
                counts.handshake_failed += codes.total()
        numbers = numbers[np.isin(states, UNDER_WAY)]
        self.states[numbers] = FAILED
        self._missed.append(numbers)
        counts.unfinished -= len(numbers)

    def not_renewed(self, numbers: Numbers) -> Numbers:
        """Which of these fail, or end, before they have opened in the place of others: what those
        wait for does not come."""
        return numbers[:0]

    def give_up_older_than(self, limit_ns: int) -> int:
        """End connects and handshakes that were begun before `limit_ns`; how many that were."""
        waiting = self.under_way_numbers()
        waiting = waiting[self._since_ns[waiting] < limit_ns]
        if len(waiting):
            self._engine.close(self.slots[waiting])
            self.failed(waiting, np.full(len(waiting), errno.ETIMEDOUT, np.int32))
        return len(waiting)

    @property
    def failures(self) -> Counter[int]:
        """Of connects and handshakes, by errno."""
        return self.connect_errnos + self.tls_errnos + self.handshake_errnos

    # --- closing ------------------------------------------------------------------------------

    def close(self, numbers: Numbers, *, abort: bool = False) -> None:
        """Close open connections by the plan; their numbers may be opened again."""
        self.states[numbers] = CLOSED
        self.live -= len(numbers)
        self.counts.closed += len(numbers)
        self._assigned -= len(numbers)
        self._again.append(numbers)
        self.is_full, self._refused_ns = False, None
        self._engine.close(self.slots[numbers], abort=abort)

    def finish(self, numbers: Numbers) -> None:
        """Close open connections at the run's end."""
        self.states[numbers] = CLOSED
        self.live -= len(numbers)
        self._engine.close(self.slots[numbers])

    def finished(self, slots: Slots) -> None:
        """Connections that the peer closed first at the run's end."""
        numbers = self.numbers_of(slots)
        numbers = numbers[self.are_open(numbers)]
        self.states[numbers] = CLOSED
        self.live -= len(numbers)

    def lost(
        self, slots: Slots, errnos: npt.NDArray[np.int32], now_ns: int, *, is_wanted: bool = False
    ) -> Numbers:
        """Connections that ended, but not by this run: returns those that were open. Handshakes
        that failed by that are counted.

        `is_wanted`: the scenario waits for that, so they do not count as lost.
        """
        owners = self.numbers_of(slots)
        if self.counts.unfinished:
            self.failed(owners, errnos)
        is_open = self.are_open(owners)
        numbers: Numbers = owners[is_open]
        self.states[numbers] = LOST
        self._missed.append(numbers)
        self.live -= len(numbers)
        if is_wanted:
            self.counts.ended += len(numbers)
            return numbers
        self.counts.lost += len(numbers)
        self.lost_errnos.update(errnos[is_open].tolist())
        return numbers

    def are_open(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which of these are open, leaving or not: bool[n]."""
        states = self.states.take(numbers)
        are: npt.NDArray[np.bool_] = (states == OPEN) | (states == LEAVING)
        return are

    def leave(self, numbers: Numbers) -> None:
        """These open connections will be closed; they send nothing more."""
        self.states[numbers] = LEAVING

    def stay(self) -> None:
        """Connections that were leaving stay."""
        self.states[self.states == LEAVING] = OPEN

    def open_numbers(self) -> Numbers:
        """All that are open and not leaving, ascending: a scan over the column."""
        return np.flatnonzero(self.states[: self.below] == OPEN)

    def under_way_numbers(self) -> Numbers:
        """All that are to open, and have not: their connect or a handshake is in progress."""
        return np.flatnonzero(np.isin(self.states[: self.below], UNDER_WAY))


def _popped(pieces: list[Numbers], count: int) -> Numbers:
    """Take `count` numbers off the end of these; there are so many."""
    taken: list[Numbers] = []
    while count:
        some = pieces.pop()
        if len(some) > count:
            pieces.append(some[:-count])
            some = some[-count:]
        taken.append(some)
        count -= len(some)
    return np.concatenate(taken)
