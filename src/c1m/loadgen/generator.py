"""Opens connections by a plan, has each of them echoed and checked, holds them, closes them.

The same loop as the server's, with another application on top. A connection is known by its number
(0 .. connections - 1) and has a row in a few columns; what is under way is counted, never listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from c1m.clock import Clock
from c1m.engine.base import Engine, EventBatch
from c1m.errors import LimitError
from c1m.loadgen.echo_round import EchoRound
from c1m.loadgen.histogram import Histogram
from c1m.loadgen.message import Message
from c1m.loadgen.sources import AddressPlan
from c1m.loadgen.window import Window
from c1m.ramp import Ramp
from c1m.report.sampler import Sampler

Numbers = npt.NDArray[np.int64]

NOT_STARTED, CONNECTING, OPEN, FAILED, LOST, CLOSED = range(6)

BLOCK = 1 << 16  # connections handed to the engine in one piece
REQUEST_BYTES_MAX = 1 << 26  # messages made before the engine is waited for again
SLEEP_NS = 50_000_000
SAMPLE_NS = 500_000_000
PEER_EOF = 0  # in the place of an errno: the server closed
ETIMEDOUT = 110


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a run is to do; made and checked before anything is opened."""

    connections: int
    addresses: AddressPlan
    message: Message
    window: Window
    hold_ns: int
    timeout_ns: int  # nothing at all happened for so long: what is missing is given up


@dataclass(slots=True)
class Phase:
    """A named part of the run, in monotonic nanoseconds."""

    name: str
    start_ns: int
    end_ns: int = 0


@dataclass(slots=True)
class Progress:
    """Where a run stands, for whoever shows it."""

    phase: str
    started: int
    opened: int
    open: int
    failed: int
    lost: int
    round: EchoRound
    last_step_ms: float | None
    elapsed_ns: int


@dataclass(slots=True)
class Counts:
    """Connections by what became of them."""

    started: int = 0
    opened: int = 0
    open: int = 0
    peak_open: int = 0
    open_at_end: int = 0
    lost: int = 0
    connect_errnos: Counter[int] = field(default_factory=Counter)
    lost_errnos: Counter[int] = field(default_factory=Counter)


