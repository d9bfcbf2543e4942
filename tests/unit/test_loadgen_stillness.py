"""Stages that stand still end by themselves, with the reason; gaps in replies, and whose they are.

Every sort of stage against a server that stops answering at some point, on the clock of a fake
engine: none may go on for ever, and none may be ended that only waits for its own pace.
"""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from c1m.engine.contract import EventBatch, Slots
from c1m.loadgen.connections import CLOSED
from c1m.results.options import LoadOptions
from c1m.results.record import Requests
from c1m.results.saturation import Facts, judge_limit
from c1m.scenarios.messages import Numbers
from c1m.scenarios.templates import SlowReader
from generator_runs import SECOND, Engine, Run, slots_of

TIMEOUT_S = 1.0
# A timeout is looked for every eighth of it; a stage may wait for two of them, one after the other
# (what was in flight before it, then its own).
PATIENCE_S = 2.5 * TIMEOUT_S


def run_with(stages: list[str], limit: int, **options: object) -> Run:
    """Against a server that answers the first `limit` connections only; the kernel opens all."""
    slots: set[int] = set()

    def when(slot: int, data: bytes, now: int) -> int | None:
        if len(slots) < limit:
            slots.add(slot)
        return now if slot in slots else None

    return Run(stages, when=when, window=10, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ramp", ["ramp 100", "ramp 100 at 50/s", "ramp 100 in 20s", "ramp 100 in 100ms"]
)
def test_a_ramp_that_stands_still_ends_with_the_reason(ramp: str) -> None:
    record = run_with([ramp], 30).record()
    (stage,) = record.stages
    assert stage.end_s - stage.start_s < 30 / 50 * 10 + PATIENCE_S
    assert stage.stood_still_s >= TIMEOUT_S
    assert record.connections.ready == 30 and record.connections.attempted < 60
    reason = next(said for said in record.verdict.shortfalls if "stood still" in said)
    assert f"The stage {ramp!r} stood still for 1." in reason and "was ended" in reason
    assert f"{100 - record.connections.attempted} connects were not begun" in reason


@pytest.mark.parametrize("ramp", ["ramp 100", "ramp 100 at 50/s", "ramp 100 in 2s"])
@pytest.mark.parametrize("patience_s", [0.4, 4.0])
def test_a_ramp_has_a_timeout_of_its_own(ramp: str, patience_s: float) -> None:
    """The shorter one ends it before a connect is given up, the longer one behind several."""
    options = LoadOptions(ramp_timeout_ns=round(patience_s * SECOND))
    record = run_with([ramp], 30, options=options).record()
    (stage,) = record.stages
    assert record.connections.ready == 30
    if patience_s < TIMEOUT_S:
        assert 0.4 <= stage.stood_still_s < TIMEOUT_S
    else:
        assert stage.stood_still_s >= 4 or record.connections.attempted == 100


@pytest.mark.parametrize("ramp", ["ramp 100", "ramp 100 at 50/s", "ramp 100 in 2s"])
def test_a_ramp_ends_whose_server_closes_one_for_each_that_opens(ramp: str) -> None:
    """As a server does that keeps below a limit by closing idle connections, which are opened
    again: something moves all the time, and it comes no further."""

    def script(engine: Engine) -> EventBatch | None:
        engine.clock.advance(1_000_000)
        return engine.lose(sorted(engine.open)[:1], 0) if len(engine.open) > 30 else None

    run = Run([ramp], script, window=10)
    pool = run.generator.connections

    def lost(slots: Slots, *_: object, **__: object) -> Numbers:
        numbers = pool.numbers_of(slots)
        pool.states[numbers] = CLOSED
        pool.live -= len(numbers)
        pool.counts.closed += len(numbers)
        pool._assigned -= len(numbers)
        pool._again.append(numbers)
        return numbers

    pool.lost = lost  # type: ignore[method-assign]
    run.generator.run()
    assert run.generator.phases[0].stood_still
    reason = next(said for said in run.generator.shortfalls if "stood still" in said)
    assert "as many connections were ended as others opened" in reason


def test_what_a_stage_has_not_begun_no_later_one_begins() -> None:
    record = run_with(["ramp 100", "hold for 5s", "stampede", "storm", "hold for 1s"], 30).record()
    assert record.connections.attempted <= 30 + 10 + 30 + 10 + 10  # a window each, and the storm's
    assert [round(s.end_s - s.start_s) for s in record.stages if s.name == "hold"] == [5, 1]
    assert record.stages[0].stood_still_s and not record.stages[1].stood_still_s


def test_a_later_ramp_tries_again() -> None:
    run = run_with(["ramp 50", "ramp 100"], 30)
    record = run.record()
    assert all(stage.stood_still_s for stage in record.stages)
    assert record.connections.attempted > 50 - 10


