"""The generator on an engine in memory: what it makes of every way in which things end."""

from __future__ import annotations

import errno
import itertools

import pytest

from c1m.engine.contract import EventBatch
from c1m.loadgen import generator as generator_module
from c1m.loadgen.stages import simple_stages
from c1m.results.options import LoadOptions
from c1m.results.record import EXTRA_KINDS
from generator_runs import SECOND, Engine, Run, slots_of
from one_each import right_of_each


def simple(count: int, hold_s: float = 0, rate: float | None = None, **options: object) -> Run:
    """Open so many, hold them, and have all of them ask once more."""
    asked = LoadOptions(connections=count, hold_ns=round(hold_s * SECOND), connect_rate_per_s=rate)
    stages = simple_stages(asked, stampede=True)
    return Run(stages, **options)  # type: ignore[arg-type]


def test_all_as_asked() -> None:
    run = simple(100, hold_s=3)
    record = run.record()
    assert record.verdict.complete and record.failures == []
    assert (record.connections.opened, record.connections.peak_open) == (100, 100)
    assert record.connections.ready == 100
    assert right_of_each(record) == [
        ("first", 100, 100), ("stampede", 100, 100),
    ]  # fmt: skip
    assert [p.name for p in record.phases] == ["ramp", "hold", "stampede", "settle", "close"]
    assert record.phases[1].end_s - record.phases[1].start_s >= 3
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(record.phases))
    assert record.latencies["first"].count == record.latencies["stampede"].count == 100
    assert [s.open_at_end for s in record.stages] == [100, 100, 100]
    assert record.requests.due == 0  # there was no load


def test_the_stampede_sends_everything_before_it_takes_a_reply() -> None:
    record = simple(150, window=10).record()
    assert record.first.in_flight_peak <= 10
    assert record.stampede.in_flight_peak == 150


@pytest.mark.parametrize("window", [1, 7, 64])
def test_connects_under_way_never_pass_the_window(window: int) -> None:
    most = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal most
        unanswered = {slot for slot, _ in engine.sends} | set(engine.connecting)
        if run.phase == "ramp":
            most = max(most, len(unanswered))
        return None

    run = simple(100, script=script, window=window)
    assert run.record().verdict.complete
    assert 0 < most <= window


def test_the_pace_is_kept() -> None:
    record = simple(51, rate=100.0).record()
    assert record.verdict.complete
    assert 0.5 <= record.ramp.seconds < 0.6


def test_a_pace_slower_than_the_time_out_is_no_silence() -> None:
    record = simple(4, rate=0.5, timeout_ns=SECOND).record()
    assert record.verdict.complete
    assert record.ramp.seconds >= 6


def test_refused_connects_are_counted_by_their_errno() -> None:
    def script(engine: Engine) -> EventBatch | None:
        failed = [s for s in engine.connecting if s % 3 == 0 and s not in refused]
        refused.update(failed)
        codes = [errno.ECONNREFUSED if s % 2 else errno.ETIMEDOUT for s in failed]
        return engine.refuse(failed, codes) if failed else None

    refused: set[int] = set()
    run = simple(90, script=script, window=90)  # all at once: a slot is a connection
    record = run.record()
    c = record.connections
    assert (c.attempted, c.opened) == (90, 60)
    assert c.refused + c.timed_out == 30 and c.refused == 15
    assert right_of_each(record) == [("first", 60, 60), ("stampede", 60, 60)]
    assert not record.verdict.complete
    assert {(f.phase, f.errno, f.count) for f in record.failures} == {
        ("connect", "ECONNREFUSED", 15), ("connect", "ETIMEDOUT", 15),
    }  # fmt: skip


def test_connects_that_never_end_are_given_up_at_their_age() -> None:
    run = simple(40, window=40)
    run.engine.stuck = lambda slot: slot >= 30
    record = run.record()
    c = record.connections
    assert (c.attempted, c.opened, c.timed_out) == (40, 30, 10)
    assert sorted(run.engine.ended) == list(range(40))
    ramp = record.phases[0]
    assert 1 <= ramp.end_s - ramp.start_s < 1.3


def test_a_silent_server_leaves_every_reply_missing() -> None:
    run = simple(20, when=lambda slot, data, now: None)
    record = run.record()
    assert record.connections.opened == 20 and record.connections.lost == 0
    assert record.connections.ready == 0
    assert [(r.sent, r.right, r.missing) for r in (record.first, record.stampede)] == [
        (20, 0, 20)
    ] * 2
    assert not record.verdict.complete
    assert [f.kind for f in record.faults] == ["missing"] * 10


@pytest.mark.parametrize("message", ["no {n} {seq};", "always the same;"])
def test_a_reply_that_comes_late_does_not_stand_for_the_next_one(message: str) -> None:
    late: list[tuple[int, bytes]] = []

    def script(engine: Engine) -> EventBatch | None:
        if run.phase == "ramp":
            late.extend(engine.sends)
            engine.sends.clear()
        elif late and engine.sends and run.phase == "stampede":
            engine.sends.extendleft(late)
            late.clear()
        return None

    run = simple(10, script=script, message=message)
    record = run.record()
    first, stampede = record.first, record.stampede
    assert (first.sent, first.right, first.missing) == (10, 0, 10)
    assert (stampede.sent, stampede.missing) == (10, 0)
    assert stampede.right + stampede.wrong == 10
    # By bytes alone two replies that are the same cannot be told apart: one is beyond those due.
    assert sum(stampede.faults.get(kind, 0) for kind in EXTRA_KINDS) == 10
    assert not record.verdict.complete


