"""What comparisons decide by, against slow forms, and how often it raises a false alarm."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.report import noise

# Runs of three figures, in steps: of what differs by less than rounding both forms say anything.
steps = st.integers(-3_000, 3_000).map(lambda number: number / 1_000)
figures = st.lists(st.lists(steps, min_size=3, max_size=3), min_size=4, max_size=8)


def rise(a: np.ndarray, b: np.ndarray, floor: float) -> np.ndarray:
    error = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    return (b.mean(axis=0) - a.mean(axis=0)) / (error + floor)


@settings(deadline=None)
@given(runs=figures)
def test_shares_are_of_all_ways_to_deal_the_runs(runs: list[list[float]]) -> None:
    everything = np.array(runs)
    own = rise(everything[:2], everything[2:], 0.1)
    ways = list(itertools.combinations(range(len(runs)), 2))
    more = np.ones(3)  # the deal that was is one of them
    for dealt in ways[1:]:
        rest = [i for i in range(len(runs)) if i not in dealt]
        largest = rise(everything[list(dealt)], everything[rest], 0.1).max()
        more += noise.MARGIN * largest >= own - 1e-6
    found = noise.shares(everything[:2], everything[2:], 0.1)
    # Ties: a way more or less for rounding.
    assert np.abs(found - more / len(ways)).max() <= 2.5 / len(ways)


def test_of_very_many_ways_some_are_drawn() -> None:
    random = np.random.default_rng(2)
    runs = random.normal(size=(20, 4))
    assert math.comb(20, 10) > 100_000
    shares = noise.shares(runs[:10], runs[10:], 0.01)
    assert (shares >= 1 / 5_000).all() and (shares <= 1).all()
    assert noise.shares(runs[:10], runs[10:] + 9, 0.01).max() == 1 / 5_000


@given(n=st.integers(1, 12), m=st.integers(1, 12))
def test_levels_are_what_the_deals_can_reach(n: int, m: int) -> None:
    worse, better = noise.levels(n, m)
    assert worse + better <= noise.LEVEL
    for level in (worse, better):
        assert level == 0 or level * math.comb(n + m, n) >= 1
    assert (worse > 0) == (math.comb(n + m, n) >= 20)
    assert (better > 0) == (math.comb(n + m, n) >= 40)


def test_three_a_side_tell_what_is_worse_and_four_both() -> None:
    assert noise.levels(2, 2) == noise.levels(1, 5) == (0, 0)
    assert noise.levels(3, 3) == (0.05, 0)
    assert noise.levels(4, 4) == noise.levels(5, 5) == (0.025, 0.025)


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("kind", ["normal", "heavy", "now and then", "one run bad"])
def test_runs_of_one_build_raise_few_false_alarms(n: int, kind: str) -> None:
    """Of 400 comparisons of 15 figures at most one in twenty, however the runs vary."""
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(400):
        runs = random.normal(size=(2 * n, 15)) + random.normal(size=(2 * n, 1))
        if kind == "heavy":
            runs = random.standard_cauchy(size=(2 * n, 15))
        elif kind == "now and then":
            runs += 20 * (random.random(size=(2 * n, 1)) < 0.2)
        elif kind == "one run bad":
            runs[random.integers(2 * n)] += 10
        a, b = runs[0::2], runs[1::2]
        worse, better = noise.levels(n, n)
        is_worse = (noise.shares(a, b, 0.01) <= worse).any()
        alarms += bool(is_worse or (noise.shares(-a, -b, 0.01) <= better).any())
    assert alarms <= 400 * noise.LEVEL


@pytest.mark.parametrize(("n", "least"), [(3, 0.9), (5, 0.99)])
def test_a_change_of_many_deviations_is_found(n: int, least: float) -> None:
    random = np.random.default_rng(8)
    found = 0
    for _ in range(200):
        a, b = random.normal(size=(2, n, 15))
        b[:, 3] += 40 if n == 3 else 8
        found += noise.shares(a, b, 0.01)[3] <= noise.levels(n, n)[0]
    assert found >= 200 * least


lists = st.lists(steps, min_size=1, max_size=8)


@given(a=lists, b=lists)
def test_how_far_ranges_are_apart(a: list[float], b: list[float]) -> None:
    found = noise.apart(np.array(a), np.array(b))
    low, high = sorted((a, b), key=min)
    if max(low) >= min(high):
        assert found == 0
    else:
        width = max(max(a) - min(a), max(b) - min(b))
        gap = min(high) - max(low)
        assert found == (pytest.approx(gap / width) if width else math.inf)
    assert found == noise.apart(np.array(b), np.array(a))
