"""Open and closed loop on an engine in memory: what is due, what is sent, from when it counts."""

from __future__ import annotations

import errno
from collections import Counter

import numpy as np
import pytest

from c1m.engine.contract import EventBatch
from c1m.results.record import RunRecord
from c1m.scenarios.asks import Pause, Say
from c1m.scenarios.conversation import Talk, Talking
from generator_runs import SECOND, TICK_NS, Engine, Run, slots_of

MS = 1_000_000
DELAY_NS = 5 * MS


def after(delay_ns: int):  # type: ignore[no-untyped-def]
    """A server that takes so long for each reply."""
    return lambda slot, data, now: now + delay_ns


def stage_of(record: RunRecord, name: str):  # type: ignore[no-untyped-def]
    """The first stage of this name."""
    return next(stage for stage in record.stages if stage.name == name)


# --- open loop --------------------------------------------------------------------------------


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
@pytest.mark.parametrize(("asked", "due"), [("100/s", 200), ("50/s..150/s", 200), ("7/m", 1)])
def test_every_arrival_is_sent_by_its_schedule(arrivals: str, asked: str, due: int) -> None:
    run = Run(["ramp 50", f"hold for 2s at {asked}"], when=after(DELAY_NS), arrivals=arrivals)
    record = run.record()
    requests = stage_of(record, "hold").requests
    if arrivals == "constant":
        assert requests.due == due
    assert requests.due == requests.sent + requests.unsent
    assert requests.unsent == 0 and requests.right == requests.sent
    assert requests.late == 0
    assert record.verdict.complete


