"""Arrivals against the integral of their rate; the draw of connections against its shares."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.loadgen.arrivals import Arrivals, Spread

SECOND = 1_000_000_000

rates = st.floats(0.001, 1e6, allow_nan=False)
moments = st.lists(st.floats(0, 1.2), max_size=12)


def all_of(arrivals: Arrivals, seconds: float, shares: list[float]) -> list[int]:
    """LoadOptions for at these shares of the time, in order, and at its end."""
    found: list[int] = []
    for share in [*sorted(shares), 1.0]:
        now = arrivals.start_ns + round(share * seconds * 1e9)
        times = arrivals.until(now).tolist()
        assert all(time <= now for time in times), "not before it is due"
        following = arrivals.next_ns()
        assert following is None or following > now or share >= 1.0
        found += times
    return found


def slow_constant(start_ns: int, seconds: float, low: float, high: float) -> list[float]:
    """The k-th is at the inverse of the integral: N(t) = low t + (high - low) t^2 / 2T = k."""
    exact_low, bend = Fraction(low), (Fraction(high) - Fraction(low)) / (2 * Fraction(seconds))
    total = exact_low * Fraction(seconds) + bend * Fraction(seconds) ** 2
    times, k = [], 0
    while k < total - Fraction(1, 10**9):
        t = k / low
        for _ in range(200):  # bisection would do; Newton from any side of a monotone N is quicker
            level = exact_low * Fraction(t) + bend * Fraction(t) ** 2
            slope = float(exact_low + 2 * bend * Fraction(t)) or low
            step = float(level - k) / slope
            t = min(max(t - step, 0.0), seconds)
            if abs(step) < 1e-13 * max(t, 1e-9):
                break
        times.append(start_ns + t * 1e9)
        k += 1
    return times


@given(
    st.integers(0, 10**12), st.floats(0.01, 100), st.floats(0.05, 100), st.floats(0.05, 100),
    moments,
)  # fmt: skip
def test_constant_arrivals_are_where_the_integral_passes_whole_numbers(
    start_ns: int, seconds: float, low: float, high: float, shares: list[float]
) -> None:
    low, high = low / seconds, high / seconds  # so that there are at most a hundred
    found = all_of(Arrivals(start_ns, round(seconds * SECOND), low, high), seconds, shares)
    slow = slow_constant(start_ns, seconds, low, high)
    assert len(found) == len(slow)
    # Near a standstill of the rate a time is not well defined: what is, is its level.
    for time, expected in zip(found, slow, strict=True):
        assert math.isclose(time - start_ns, expected - start_ns, rel_tol=1e-6, abs_tol=1_000)


@given(
    st.integers(0, 10**12), st.floats(0.001, 1000), rates, rates, moments,
    st.one_of(st.none(), st.integers(0, 10**6)),
)  # fmt: skip
def test_the_times_are_the_same_however_they_are_asked_for(
    start_ns: int, seconds: float, low: float, high: float, shares: list[float], seed: int | None
) -> None:
    most = 2_000 / (seconds * max(low, high))
    low, high = low * min(most, 1), high * min(most, 1)

    def made() -> Arrivals:
        rng = None if seed is None else np.random.default_rng(seed)
        return Arrivals(start_ns, round(seconds * SECOND), low, high, rng)

    at_once = all_of(made(), seconds, [])
    assert all_of(made(), seconds, shares) == at_once == sorted(at_once)
    assert all(start_ns <= time <= start_ns + round(seconds * 1e9) for time in at_once)
    if seed is None:
        due = (low + high) / 2 * seconds
        assert abs(len(at_once) - due) <= 1 + 1e-9 * due  # which is rounded itself


@pytest.mark.parametrize(("rate", "seconds", "count"), [
    (10.0, 1.0, 10), (3.0, 1.0, 3), (1e5, 0.5, 50_000), (0.1, 10.0, 1), (0.01, 10.0, 1),
    (1 / 3, 30.0, 10), (7 / 60, 60.0, 7),
])  # fmt: skip
def test_as_many_as_the_rate_says_the_first_at_once(
    rate: float, seconds: float, count: int
) -> None:
    arrivals = Arrivals(5, round(seconds * SECOND), rate, rate)
    times = arrivals.until(5 + round(seconds * 1e9))
    assert len(times) == count and times[0] == 5
    assert arrivals.next_ns() is None
    assert np.abs(np.diff(times) - 1e9 / rate).max(initial=0) <= 1


def test_before_the_start_nothing_is_due() -> None:
    arrivals = Arrivals(1_000, SECOND, 10.0, 10.0)
    assert len(arrivals.until(999)) == 0
    assert arrivals.next_ns() == 1_000


@pytest.mark.parametrize(("low", "high"), [(200.0, 200.0), (50.0, 350.0), (350.0, 50.0)])
def test_poisson_counts_have_the_mean_and_the_variance_of_the_rate(low: float, high: float) -> None:
    seeds, seconds = 400, 4.0
    counts = np.zeros((seeds, 4))
    for seed in range(seeds):
        times = Arrivals(0, round(seconds * SECOND), low, high, np.random.default_rng(seed)).until(
            10 * SECOND
        )
        assert (np.diff(times) >= 0).all()
        counts[seed] = np.histogram(times, 4, (0, seconds * 1e9))[0]
    edges = np.arange(5.0)
    levels = low * edges + (high - low) / (2 * seconds) * edges**2
    mean = np.diff(levels)
    # Five standard errors of the mean, and of the variance of a Poisson count.
    assert (np.abs(counts.mean(0) - mean) < 5 * np.sqrt(mean / seeds)).all()
    error = mean * math.sqrt(2 / seeds) + np.sqrt(mean / seeds)
    assert (np.abs(counts.var(0) - mean) < 5 * error).all()
    first, second = counts[:, 0], counts[:, 1]
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(seeds), "independent"


def test_a_seed_gives_the_same_times() -> None:
    def times(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        found: list[int] = Arrivals(0, 10 * SECOND, 1000.0, 1000.0, rng).until(10 * SECOND).tolist()
        return found

    assert times(3) == times(3) != times(4)


@given(st.integers(1, 50), st.integers(0, 10**6), st.sampled_from((None, 0.5, 1.0, 3.0)),
       st.integers(0, 200))  # fmt: skip
def test_only_connections_below_are_drawn(
    below: int, seed: int, zipf: float | None, count: int
) -> None:
    drawn = Spread(50, np.random.default_rng(seed), zipf).draw(count, below)
    assert drawn.shape == (count,) and drawn.dtype == np.int64
    assert ((drawn >= 0) & (drawn < below)).all()


@pytest.mark.parametrize("zipf", [None, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("below", [20, 100])
def test_connections_are_drawn_by_their_shares(zipf: float | None, below: int) -> None:
    count = 100_000
    drawn = Spread(100, np.random.default_rng(1), zipf).draw(count, below)
    weights = np.arange(1, below + 1) ** -(zipf or 0.0)
    expected = count * weights / weights.sum()
    found = np.bincount(drawn, minlength=below)
    assert (np.abs(found - expected) < 5 * np.sqrt(expected)).all()
    chi2 = float(((found - expected) ** 2 / expected).sum())
    assert abs(chi2 - (below - 1)) < 5 * math.sqrt(2 * (below - 1))
