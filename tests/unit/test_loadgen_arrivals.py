"""Arrivals by example; against the integral of the rate in the property tests."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.loadgen.arrivals import Arrivals

SECOND = 1_000_000_000


def test_ten_a_second() -> None:
    arrivals = Arrivals(7, SECOND, 10.0, 10.0)
    assert arrivals.next_ns() == 7
    assert arrivals.until(7).tolist() == [7]
    assert arrivals.next_ns() == 7 + SECOND // 10
    assert arrivals.until(7 + SECOND // 10 - 1).tolist() == []
    assert arrivals.until(7 + SECOND // 2).tolist() == [7 + k * SECOND // 10 for k in range(1, 6)]
    assert len(arrivals.until(100 * SECOND)) == 4 and arrivals.next_ns() is None


def test_a_rate_that_rises_from_little() -> None:
    """N(t) = t + 99 t^2 / 20: the k-th is at its inverse."""
    times = Arrivals(0, 10 * SECOND, 1.0, 100.0).until(10 * SECOND) / 1e9
    assert len(times) == 505
    assert np.abs(times + 99 * times**2 / 20 - np.arange(505)).max() < 1e-6


def test_a_rate_that_falls() -> None:
    times = Arrivals(0, 10 * SECOND, 100.0, 1.0).until(10 * SECOND) / 1e9
    assert len(times) == 505
    assert np.abs(100 * times - 99 * times**2 / 20 - np.arange(505)).max() < 1e-6


def test_none_is_given_before_it_is_due() -> None:
    """At 1 in 1,000 s a billionth of an arrival is a microsecond."""
    for before_ns in (1, 100, 900, 1_100):
        arrivals = Arrivals(0, 3_000 * SECOND, 0.001, 0.001)
        assert len(arrivals.until(1_000 * SECOND - before_ns)) == 1
        assert arrivals.until(1_000 * SECOND).tolist() == [1_000 * SECOND]


def test_poisson_arrivals_end_with_the_stage() -> None:
    arrivals = Arrivals(0, SECOND // 1_000, 1e6, 1e6, np.random.default_rng(0))
    times = arrivals.until(SECOND)
    assert 850 < len(times) < 1_150 and times[-1] <= 1_000_000
    assert arrivals.next_ns() is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rates", [(400.0, 400.0), (10.0, 900.0)])
def test_what_is_next_is_due_when_it_is_said_to_be(seed: int, rates: tuple[float, float]) -> None:
    """To the nanosecond, rounded as it is: whoever waits for it gets it then, and no other."""
    arrivals = Arrivals(7, SECOND, *rates, np.random.default_rng(seed))
    whole = Arrivals(7, SECOND, *rates, np.random.default_rng(seed)).until(7 + 10**9)
    got: list[int] = []
    while (due := arrivals.next_ns()) is not None:
        assert len(arrivals.until(due - 1)) == 0
        assert arrivals.until(due).tolist() == [due]
        got.append(due)
    assert got == whole.tolist()