def test_constant_arrivals_are_sent_when_they_are_due() -> None:
    run = Run(["ramp 5", "hold for 1s at 10/s"], when=after(DELAY_NS))
    hold = run.record().phases[1]
    begun = run.generator.start_ns + round(hold.start_s * 1e9)
    sent = [when - begun for when, _, data in run.engine.sent if b" 0;" not in data]
    assert np.abs(np.array(sent) - np.arange(10) * SECOND // 10).max() <= TICK_NS


def test_a_low_rate_sleeps() -> None:
    run = Run(["ramp 5", "hold for 60s at 1/s"])
    record = run.record()
    assert record.requests.sent == 60
    assert run.engine.waits < 60 * 1000 // 50 + 5 * 60 + 50


def test_a_hold_without_load_sleeps() -> None:
    run = Run(["ramp 5", "hold for 60s"])
    run.record()
    assert run.engine.waits < 60 * 1000 // 50 + 50


def test_latency_counts_from_when_a_request_was_due() -> None:
    run = Run(["ramp 50", "hold for 2s at 100/s"], when=after(DELAY_NS))
    latencies = run.record().latencies
    for name in ("request", "uncorrected"):
        assert (
            DELAY_NS <= latencies[name].min_ns <= latencies[name].max_ns <= DELAY_NS + 3 * TICK_NS
        )


def test_a_server_that_freezes_is_told_by_the_corrected_latencies_only() -> None:
    """One connection, 100/s, 10 s; the server freezes from 4 s to 5.4 s after the hold began."""

    def when(slot: int, data: bytes, now: int) -> int:
        if run.phase != "hold":
            return now
        begun = run.generator.phases[-1].start_ns
        begin, end = begun + 4 * SECOND, begun + 5_400 * MS
        return end if begin <= now < end else now + MS

    run = Run(["ramp 1", "hold for 10s at 100/s"], when=when, timeout_ns=10 * SECOND)
    record = run.record()
    requests = record.requests
    assert (requests.due, requests.right, requests.unsent) == (1000, 1000, 0)
    corrected, uncorrected = record.latencies["request"], record.latencies["uncorrected"]
    assert abs(corrected.max_ns - 1_400 * MS) < 2 * MS
    assert abs(uncorrected.max_ns - 1_400 * MS) < 2 * MS
    # 140 were due while it froze, one of them was sent then. The others go out one by one, each a
    # millisecond after the last, and wait the less the later they were due.
    assert 150 <= requests.waited <= 160
    assert corrected.percentiles_ns["p99"] > 1_200 * MS
    assert uncorrected.percentiles_ns["p99"] < 2 * MS
    assert requests.late == 0, "it was the connection that was behind, not the generator"


def test_the_generator_behind_its_schedule_is_counted_as_late() -> None:
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if (
            not is_done
            and run.phase == "hold"
            and run.generator.recorder.groups[-1].requests.sent >= 100
        ):
            is_done = True
            engine.clock.advance(500 * MS)  # somebody else had the processor
        return None

    run = Run(["ramp 100", "hold for 2s at 100/s"], script, after(DELAY_NS))
    record = run.record()
    assert (record.requests.due, record.requests.unsent) == (200, 0)
    # Due in the half second but for its last 10 ms; those that met a connection twice waited.
    assert 30 <= record.requests.late <= 49
    assert 495 * MS <= record.limit.schedule_lag.max_ns <= 505 * MS


@pytest.mark.parametrize("pipeline", [1, 3])
def test_a_connection_has_no_more_in_flight_than_it_may(pipeline: int) -> None:
    most = 0

    def script(engine: Engine) -> EventBatch | None:
        nonlocal most
        in_flight = Counter(slot for _, _, slot, _ in engine._replies)
        in_flight.update(slot for slot, _ in engine.sends)
        most = max([most, *in_flight.values()])
        return None

    run = Run(["ramp 4", "hold for 1s at 2k/s"], script, after(20 * MS), pipeline=pipeline)
    record = run.record()
    requests = record.requests
    assert most == pipeline
    assert requests.due == 2000 and requests.sent + requests.unsent == 2000
    # 4 connections with a reply in 20 ms carry 200/s each in flight; grace gives them 1 s more.
    assert abs(requests.sent - 400 * pipeline) <= 10 * pipeline
    assert requests.right == requests.sent
    assert requests.waited > 0


def test_arrivals_while_nothing_is_open_are_unsent() -> None:
    run = Run(["hold 10 for 1s at 100/s"], timeout_ns=10 * SECOND)
    run.engine.stuck = lambda slot: True
    record = run.record()
    requests = record.requests
    assert (requests.due, requests.sent, requests.unsent) == (100, 0, 100)


def test_what_waits_on_a_connection_that_is_lost_is_unsent() -> None:
    is_done = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal is_done
        if is_done or run.phase != "hold" or run.generator.traffic.waiting < 30:
            return None
        is_done = True
        return engine.lose([0, 1], errno.ECONNRESET)

    run = Run(
        ["ramp 2", "hold for 1s at 100/s"], script, lambda slot, data, now: None
        if run.phase == "hold" else now,
    )  # fmt: skip
    record = run.record()
    requests = record.requests
    assert (requests.due, requests.sent, requests.missing) == (100, 2, 2)
    assert requests.unsent == 98


def test_zipf_asks_the_first_connections_most() -> None:
    run = Run(
        ["ramp 100", "hold for 5s at 1k/s"], spread="zipf", capacity=200, timeout_ns=10 * SECOND
    )
    run.record()
    asked = Counter(slot for _, slot, data in run.engine.sent if b" 0;" not in data)
    top = [count for _, count in asked.most_common(3)]
    total = sum(asked.values())
    harmonic = float((1 / np.arange(1, 101)).sum())
    for rank, count in enumerate(top, 1):
        assert abs(count / total - 1 / rank / harmonic) < 0.02


# --- closed loop ------------------------------------------------------------------------------


def test_a_closed_loop_asks_again_at_once() -> None:
    run = Run(["ramp 10", "hold for 1s think 0s"], when=after(DELAY_NS))
    record = run.record()
    requests = record.requests
    assert requests.due == requests.sent == requests.right
    assert abs(requests.sent - 10 * SECOND // DELAY_NS) <= 20
    assert requests.waited == requests.late == requests.unsent == 0


def test_a_closed_loop_fills_the_pipeline() -> None:
    run = Run(["ramp 10", "hold for 1s think 0s"], when=after(DELAY_NS), pipeline=4)
    requests = run.record().requests
    assert requests.right == requests.sent
    assert abs(requests.sent - 4 * 10 * SECOND // DELAY_NS) <= 80


@pytest.mark.parametrize("pipeline", [1, 4])
def test_think_time_is_kept_between_a_reply_and_the_next_request(pipeline: int) -> None:
    run = Run(["ramp 10", "hold for 4s think 200ms"], when=after(DELAY_NS), pipeline=pipeline)
    record = run.record()
    per_connection = 4 * SECOND / (200 * MS + DELAY_NS)
    assert abs(record.requests.sent - 10 * per_connection) <= 10
    for slot in range(10):
        times = [when for when, s, data in run.engine.sent if s == slot and b" 0;" not in data]
        gaps = np.diff(times)
        assert np.abs(gaps - 200 * MS - DELAY_NS).max() <= MS
    # Not all at once: as if they had been at it before.
    firsts = [
        next(w for w, s, d in run.engine.sent if s == slot and b" 0;" not in d)
        for slot in range(10)
    ]
    assert max(firsts) - min(firsts) > 20 * MS


def test_connections_that_open_in_a_closed_loop_join_it() -> None:
    run = Run(["hold 10 for 4s think 200ms"], when=after(DELAY_NS))
    record = run.record()
    assert record.first.right == 10
    assert abs(record.requests.sent - 10 * 3.8 / 0.205) <= 20


def test_churn_does_not_double_who_thinks() -> None:
    run = Run(["ramp 10", "hold for 6s think 400ms churn 20/s"], when=after(DELAY_NS))
    record = run.record()
    assert record.connections.closed >= 100
    # Every connection at most once in 405 ms, each of its first requests apart.
    assert record.requests.sent <= 10 * 6 / 0.405


def test_a_closed_loop_goes_on_after_a_reply_was_given_up() -> None:
    def when(slot: int, data: bytes, now: int) -> int | None:
        return None if data == b"no 3 5;" else now + DELAY_NS

    run = Run(["ramp 10", "hold for 4s think 0s"], when=when, timeout_ns=SECOND)
    record = run.record()
    assert record.requests.missing == 1
    asked = [data for _, slot, data in run.engine.sent if data.startswith(b"no 3 ")]
    assert len(asked) > 100


@pytest.mark.parametrize("think_ms", [0, 50])
def test_a_pause_within_a_talk_is_added_to_the_think_time_of_its_connection(think_ms: int) -> None:
    def talk(n: int) -> Talk:
        for turn in range(2):
            yield Say(b"%d/%d;" % (n, turn), expect=b"%d/%d;" % (n, turn))
            if turn:
                yield Pause(0.07 * (n % 3))

    stages = ["ramp 6", f"hold for 3s think {think_ms}ms"]
    scenario = Talking(talk)
    run = Run(stages, when=after(DELAY_NS), scenario=scenario, message=None)
    record = run.record()
    assert record.verdict.complete and record.requests.late == 0
    for slot in range(6):
        turns = [(when, data[-2:] == b"1;") for when, s, data in run.engine.sent if s == slot][2:]
        times, is_last = np.array(turns).T
        expected = think_ms * MS + DELAY_NS + np.where(is_last[:-1], 70 * (slot % 3) * MS, 0)
        assert len(times) > 10 and np.abs(np.diff(times) - expected).max() <= MS


def test_a_schedule_passes_over_pauses() -> None:
    def talk(n: int) -> Talk:
        yield Say(b"a;", expect=b"a;")
        yield Pause(30)

    run = Run(["ramp 5", "hold for 2s at 100/s"], when=after(DELAY_NS), scenario=Talking(talk))
    assert run.record().requests.right == 200


# --- stages together --------------------------------------------------------------------------


def test_each_stage_has_its_own_requests_and_the_run_all() -> None:
    steps = "steps 10/s..30/s by 10/s every 1s"
    run = Run(
        ["ramp 20", "hold for 1s at 50/s", "hold for 1s at 80/s", steps], when=after(DELAY_NS)
    )
    record = run.record()
    assert [stage.requests.due for stage in record.stages] == [0, 50, 80, 10, 20, 30]
    assert record.requests.due == 190
    assert record.latencies["request"].count == 190
    assert sum(stage.latency.count for stage in record.stages) == 190
    assert record.limit.who != "unknown"


def test_a_request_answered_in_a_later_stage_counts_for_its_own() -> None:
    run = Run(["ramp 5", "hold for 1s at 20/s", "hold for 2s"], when=after(900 * MS))
    record = run.record()
    hold, after_it = record.stages[1:]
    assert hold.requests.right == hold.requests.sent == 20 - hold.requests.unsent > 10
    assert record.latencies["uncorrected"].max_ns > 890 * MS
    assert after_it.requests.due == 0


def test_a_stage_of_no_connections_passes_its_time() -> None:
    run = Run(["ramp 5", "drain", "hold for 3s", "ramp 5", "hold for 1s at 10/s"])
    record = run.record()
    assert record.phases[2].end_s - record.phases[2].start_s >= 3
    assert record.requests.right == 10
    assert (record.connections.opened, record.connections.closed) == (10, 5)


@pytest.mark.parametrize("options", [{"awake_ns": 300_000}, {"spin": True}])
def test_a_request_is_made_before_it_is_due_and_goes_out_when_it_is(
    options: dict[str, int],
) -> None:
    """What is prepared is sent once, on time, and counted once, also where connections end."""
    ended = False

    def script(engine: Engine) -> EventBatch | None:
        nonlocal ended
        if not ended and run.phase == "hold" and run.generator.traffic._ready is not None:
            ended = True  # just the connection whose request waits to be handed over
            slot = run.generator.traffic._ready[2]
            engine.open.discard(slot)
            return EventBatch(closed=slots_of([slot]), closed_errnos=slots_of([errno.ECONNRESET]))
        return None

    run = Run(["ramp 4", "hold for 20ms at 500/s"], script, after(MS), **options)  # type: ignore[arg-type]
    record = run.record()
    assert ended
    assert (record.requests.due, record.requests.sent, record.requests.missing) == (10, 10, 1)
    assert record.requests.right == 9
    assert record.limit.schedule_lag.max_ns <= 20_000
    assert record.requests.late == record.requests.waited == 0