@pytest.mark.parametrize(("phase", "code"), [("hold", errno.ECONNRESET), ("stampede", 0)])
def test_connections_that_end_are_lost_with_their_reason(phase: str, code: int) -> None:
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if is_done or run.phase != phase or (phase == "stampede" and not engine.sends):
            return None
        is_done = True
        return engine.lose([1, 4, 5], code)

    run = simple(10, hold_s=1, script=script)
    record = run.record()
    assert (record.connections.lost, record.connections.open_at_end) == (3, 7)
    (failure,) = record.failures
    assert (failure.phase, failure.count) == ("open", 3)
    assert failure.errno == ("ECONNRESET" if code else "EOF")
    assert failure.text and failure.remedy
    stampede = record.stampede
    assert (stampede.sent, stampede.right) == ((7, 7) if phase == "hold" else (10, 7))


def test_an_end_of_stream_and_then_an_error_are_one_loss() -> None:
    step = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal step
        step += run.phase == "hold"
        if step == 1:
            return engine.lose([2], 0)
        return engine.lose([2], errno.ECONNRESET) if step == 2 and 2 in engine.open else None

    run = simple(5, hold_s=1, script=script)
    assert run.record().connections.lost == 1
    assert run.engine.ended.count(2) == 1


def test_an_end_of_stream_and_an_error_in_one_batch_are_one_loss() -> None:
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if is_done or run.phase != "hold":
            return None
        is_done = True
        batch = engine.lose([3], 0)
        batch.closed, batch.closed_errnos = slots_of([3]), slots_of([errno.ECONNRESET])
        return batch

    run = simple(5, hold_s=1, script=script)
    assert run.record().connections.lost == 1


def test_connections_that_the_server_ends_while_we_close_are_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generator_module, "BLOCK", 4)
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if is_done or run.phase != "close":
            return None
        is_done = True
        return engine.lose(sorted(engine.open), 0)

    run = simple(20, script=script)
    record = run.record()
    assert (record.connections.open_at_end, record.connections.lost) == (20, 0)
    assert record.verdict.complete


def test_when_the_engine_is_full_what_is_open_goes_on() -> None:
    run = simple(300)
    record = run.record()
    c = record.connections
    assert c.opened + c.unfinished == c.attempted <= run.engine.capacity < 300
    assert not record.verdict.complete
    assert record.verdict.shortfalls.count("No slot is left.") == 1
    assert any("did not open" in sentence for sentence in record.verdict.shortfalls)
    assert record.first.right == record.first.sent == c.opened


@pytest.mark.parametrize("phase", ["ramp", "hold", "stampede", "settle"])
def test_an_interrupt_ends_the_run_with_the_results_so_far(phase: str) -> None:
    waits = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal waits
        if run.phase == phase or (phase == "settle" and run.phase == "stampede"):
            waits += 1
            if waits == (3 if phase == "ramp" else 1):
                run.generator.loop.stop()
                return EventBatch()
        return None

    run = simple(100, hold_s=1, script=script, window=10)
    record = run.record()
    assert run.engine.woken == 1
    assert not record.verdict.complete
    assert any("interrupted" in sentence for sentence in record.verdict.shortfalls)
    names = [p.name for p in record.phases]
    reached = ["ramp", "hold", "stampede"]
    until = reached[: reached.index(phase) + 1] if phase in reached else reached
    assert names == [*until, "settle", "close"]
    assert record.connections.lost == 0
    if phase != "ramp":
        assert record.connections.open_at_end == 100


def test_a_signal_while_all_is_closed_interrupts_nothing() -> None:
    def script(engine: Engine) -> EventBatch | None:
        if run.phase == "close":
            run.generator.loop.stop()
        return None

    run = simple(100, hold_s=1, script=script)
    record = run.record()
    assert run.engine.woken > 0
    assert record.verdict.complete and record.verdict.shortfalls == []


def test_the_number_of_a_stage_counts_those_of_the_plan_only() -> None:
    run = Run(["ramp 10", "hold for 1s", "hold for 1s", "hold for 1s", "hold for 1s"])
    run.record()
    assert [(s.stage_number, s.stages) for s in run.seen if s.is_last] == [(5, 5)]

    def script(engine: Engine) -> EventBatch | None:
        if len(run.generator.phases) == 3:
            run.generator.loop.stop()
        return None

    run = Run(["ramp 10", *["hold for 1s"] * 4], script)
    run.record()
    assert [s.stage_number for s in run.seen] == sorted(s.stage_number for s in run.seen)
    assert run.phase == "close" and run.seen[-1].stage_number == 3


def test_progress_tells_where_the_run_stands() -> None:
    run = simple(30, hold_s=2)
    run.record()
    seen = run.seen
    assert {s.stage.split()[0] for s in seen} >= {"ramp", "hold", "close"}
    assert all(s.open <= s.opened <= s.attempted <= s.asked == 30 for s in seen)
    assert seen[-1].opened == 30 and seen[-1].is_last
    assert [s.stage_number for s in seen] == sorted(s.stage_number for s in seen)
    left = [s.stage_left_s for s in seen if s.stage_left_s is not None]
    assert left == sorted(left, reverse=True) and max(left) <= 2
