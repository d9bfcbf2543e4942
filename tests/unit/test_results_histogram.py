"""The histogram: the edges of its layout, what it prints, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from c1m.errors import UsageError
from c1m.results.histogram import RELATIVE_ERROR_MAX, VALUE_MAX, Histogram, bounds_of, buckets_of


def of(*values: int) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array(values, np.int64))
    return histogram


def test_empty_says_zero() -> None:
    histogram = Histogram()
    histogram.record(np.zeros(0, np.int64))
    assert (histogram.count, histogram.min, histogram.max, histogram.mean) == (0, 0, 0, 0.0)
    assert histogram.quantile(0.5) == 0
    assert histogram.percentiles() == {}
    assert Histogram.from_json(histogram.to_json()).count == 0


@pytest.mark.parametrize("value", [0, 1, 1023, 1024, 2047, 2048, 2049, 999_999_937, VALUE_MAX])
def test_one_value_is_exact(value: int) -> None:
    histogram = of(value)
    assert (histogram.count, histogram.min, histogram.max) == (1, value, value)
    assert histogram.mean == value
    assert [histogram.quantile(q) for q in (0, 0.5, 1)] == [value] * 3


def test_zeros() -> None:
    histogram = of(*[0] * 100)
    assert histogram.percentiles() == {"p50": 0, "p90": 0}


def test_values_too_high_are_clamped_and_counted() -> None:
    histogram = of(5, VALUE_MAX, VALUE_MAX + 1, (1 << 63) - 1)
    assert histogram.clamped == 2
    assert histogram.max == VALUE_MAX
    assert histogram.count == 4
    assert histogram.mean == (5 + 3 * VALUE_MAX) / 4


@pytest.mark.parametrize("length", [2, 70_000])
def test_negative_values_are_refused_and_nothing_of_them_is_counted(length: int) -> None:
    histogram = of(7)
    assert histogram.count == 1
    values = np.ones(length, np.int64)
    values[1] = -3
    with pytest.raises(ValueError, match="-3"):
        histogram.record(values)
        assert histogram.count == 0
    assert (histogram.count, histogram.min) == (1, 7)


def test_every_bucket_is_narrow_and_they_follow_each_other() -> None:
    buckets = np.arange(44 * 1024)
    lowest, highest = bounds_of(buckets)
    assert highest[:2048].tolist() == list(range(2048))
    assert highest[-1] == VALUE_MAX
    assert (lowest == np.concatenate(([0], highest[:-1] + 1))).all()
    assert (buckets_of(highest) == buckets).all()
    assert (buckets_of(lowest) == buckets).all()
    assert ((highest - lowest) <= lowest * RELATIVE_ERROR_MAX).all()


def test_batches_larger_than_the_buffer() -> None:
    values = np.arange(200_001, dtype=np.int64)
    whole, mixed = Histogram(), Histogram()
    whole.record(values)
    for start, end in ((0, 10), (10, 65_000), (65_000, 200_000), (200_000, 200_001)):
        mixed.record(values[start:end])
    assert whole.to_json() == mixed.to_json()
    assert whole.mean == 100_000


def test_the_sum_does_not_overflow() -> None:
    histogram = Histogram()
    histogram.record(np.full(70_000, VALUE_MAX, np.int64))
    assert histogram.to_json()["sum"] == 70_000 * VALUE_MAX


@pytest.mark.parametrize(
    ("count", "last"), [(19, None), (20, "p50"), (99, "p50"), (100, "p90"), (10_000, "p99.9")]
)
def test_percentiles_only_with_ten_samples_beyond(count: int, last: str | None) -> None:
    names = list(of(*range(count)).percentiles())
    assert (names[-1] if names else None) == last


def test_a_million_samples_carry_the_last_percentile() -> None:
    histogram = Histogram()
    histogram.record(np.arange(1_000_000, dtype=np.int64))
    percentiles = histogram.percentiles()
    assert list(percentiles) == ["p50", "p90", "p99", "p99.9", "p99.99", "p99.999"]
    assert 999_989 <= percentiles["p99.999"] <= 999_989 * (1 + RELATIVE_ERROR_MAX)


def test_a_rank_is_not_pushed_up_by_rounding() -> None:
    assert of(*range(1, 101)).quantile(0.07) == 7  # 0.07 * 100 > 7 in floating point


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_no_quantile_outside_0_to_1(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        of(1).quantile(q)


def test_json_is_sparse() -> None:
    data = of(1, 1, 1 << 40).to_json()
    assert len(data["steps"]) == len(data["counts"]) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"layout": "hdr-64"},
        {"count": 4},
        {"steps": [1]},
        {"steps": [1, 99_999_999]},
        {"steps": [-1, 3]},
        {"counts": [1, -1]},
        {"counts": "many"},
        {"min": None},
    ],
)
def test_damaged_json_is_refused_in_a_sentence(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Histogram.from_json(json.loads(json.dumps(of(1, 5, 5).to_json())) | change)


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(UsageError, match="list"):
        Histogram.from_json([1, 2])  # type: ignore[arg-type]