class Generator:
    """One run. `run` does it; the public attributes are its results."""

    def __init__(
        self,
        plan: LoadPlan,
        engine: Engine,
        clock: Clock,
        sampler: Sampler,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.plan = plan
        self.engine = engine
        self.clock = clock
        self.sampler = sampler
        self.counts = Counts()
        self.first = EchoRound("first", plan.message, plan.connections)
        self.stampede: EchoRound | None = None
        self.phases: list[Phase] = []
        self.connect_latency = Histogram()
        self.latencies: dict[str, Histogram] = {}
        self.interrupted = False
        self.shortfalls: list[str] = []
        self.start_ns = clock.now_ns()
        self.ramp = Ramp(self.start_ns)
        self._round = self.first
        self._states = np.zeros(plan.connections, np.uint8)
        self._slots = np.zeros(plan.connections, np.int32)
        self._since_ns = np.zeros(plan.connections, np.int64)
        self._numbers = np.zeros(engine.capacity, np.int32)  # by slot
        self._on_progress = on_progress
        self._next_sample_ns = 0
        self._moved_ns = self.start_ns  # when something last happened
        self._is_closing = False

    def interrupt(self) -> None:
        """End the run early, in good order; may be called from a signal handler."""
        self.interrupted = True
        self.engine.wake()

    def run(self) -> None:
        """All phases, one after the other."""
        self._phase("ramp", self._open_all)
        if self.plan.hold_ns:
            self._phase("hold", self._hold)
        self._phase("stampede", self._stampede)
        self.counts.open_at_end = self.counts.open
        self.sampler.sample(self.counts.open, keep=True)
        self._phase("close", self._close_all)

    def _phase(self, name: str, work: Callable[[], None]) -> None:
        if self.interrupted and name not in ("ramp", "close"):
            return
        phase = Phase(name, self.clock.now_ns())
        self.phases.append(phase)
        self._moved_ns = phase.start_ns
        self.sampler.sample(self.counts.open, keep=True)
        work()
        phase.end_ns = self.clock.now_ns()
        self.sampler.sample(self.counts.open, keep=True)

    # --- phases -------------------------------------------------------------------------------

    def _open_all(self) -> None:
        """Connect, and echo once on each connection as soon as it is open."""
        plan, counts = self.plan, self.counts
        self.latencies["first"] = Histogram()
        self.ramp = Ramp(self.clock.now_ns())
        is_full = False  # the engine has no slot left: see what is under way to its end
        while not self.interrupted:
            under_way = self._under_way()
            left = 0 if is_full else plan.connections - counts.started
            if not left and not under_way:
                return
            elapsed = self.clock.now_ns() - self.ramp.start_ns
            count = min(plan.window.may_start(counts.started, under_way, elapsed), left)
            if count and (count >= min(plan.window.step, left) or not under_way):
                is_full = not self._start(count)
            self._tick(SLEEP_NS if under_way else SLEEP_NS // 50)
            if self._under_way() and self._is_stuck():
                self._give_up_connects()
                return

    def _under_way(self) -> int:
        """Connects that the server has not been heard of on yet."""
        counts, first = self.counts, self.first
        connecting = counts.started - counts.opened - sum(counts.connect_errnos.values())
        return connecting + first.in_flight

    def _start(self, count: int) -> bool:
        counts = self.counts
        numbers = np.arange(counts.started, counts.started + count)
        sources, destinations = self.plan.addresses.rows(numbers)
        try:
            slots = self.engine.connect(sources, destinations)
        except LimitError as limit:
            self.shortfalls.append(str(limit))
            return False
        if not self._under_way():
            self._moved_ns = self.clock.now_ns()  # nothing was waited for: no silence until now
        self._slots[numbers] = slots
        self._numbers[slots] = numbers
        self._states[numbers] = CONNECTING
        self._since_ns[numbers] = self.clock.now_ns()
        counts.started += count
        return True

    def _give_up_connects(self) -> None:
        waiting = np.flatnonzero(self._states == CONNECTING)
        self.engine.close(self._slots[waiting])
        self._states[waiting] = FAILED
        self.counts.connect_errnos[ETIMEDOUT] += len(waiting)

    def _hold(self) -> None:
        """Keep everything open and see whether it stays."""
        end = self.clock.now_ns() + self.plan.hold_ns
        while not self.interrupted and self.clock.now_ns() < end:
            self._tick(min(SLEEP_NS, max(end - self.clock.now_ns(), 0)))

    def _stampede(self) -> None:
        """Every open connection sends once, all before the first reply is taken."""
        self.stampede = self._round = EchoRound(
            "stampede", self.plan.message, self.plan.connections
        )
        self.latencies["stampede"] = Histogram()
        self._request_all()
        while self._round.in_flight and not self.interrupted:
            self._tick(SLEEP_NS)
            if self._is_stuck():
                return

    def _request(self, numbers: Numbers) -> None:
        self._since_ns[numbers] = self.clock.now_ns()
        self.engine.send(self._slots[numbers], self._round.requests(numbers))

    def _request_all(self) -> None:
        """Send the round's message on every open connection, in blocks of bounded size.

        The engine holds what it is given until it is waited for. So where the messages of all take
        more than REQUEST_BYTES_MAX, replies are taken in between; a million short ones are all
        under way before the first reply is looked at.
        """
        numbers = np.flatnonzero(self._states == OPEN)
        size = self.plan.message.size_max
        block = max(min(BLOCK, REQUEST_BYTES_MAX // size), 1)
        held = 0
        for start in range(0, len(numbers), block):
            some = numbers[start : start + block]
            if held + len(some) * size > REQUEST_BYTES_MAX:
                self._tick(0)
                held = 0
            some = some[self._states[some] == OPEN]
            self._request(some)
            held += len(some) * size

    def _close_all(self) -> None:
        self._is_closing = True
        waiting = np.flatnonzero(self._states == CONNECTING)
        self.engine.close(self._slots[waiting])
        numbers = np.flatnonzero(self._states == OPEN)
        for start in range(0, len(numbers), BLOCK):
            some = numbers[start : start + BLOCK]
            some = some[self._states[some] == OPEN]
            self._states[some] = CLOSED
            self.counts.open -= len(some)
            self.engine.close(self._slots[some])
            self._tick(0)
        deadline = self.clock.now_ns() + self.plan.timeout_ns
        while self.engine.statistics().lingering and self.clock.now_ns() < deadline:
            self._tick(SLEEP_NS)

    # --- one tick -----------------------------------------------------------------------------

    def _tick(self, timeout_ns: int) -> None:
        batch = self.engine.wait(timeout_ns)
        now = self.clock.now_ns()
        if len(batch):
            self._moved_ns = now
            self._take(batch, now)
        if now >= self._next_sample_ns:
            self._next_sample_ns = now + SAMPLE_NS
            self.sampler.sample(self.counts.open)
            if self._on_progress is not None:
                self._on_progress(self._progress(now))

    def _is_stuck(self) -> bool:
        return self.clock.now_ns() - self._moved_ns > self.plan.timeout_ns

    def _progress(self, now: int) -> Progress:
        counts = self.counts
        return Progress(
            self.phases[-1].name, counts.started, counts.opened, counts.open,
            sum(counts.connect_errnos.values()), counts.lost, self._round,
            self.ramp.last_step_ms(), now - self.start_ns,
        )  # fmt: skip

    def _take(self, batch: EventBatch, now: int) -> None:
        if len(batch.connected):
            self._connected(self._numbers[batch.connected].astype(np.int64), now)
        if len(batch.failed):
            self._states[self._numbers[batch.failed]] = FAILED
            self.counts.connect_errnos.update(batch.failed_errnos.tolist())
        if len(batch.data_slots):
            numbers = self._numbers[batch.data_slots].astype(np.int64)
            done = self._round.completed(numbers, batch.data)
            self.latencies[self._round.name].record(now - self._since_ns[done])
        if len(batch.eof):
            self._lost(batch.eof, np.full(len(batch.eof), PEER_EOF, np.int32))
            self.engine.close(batch.eof)
        if len(batch.closed):
            self._lost(batch.closed, batch.closed_errnos)

    def _connected(self, numbers: Numbers, now: int) -> None:
        counts = self.counts
        self._states[numbers] = OPEN
        counts.opened += len(numbers)
        counts.open += len(numbers)
        counts.peak_open = max(counts.peak_open, counts.open)
        self.ramp.add(len(numbers), now)
        self.connect_latency.record(now - self._since_ns[numbers])
        if self._round is self.first:
            self._request(numbers)

    def _lost(self, slots: npt.NDArray[np.int32], errnos: npt.NDArray[np.int32]) -> None:
        numbers = self._numbers[slots].astype(np.int64)
        is_open = self._states[numbers] == OPEN
        numbers = numbers[is_open]
        self.counts.open -= len(numbers)
        if self._is_closing:  # the peer was quicker to end what this run was about to close
            self._states[numbers] = CLOSED
            return
        self._states[numbers] = LOST
        self.counts.lost += len(numbers)
        self.counts.lost_errnos.update(errnos[is_open].tolist())
        self._round.lost(numbers)
