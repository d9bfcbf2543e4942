"""The generator on an engine in memory: what it makes of every way in which things end.

The engine here echoes by itself; a test changes what a wait brings. Its clock moves only when there
is nothing to do, so no test waits.
"""

from __future__ import annotations

import errno
import itertools
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from c1m.addresses import AF_INET, Endpoint, SockAddrs
from c1m.engine.base import EngineStatistics, EventBatch, Slots
from c1m.engine.ragged import Ragged
from c1m.errors import LimitError
from c1m.loadgen import generator as generator_module
from c1m.loadgen.generator import Generator, LoadPlan
from c1m.loadgen.message import Message
from c1m.loadgen.run import _record
from c1m.loadgen.sources import plan_addresses
from c1m.loadgen.window import Window
from c1m.report.derive import broken_laws
from c1m.report.record import Asked, Metadata, RunRecord
from c1m.report.sampler import Sampler
from c1m.testing.manual_clock import ManualClock

SECOND = 1_000_000_000
Batches = Callable[["Engine"], EventBatch | None]


class Engine:
    """Connects at once and echoes at the next wait; `wait` asks `script` first, if there is one."""

    name = "fake"
    reason = "for a test"
    capacity = 200
    live_max = 200

    def __init__(self, clock: ManualClock, script: Batches | None = None) -> None:
        self.clock = clock
        self.script = script
        self.connecting: deque[int] = deque()
        self.sends: deque[tuple[int, bytes]] = deque()
        self.open: set[int] = set()
        self.closed: list[int] = []
        self.woken = 0
        self._next = 0

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        slots = np.arange(self._next, self._next + len(destinations), dtype=np.int32)
        if self._next + len(slots) > self.capacity:
            raise LimitError("No slot is left.")
        self._next += len(slots)
        self.connecting.extend(slots.tolist())
        return slots

    def send(self, slots: Slots, data: Ragged) -> None:
        self.sends.extend(zip(slots.tolist(), data.pieces(), strict=True))

    def close(self, slots: Slots, *, abort: bool = False) -> None:
        for slot in slots.tolist():
            assert slot not in self.closed, "closed twice"
            self.closed.append(slot)
            self.open.discard(slot)

    def wait(self, timeout_ns: int) -> EventBatch:
        batch = self.script(self) if self.script is not None else None
        batch = self.echo() if batch is None else batch
        self.clock.advance(1_000 if len(batch) else max(timeout_ns, 1_000))
        return batch

    def echo(self) -> EventBatch:
        """Every connect succeeds, every send comes back."""
        connected = [s for s in self.connecting if s not in self.closed]
        data = [(slot, piece) for slot, piece in self.sends if slot in self.open]
        self.connecting.clear()
        self.sends.clear()
        self.open.update(connected)
        return EventBatch(
            connected=slots_of(connected),
            data_slots=slots_of([slot for slot, _ in data]),
            data=Ragged.of([piece for _, piece in data]),
        )

    def wake(self) -> None:
        self.woken += 1

    def statistics(self) -> EngineStatistics:
        return EngineStatistics()


def slots_of(numbers: list[int]) -> Slots:
    return np.array(numbers, np.int32)


class Run:
    """A generator with its engine, and the record it comes to."""

    def __init__(
        self,
        connections: int,
        script: Batches | None = None,
        *,
        window: int = 64,
        rate: float | None = None,
        hold_ns: int = 0,
        timeout_ns: int = SECOND,
    ) -> None:
        self.clock = ManualClock(5 * SECOND)
        self.engine = Engine(self.clock, script)
        self.sampler = Sampler(None, self.clock)
        target = [Endpoint(AF_INET, "127.0.0.1", 8001)]
        plan = LoadPlan(
            connections,
            plan_addresses(connections, target, [], 10_000),
            Message("no {n};", connections),
            Window(window, 1, rate),
            hold_ns,
            timeout_ns,
        )
        self.asked = Asked(connections, rate, hold_ns / 1e9, "no {n};", "fake")
        self.generator = Generator(plan, self.engine, self.clock, self.sampler)  # type: ignore[arg-type]

    def record(self) -> RunRecord:
        """Do the run; its record, whose laws hold whatever happened."""
        self.generator.run()
        record = _record(
            self.generator, self.sampler, self.asked, Metadata(), "", "tcp://x:1", "echo"
        )
        assert broken_laws(record) == []
        assert not self.engine.open, "left open"
        return record


