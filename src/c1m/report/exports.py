"""Further outputs of a record: HdrHistogram's percentile text (.hgrm) and the series as CSV.

The .hgrm text is what HdrHistogram's outputPercentileDistribution prints (five ticks a half
distance, milliseconds), so its plotter and other tools read it. Both layouts have the same buckets
(2,048 sub-buckets, 1,024 a doubling), so counts and values are those that HdrHistogram would have;
its mean comes from the middles of the buckets, ours is exact.

These are texts; the command writes them.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import PurePath

import numpy as np

from c1m import files
from c1m.errors import UsageError
from c1m.results import catalogue
from c1m.results.histogram import Histogram, highest_in
from c1m.results.record import Latency, RunRecord
from c1m.units import NS_PER_MS

TICKS_PER_HALF_DISTANCE = 5
# What VALUE_MAX, 2**53 - 1, takes in HdrHistogram's terms: 2,048 << 42 is the first above it.
_BUCKETS, _SUB_BUCKETS = 43, 2048


def hgrm(latency: Latency, scale: float = NS_PER_MS) -> str:
    """A distribution as .hgrm text; values are divided by `scale`.

    Raises UsageError where the record has no histogram of it that this c1m can read.
    """
    if latency.count and not latency.histogram:
        raise UsageError(
            "The record has no histogram of that latency, only its percentiles.",
            "Measure again with this version of c1m.",
        )
    histogram = latency.distribution()
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for value, level, count in _levels(histogram):
        line = f"{value / scale:12.3f} {level / 100:.12f} {count:10d}"
        lines.append(line if level == 100 else f"{line} {1 / (1 - level / 100):14.2f}")
    deviation, top = _deviation(histogram), _top(histogram)
    lines += [
        f"#[Mean    = {histogram.mean / scale:12.3f}, StdDeviation   = {deviation / scale:12.3f}]",
        f"#[Max     = {top / scale:12.3f}, Total count    = {histogram.count:12d}]",
        f"#[Buckets = {_BUCKETS:12d}, SubBuckets     = {_SUB_BUCKETS:12d}]",
    ]
    return "\n".join(lines) + "\n"


def _levels(histogram: Histogram) -> list[tuple[int, float, int]]:
    """[(highest value of the bucket, level in %, values up to it), ...] as HdrHistogram walks.

    The level climbs by a fifth of half of what is left to 100 %, halves counted in whole steps;
    when the last bucket is reached, one more row says 100 %.
    """
    used, counts = _buckets(histogram)
    if not len(used):
        return []
    passed = np.cumsum(counts)
    total = int(passed[-1])
    percents = 100.0 * passed / total
    rows, level = [], 0.0
    while True:
        at = int(np.searchsorted(percents, level, side="left"))
        rows.append((highest_in(int(used[at])), level, int(passed[at])))
        if passed[at] == total:
            rows.append((highest_in(int(used[at])), 100.0, total))
            return rows
        halvings = int(math.log(100.0 / (100.0 - level)) / math.log(2)) + 1
        level += 100.0 / (TICKS_PER_HALF_DISTANCE * 2**halvings)


def _buckets(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the buckets in use and their counts, int64[n] each."""
    data = histogram.to_json()
    return np.cumsum(np.array(data["steps"], np.int64)), np.array(data["counts"], np.int64)


def _top(histogram: Histogram) -> int:
    """The highest value of the last bucket in use: what HdrHistogram calls the maximum."""
    used, _ = _buckets(histogram)
    return highest_in(int(used[-1])) if len(used) else 0


def _deviation(histogram: Histogram) -> float:
    """The standard deviation, from the middles of the buckets."""
    used, counts = _buckets(histogram)
    if not len(used):
        return 0.0
    widths = 2.0 ** np.maximum(0, used // 1024 - 1)
    tops = np.array([highest_in(bucket) for bucket in used.tolist()], np.float64)
    middles = tops + 1 - np.where(widths > 1, widths / 2, 1)
    mean = float(counts @ middles) / float(counts.sum())
    return math.sqrt(float(counts @ (middles - mean) ** 2) / float(counts.sum()))


def hgrm_files(record: RunRecord, path: str) -> dict[str, str]:
    """Path -> text: `path` with the latencies by which the run is judged (the requests' from the
    intended send time, or what `catalogue.default_distribution` takes instead), and beside it, for
    requests, NAME-uncorrected.hgrm with those from the actual send time (not for standard output).
    """
    name = catalogue.default_distribution(record)
    texts = {path: hgrm(catalogue.distribution(record, name))}
    uncorrected = catalogue.distribution(record, "uncorrected")
    if name == "request" and uncorrected.count and path != files.STANDARD:
        texts[uncorrected_path(path)] = hgrm(uncorrected)
    return texts


def uncorrected_path(path: str) -> str:
    """run.hgrm -> run-uncorrected.hgrm."""
    whole = PurePath(path)
    return str(whole.with_name(f"{whole.stem}-uncorrected{whole.suffix}"))


def csv(record: RunRecord) -> str:
    """The series, a row an interval, under the names of its columns; times in seconds, latencies in
    nanoseconds. Only the head where the run has no series."""
    columns = {
        field.name: getattr(record.series, field.name)
        for field in dataclasses.fields(record.series)
        if field.name != "interval_s"
    }
    length = max(len(column) for column in columns.values())
    kept = {name: column for name, column in columns.items() if len(column) == length}
    rows = zip(*kept.values(), strict=True)
    lines = [",".join(kept), *(",".join(map(repr, row)) for row in rows)]
    return "\n".join(lines) + "\n"
