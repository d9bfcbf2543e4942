"""The statistics of comparisons against slow forms, and how often they raise a false alarm."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.loadgen.histogram import Histogram
from c1m.report import noise
from measured_records import autocorrelated

# Runs of three figures, in steps: of what differs by less than rounding both forms say anything.
steps = st.integers(-3_000, 3_000).map(lambda number: number / 1_000)
figures = st.lists(st.lists(steps, min_size=3, max_size=3), min_size=4, max_size=8)


def t_of(a: np.ndarray, b: np.ndarray, floor: float) -> np.ndarray:
    error = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    return np.abs(b.mean(axis=0) - a.mean(axis=0)) / (error + floor)


@settings(deadline=None)
@given(runs=figures, n=st.integers(2, 2))
def test_permutations_are_all_ways_to_deal_the_runs(runs: list[list[float]], n: int) -> None:
    everything = np.array(runs)
    own = t_of(everything[:n], everything[n:], 0.1)
    larger = np.zeros(3)
    ways = list(itertools.combinations(range(len(runs)), n))
    for dealt in ways:
        rest = [i for i in range(len(runs)) if i not in dealt]
        largest = t_of(everything[list(dealt)], everything[rest], 0.1).max()
        larger += largest >= own - 1e-6
    found = noise.permuted(everything[:n], everything[n:], 0.1)
    # Ties: a way more or less for rounding.
    assert np.abs(found - larger / len(ways)).max() <= 2.5 / len(ways)


@given(ps=st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lowers_nothing(ps: list[float]) -> None:
    adjusted = noise.holm(ps)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert all(adjusted[i] <= adjusted[j] for i, j in itertools.pairwise(order))
    if ps:
        assert min(adjusted) == pytest.approx(min(1.0, min(ps) * len(ps)))


@given(t=st.floats(0.01, 30), dof=st.floats(1, 200))
def test_student_against_the_integral_of_its_density(t: float, dof: float) -> None:
    """Substitute x = tan(u), so that the whole tail is a finite integral."""
    edges = np.linspace(math.atan(t), math.pi / 2, 20_001)
    u = (edges[1:] + edges[:-1]) / 2
    front = math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2)) / math.sqrt(dof * math.pi)
    density = front * (1 + np.tan(u) ** 2 / dof) ** (-(dof + 1) / 2) / np.cos(u) ** 2
    tail = 2 * float(density.sum()) * (edges[1] - edges[0])
    assert noise.student(t, dof) == pytest.approx(tail, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(("phi", "n"), [(0.0, 20), (0.0, 60), (0.5, 60), (0.7, 120)])
def test_the_noise_of_a_series_raises_few_false_alarms(phi: float, n: int) -> None:
    """Of 500 pairs of the same kind about 5 % may differ at the level of 5 %."""
    random = np.random.default_rng(3)
    alarms = 0
    for _ in range(500):
        a, b = (autocorrelated(random, n, 1.0, phi) for _ in range(2))
        spreads = [noise.of_series(series) for series in (a, b)]
        assert spreads[0] is not None and spreads[1] is not None
        alarms += noise.welch(b.mean() - a.mean(), spreads[0], spreads[1]) < 0.05
    assert alarms <= 50


def test_what_stages_differ_by_is_not_noise() -> None:
    random = np.random.default_rng(5)
    groups = np.repeat([0, 1, 2], 20)
    values = np.repeat([10.0, 20.0, 30.0], 20) * random.normal(1, 0.01, 60)
    together = noise.of_series(noise.relative(values))
    apart = noise.of_series(noise.relative(values, groups), groups)
    assert together is not None and apart is not None
    assert apart.se < 0.01 < together.se
    assert noise.of_series(values[:9]) is None


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 0.99])
def test_the_spread_of_a_quantile_is_that_of_many_samples(q: float) -> None:
    """On average, and twice as wide where four requests count as one."""
    random = np.random.default_rng(11)
    seen, alone, in_fours = [], [], []
    for _ in range(60):
        histogram = Histogram()
        histogram.record(np.exp(random.normal(15, 1, 5_000)).astype(np.int64))
        seen.append(math.log(histogram.quantile(q)))
        for found, effect in ((alone, 1.0), (in_fours, 4.0)):
            spread = noise.of_quantile(histogram, q, effect)
            assert spread is not None
            found.append(spread.se)
    assert 0.75 < np.mean(alone) / np.std(seen) < 1.33
    assert 1.8 < np.mean(in_fours) / np.mean(alone) < 2.3


def test_a_quantile_beyond_the_samples_has_no_spread() -> None:
    histogram = Histogram()
    histogram.record(np.arange(1_000))
    assert noise.of_quantile(histogram, 0.999) is None
    assert noise.of_quantile(histogram, 0.99, 100.0) is None
    assert noise.of_quantile(Histogram(), 0.5) is None
