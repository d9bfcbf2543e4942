"""What a Python user reads off a record: distributions as histograms, series as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.errors import UsageError
from c1m.results.histogram import Histogram
from c1m.results.record import Latency, RunRecord, Series


def test_a_latency_gives_its_distribution_for_any_quantile() -> None:
    histogram = Histogram()
    histogram.record(np.arange(1, 10_001) * 1_000)
    latency = Latency.of(histogram)
    again = latency.distribution()
    assert again.to_json() == histogram.to_json()
    assert again.quantile(0.37) == histogram.quantile(0.37)
    assert again.percentiles() == latency.percentiles_ns


def test_a_latency_without_samples_gives_an_empty_one() -> None:
    assert Latency().distribution().count == 0


def test_a_distribution_of_another_layout_is_refused() -> None:
    with pytest.raises(UsageError, match="layout 'other'"):
        Latency(histogram={"layout": "other"}).distribution()


def test_a_series_gives_its_columns_as_arrays() -> None:
    series = Series(t_s=[1.0, 2.0], open=[10, 20], p99_ns=[5, 6])
    assert series.array("t_s").dtype == np.float64
    assert series.array("open").dtype == np.int64
    assert series.array("open").tolist() == [10, 20]
    assert series.array("p99_ns").max() == 6
    assert series.array("bad").shape == (0,)


@pytest.mark.parametrize("name", ["p50", "interval_s", "array"])
def test_a_column_that_is_not_there_is_told_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError, match=f"no column '{name}'") as raised:
        Series().array(name)
    assert "t_s, open, in_flight" in raised.value.remedy and "interval_s" not in raised.value.remedy


def test_they_are_there_after_a_record_was_read_again() -> None:
    histogram = Histogram()
    histogram.record(np.array([7, 8, 9]))
    record = RunRecord(latencies={"request": Latency.of(histogram)}, series=Series(open=[3]))
    again = RunRecord.from_json(record.to_json())
    assert again.latencies["request"].distribution().max == 9
    assert again.series.array("open").tolist() == [3]
