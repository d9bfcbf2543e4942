"""Offsets of clocks from questions and answers; stages of a part that comes late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.cluster.clocks import DRIFT_PPM_MAX, Offset
from c1m.cluster.cues import Cues, rest_of
from c1m.cluster.part import Order
from c1m.loadgen.stages import Stage, parse_stages
from c1m.results.options import LoadOptions

MS, S = 1_000_000, 1_000_000_000


@given(
    st.integers(-(10**15), 10**15),
    st.integers(-DRIFT_PPM_MAX, DRIFT_PPM_MAX),
    st.lists(st.tuples(st.integers(0, 60 * S), st.integers(0, S), st.integers(0, S)), min_size=1),
)
def test_the_offset_is_within_its_bounds(
    offset: int, ppm: int, answers: list[tuple[int, int, int]]
) -> None:
    found, now = Offset(), 0
    for pause, there, back in answers:
        now += pause
        given_ns = now + there
        found.hear(now, given_ns + offset + given_ns * ppm // 1_000_000, given_ns + back)
        now += there + back
        true = offset + now * ppm // 1_000_000
        # A drift is between the answer and now, too; what is rounded is a few ns.
        assert abs(found.offset_ns - true) <= found.uncertain_ns(now + there + back + S) + 4
        assert found.restarts == 0


def test_the_quickest_way_there_and_the_quickest_back_count() -> None:
    found = Offset()
    found.hear(0, 1 * MS + 500, 11 * MS)  # quick there, slow back
    assert found.uncertain_ns(11 * MS) == pytest.approx(5_500_000, rel=0.001)
    found.hear(20 * MS, 30 * MS + 500, 31 * MS)  # slow there, quick back
    assert found.uncertain_ns(31 * MS) <= 1_010_000
    assert abs(found.offset_ns - 500) <= 1_010_000


def test_an_uncertainty_grows_while_nobody_is_asked() -> None:
    found = Offset()
    found.hear(0, 0, 2 * MS)
    assert found.uncertain_ns(2 * MS) == pytest.approx(1 * MS, rel=0.001)
    assert found.uncertain_ns(2 * MS + 10 * S) == pytest.approx(2 * MS, rel=0.001)


def test_a_clock_that_jumps_is_believed_from_then_on() -> None:
    found = Offset()
    found.hear(0, 0, MS)
    found.hear(S, 100 * S, S + MS)
    assert (found.restarts, found.offset_ns) == (1, 99 * S - MS // 2)
    assert found.moved_ns == 99 * S


PLAN = parse_stages(
    ["ramp 100 at 50/s", "hold for 10s at 10/s..30/s", "ramp 200", "hold for 10s"], LoadOptions()
)


def done_by(*orders: Order) -> list[Stage]:
    cues = Cues()
    for order in orders:
        cues.take(order)
    return [cues.stage(number, stage) for number, stage in enumerate(PLAN)]


def test_who_is_there_from_the_beginning_does_all() -> None:
    cues = Cues()
    cues.take(Order("begin", 0, 5))
    assert (cues.start_ns, cues.first, cues.begins(0), cues.begins(1)) == (5, 0, 5, None)
    assert done_by(*(Order("begin", n, 5) for n in range(4))) == PLAN


def test_who_joins_opens_what_the_others_have_and_does_the_rest() -> None:
    ramp, hold, *_ = done_by(Order("join", 1, 5), Order("begin", 1, 8 * S, 13 * S))
    assert (ramp.name, ramp.connections_from, ramp.connections_to) == ("ramp", 0, 100)
    assert (ramp.connect_rate, ramp.has_load) == (50, False)
    assert (hold.duration_ns, hold.rate_from, hold.rate_to) == (5 * S, 20, 30)


def test_what_is_over_before_the_others_are_met_is_left_out() -> None:
    found = done_by(Order("join", 3, 5))
    assert [stage.connections_to for stage in found] == [0, 0, 200, 200]
    assert not any(stage.has_load or stage.duration_ns for stage in found)


def test_a_stage_that_went_by_is_left_out_too() -> None:
    cues = Cues()
    cues.take(Order("join", 1, 5))
    assert [cues.begins(number) for number in range(3)] == [0, None, None]
    cues.take(Order("begin", 3, 9))
    assert [cues.begins(number) for number in range(5)] == [0, 0, 0, 9, None]
    assert cues.stage(1, PLAN[1]).connections_to == 100


@pytest.mark.parametrize("left_ns", [1, 4 * S, 10 * S, 20 * S])
def test_the_rest_of_a_stage_ends_as_the_whole_does(left_ns: int) -> None:
    rest = rest_of(PLAN[1], left_ns)
    assert rest.duration_ns == min(left_ns, 10 * S)
    assert rest.rate_to == 30
