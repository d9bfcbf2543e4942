"""What comparisons decide by: against a slow form, and what it promises about false alarms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.report.compare import LEVEL, Floats, can_tell, chances

# Runs of three figures, in steps: of what differs by less than rounding both forms say anything.
steps = st.integers(-3_000, 3_000).map(lambda number: number / 1_000)
figures = st.lists(st.lists(steps, min_size=3, max_size=3), min_size=4, max_size=8)


def rise(a: Floats, b: Floats) -> Floats:
    spread = np.concatenate([a, b]).std(axis=0) + 0.02
    found: Floats = (b.mean(axis=0) - a.mean(axis=0)) / spread
    return found


@given(runs=figures)
def test_chances_are_of_all_splits_of_the_runs(runs: list[list[float]]) -> None:
    everything = np.array(runs)
    own = rise(everything[:2], everything[2:])
    ways = list(itertools.combinations(range(len(runs)), 2))
    more = np.zeros(3)
    for in_a in ways:
        rest = [i for i in range(len(runs)) if i not in in_a]
        more += rise(everything[list(in_a)], everything[rest]).max() >= own - 1e-6
    # Ties: a way more or less for rounding.
    assert np.abs(chances(everything, 2) - more / len(ways)).max() <= 1.5 / len(ways)


@settings(max_examples=50)
@given(
    runs=st.lists(st.lists(steps, min_size=3, max_size=3), min_size=6, max_size=8),
    n=st.integers(3, 4),
)
def test_of_all_splits_of_any_runs_one_in_twenty_at_most_raises_a_false_alarm(
    runs: list[list[float]], n: int
) -> None:
    """The promise itself: it holds for any numbers, so for runs that vary in any way."""
    everything = np.array(runs)
    ways = list(itertools.combinations(range(len(runs)), min(n, len(runs) - 3)))
    alarms = 0
    for in_a in ways:
        order = [*in_a, *(i for i in range(len(runs)) if i not in in_a)]
        alarms += bool((chances(everything[order], len(in_a)) <= LEVEL).any())
    assert alarms <= LEVEL * len(ways)


def test_of_very_many_ways_some_are_drawn() -> None:
    random = np.random.default_rng(2)
    runs = random.normal(size=(20, 4))
    assert math.comb(20, 10) > 100_000
    found = chances(runs, 10)
    assert (found >= 1 / 5_000).all() and (found <= 1).all()
    runs[10:] += 9
    assert chances(runs, 10).max() == 1 / 5_000


@given(n=st.integers(1, 12), m=st.integers(1, 12))
def test_it_takes_twenty_splits(n: int, m: int) -> None:
    runs = np.concatenate([np.zeros((n, 1)), np.ones((m, 1))])
    found = chances(runs, n)[0] <= LEVEL
    assert can_tell(n, m) == found == (math.comb(n + m, n) >= 20)


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("kind", ["normal", "heavy", "now and then", "one run bad"])
def test_runs_of_one_build_raise_few_false_alarms(n: int, kind: str) -> None:
    """Of 800 comparisons of 15 figures one in twenty, however the runs vary, as far as 800 tell."""
    random = np.random.default_rng(7)
    worse = better = 0
    for _ in range(800):
        runs = random.normal(size=(2 * n, 15)) + random.normal(size=(2 * n, 1))
        if kind == "heavy":
            runs = random.standard_cauchy(size=(2 * n, 15))
        elif kind == "now and then":
            runs += 20 * (random.random(size=(2 * n, 1)) < 0.2)
        elif kind == "one run bad":
            runs[random.integers(2 * n)] += 10
        worse += bool((chances(runs, n) <= LEVEL).any())
        better += bool((chances(-runs, n) <= LEVEL).any())
    expected = 800 * LEVEL
    assert max(worse, better) <= expected + 3 * math.sqrt(expected)


@pytest.mark.parametrize(("n", "least"), [(3, 0.9), (5, 0.99)])
def test_a_change_of_many_deviations_is_found(n: int, least: float) -> None:
    random = np.random.default_rng(8)
    found = 0
    for _ in range(200):
        runs = random.normal(size=(2 * n, 15))
        runs[n:, 3] += 40 if n == 3 else 8
        found += chances(runs, n)[3] <= LEVEL
    assert found >= 200 * least