@pytest.mark.parametrize("scenario", ["hold", "half-open", "slow-reader", "publish", "echo"])
def test_connects_that_nobody_answers_end_a_ramp(scenario: str) -> None:
    message = None if scenario == "hold" else "{n} says {seq};"
    run = Run(["ramp 100"], window=10, scenario=scenario, message=message)
    run.engine.stuck = lambda slot: len(run.engine.open) >= 30
    record = run.record()
    (stage,) = record.stages
    assert stage.end_s - stage.start_s < PATIENCE_S and stage.stood_still_s >= TIMEOUT_S
    assert (record.connections.opened, record.connections.attempted) == (30, 40)
    assert "no connect was answered" in " ".join(record.verdict.shortfalls) or scenario == "echo"


def test_refused_connects_are_answers() -> None:
    def script(engine: Engine) -> EventBatch | None:
        slots = list(engine.connecting)
        return engine.refuse(slots, [errno.ECONNREFUSED] * len(slots)) if slots else None

    record = Run(["ramp 100 at 5/s"], script, window=10).record()  # 20 s, ten times the timeout
    assert record.connections.refused == 100 and not record.stages[0].stood_still_s


def test_its_own_pace_is_no_standing_still() -> None:
    record = Run(["ramp 4 at 30/m", "drain in 8s"]).record()  # a connect every two timeouts
    assert record.verdict.complete, record.verdict.shortfalls


@pytest.mark.parametrize("stage", ["storm", "storm 50%"])
def test_a_storm_whose_connections_do_not_come_back_ends(stage: str) -> None:
    run = Run(["ramp 40", stage, "hold for 1s"], window=5)
    run.engine.stuck = lambda slot: run.phase not in ("", "ramp")
    record = run.record()
    storm = record.stages[1]
    assert storm.end_s - storm.start_s < PATIENCE_S and storm.stood_still_s >= TIMEOUT_S


def silent_from(phase: str) -> Run:
    """All is answered until a stage of this name begins, and nothing from then on."""
    names: list[str] = []

    def when(slot: int, data: bytes, now: int) -> int | None:
        names.append(run.phase)
        return None if phase in names else now

    plan = [
        "ramp 20", "hold for 2s at 100/s", "hold for 2s think 10ms", "hold for 2s churn 20/s",
        "stampede", "storm", "spike 30 for 1s", "drain to 5", "ramp 30 in 1s", "drain in 1s",
    ]  # fmt: skip
    run = Run(plan, when=when)
    return run


@pytest.mark.parametrize("phase", ["ramp", "hold", "stampede", "storm", "spike", "drain"])
def test_no_stage_of_any_sort_outlives_a_server_that_is_silent_from_one_on(phase: str) -> None:
    run = silent_from(phase)
    record = run.record()
    for stage, planned in zip(record.stages, run.stages, strict=True):
        assert (
            stage.end_s - stage.start_s <= (planned.duration_ns or 0) / SECOND + PATIENCE_S + 1
        ), stage.text


@pytest.mark.parametrize("pipeline", [1, 4])
def test_a_stampede_of_clients_that_do_not_read_is_over_at_once(pipeline: int) -> None:
    scenario = SlowReader("no {n} {seq};")
    scenario.begin(20, 0)
    run = Run(["ramp 20", "stampede"], scenario=scenario, pipeline=pipeline)
    run.engine.when = lambda slot, data, now: None if slot in run.engine.quiet else now
    record = run.record()
    assert record.stages[1].end_s - record.stages[1].start_s < 0.1


def test_bytes_that_are_no_reply_keep_no_stampede_going() -> None:
    """A server that sends a byte now and then, and never the end of a line."""
    next_ns = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal next_ns
        now = engine.clock.now_ns()
        if run.phase != "stampede" or now < next_ns:
            return None
        next_ns = now + SECOND // 10
        batch = engine.ready()
        pieces = [(slot, b".") for slot in sorted(engine.open)]
        return batch if len(batch) else EventBatch(
            data_slots=slots_of([slot for slot, _ in pieces]),
            data=batch.data.of([piece for _, piece in pieces]),
        )  # fmt: skip

    run = Run(["ramp 5", "stampede"], script, scenario="lines", message="no {n} {seq}")
    run.engine.when = lambda slot, data, now: None if run.phase == "stampede" else now
    record = run.record()
    assert record.stages[1].end_s - record.stages[1].start_s < PATIENCE_S


# --- gaps ---------------------------------------------------------------------------------------


