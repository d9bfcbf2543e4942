"""What stages do with connections: churn, storms, spikes, steps and drains, and what is left."""

from __future__ import annotations

import errno

import pytest

from c1m.addresses import SockAddrs
from c1m.engine.contract import EventBatch, Slots
from c1m.errors import LimitError
from c1m.loadgen import closing as closing_module
from generator_runs import SECOND, Engine, Run
from one_each import right_of_each

MS = 1_000_000


def after(delay_ns: int):  # type: ignore[no-untyped-def]
    """A server that takes so long for each reply."""
    return lambda slot, data, now: now + delay_ns


def once(phase: str, lose: int, *, code: int = errno.ECONNRESET, nth: int = 1):  # type: ignore[no-untyped-def]
    """A script: when `phase` is there for the nth time, so many connections are lost."""

    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        run = engine.run  # type: ignore[attr-defined]
        if is_done or sum(p.stage.name == phase for p in run.generator.phases) < nth:
            return None
        is_done = True
        return engine.lose(sorted(engine.open)[:lose], code)

    return script


def made(*stages: str, **options: object) -> Run:
    run = Run(stages, **options)  # type: ignore[arg-type]
    run.engine.run = run  # type: ignore[attr-defined]
    return run


def open_at_end(run: Run) -> list[int]:
    """Of each stage."""
    return [stage.open_at_end for stage in run.record().stages]


def test_a_ramp_in_time_is_linear() -> None:
    run = made("ramp 0..50 in 60s")
    record = run.record()
    ramp = record.phases[0]
    assert 60 <= ramp.end_s - ramp.start_s < 60.2
    series = record.series
    for t_s, count in zip(series.t_s, series.open, strict=True):
        if 1 < t_s < 59:
            assert abs(count - 50 * t_s / 60) <= 2
    assert run.engine.waits < 60 * 1000 // 50 + 4 * 50 + 100, "it sleeps in between"


def test_steps_go_up_and_a_spike_comes_back() -> None:
    run = made("steps 10..30 by 10 every 1s", "spike 60 for 1s at 50/s", "drain to 5 in 2s")
    assert open_at_end(run) == [10, 20, 30, 60, 30, 5]


def test_a_drain_in_time_is_linear() -> None:
    run = made("ramp 100", "drain to 20 in 10s")
    record = run.record()
    drain = record.phases[1]
    assert 10 <= drain.end_s - drain.start_s < 10.2
    for t_s, count in zip(record.series.t_s, record.series.open, strict=True):
        if 1 < t_s < 9:
            assert abs(count - (100 - 8 * t_s)) <= 2
    assert (record.connections.open_at_end, record.connections.closed) == (20, 80)


def test_a_drain_counts_what_is_open_not_what_was_lost() -> None:
    run = made("ramp 100", "hold for 1s", "drain to 20", script=once("hold", 50))
    record = run.record()
    assert [stage.open_at_end for stage in record.stages] == [100, 50, 20]
    assert record.connections.closed == 30


def test_a_ramp_after_a_drain_opens_as_many_as_it_says() -> None:
    run = made(
        "ramp 100", "hold for 1s", "drain to 20", "ramp 60", "drain", "ramp 100",
        script=once("hold", 50),
    )  # fmt: skip
    assert open_at_end(run) == [100, 50, 20, 60, 0, 100]
    assert run.generator.connections.counts.opened == 100 + 40 + 100


def test_what_is_lost_is_missing_until_the_plan_wants_fewer() -> None:
    run = made("ramp 40", "hold for 1s", "ramp 50", script=once("hold", 10))
    assert open_at_end(run) == [40, 30, 40]


@pytest.mark.parametrize("share", ["storm", "storm 50%", "storm 1%"])
def test_a_storm_resets_its_share_and_opens_it_again(share: str) -> None:
    run = made("ramp 100", share, "hold for 1s at 50/s")
    record = run.record()
    count = {"storm": 100, "storm 50%": 50, "storm 1%": 1}[share]
    assert len(run.engine.reset) == record.connections.closed == count
    assert record.connections.opened == 100 + count
    assert record.connections.open_at_end == 100
    assert record.verdict.complete


def test_reconnects_that_fail_in_a_storm_end_it() -> None:
    def script(engine: Engine) -> EventBatch | None:
        if run.phase != "storm" or not engine.connecting:
            return None
        return engine.refuse(list(engine.connecting), [errno.ECONNREFUSED] * len(engine.connecting))

    run = made("ramp 100", "storm 50%", "hold for 1s", script=script)
    record = run.record()
    assert (record.connections.opened, record.connections.refused) == (100, 50)
    assert record.connections.open_at_end == 50
    assert not record.verdict.complete


