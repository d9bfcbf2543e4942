"""Stages: every form that is documented, and a clear sentence for everything else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.errors import UsageError
from c1m.loadgen.stages import (
    STAGES_MAX,
    Stage,
    most_connections,
    parse_stages,
    simple_stages,
)
from c1m.results.options import LoadOptions

NONE = LoadOptions()
M = 1_000_000
S = 1_000_000_000


def one(text: str, *before: str, options: LoadOptions = NONE) -> Stage:
    """The last stage of a plan."""
    return parse_stages([*before, text], options)[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ramp 0..1M in 60s", {"connections_to": M, "duration_ns": 60 * S}),
        ("ramp 1M", {"connections_to": M, "duration_ns": None, "connect_rate": None}),
        ("RAMP 1M AT 20k/s", {"connections_to": M, "connect_rate": 20_000}),
        (
            "ramp 10 .. 20 in 1m",
            {"connections_from": 10, "connections_to": 20, "duration_ns": 60 * S},
        ),
        (
            "hold 1M for 5m at 50k/s",
            {"duration_ns": 300 * S, "rate_from": 50_000, "rate_to": 50_000},
        ),
        ("hold for 1h", {"connections_to": 10, "duration_ns": 3600 * S, "rate_from": None}),
        ("hold for 30s at 10k/s..50k/s", {"rate_from": 10_000, "rate_to": 50_000}),
        ("hold for 30s at 10k..50k/s", {"rate_from": 10_000, "rate_to": 50_000}),
        ("hold for 30s at 600..60/m", {"rate_from": 10, "rate_to": 1}),
        ("hold for 30s think 1s", {"think_ns": S, "rate_from": None}),
        ("hold for 30s think 0s", {"think_ns": 0}),
        ("hold for 30s churn 5k/s", {"churn_rate": 5_000, "rate_from": None}),
        ("hold for 30s at 5/s churn 2/s", {"churn_rate": 2, "rate_from": 5}),
        ("hold 500ms for 1s", None),
        ("spike 50k for 10s", {"connections_from": 50_000, "connections_to": 10}),
        ("spike for 10s at 50/s", {"name": "spike", "connections_to": 10, "rate_from": 50}),
        ("drain to 2 in 10s", {"connections_from": 10, "connections_to": 2, "duration_ns": 10 * S}),
        ("drain", {"connections_to": 0, "duration_ns": None}),
        ("drain in 5s", {"connections_to": 0, "duration_ns": 5 * S}),
        ("stampede", {"connections_from": 10, "connections_to": 10}),
        ("storm", {"share": 1, "connections_to": 10}),
        ("storm 50%", {"share": 0.5}),
        ("storm 0.5%", {"share": 0.005}),
    ],
)
def test_a_form(text: str, expected: dict[str, object] | None) -> None:
    before = () if text.lower().startswith(("ramp 0", "ramp 1m")) else ("ramp 10",)
    if expected is None:
        with pytest.raises(UsageError):
            one(text, *before)
        return
    stage = one(text, *before)
    assert {name: getattr(stage, name) for name in expected} == expected


def test_steps_of_connections() -> None:
    stages = parse_stages(["steps 10k..50k by 15k every 30s at 5k/s"], NONE)
    assert [(s.connections_from, s.connections_to) for s in stages] == [
        (0, 10_000), (10_000, 25_000), (25_000, 40_000),
    ]  # fmt: skip
    assert {(s.name, s.duration_ns, s.rate_from, s.rate_to) for s in stages} == {
        ("step", 30 * S, 5_000, 5_000)
    }


def test_steps_of_rates() -> None:
    for text in ("steps 10k/s..50k/s by 10k/s every 30s", "steps 10k..50k/s by 10k every 30s"):
        stages = parse_stages(["ramp 100", text], NONE)[1:]
        assert [s.rate_from for s in stages] == [10_000, 20_000, 30_000, 40_000, 50_000]
        assert {s.connections_to for s in stages} == {100}


def test_a_spike_comes_back_to_what_was_before() -> None:
    ramp, spike, back = parse_stages(["ramp 10", "spike 50 for 10s at 200/s"], NONE)
    assert (spike.connections_from, spike.connections_to, spike.duration_ns) == (10, 50, 10 * S)
    assert (back.name, back.connections_from, back.connections_to) == ("drain", 50, 10)
    assert most_connections([ramp, spike, back]) == 50


def test_each_stage_begins_where_the_last_one_ended() -> None:
    texts = ["ramp 10", "steps 20..40 by 10 every 1s", "spike 90 for 1s", "drain to 5", "storm",
             "ramp 50 in 1s", "hold 60 for 1s", "stampede", "drain"]  # fmt: skip
    stages = parse_stages(texts, NONE)
    ends = [s.connections_to for s in stages]
    assert [s.connections_from for s in stages] == [0, *ends[:-1]]
    assert ends == [10, 20, 30, 40, 90, 40, 5, 5, 50, 60, 60, 0]


def test_defaults_are_for_stages_that_do_not_say_it_themselves() -> None:
    options = LoadOptions(connect_rate_per_s=5.0, rate_per_s=7.0, churn_per_s=3.0)
    texts = ["ramp 10", "ramp 20 in 5s", "ramp 30 at 9/s", "hold for 1s", "hold for 1s at 8/s",
             "hold for 1s think 1s churn 2/s", "drain", "ramp 10"]  # fmt: skip
    stages = parse_stages(texts, options)
    assert [s.connect_rate for s in stages] == [5, None, 9, 5, 5, 5, 5, 5]
    assert [s.rate_from for s in stages] == [None, None, None, 7, 8, None, None, None]
    assert [s.think_ns for s in stages] == [None] * 5 + [S, None, None]
    assert [s.churn_rate for s in stages] == [None, None, None, 3, 3, 2, None, None]
    assert one("hold for 1s", "ramp 5", options=LoadOptions(think_ns=0)).think_ns == 0


def test_a_storm_opens_as_fast_as_it_can() -> None:
    assert (
        one("storm 50%", "ramp 10", options=LoadOptions(connect_rate_per_s=5.0)).connect_rate
        is None
    )


@pytest.mark.parametrize(("hold_ns", "stampede", "storm", "names"), [
    (0, True, False, ["ramp", "stampede"]),
    (0, False, False, ["ramp"]),
    (2 * S, True, False, ["ramp", "hold", "stampede"]),
    (2 * S, False, True, ["ramp", "hold", "storm", "hold"]),
])  # fmt: skip
def test_the_simple_plan(hold_ns: int, stampede: bool, storm: bool, names: list[str]) -> None:
    stages = simple_stages(
        LoadOptions(connections=100, hold_ns=hold_ns, connect_rate_per_s=9.0),
        stampede=stampede,
        storm=storm,
    )
    assert [s.name for s in stages] == names
    assert {s.connections_to for s in stages} == {100}
    assert {s.duration_ns for s in stages if s.name == "hold"} <= {hold_ns}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([""], "'' is not a stage"),
        (["go 10"], "'go 10' is not a stage"),
        (["ramp"], "is not a count"),
        (["ramp many"], "is not a count"),
        (["ramp 1.5"], "not a whole number"),
        (["ramp 10..5"], "goes backwards, from 10 to 5"),
        (["ramp 10", "ramp 5"], "goes backwards, from 10 to 5.* write 'drain to 5'"),
        (["ramp 10", "ramp 5..20"], "begins with 5 connections; the plan has 10"),
        (["ramp 10 in 0s"], "takes no time"),
        (["ramp 10 in soon"], "not a duration"),
        (["ramp 10 in 5s at 3/s"], "says twice how fast"),
        (["ramp 10 for 5s"], "'for' is not understood. Write 'ramp COUNT in TIME' or"),
        (["ramp 10 in"], "'in' has no value"),
        (["ramp 10 in 5s in 6s"], "'in' stands twice"),
        (["ramp 10 20"], "'20' is not understood"),
        (["hold"], "does not say how long"),
        (["hold 10"], "does not say how long"),
        (["hold 10 for 0s"], "takes no time"),
        (["hold 10 for 5s at 0/s"], "not above zero"),
        (["hold 10 for 5s at fast"], "not a rate"),
        (["hold 10 for 5s at 5/s.."], "not a rate"),
        (["hold 10 for 5s at 10/s think 1s"], "a rate and a think time"),
        (["hold 10 for 5s think"], "'think' has no value"),
        (["hold 10 for 5s at 2M/s"], "its 10 connections can carry at most 1,000,000/s"),
        (["hold for 5s at 10/s"], "no connection is open then"),
        (["hold for 5s churn 10/s"], "no connection to close and open again"),
        (["steps 10..50 every 5s"], "does not say which steps"),
        (["steps by 10 every 5s"], "does not say which steps"),
        (["steps 50..10 by 10 every 5s"], "goes backwards"),
        (["steps 10..50 by 0 every 5s"], "nowhere"),
        (["steps 10..50 by 10"], "does not say how long"),
        (["steps 10..50 by 10 every 0s"], "takes no time"),
        (["steps 1..50k by 1 every 1s"], "over 200 steps"),
        (["ramp 9", "steps 10/s..50/s by 10/s every 1s at 5/s"], "two rates"),
        (["steps 10/s..50/s by 10/s every 1s"], "no connection is open"),
        (["ramp 100", "steps 10..50 by 10 every 1s"], "goes backwards.* from 100"),
        (["ramp 9", "steps 1/s..5/s by 1/s every 1s think 1s"], "a rate and a think time"),
        (["ramp 10", "spike 5 for 1s"], "goes backwards, from 10"),
        (["spike to 400 for 1s"], "'to' is not understood. Write 'spike COUNT for TIME at RATE'"),
        (["spike 5"], "does not say how long"),
        (["drain to 5"], "goes backwards: the plan has 0"),
        (["ramp 5", "drain 3"], "'3' too much"),
        (["ramp 5", "drain in 0s"], "takes no time"),
        (["ramp 5", "stampede 3"], "'3' too much"),
        (["ramp 5", "stampede in 3s"], "'in' is not understood. Write 'stampede'"),
        (["ramp 5", "storm half"], "'half' where a share stands"),
        (["ramp 5", "storm 0%"], "where a share stands"),
        (["ramp 5", "storm 101%"], "where a share stands"),
        (["steps 1..101 by 1 every 1s", "drain", "steps 1..101 by 1 every 1s"], "203 stages"),
        (["ramp " + "9" * 400], "too large"),
        (["ramp 5", "hold for " + "9" * 400 + "s"], "too large"),
        (["ramp 5", "hold for 1s at " + "9" * 400 + "/s"], "too large"),
    ],
)  # fmt: skip
def test_a_bad_plan_is_told_in_a_sentence(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_stages(texts, NONE)
    assert re.search(said, str(raised.value)), raised.value
    assert str(raised.value).count("\n") == 0
    assert raised.value.message.endswith((".", ";"))


words = st.sampled_from([
    "ramp", "hold", "steps", "spike", "drain", "stampede", "storm", "in", "at", "for", "think",
    "churn", "by", "every", "to", "0", "1", "10", "10k", "1M", "1.5", "-3", "0..10", "10..5",
    "10k..50k", "..", "5..", "..5", "1..2..3", "60s", "0s", "1m", "100ms", "5/s", "0/s", "5/s..9/s",
    "5..9/s", "9/m", "50%", "0%", "200%", "%", "nan", "inf", "1e9", "", "x", "\u00b5", "9" * 30,
    "9" * 400, "/", "/s", "1/", "in60s", "10k/s", "1_0", "1,0", "\u0663",
])  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.lists(words, max_size=8).map(" ".join), min_size=1, max_size=4))
def test_any_words_are_a_plan_or_a_sentence(texts: list[str]) -> None:
    try:
        stages = parse_stages(texts, NONE)
    except UsageError as error:
        assert str(error).count("\n") == 0 and len(error.message) > 10
        return
    assert 1 <= len(stages) <= STAGES_MAX
    now = 0
    for stage in stages:
        assert stage.connections_from == now
        now = stage.connections_to
        assert now >= 0 and 0 < stage.share <= 1
        assert stage.duration_ns is None or stage.duration_ns > 0
        assert not stage.is_timed or stage.duration_ns is not None
        assert stage.think_ns is None or stage.rate_from is None
        assert (stage.rate_from is None) == (stage.rate_to is None)
        assert stage.text


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(10**8, 10**13), st.floats(0, 2))
def test_a_ramp_wants_its_share_of_the_time(
    low: int, high: int, duration_ns: int, share: float
) -> None:
    stage = Stage("ramp", "", low, high, duration_ns)
    count = stage.wanted(round(share * duration_ns))
    assert min(low, high) <= count <= max(low, high)
    assert abs(count - (low + min(share, 1) * (high - low))) <= 1
    assert stage.wanted(0) == low and stage.wanted(duration_ns) == high
