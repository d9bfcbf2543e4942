"""The record of a run: what is put where, and what of it belongs together."""

from __future__ import annotations

import pytest

from c1m.results.record import EXTRA_KINDS, RunRecord
from c1m.results.thresholds import parse
from generator_runs import SECOND, Engine, Run

MS = 1_000_000


def doubling(run_of: list[Run], phases: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """A script: in these phases every reply comes twice."""

    def script(engine: Engine) -> None:
        if run_of and run_of[0].phase in phases:
            engine.sends.extend(list(engine.sends))

    return script


@pytest.mark.parametrize("phases", [("hold",), ("spike",), ("hold", "spike")])
def test_replies_beyond_those_due_belong_to_the_stage_in_which_they_came(
    phases: tuple[str, ...],
) -> None:
    runs: list[Run] = []
    stages = ["ramp 5", "hold for 1s at 10/s", "spike for 1s at 20/s"]
    runs.append(Run(stages, doubling(runs, phases)))
    record = runs[0].record()
    due = {"ramp": 0, "hold": 10, "spike": 20}
    for stage in record.stages:
        expected = due[stage.name] if stage.name in phases else 0
        assert stage.requests.faults.get("doubled", 0) == expected
        assert stage.requests.right == due[stage.name]
    assert sum(record.requests.faults.values()) == sum(due[p] for p in phases)
    assert not record.verdict.complete


def test_what_comes_after_the_last_stage_belongs_to_it() -> None:
    def when(slot: int, data: bytes, now: int) -> int:
        return now + 800 * MS if data.endswith(b" 1;") else now

    run = Run(["ramp 5", "hold for 1s at 5/s"], when=when, timeout_ns=SECOND)
    record = run.record()
    assert record.stages[-1].requests.right == record.requests.right == record.requests.sent


def test_faults_tell_when_and_where() -> None:
    def when(slot: int, data: bytes, now: int) -> int | None:
        return None if slot == 3 and data != b"no 3 0;" else now

    run = Run(["ramp 5", "hold for 1s", "stampede"], when=when, timeout_ns=SECOND)
    (fault,) = run.record().faults
    assert (fault.kind, fault.connection, fault.seq) == ("missing", 3, 1)
    assert fault.expected == repr(b"no 3 1;") and fault.received == repr(b"")
    assert 2 <= fault.t_s < 2.3, "when it was given up"
    assert fault.kind not in EXTRA_KINDS


def test_the_record_survives_its_file_form() -> None:
    run = Run(["ramp 5", "hold for 1s at 50/s churn 5/s", "storm", "stampede", "drain"])
    record = run.record()
    assert RunRecord.from_json(record.to_json()) == record
    assert parse("p50 < 1s").metric


def test_an_open_loop_is_told_from_none() -> None:
    assert Run(["ramp 5", "hold for 1s"]).record().limit.who == "unknown"
    limit = Run(["ramp 5", "hold for 2s at 100/s"]).record().limit
    assert limit.who != "unknown" and limit.schedule_lag.count == 200


@pytest.mark.parametrize(
    "stages",
    [
        ["ramp 5k", "ramp 10k at 1k/s"],
        ["RAMP 5k", "Ramp 10k at 1k/s"],
        ["steps 5k..10k by 5k every 30s"],
        ["ramp 5k", "hold 5k for 60s churn 100/s"],
        ["hold 5k for 60s churn 100/s", "ramp 10k"],
    ],
)
def test_the_ramp_is_what_the_first_stage_opens(stages: list[str]) -> None:
    """A later ramp at another rate has no knee, nor has what churn opens again."""
    record = Run(stages, capacity=10_100, window=500).record()
    assert record.connections.opened > 9_000
    assert len(record.ramp.per_1000_s) == 5 and record.ramp.seconds < 1
    assert record.explanations == []


def test_half_a_request_is_no_request_in_the_record_nor_before() -> None:
    """`Run.record` compares the series and the last snapshot with the record."""
    run = Run(["ramp 40", "hold for 2s"], scenario="half-open", message=None, timeout_ns=SECOND)
    record = run.record()
    assert record.all_requests.bad == sum(record.series.bad) == 0
    assert {snapshot.requests.bad for snapshot in run.seen} == {0}
    assert not record.verdict.complete and "ended 0 of 40" in record.verdict.shortfalls[0]
