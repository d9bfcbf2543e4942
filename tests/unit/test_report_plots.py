"""The plots of a run with requests: peaks survive the thinning, sums hold, an hour stays small."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.report import html, plots
from c1m.report.plot import ROWS_MAX, Column, kept_rows, latency_axis, thinned
from c1m.results.histogram import Histogram
from c1m.results.record import Latency, RunRecord, Samples, Series
from report_records import complete_record
from report_request_records import FREEZE_NS, hour_record, publish_record, request_record

values = st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6))
tables = st.integers(0, 300).flatmap(
    lambda n: st.lists(st.lists(values, min_size=n, max_size=n), min_size=1, max_size=4)
)


def made(record: RunRecord) -> dict[str, dict[str, Any]]:
    return {plot["id"]: plot for plot in plots.plots(record)}


@given(tables, st.integers(4, 120))
def test_no_minimum_and_no_maximum_is_thinned_away(columns: list[Column], rows_max: int) -> None:
    """Against the slow form: every block of rows keeps its extremes, at their places."""
    count = len(columns[0])
    kept = kept_rows(columns, rows_max).tolist()
    assert kept == sorted(set(kept))
    if count <= rows_max:
        assert kept == list(range(count))
        return
    assert len(kept) <= max(rows_max, 2 + 2 * len(columns))
    assert kept[0] == 0 and kept[-1] == count - 1
    blocks = max(1, (rows_max - 2) // (2 * len(columns)))
    edges = [int(edge) for edge in np.linspace(0, count, blocks + 1)]
    for column in columns:
        for start, end in itertools.pairwise(edges):
            known = [v for v in column[start:end] if v is not None]
            shown = [v for i in kept if start <= i < end and (v := column[i]) is not None]
            if known:
                assert (min(shown), max(shown)) == (min(known), max(known))


def test_thinned_columns_keep_their_rows_together() -> None:
    n = 10_000
    x, (a, b) = thinned(list(range(n)), [[i % 97 for i in range(n)], [-i for i in range(n)]])
    assert len(x) <= ROWS_MAX
    assert a == [i % 97 for i in x] and b == [-i for i in x]
    assert thinned([], [[]]) == ([], [[]])


def test_the_figures_of_a_run_with_requests() -> None:
    shown = made(request_record())
    assert list(shown) == [
        "connections", "requests", "latency-time", "spectrum", "distribution", "changes",
        "in-flight", "lag", "trouble", "ramp", "user-memory", "machine-memory", "cpu", "latency",
    ]  # fmt: skip
    json.dumps(list(shown.values()), allow_nan=False)
    names = {name: [trace["name"] for trace in one["traces"]] for name, one in shown.items()}
    assert names["requests"] == ["asked (due)", "reached (right)", "wrong or missing"]
    assert names["latency-time"] == ["max", "p99", "p50"]
    assert names["spectrum"] == names["distribution"] == ["corrected", "uncorrected"]
    assert names["latency"] == ["connect", "first"]
    assert names["changes"] == ["opened", "closed"]
    assert names["trouble"] == ["replies wrong or missing", "connections lost", "connects failed"]
    timed = [name for name, one in shown.items() if one["layout"].get("c1mTime")]
    assert set(shown) - set(timed) == {"spectrum", "distribution", "ramp", "latency"}
    bands = shown["lag"]["layout"]["c1mBands"]
    assert [band["name"] for band in bands] == ["ramp", "hold", "spike", "hold", "drain"]


def test_what_is_not_there_is_not_drawn() -> None:
    assert "requests" not in made(complete_record(2_000))
    assert made(RunRecord()) == {}
    quiet = replace(request_record(), series=Series(t_s=[1.0, 2.0], open=[3, 4]))
    assert not {"requests", "changes", "trouble", "lag", "in-flight", "latency-time"} & set(
        made(quiet)
    )
    assert [trace["name"] for trace in made(publish_record())["latency"]["traces"]] == [
        "connect", "push", "push, last of each",
    ]  # fmt: skip


def test_connections_come_from_the_series_where_there_are_no_samples() -> None:
    record = replace(request_record(), samples=Samples())
    assert made(record)["connections"]["traces"][0]["y"] == record.series.open


def test_rates_are_of_each_intervals_own_length() -> None:
    """Joined intervals and a last one that is cut short."""
    series = Series(interval_s=2.0, t_s=[2.0, 4.0, 4.5], due=[20, 40, 10], sent=[20, 40, 10],
                    right=[20, 38, 10], bad=[0, 2, 0])  # fmt: skip
    asked, right, bad = made(RunRecord(series=series))["requests"]["traces"]
    assert asked["x"] == [0, 2, 4, 4.5]  # a step along each interval, from the first one's start
    assert asked["y"] == [10, 10, 20, 20]
    assert right["y"] == [10, 10, 19, 20]
    assert bad["y"] == [0, 0, 1, 0]


def test_sent_is_drawn_where_it_is_not_what_was_due() -> None:
    for sent, has_sent in ((100, False), (99, False), (90, True)):
        series = Series(t_s=[1.0, 2.0], due=[100, 100], sent=[sent, 100], right=[90, 100],
                        bad=[0, 0])  # fmt: skip
        names = [trace["name"] for trace in made(RunRecord(series=series))["requests"]["traces"]]
        assert names == ["asked (due)", *["sent"] * has_sent, "reached (right)"]


def test_a_second_without_replies_is_a_gap() -> None:
    series = Series(t_s=[1.0, 2.0, 3.0], p50_ns=[0, 5_000_000, 0], p99_ns=[0, 7_000_000, 0],
                    max_ns=[0, 9_000_000, 0])  # fmt: skip
    top = made(RunRecord(series=series))["latency-time"]["traces"][0]
    assert top["x"] == [1, 1, 2, 3]
    assert top["y"] == [None, 9.0, 9.0, None]
    assert top["customdata"] == ["", "9 ms", "9 ms", ""]


def test_a_second_between_two_gaps_is_seen_in_a_long_run_too() -> None:
    n = 500
    columns: dict[str, Any] = {name: [0] * n for name in ("p50_ns", "p99_ns", "max_ns")}
    for column in columns.values():
        column[250] = 5_000_000
    series = Series(t_s=[float(i + 1) for i in range(n)], **columns)
    traces = made(RunRecord(series=series))["latency-time"]["traces"]
    assert {trace["mode"] for trace in traces} == {"lines+markers"}
    for column in columns.values():
        column[251] = 5_000_000
    traces = made(RunRecord(series=series))["latency-time"]["traces"]
    assert {trace["mode"] for trace in traces} == {"lines"}


def test_the_distribution_counts_every_request_once() -> None:
    values = np.random.default_rng(3).lognormal(13, 2, 50_000).astype(np.int64)
    histogram = Histogram()
    histogram.record(values)
    one = Latency.of(histogram)
    record = RunRecord(latencies={"request": one, "uncorrected": one})
    corrected, _ = made(record)["distribution"]["traces"]
    counts = [0 if y == 0.5 else y for y in corrected["y"][:-1]]
    assert sum(counts) == 50_000
    assert corrected["y"][-1] == corrected["y"][-2]
    edges = 1e6 * np.array(corrected["x"])
    assert (np.diff(edges) > 0).all()
    expected = np.histogram(values, edges)[0]
    assert np.abs(expected - counts).max() <= 0.02 * expected.max()  # a bucket lies across an edge


@pytest.mark.parametrize("value", [0, 1, 17, 1_000_000])
def test_requests_that_all_took_the_same(value: int) -> None:
    histogram = Histogram()
    histogram.record(np.full(3, value, np.int64))
    one = Latency.of(histogram)
    shown = made(RunRecord(latencies={"request": one, "uncorrected": one}))
    assert sum(y for y in shown["distribution"]["traces"][0]["y"][:-1] if y != 0.5) == 3
    json.dumps(shown, allow_nan=False)


def test_ticks_of_no_value_at_all() -> None:
    assert latency_axis([None, 0])["ticktext"] == ["500 us", "1 ms", "2 ms"]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20))
def test_every_value_is_in_sight_and_a_tick_too(values: list[float]) -> None:
    axis = latency_axis(values)
    low, high = axis["range"]
    assert low <= np.log10(min(values)) <= np.log10(max(values)) <= high
    assert 1 <= len(axis["tickvals"]) == len(set(axis["ticktext"])) <= 16
    assert all(low - 0.01 <= np.log10(tick) <= high + 0.01 for tick in axis["tickvals"])


def test_an_hour_is_under_a_megabyte_and_keeps_its_worst_second() -> None:
    record = hour_record()
    assert (len(record.series.t_s), len(record.samples.t_s)) == (3_600, 2_000)
    page = html.render(record, "")
    assert len(page.encode()) < 1_000_000
    shown = made(record)
    for one in shown.values():
        assert all(len(trace["x"]) <= ROWS_MAX for trace in one["traces"])
    worst = shown["latency-time"]["traces"][0]
    peak = int(np.argmax(record.series.max_ns))
    assert record.series.max_ns[peak] == FREEZE_NS
    assert worst["y"][worst["x"].index(record.series.t_s[peak])] == FREEZE_NS / 1e6
    lost = shown["trouble"]["traces"][1]
    assert max(lost["y"]) == 17
    assert max(shown["lag"]["traces"][0]["y"]) == pytest.approx(
        max(record.series.lag_max_ns) / 1e6, rel=1e-3
    )