def stands_still(engine_s: float, at_s: float, for_s: float) -> Run:
    """A server that answers nothing from `at_s` on for so long, and then all that it has."""

    def when(slot: int, data: bytes, now: int) -> int:
        since = run.generator.start_ns
        start, end = since + round(at_s * SECOND), since + round((at_s + for_s) * SECOND)
        return end if start <= now < end else now + round(engine_s * SECOND)

    run = Run(["ramp 20", "hold for 10s at 200/s"], timeout_ns=5 * SECOND)
    run.engine.when = when
    return run


def test_a_server_that_stood_still_is_named() -> None:
    run = stands_still(0.0, 4.0, 3.0)
    record = run.record()
    (pause,) = record.limit.pauses
    assert pause.who == "server" and 2.9 < pause.seconds <= 3.01 and 3.9 < pause.start_s < 4.1
    assert pause.waiting == 20 and pause.cpu is None  # all connections; a server elsewhere
    assert (record.limit.who, record.limit.is_lower_bound) == ("server", False)
    said = record.limit.sentences[0]
    assert said.startswith("The server, or the path to it, stood still for 3")
    assert "at its end 20 requests were waiting." in said
    assert "both had time to spare" not in " ".join(record.limit.sentences)


@pytest.mark.parametrize(
    ("delay_s", "for_s"),
    [
        (0.0, 0.3),  # short
        (0.4, 2.0),  # five times what a reply always takes
    ],
)
def test_what_is_not_unusual_is_no_standing_still(delay_s: float, for_s: float) -> None:
    assert stands_still(delay_s, 4.0, for_s).record().limit.pauses == []


def test_a_server_that_is_asked_little_does_not_stand_still() -> None:
    run = Run(["ramp 4", "hold for 60s at 1/s"])
    assert run.record().limit.pauses == []


@pytest.mark.parametrize("scenario", ["slow-reader", "half-open"])
def test_clients_that_do_not_listen_hear_no_standing_still(scenario: str) -> None:
    run = Run(["ramp 4", "hold for 5s at 2/s"], scenario=scenario, pipeline=20)
    run.engine.when = lambda slot, data, now: None if run.phase == "hold" else now
    assert run.record().limit.pauses == []


def test_replies_that_are_left_out_are_no_standing_still() -> None:
    count = 0

    def when(slot: int, data: bytes, now: int) -> int | None:
        nonlocal count
        count += 1
        return None if count > 60 and count % 40 == 0 else now

    run = Run(["ramp 20", "hold for 20s think 0s"], timeout_ns=2 * SECOND)
    run.engine.when = lambda slot, data, now: (
        None if (due := when(slot, data, now)) is None else due + SECOND // 20
    )
    record = run.record()
    assert record.requests.missing > 20 and record.limit.pauses == []


def test_a_server_that_is_silent_to_the_end_stood_still() -> None:
    run = Run(["ramp 20", "hold for 10s at 200/s"])
    run.engine.when = lambda slot, data, now: (
        None if now > run.generator.start_ns + 6 * SECOND else now
    )
    record = run.record()
    (pause,) = record.limit.pauses
    assert (
        pause.who == "server" and pause.seconds > 3.9 and pause.start_s == pytest.approx(6, abs=0.1)
    )


def test_a_generator_that_stood_still_is_named() -> None:
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if not is_done and engine.clock.now_ns() > run.generator.start_ns + 4 * SECOND:
            is_done = True
            engine.clock.advance(3 * SECOND)  # stopped, or nobody ran it
        return None

    run = Run(["ramp 20", "hold for 10s at 200/s"], script)
    record = run.record()
    (pause,) = record.limit.pauses
    assert (pause.who, round(pause.seconds)) == ("generator", 3)
    assert (record.limit.who, record.limit.is_lower_bound) == ("generator", True)
    assert record.limit.sentences[0].startswith("The generator stood still for 3.0")
    assert record.requests.late == 20  # one a connection: the others waited for its reply


def test_lateness_after_the_servers_standing_still_is_not_the_generators() -> None:
    """It has all at once to do then; lateness at other times counts as ever."""
    run = stands_still(0.0, 4.0, 3.0)
    record = run.record()
    recorder = run.generator.recorder
    assert recorder.lag_after.count > 0
    assert recorder.lag.count + recorder.lag_after.count == record.limit.schedule_lag.count
    facts = Facts(
        requests=Requests(sent=2_000, late=1_000), lag=recorder.lag, is_open_loop=True,
        generator_cpu=0.5, server_cpu=0.5, p99_ns=2 * SECOND, rate_asked=200.0,
        rate_reached=200.0, late_after=1_000, pauses=record.limit.pauses,
    )  # fmt: skip
    assert judge_limit(facts).who == "server"
    assert judge_limit(replace(facts, late_after=0)).who == "both"
