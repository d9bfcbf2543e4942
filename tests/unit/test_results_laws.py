"""The laws of a record's requests, and what the verdict says about them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.results.options import LoadOptions
from c1m.results.record import (
    EXTRA_KINDS,
    REQUEST_COUNTS,
    WRONG_KINDS,
    Connections,
    FanOut,
    Requests,
    RunRecord,
    StageResult,
)
from c1m.results.verdict import judge
from laws import broken_laws

FIRST = Requests(
    due=100, sent=90, right=80, wrong=6, missing=4, unsent=10, waited=7, late=2,
    faults={"garbled": 1, "crossed": 2, "reordered": 3, "doubled": 5, "late": 1},
)  # fmt: skip
SECOND = Requests(due=50, sent=50, right=50, faults={"unasked": 1})
WHOLE = Requests(
    due=150, sent=140, right=130, wrong=6, missing=4, unsent=10, waited=7, late=2,
    faults={**FIRST.faults, "unasked": 1},
)  # fmt: skip
RECORD = RunRecord(
    requests=WHOLE,
    stages=[StageResult("ramp", requests=FIRST), StageResult("hold", requests=SECOND)],
)


def test_a_sound_record_breaks_no_law() -> None:
    assert broken_laws(RECORD) == []
    assert broken_laws(replace(RECORD, stages=[])) == []  # a record without stages
    sound = FanOut(published=2, expected=20, received=15)
    assert broken_laws(replace(RECORD, fan_out=sound)) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (replace(WHOLE, due=151), "all stages: due is 151, not sent 140 + unsent 10"),
        (replace(WHOLE, right=129, missing=4), "sent is 140, not right 129"),
        (
            replace(WHOLE, faults={"crossed": 2}),
            "wrong is 6, not garbled 0 + crossed 2",
        ),
        (replace(WHOLE, faults={**WHOLE.faults, "odd": 0}), "there is no fault of kind 'odd'"),
        (replace(WHOLE, waited=141), "waited 141 is above sent 140"),
        (replace(WHOLE, late=3), "late of all stages is 3, but the stages add up to 2"),
        (replace(WHOLE, faults={**WHOLE.faults, "doubled": 4}), "doubled replies of all stages"),
        (replace(WHOLE, due=130, unsent=-10), "unsent is -10, below 0"),
    ],
)
def test_each_law_of_requests_is_held(wrong: Requests, says: str) -> None:
    broken = broken_laws(replace(RECORD, requests=wrong))
    assert any(says in one for one in broken), broken


def test_a_stage_breaks_its_own_laws() -> None:
    stages = [RECORD.stages[0], replace(RECORD.stages[1], requests=replace(SECOND, right=49))]
    broken = broken_laws(replace(RECORD, stages=stages))
    assert "stage 2 (hold): sent is 50, not right 49 + wrong 0 + missing 0" in broken


def test_the_laws_of_fan_out_and_of_ready() -> None:
    fan_out = FanOut(expected=10, received=11)
    (broken,) = broken_laws(replace(RECORD, fan_out=fan_out))
    assert broken == "fan-out: received 11 is above expected 10"
    connections = Connections(attempted=1, opened=1, peak_open=1, open_at_end=1, ready=2)
    assert broken_laws(RunRecord(connections=connections)) == ["ready 2 is above opened 1"]


counts = st.integers(0, 10**9)
faults = st.dictionaries(st.sampled_from([*WRONG_KINDS, *EXTRA_KINDS]), counts)
parts = st.tuples(counts, counts, counts, faults)


def made(right: int, missing: int, unsent: int, faults: dict[str, int]) -> Requests:
    wrong = sum(faults.get(kind, 0) for kind in WRONG_KINDS)
    sent = right + wrong + missing
    return Requests(sent + unsent, sent, right, wrong, missing, unsent, faults=faults)


@given(st.lists(parts, max_size=5), st.sampled_from(list(REQUEST_COUNTS)), st.integers(1, 3))
def test_stages_that_add_up_break_no_law_and_any_change_of_one_does(
    drawn: list[tuple[int, int, int, dict[str, int]]], name: str, more: int
) -> None:
    stages = [StageResult("hold", requests=made(*one)) for one in drawn]
    kinds = {kind for _, _, _, faults in drawn for kind in faults}
    whole = made(
        sum(right for right, _, _, _ in drawn),
        sum(missing for _, missing, _, _ in drawn),
        sum(unsent for _, _, unsent, _ in drawn),
        {kind: sum(one[3].get(kind, 0) for one in drawn) for kind in kinds},
    )
    record = RunRecord(requests=whole, stages=stages)
    assert broken_laws(record) == []
    changed = replace(whole, **{name: getattr(whole, name) + more})
    if stages or name not in ("waited", "repeated"):
        assert broken_laws(replace(record, requests=changed))


OPENED = RunRecord(
    asked=LoadOptions(connections=10),
    connections=Connections(attempted=10, opened=10, peak_open=10, open_at_end=10),
)


def test_the_verdict_names_what_is_wrong_with_requests() -> None:
    verdict = judge(replace(OPENED, requests=WHOLE))
    assert not verdict.complete
    wrong, missing, unsent, extra = verdict.shortfalls
    assert wrong.startswith("6 of 140 replies were wrong: 1 garbled (bytes that are not the reply)")
    assert "2 crossed" in wrong and "3 reordered" in wrong
    assert missing == "4 of 140 requests had no reply."
    assert extra.startswith("7 replies came beyond those due: 5 doubled")
    assert unsent == "10 of 150 requests that were due were not sent."
    right = replace(SECOND, faults={"doubled": 0})
    assert judge(replace(OPENED, requests=right)).complete
    assert not judge(replace(OPENED, requests=SECOND)).complete  # one nobody asked for


def test_late_and_waiting_requests_are_no_shortfall() -> None:
    slow = Requests(due=9, sent=9, right=9, waited=9, late=9)  # results/verdict.py judges these
    assert judge(replace(OPENED, requests=slow)).complete


def test_the_verdict_on_a_fan_out() -> None:
    whole = FanOut(published=3, expected=30, received=30)
    assert judge(replace(OPENED, fan_out=whole)).complete
    short = replace(whole, received=28, doubled=2, garbled=1)
    reach, doubled, garbled = judge(replace(OPENED, fan_out=short)).shortfalls
    assert reach == "Publications reached 28 of 30 receivers: 2 are missing."
    assert doubled == "2 publications came more than once."
    assert garbled == "1 publications came garbled."


def test_connections_that_the_plan_closes_are_no_shortfall_but_failed_ones_are() -> None:
    churned = Connections(attempted=15, opened=15, peak_open=10, open_at_end=10, closed=5)
    stages = [StageResult("stampede", requests=Requests(10, 10, 10))]
    record = replace(OPENED, connections=churned, stages=stages)
    assert judge(record).complete
    failed = replace(churned, attempted=17, refused=1, unfinished=1)
    (says,) = judge(replace(record, connections=failed)).shortfalls
    assert says.startswith("1 of 17 connects failed: 1 refused")
