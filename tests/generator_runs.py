"""A generator on an engine in memory, and the record that it comes to; the clock is moved by hand.

The engine's server echoes, after a delay that a test may give; a test may also say itself what a
wait brings. Time passes only while nothing is ready, to the next reply or to the end of the wait:
so latencies are exact and no test waits.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from c1m.addresses import AF_INET, Endpoint, SockAddrs
from c1m.cluster.frames import Frame, Whole
from c1m.cluster.head import Head, planned
from c1m.cluster.part_record import record_of
from c1m.engine.contract import EngineStatistics, EventBatch, Pieces, Slots
from c1m.engine.ragged import Ragged
from c1m.errors import LimitError
from c1m.loadgen.conclusion import conclude
from c1m.loadgen.connections import Window
from c1m.loadgen.generator import Generator
from c1m.loadgen.plan import LoadPlan
from c1m.loadgen.sampler import Sampler
from c1m.loadgen.sources import plan_addresses
from c1m.loadgen.stages import Stage, most_connections, parse_stages
from c1m.loadgen.tls import TlsPlan
from c1m.loadgen.transports.base import Transport
from c1m.results.options import LoadOptions
from c1m.results.record import FanOut, Metadata, Requests, RunRecord
from c1m.results.snapshot import Snapshot
from c1m.results.tally import Tally
from c1m.scenarios.base import Scenario
from c1m.testing.manual_clock import ManualClock
from laws import broken_laws
from made_scenarios import make_scenario

SECOND = 1_000_000_000
TICK_NS = 1_000  # what a wait takes in which something was ready
WAITS_MAX = 50_000  # more is a loop that does not sleep

Batches = Callable[["Engine"], EventBatch | None]
Replies = Callable[[int, bytes, int], int | None]  # slot, bytes, now -> when the reply comes


def slots_of(numbers: Sequence[int]) -> Slots:
    return np.array(numbers, np.int32)


class Engine:
    """Connects at once and echoes; `wait` asks `script` first, `when` says when replies come."""

    name = "fake"
    reason = "for a test"
    sends_in_wait = False

    def __init__(
        self, clock: ManualClock, script: Batches | None, when: Replies | None, capacity: int
    ) -> None:
        self.clock = clock
        self.script = script
        self.when = when if when is not None else lambda slot, data, now: now
        self.capacity = self.live_max = capacity
        self.connecting: deque[int] = deque()
        self.sends: deque[tuple[int, bytes]] = deque()
        self.open: set[int] = set()
        self.ended: list[int] = []  # slots that the generator closed, in order
        self.reset: list[int] = []  # those of them that it reset
        self.sent: list[tuple[int, int, bytes]] = []  # when, on which slot, what
        self.quiet: set[int] = set()  # slots that are not received from
        self.stuck: Callable[[int], bool] = lambda slot: False  # a connect that never ends
        self.answer: Callable[[bytes], bytes] = lambda piece: piece
        self.woken = self.waits = 0
        self._free = list(range(capacity - 1, -1, -1))
        self._replies: list[tuple[int, int, int, bytes]] = []
        self._order = itertools.count()

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        if len(destinations) > len(self._free):
            raise LimitError("No slot is left.")
        slots = [self._free.pop() for _ in range(len(destinations))]
        self.connecting.extend(slots)
        return slots_of(slots)

    def send(self, slots: Slots, data: Ragged) -> None:
        assert set(slots.tolist()) <= self.open, "sent to what is not open"
        assert len(set(slots.tolist())) == len(slots), "twice in one piece"
        for slot, piece in zip(slots.tolist(), data.pieces(), strict=True):
            self.sends.append((slot, piece))
            self.sent.append((self.clock.now_ns(), slot, piece))

    def receive(self, slots: Slots, on: bool) -> None:
        for slot in slots.tolist():
            self.quiet.discard(slot) if on else self.quiet.add(slot)

    def close(self, slots: Slots, *, abort: bool = False) -> None:
        for slot in slots.tolist():
            assert slot in self.open or slot in self.connecting, "closed twice"
            self.ended.append(slot)
            if abort:
                self.reset.append(slot)
            if slot in self.connecting:
                self.connecting.remove(slot)
            self.gone(slot)

    def gone(self, slot: int) -> None:
        """A slot is free again, and nothing comes from it."""
        self.open.discard(slot)
        self._free.append(slot)
        self.sends = deque(one for one in self.sends if one[0] != slot)
        self._replies = [one for one in self._replies if one[2] != slot]
        heapq.heapify(self._replies)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        self.send(slots_of([*slots]), Ragged.of(pieces))

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        """Every other time as Python's pieces, where they are wanted so."""
        batch = self._wait(timeout_ns)
        if pieces is not None and self.waits & 1:
            pieces += zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True)
            return replace(batch, data_slots=slots_of([]), data=Ragged.empty(), is_plain=False)
        return batch

    def _wait(self, timeout_ns: int) -> EventBatch:
        self.waits += 1
        assert self.waits < WAITS_MAX, "it does not sleep"
        assert timeout_ns >= 0
        batch = self.script(self) if self.script is not None else None
        if batch is not None:
            self.clock.advance(TICK_NS)
            return batch
        batch = self.ready()
        if len(batch):
            self.clock.advance(TICK_NS)
            return batch
        end = self.clock.now_ns() + max(timeout_ns, TICK_NS)
        if self._replies:
            end = min(end, self._replies[0][0])
        self.clock.advance(end - self.clock.now_ns())
        return self.ready()

    def ready(self) -> EventBatch:
        """Every connect succeeds, and the replies that are due come."""
        now = self.clock.now_ns()
        while self.sends:
            slot, piece = self.sends.popleft()
            due = self.when(slot, piece, now)
            if due is not None:
                heapq.heappush(self._replies, (due, next(self._order), slot, piece))
        connected, data = [slot for slot in self.connecting if not self.stuck(slot)], []
        while self._replies and self._replies[0][0] <= now:
            _, _, slot, piece = heapq.heappop(self._replies)
            data.append((slot, self.answer(piece)))
        self.connecting = deque(slot for slot in self.connecting if self.stuck(slot))
        self.open.update(connected)
        return EventBatch(
            connected=slots_of(connected),
            data_slots=slots_of([slot for slot, _ in data]),
            data=Ragged.of([piece for _, piece in data]),
        )

    def lose(self, slots: Sequence[int], code: int) -> EventBatch:
        """These open connections end: with an errno, or where `code` is 0 by an end of stream."""
        if not code:
            return EventBatch(eof=slots_of(slots))
        for slot in slots:
            self.gone(slot)
        return EventBatch(closed=slots_of(slots), closed_errnos=np.full(len(slots), code, np.int32))

    def refuse(self, slots: Sequence[int], codes: Sequence[int]) -> EventBatch:
        """These connects fail; all others succeed, and what is due comes."""
        for slot in slots:
            self.connecting.remove(slot)
        batch = self.ready()
        for slot in slots:
            self.gone(slot)
        batch.failed, batch.failed_errnos = slots_of(slots), np.array(codes, np.int32)
        return batch

    def wake(self) -> None:
        self.woken += 1

    def statistics(self) -> EngineStatistics:
        return EngineStatistics()