@pytest.fixture
def make_run() -> Iterator[Callable[..., Run]]:
    """Makes runs, and closes what they hold."""
    runs: list[Run] = []

    def make(*args: object, **options: object) -> Run:
        runs.append(Run(*args, **options))  # type: ignore[arg-type]
        return runs[-1]

    yield make
    for run in runs:
        run.sampler.close()


Make = Callable[..., Run]


def test_all_as_asked(make_run: Make) -> None:
    record = make_run(100, hold_ns=3 * SECOND).record()
    assert record.verdict.complete and record.failures == []
    assert (record.connections.opened, record.connections.peak_open) == (100, 100)
    assert [(r.name, r.sent, r.right) for r in record.rounds] == [
        ("first", 100, 100), ("stampede", 100, 100),
    ]  # fmt: skip
    assert [p.name for p in record.phases] == ["ramp", "hold", "stampede", "close"]
    assert record.phases[1].end_s - record.phases[1].start_s >= 3
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(record.phases))
    assert record.latencies["first"].count == record.latencies["stampede"].count == 100


def test_the_stampede_sends_everything_before_it_takes_a_reply(make_run: Make) -> None:
    record = make_run(150, window=10).record()
    assert record.rounds[0].in_flight_peak <= 10
    assert record.rounds[1].in_flight_peak == 150


@pytest.mark.parametrize("window", [1, 7, 64])
def test_connects_under_way_never_pass_the_window(make_run: Make, window: int) -> None:
    most = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal most
        unanswered = {slot for slot, _ in engine.sends} | set(engine.connecting)
        if engine.clock.now_ns() and run.generator.stampede is None:
            most = max(most, len(unanswered))
        return None

    run = make_run(100, script, window=window)
    assert run.record().verdict.complete
    assert 0 < most <= window


def test_the_pace_is_kept(make_run: Make) -> None:
    record = make_run(51, rate=100.0).record()
    assert record.verdict.complete
    assert 0.5 <= record.ramp.seconds < 0.6


def test_a_pace_slower_than_the_time_out_is_no_silence(make_run: Make) -> None:
    record = make_run(4, rate=0.5, timeout_ns=SECOND).record()
    assert record.verdict.complete
    assert record.ramp.seconds >= 6


def test_refused_connects_are_counted_by_their_errno(make_run: Make) -> None:
    def script(engine: Engine) -> EventBatch | None:
        failed = [s for s in engine.connecting if s % 3 == 0]
        for slot in failed:
            engine.connecting.remove(slot)
        batch = engine.echo()
        batch.failed = slots_of(failed)
        batch.failed_errnos = np.array(
            [errno.ECONNREFUSED if s % 2 else errno.ETIMEDOUT for s in failed], np.int32
        )
        return batch

    record = make_run(90, script).record()
    c = record.connections
    assert (c.attempted, c.opened, c.refused, c.timed_out) == (90, 60, 15, 15)
    assert [(r.sent, r.right) for r in record.rounds] == [(60, 60)] * 2
    assert not record.verdict.complete
    assert {(f.phase, f.errno, f.count) for f in record.failures} == {
        ("connect", "ECONNREFUSED", 15), ("connect", "ETIMEDOUT", 15),
    }  # fmt: skip


def test_connects_that_never_end_are_given_up(make_run: Make) -> None:
    def script(engine: Engine) -> EventBatch | None:
        silent = [s for s in engine.connecting if s >= 30]
        for slot in silent:
            engine.connecting.remove(slot)
        return None

    run = make_run(40, script)
    record = run.record()
    c = record.connections
    assert (c.attempted, c.opened, c.timed_out) == (40, 30, 10)
    assert sorted(run.engine.closed) == list(range(40))


def test_a_silent_server_leaves_every_reply_missing(make_run: Make) -> None:
    def script(engine: Engine) -> EventBatch | None:
        engine.sends.clear()
        return None

    record = make_run(20, script).record()
    assert record.connections.opened == 20 and record.connections.lost == 0
    assert [(r.sent, r.right, r.missing) for r in record.rounds] == [(20, 0, 20)] * 2
    assert not record.verdict.complete