def test_connections_lost_while_a_storm_breaks_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing_module, "BLOCK", 10)

    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if is_done or not engine.reset:
            return None
        is_done = True
        return engine.lose(sorted(engine.open)[:7], errno.ECONNRESET)

    run = made("ramp 100", "storm", script=script)
    record = run.record()
    assert record.connections.lost == 7 and record.connections.closed == 93
    assert record.connections.open_at_end == 93


def test_churn_closes_and_opens_at_its_rate() -> None:
    run = made("ramp 50", "hold for 10s churn 30/s")
    record = run.record()
    c = record.connections
    assert 295 <= c.closed <= 300
    assert c.opened == 50 + c.closed and c.open_at_end == 50
    assert record.first.right == c.opened
    assert run.engine.reset == []


@pytest.mark.parametrize("load", ["think 0s", "at 2k/s"])
@pytest.mark.parametrize("pipeline", [1, 3])
def test_churn_of_connections_that_are_never_idle(load: str, pipeline: int) -> None:
    run = made("ramp 20", f"hold for 4s {load} churn 20/s", when=after(20 * MS), pipeline=pipeline)
    record = run.record()
    assert 75 <= record.connections.closed <= 80
    assert record.requests.missing == 0, "each has its reply before it is closed"
    assert record.requests.right == record.requests.sent > 1000


def test_churn_beyond_what_can_be_done_does_what_can_be_done() -> None:
    run = made("ramp 20", "hold for 5s churn 50k/s", when=after(20 * MS))
    record = run.record()
    # A connection lives for its first reply at least: 20 of them in 20 ms, at most.
    assert 1_000 < record.connections.closed <= 5_100
    assert record.phases[1].end_s - record.phases[1].start_s < 5.1


def test_churn_while_nothing_opens_does_not_grow() -> None:
    run = made("ramp 20", "hold for 5s churn 1k/s")
    run.engine.stuck = lambda slot: run.phase == "hold"
    record = run.record()
    assert record.connections.closed == 20
    assert record.connections.timed_out == 20


def test_drains_in_a_closed_loop_wait_for_replies_only() -> None:
    run = made("ramp 40", "hold 10 for 2s think 0s", when=after(20 * MS))
    record = run.record()
    assert record.stages[1].open_at_end == 10
    assert record.connections.closed == 30
    assert record.requests.missing == 0
    assert record.requests.sent < 1.2 * 10 * 100 + 40, "those that are closed do not go on"


def test_a_full_engine_has_room_again_when_connections_were_closed() -> None:
    run = made("ramp 100", "hold for 2s churn 50/s", capacity=100)
    record = run.record()
    assert record.connections.open_at_end == 100 and 90 <= record.connections.closed <= 100
    run = made("ramp 60", "drain to 10", "ramp 50", capacity=50, window=16)
    record = run.record()
    assert record.stages[2].open_at_end == 50
    assert record.verdict.shortfalls.count("No slot is left.") == 1