class Run:
    """A generator with its engine. `stages` as people write them, or made already."""

    def __init__(
        self,
        stages: Sequence[str | Stage],
        script: Batches | None = None,
        when: Replies | None = None,
        *,
        options: LoadOptions | None = None,
        scenario: str | Scenario = "echo",
        message: str | None = "no {n} {seq};",
        window: int = 64,
        timeout_ns: int = SECOND,
        capacity: int = 200,
        pipeline: int = 1,
        arrivals: str = "constant",
        spread: str = "uniform",
        seed: int = 0,
        awake_ns: int = 0,
        spin: bool = False,
        tls: TlsPlan | None = None,
        transport: Transport | None = None,
    ) -> None:
        made = [one for one in stages if isinstance(one, Stage)]
        options = options or LoadOptions()
        self.stages = made or parse_stages([str(one) for one in stages], options)
        count = most_connections(self.stages)
        if isinstance(scenario, str):
            scenario = make_scenario(
                scenario, message=message, expect=None, connections=count, seed=seed
            )
        self.clock = ManualClock(5 * SECOND)
        self.engine = Engine(self.clock, script, when, capacity)
        self.sampler = Sampler(None, self.clock)
        self.target = Endpoint(AF_INET, "127.0.0.1", 8001)
        plan = LoadPlan(
            asked=replace(
                options,
                connections=count,
                targets=[str(self.target)],
                stages=[stage.text for stage in self.stages],
                message=message or "",
                timeout_ns=timeout_ns,
                pipeline=pipeline,
                arrivals=arrivals,
                spread=spread,
                seed=seed,
                spin=spin,
            ),
            stages=self.stages,
            scenario=scenario,
            addresses=plan_addresses(count, [self.target], [], 10_000),
            window=Window(window, 1),
            targets=[self.target],
            transport=transport,
            tls=tls,
        )
        self.seen: list[Snapshot] = []
        self.frames: list[bytes] = []
        connector = None if tls is None else tls.connector(plan.asked)
        self.generator = Generator(
            plan, self.engine, self.clock, self.sampler, self.seen.append, connector,  # type: ignore[arg-type]
            on_tally=self._frame,
        )  # fmt: skip
        self.generator.awake_ns = awake_ns  # 0: the clock here moves as far as is slept for

    @property
    def phase(self) -> str:
        """The name of the phase that it is in."""
        return self.generator.phases[-1].stage.name if self.generator.phases else ""

    def _frame(self, tally: Tally) -> None:
        self.frames.append(Frame("run", 0, 0, len(self.frames), tally).encode())

    @property
    def head(self) -> Head:
        """What its frames are of."""
        plan = self.generator.plan
        return Head(
            run="run", scenario=plan.scenario.name, asked=plan.asked, stages=planned(plan.stages)
        )

    def record(self) -> RunRecord:
        """Do the run; its record, whose laws hold whatever happened."""
        try:
            self.generator.run()
        finally:
            self.sampler.close()
        record = conclude(self.generator, Metadata(), "", [])
        assert broken_laws(record) == []
        assert not self.engine.open, "left open"
        self._check_series(record)
        self._check_snapshot(self.seen[-1], record)
        self._check_frames(record)
        return record

    def _check_series(self, record: RunRecord) -> None:
        """The rows add up to the totals."""
        series, connections = record.series, self.generator.connections
        counts = connections.counts
        after = [group.requests for group in self.generator.recorder.groups[1:]]
        # Of the first replies only the bad ones are in the series.
        sums = {
            "opened": counts.opened, "failed": connections.failures.total(),
            "secured": counts.secured,
            "lost": counts.lost, "closed": counts.closed, "due": sum(t.due for t in after),
            "sent": sum(t.sent for t in after), "right": sum(t.right for t in after),
            "bad": record.all_requests.bad,
        }  # fmt: skip
        assert {name: sum(getattr(series, name)) for name in sums} == sums
        assert all(a <= b for a, b in itertools.pairwise(series.t_s))
        assert series.open[-1] == series.in_flight[-1] == 0

    def _check_snapshot(self, last: Snapshot, record: RunRecord) -> None:
        """The last one says what the record does."""
        assert last.is_last and last.open == 0 and last.in_flight == 0
        c = record.connections
        assert (last.attempted, last.opened, last.lost) == (c.attempted, c.opened, c.lost)
        assert ("max" in last.percentiles_ns) == (sum(last.octaves) > 0)
        assert replace(last.requests, seconds=0) == replace(record.all_requests, seconds=0)

    def _check_frames(self, record: RunRecord) -> None:
        """They say what the record does."""
        whole = Whole()
        for frame in self.frames:
            assert whole.add(Frame.decode(frame))
        whole.end(0, 0)
        told = record_of(self.head, whole)
        for name in _IN_FRAMES:
            assert getattr(told, name) == getattr(record, name), name
        assert (told.fan_out or FanOut()) == (record.fan_out or FanOut())
        for name in ("requests", "first", "stampede"):
            assert_same_requests(getattr(told, name), getattr(record, name))
        for ours, theirs in zip(told.stages, record.stages, strict=True):
            assert_same_requests(ours.requests, theirs.requests)
            assert replace(ours, requests=Requests(), stood_still_s=0) == replace(
                theirs, requests=Requests(), stood_still_s=0
            )
        assert [one.name for one in told.phases] == [one.name for one in record.phases]


_IN_FRAMES = ("connections", "failures", "latencies", "checks", "shares", "statuses")


def assert_same_requests(told: Requests, record: Requests) -> None:
    """All but the peak in flight, which does not add up."""
    assert replace(told, in_flight_peak=0) == replace(record, in_flight_peak=0)