def test_a_reply_that_comes_late_does_not_stand_for_the_next_one(make_run: Make) -> None:
    late: list[tuple[int, bytes]] = []

    def script(engine: Engine) -> EventBatch | None:
        if run.generator.stampede is None:
            late.extend(engine.sends)
            engine.sends.clear()
        else:
            engine.sends.extendleft(late)
            late.clear()
        return None

    run = make_run(10, script)
    record = run.record()
    first, stampede = record.rounds
    assert (first.right, first.missing) == (0, 10)
    assert (stampede.right, stampede.wrong) == (0, 10)  # two replies to one request


@pytest.mark.parametrize(("phase", "code"), [("hold", errno.ECONNRESET), ("stampede", 0)])
def test_connections_that_end_are_lost_with_their_reason(
    make_run: Make, phase: str, code: int
) -> None:
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if is_done or not run.generator.phases or run.generator.phases[-1].name != phase:
            return None
        is_done = True
        gone = slots_of([1, 4, 5])
        if not code:
            return EventBatch(eof=gone)
        engine.open -= {1, 4, 5}
        return EventBatch(closed=gone, closed_errnos=np.full(3, code, np.int32))

    run = make_run(10, script, hold_ns=SECOND)
    record = run.record()
    assert (record.connections.lost, record.connections.open_at_end) == (3, 7)
    (failure,) = record.failures
    assert (failure.phase, failure.count) == ("open", 3)
    assert failure.errno == ("ECONNRESET" if code else "EOF")
    assert failure.text and failure.remedy
    stampede = record.rounds[1]
    assert (stampede.sent, stampede.right) == ((7, 7) if phase == "hold" else (10, 7))


def test_an_end_of_stream_and_then_an_error_are_one_loss(make_run: Make) -> None:
    step = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal step
        if run.generator.phases[-1].name != "hold" or step == 1:
            return None
        step += 1
        return EventBatch(
            eof=slots_of([2]), closed=slots_of([2]), closed_errnos=slots_of([errno.ECONNRESET])
        )

    run = make_run(5, script, hold_ns=SECOND)
    assert run.record().connections.lost == 1


def test_connections_that_the_server_ends_while_we_close_are_not_lost(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator_module, "BLOCK", 4)
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if is_done or run.generator.phases[-1].name != "close":
            return None
        is_done = True
        return EventBatch(eof=slots_of(sorted(engine.open)))

    run = make_run(20, script)
    record = run.record()
    assert (record.connections.open_at_end, record.connections.lost) == (20, 0)
    assert record.verdict.complete


def test_when_the_engine_is_full_what_is_open_goes_on(make_run: Make) -> None:
    run = make_run(300)
    record = run.record()
    c = record.connections
    assert c.opened + c.unfinished == c.attempted <= Engine.capacity < 300
    assert not record.verdict.complete
    assert "No slot is left." in record.verdict.shortfalls
    assert any("did not open" in sentence for sentence in record.verdict.shortfalls)
    assert record.rounds[0].right == record.rounds[0].sent == c.opened


@pytest.mark.parametrize("phase", ["ramp", "hold", "stampede"])
def test_an_interrupt_ends_the_run_with_the_results_so_far(make_run: Make, phase: str) -> None:
    waits = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal waits
        if run.generator.phases[-1].name == phase:
            waits += 1
            if waits == (3 if phase == "ramp" else 1):
                run.generator.interrupt()
                return EventBatch()
        return None

    run = make_run(100, script, window=10, hold_ns=SECOND)
    record = run.record()
    assert run.engine.woken == 1
    assert not record.verdict.complete
    assert any("interrupted" in sentence for sentence in record.verdict.shortfalls)
    names = [p.name for p in record.phases]
    assert names == [*["ramp", "hold", "stampede"][: names.index(phase) + 1], "close"]
    assert record.connections.lost == 0
    if phase != "ramp":
        assert record.connections.open_at_end == 100


def test_progress_tells_where_the_run_stands(make_run: Make) -> None:
    run = make_run(30, hold_ns=2 * SECOND)
    seen = []
    run.generator._on_progress = seen.append
    run.record()
    assert {p.phase for p in seen} >= {"ramp", "hold"}
    assert all(p.open <= p.opened <= p.started <= 30 for p in seen)
    assert seen[-1].opened == 30