def test_as_many_are_begun_as_there_is_room_for_and_the_limit_is_named() -> None:
    """Refused for a second, not for a moment: then the ramp is over, and the plan goes on."""
    run = made("ramp 100", "hold for 1s", capacity=100, window=64)
    engine, connect = run.engine, run.engine.connect

    def bounded(sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        free = 70 - len(engine.open) - len(engine.connecting)
        if len(destinations) > free:
            raise LimitError("No ring is left.", "Raise it.", free)
        return connect(sources, destinations)

    engine.connect = bounded  # type: ignore[method-assign]
    record = run.record()
    assert record.connections.attempted == record.connections.open_at_end == 70
    assert record.verdict.shortfalls[0] == "No ring is left. Raise it."
    (never,) = [row for row in record.explanations if "never begun" in row.what]
    assert (never.count, never.cause, never.remedy) == (30, "No ring is left.", "Raise it.")
    assert 1 <= record.phases[0].end_s < 1.5


def test_slots_that_are_given_back_late_are_waited_for() -> None:
    """An engine that closes by completions: what was closed just now still holds its slot."""
    run = made("ramp 100", "storm", "hold for 1s", capacity=100)
    engine, held = run.engine, []
    gone = engine.gone

    def gone_later(slot: int) -> None:
        gone(slot)
        held.append(engine._free.pop())

    def script(engine: Engine) -> EventBatch | None:
        engine._free.extend(held)
        held.clear()
        return None

    engine.gone, engine.script = gone_later, script  # type: ignore[method-assign]
    record = run.record()
    assert record.connections.open_at_end == 100
    assert record.verdict.complete, record.verdict.shortfalls


def test_a_second_stampede_and_one_after_a_drain() -> None:
    run = made("ramp 30", "stampede", "drain to 10", "stampede", "ramp 20", "stampede")
    record = run.record()
    assert right_of_each(record) == [
        ("first", 40, 40), ("stampede", 30, 30), ("stampede", 10, 10), ("stampede", 20, 20),
    ]  # fmt: skip
    assert record.latencies["stampede"].count == 60


def test_what_opens_after_a_stampede_is_not_missing_in_it() -> None:
    run = made("ramp 10", "stampede", "ramp 20", "stampede", "hold 30 for 1s")
    record = run.record()
    assert [sent for _, sent, _ in right_of_each(record)] == [30, 10, 20]
    assert (record.stampede.sent, record.stampede.in_flight_peak) == (30, 20)
    assert record.verdict.complete, record.verdict.shortfalls


def test_a_stampede_waits_for_what_is_in_flight() -> None:
    run = made("ramp 30", "hold for 1s at 100/s", "stampede", when=after(700 * MS))
    record = run.record()
    assert record.stampede.sent == 30 and record.stampede.in_flight_peak == 30
    assert record.requests.missing == 0


def test_a_stampede_of_slow_replies_is_given_up_after_silence_only() -> None:
    order = iter(range(1, 1000))

    def when(slot: int, data: bytes, now: int) -> int | None:
        if run.phase != "stampede":
            return now
        return None if slot == 7 else now + next(order) * 500 * MS

    run = made("ramp 20", "stampede", when=when, timeout_ns=SECOND)
    record = run.record()
    assert (record.stampede.right, record.stampede.missing) == (19, 1)


@pytest.mark.parametrize("phase", ["stampede", "settle"])
def test_chatter_of_others_does_not_keep_a_silent_one_waiting(phase: str) -> None:
    def script(engine: Engine) -> EventBatch | None:
        if run.phase == phase and 3 in engine.open and not engine.sends:
            engine.clock.advance(100 * MS)
            engine._replies.append((engine.clock.now_ns(), 0, 3, b"news"))
        return None

    def when(slot: int, data: bytes, now: int) -> int | None:
        return None if slot == 7 and run.phase != "ramp" else now

    last = ["stampede"] if phase == "stampede" else ["hold for 1s at 20/s"]
    run = made("ramp 10", *last, script=script, when=when, timeout_ns=SECOND)
    record = run.record()
    ended = next(p for p in record.phases if p.name == phase)
    assert ended.end_s - ended.start_s < 3


def test_a_slow_server_in_settle_is_waited_for_up_to_the_time_out() -> None:
    run = made("ramp 10", "hold for 1s at 10/s", when=after(900 * MS), timeout_ns=SECOND)
    record = run.record()
    assert record.requests.missing == 0
    run = made("ramp 10", "hold for 1s at 10/s", when=lambda slot, data, now: (
        now if run.phase == "ramp" else now + 3 * SECOND), timeout_ns=SECOND)  # fmt: skip
    record = run.record()
    assert record.requests.missing == record.requests.sent > 0


@pytest.mark.parametrize("stage", [
    "ramp 100 at 20/s", "ramp 100 in 30s", "hold 100 for 30s at 50/s", "hold 50 for 30s think 1s",
    "hold 20 for 30s churn 5/s", "steps 10..50 by 10 every 10s", "spike 50 for 30s at 10/s",
    "drain in 30s", "stampede", "storm",
])  # fmt: skip
def test_an_interrupt_in_each_stage_ends_it_soon(stage: str) -> None:
    """Also where a reply is outstanding for good."""

    def script(engine: Engine) -> EventBatch | None:
        if interrupted_ns == [] and len(run.generator.phases) == 2:
            waits.append(1)
            if len(waits) == 3:
                interrupted_ns.append(engine.clock.now_ns())
                run.generator.loop.stop()
        return None

    def when(slot: int, data: bytes, now: int) -> int | None:
        return None if slot == 3 and len(run.generator.phases) > 1 else now + 10 * MS

    waits: list[int] = []
    interrupted_ns: list[int] = []
    run = made("ramp 10", stage, script=script, when=when, timeout_ns=60 * SECOND)
    record = run.record()
    assert run.clock.now_ns() - interrupted_ns[0] < 2 * SECOND
    assert any("interrupted" in sentence for sentence in record.verdict.shortfalls)
    assert [p.name for p in record.phases][-2:] == ["settle", "close"]
