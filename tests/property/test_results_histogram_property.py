"""Histogram against NumPy's exact quantiles, over distributions and ways to cut the batches."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.results.histogram import (
    RELATIVE_ERROR_MAX,
    VALUE_MAX,
    Histogram,
    Increments,
    buckets_of,
)

QUANTILES = [0.0, 0.01, 0.07, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1.0]

values_lists = st.lists(
    st.one_of(
        st.integers(0, 5000),
        st.integers(0, VALUE_MAX),
        st.integers(0, 52).map(lambda e: 1 << e),
        st.integers(1, 53).map(lambda e: (1 << e) - 1),
    ),
    min_size=1,
    max_size=200,
)


def of(values: npt.NDArray[np.int64]) -> Histogram:
    histogram = Histogram()
    histogram.record(values)
    return histogram


def check(histogram: Histogram, values: npt.NDArray[np.int64]) -> None:
    """Exact figures are exact, quantiles within the stated error of the right rank's value."""
    ordered = np.sort(values).tolist()
    assert histogram.count == len(ordered)
    assert (histogram.min, histogram.max) == (ordered[0], ordered[-1])
    assert histogram.mean == sum(ordered) / len(ordered)
    for q in QUANTILES:
        rank = max(1, -(-Fraction(str(q)) * len(ordered) // 1))  # ceil, in exact arithmetic
        exact = ordered[int(rank) - 1]
        assert exact <= histogram.quantile(q) <= exact * (1 + RELATIVE_ERROR_MAX)


@given(values_lists)
def test_any_values(values: list[int]) -> None:
    check(of(np.array(values, np.int64)), np.array(values, np.int64))


@given(values_lists)
def test_buckets_equal_the_slow_form(values: list[int]) -> None:
    slow = []
    for value in values:
        shift = max(0, value.bit_length() - 11)
        slow.append((value >> shift) + 1024 * shift)
    assert buckets_of(np.array(values, np.int64)).tolist() == slow


DISTRIBUTIONS = ["lognormal", "exponential", "uniform", "bimodal", "constant"]


def drawn_from(name: str, seed: int, n: int) -> npt.NDArray[np.int64]:
    """So many values of a distribution, in nanoseconds."""
    random = np.random.default_rng(seed)
    draws: dict[str, Callable[[], npt.NDArray[np.float64]]] = {
        "lognormal": lambda: random.lognormal(13, 1.5, n),
        "exponential": lambda: random.exponential(2e6, n),
        "uniform": lambda: random.uniform(0, 1e9, n),
        "bimodal": lambda: np.where(random.random(n) < 0.9, 5e4, 3e9) * random.uniform(0.9, 1.1, n),
        "constant": lambda: np.full(n, 123_456_789.0),
    }
    return draws[name]().astype(np.int64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name: str, seed: int) -> None:
    values = drawn_from(name, seed, 120_001)
    histogram = of(values)
    check(histogram, values)
    for q in (0.5, 0.9, 0.99, 0.999):
        exact = int(np.quantile(values, q, method="inverted_cdf"))
        assert histogram.quantile(q) == pytest.approx(exact, rel=RELATIVE_ERROR_MAX)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_million_merged_equal_a_million_recorded_together(name: str) -> None:
    """In parts of all sizes: some wait in the buffer, some are larger than it."""
    values = drawn_from(name, 7, 1_000_000)
    merged = Histogram()
    for part in np.split(values, [1, 10, 1_000, 65_536, 65_537, 200_000, 500_000]):
        merged.merge(of(part))
    together = of(values)
    assert merged.to_json() == together.to_json()
    check(merged, values)


@given(values_lists, values_lists)
def test_merged_equals_recorded_together(left: list[int], right: list[int]) -> None:
    merged = of(np.array(left, np.int64))
    merged.merge(of(np.array(right, np.int64)))
    assert merged.to_json() == of(np.array(left + right, np.int64)).to_json()


@given(values_lists, st.data())
def test_however_the_batches_are_cut(values: list[int], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))
    cut = Histogram()
    for piece in np.split(np.array(values, np.int64), cuts):
        cut.record(piece)
    assert cut.to_json() == of(np.array(values, np.int64)).to_json()


@given(values_lists)
def test_json_is_exact(values: list[int]) -> None:
    histogram = of(np.array(values, np.int64))
    again = Histogram.from_json(histogram.to_json())
    assert again.to_json() == histogram.to_json()
    assert again.quantiles(np.array(QUANTILES)).tolist() == [
        histogram.quantile(q) for q in QUANTILES
    ]


@given(values_lists, values_lists)
def test_what_came_last_has_quantiles_one_by_one_as_all_at_once(
    before: list[int], after: list[int]
) -> None:
    histogram = of(np.array(before, np.int64))
    increments = Increments(histogram)
    increments.take()
    histogram.record(np.array(after, np.int64))
    delta = increments.take()
    assert delta is not None
    found = [delta.quantile(q) for q in QUANTILES]
    assert found == delta.quantiles(np.array(QUANTILES)).tolist()
    alone = of(np.array(after, np.int64))
    assert found == pytest.approx([alone.quantile(q) for q in QUANTILES], rel=RELATIVE_ERROR_MAX)
