"""From options to a plan: which stages come of them, and what is refused before that."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.errors import UsageError
from c1m.loadgen.arrivals import parse_spread
from c1m.loadgen.plan import IN_FLIGHT_MAX, make_plan
from c1m.results.options import checked
from c1m.scenarios.base import Scenario

SECOND = 1_000_000_000


def plan_of(**given: Any) -> list[tuple[str, int, int]]:
    """Name, from, to of each stage."""
    plan = make_plan(checked({"target": "tcp://127.0.0.1:1"} | given))
    assert plan.asked.stages == [stage.text for stage in plan.stages]
    assert plan.asked.connections == max(stage.connections_to for stage in plan.stages)
    return [(s.name, s.connections_from, s.connections_to) for s in plan.stages]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["ramp", "stampede"]),
        ({"hold": 1}, ["ramp", "hold", "stampede"]),
        ({"hold": 1, "rate": 5.0}, ["ramp", "hold"]),
        ({"hold": 1, "think": 0}, ["ramp", "hold"]),
        ({"hold": 1, "churn": 5.0}, ["ramp", "hold"]),
        ({"scenario": "hold"}, ["ramp"]),
        ({"scenario": "reconnect-storm", "hold": 1}, ["ramp", "hold", "storm", "hold"]),
    ],
)
def test_the_plan_without_stages(given: dict[str, Any], names: list[str]) -> None:
    assert [name for name, _, _ in plan_of(connections=10, **given)] == names


@pytest.mark.parametrize(
    ("first", "has_ramp"),
    [
        ("ramp 10", False), (" Ramp 10 in 1s", False), ("hold 10 for 1s", False),
        ("hold for 1s", True), ("steps 5..10 by 5 every 1s", False),
        ("steps 5/s..10/s by 5/s every 1s", True), ("steps 5..10/s by 5 every 1s", True),
        ("stampede", True), ("storm 50%", True), ("spike for 1s", True), ("drain", True),
    ],
)  # fmt: skip
def test_connections_beside_stages_are_opened_first(first: str, has_ramp: bool) -> None:
    stages = plan_of(connections=10, stages=[first])
    assert (stages[0] == ("ramp", 0, 10) and len(stages) > 1) == has_ramp
    assert max(to for _, _, to in stages) == 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"connections": 0}, "0 is too small for connections. Give 1 to"),
        ({"connections": -1}, "-1 is too small for connections"),
        ({"connections": 10, "rate": float("nan"), "hold": "5ns"}, "rate is nan"),
        ({"connections": 10, "rate": 1e12, "hold": "5ns"}, "carry at most"),
        ({"connections": 10, "rate": -1.0, "hold": "5ns"}, "too small for rate"),
        ({"connections": 10, "hold": -5}, "too small for hold"),
        ({"connections": 10, "think": -5, "hold": "5ns"}, "too small for think"),
        ({"connections": 10, "timeout": 0}, "0 is too small for timeout. Give 1 ns to"),
        ({"connections": 10, "connect_window": 0}, "too small for connect_window"),
        ({"connections": 10, "pipeline": 0}, "too small for pipeline"),
        ({"connections": 10**6, "pipeline": 1000}, "Use a pipeline of 100"),
        ({"connections": 10, "arrivals": "x"}, "arrivals is 'x'. Use constant or poisson"),
        ({"connections": 10, "stages": ["ramp 20"]}, "go up to 20"),
        ({"stages": ["drain"]}, "opens no connection"),
        ({"connections": 10, "engine": "nope"}, "There is no engine 'nope'. Choose one of auto"),
    ],
)
def test_what_cannot_be_done_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        plan_of(**given)
    assert re.search(said, str(raised.value)), raised.value


def test_a_scenario_is_not_begun_for_more_than_fit() -> None:
    class Columns(Scenario):
        def begin(self, connections: int, seed: int) -> None:
            raise AssertionError("it would make its columns")

    with pytest.raises(UsageError, match="can hold about"):
        plan_of(connections=2**31 - 1, scenario=Columns())


def test_what_is_kept_of_requests_in_flight_fits_in_memory() -> None:
    assert IN_FLIGHT_MAX * 17 < 2 << 30


@given(st.text(alphabet="zipfuniorm:.0123456789- ", max_size=12))
def test_a_spread_is_uniform_or_an_exponent(text: str) -> None:
    try:
        exponent = parse_spread(text)
    except UsageError as error:
        assert repr(text) in error.message
        return
    assert exponent is None if text == "uniform" else exponent is not None and exponent > 0


@pytest.mark.parametrize(
    ("given", "assumed"),
    [
        ({}, "10 connections, for 10 s, each asks again as soon as it has its reply"),
        ({"rate": 100}, "10 connections, for 10 s"),
        ({"connections": 100, "rate": 100}, "for 10 s"),
        ({"connections": 100, "churn": 1, "hold": "5s"}, ""),
        ({"connections": 100}, ""),  # open, and ask once more
        ({"connections": 100, "hold": "5s"}, ""),
        ({"hold": "5s", "scenario": "hold"}, "10 connections"),
        ({"scenario": "half-open"}, "10 connections, for 10 s"),
        ({"scenario": "publish"}, "10 connections, for 10 s, one publication a second"),
        ({"stages": ["ramp 10"]}, ""),
        ({"target": "redis://127.0.0.1:1", "connections": 7, "hold": "3s"},
         "each asks again as soon as it has its reply"),
        ({"target": "ws://127.0.0.1:1/", "scenario": "publish", "connections": 7},
         "for 10 s, one publication a second"),
    ],
)  # fmt: skip
def test_what_is_assumed_is_said(given: dict[str, Any], assumed: str) -> None:
    plan = make_plan(checked({"target": "tcp://127.0.0.1:1"} | given))
    assert plan.assumed == assumed
    if "scenario" in given:
        is_publish = given["scenario"] == "publish"
        asked = (plan.asked.rate_per_s, plan.asked.think_ns)
        assert asked == ((1.0, None) if is_publish else (None, None))
