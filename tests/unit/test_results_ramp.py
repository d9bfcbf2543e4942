"""The ramp's steps, against a list of every connection's time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.bounds import RAMP_STEP, RAMP_STRIDE
from c1m.results.ramp import RampTimes
from c1m.results.record import Ramp

batches = st.lists(st.tuples(st.integers(0, 3500), st.integers(0, 10**9)), max_size=12)


def test_nothing_yet() -> None:
    ramp = RampTimes(5)
    assert (ramp.step_seconds(), ramp.step_seconds(RAMP_STRIDE), ramp.last_step_ms()) == (
        [],
        [],
        None,
    )
    assert (ramp.count, ramp.last_ns) == (0, 5)


def test_within_a_batch_they_came_evenly() -> None:
    ramp = RampTimes(0)
    ramp.add(4 * RAMP_STEP, 8_000_000_000)
    assert ramp.step_seconds() == [2.0] * 4
    assert ramp.last_step_ms() == 2000.0


def test_a_batch_of_none_changes_nothing() -> None:
    ramp = RampTimes(0)
    ramp.add(500, 1_000)
    ramp.add(0, 5_000)
    assert (ramp.count, ramp.last_ns) == (500, 1_000)


def test_strides() -> None:
    ramp = RampTimes(0)
    for n in range(1, 2 * RAMP_STRIDE // RAMP_STEP + 2):
        ramp.add(RAMP_STEP, n * 10_000_000)
    assert ramp.step_seconds(RAMP_STRIDE) == pytest.approx([0.5, 0.5])
    assert len(ramp.step_seconds()) == 101


def test_the_ramp_of_a_record() -> None:
    times = RampTimes(0)
    for n in range(125):
        times.add(RAMP_STEP, (n + 1) * 10_000_000)
    times.add(400, 1_300_000_000)
    ramp = times.result()
    assert ramp.per_1000_s == pytest.approx([0.01] * 125)
    assert ramp.per_50000_s == pytest.approx([0.5, 0.5])  # the rest is no whole block
    assert ramp.seconds == 1.3
    assert ramp.connects_per_s == pytest.approx(125_400 / 1.3)
    assert RampTimes(7).result() == Ramp()


@given(st.integers(0, 10**12), batches)
def test_against_the_time_of_each_connection(start_ns: int, steps: list[tuple[int, int]]) -> None:
    ramp = RampTimes(start_ns)
    moments: list[float] = []  # of every single connection
    now = last = start_ns
    for opened, later in steps:
        now += later
        ramp.add(opened, now)
        moments += [last + (i + 1) / opened * (now - last) for i in range(opened)]
        last = now if opened else last
    assert ramp.count == len(moments)
    slow = [start_ns, *moments[RAMP_STEP - 1 :: RAMP_STEP]]
    expected = [(b - a) / 1e9 for a, b in itertools.pairwise(slow)]
    assert ramp.step_seconds() == pytest.approx(expected, abs=1e-5)
    assert all(seconds >= 0 for seconds in ramp.step_seconds())
    if expected:
        assert ramp.last_step_ms() == pytest.approx(expected[-1] * 1e3, abs=1e-2)
