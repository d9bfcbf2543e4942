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
from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from c1m import files
from c1m.errors import UsageError
from c1m.results import catalogue
from c1m.results.histogram import Values
from c1m.results.record import Latency, RunRecord
from c1m.units import NS_PER_MS

TICKS_PER_HALF_DISTANCE = 5
# What VALUE_MAX, 2**53 - 1, takes in HdrHistogram's terms: 2,048 << 42 is the first above it.
_BUCKETS, _SUB_BUCKETS = 43, 2048


def hgrm(latency: Latency) -> str:
    """A distribution as .hgrm text.

    Raises UsageError where the record has no histogram of it that this c1m can read.
    """
    if latency.count and not latency.histogram:
        raise UsageError(
            "The record has no histogram of that latency, only its percentiles.",
            "Measure again with this version of c1m.",
        )
    histogram = latency.distribution()
    lows, tops, counts = histogram.buckets()
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    top, deviation = 0, 0.0
    if len(counts):
        for value, level, count in _levels(tops, np.cumsum(counts)):
            line = f"{value / NS_PER_MS:12.3f} {level / 100:.12f} {count:10d}"
            lines.append(line if level == 100 else f"{line} {1 / (1 - level / 100):14.2f}")
        middles = lows + (tops + 1 - lows) // 2
        mean = np.average(middles, weights=counts)
        deviation = math.sqrt(np.average((middles - mean) ** 2, weights=counts)) / NS_PER_MS
        top = tops[-1]
    lines += [
        f"#[Mean    = {histogram.mean / NS_PER_MS:12.3f}, StdDeviation   = {deviation:12.3f}]",
        f"#[Max     = {top / NS_PER_MS:12.3f}, Total count    = {histogram.count:12d}]",
        f"#[Buckets = {_BUCKETS:12d}, SubBuckets     = {_SUB_BUCKETS:12d}]",
    ]
    return "\n".join(lines) + "\n"


def _levels(tops: Values, passed: Values) -> Iterator[tuple[int, float, int]]:
    """(highest value of the bucket, level in %, values up to it), ... as HdrHistogram walks.

    The level climbs by a fifth of half of what is left to 100 %, halves counted in whole steps;
    when the last bucket is reached, one more row says 100 %.
    """
    percents, level = 100.0 * passed / passed[-1], 0.0
    while True:
        at = int(np.searchsorted(percents, level))
        yield tops[at], level, passed[at]
        if passed[at] == passed[-1]:
            yield tops[at], 100.0, passed[at]
            return
        halvings = int(math.log(100.0 / (100.0 - level)) / math.log(2)) + 1
        level += 100.0 / (TICKS_PER_HALF_DISTANCE * 2**halvings)


def hgrm_files(record: RunRecord, path: str) -> dict[str, str]:
    """Path -> text: `path` with the latencies by which the run is judged (the requests' from the
    intended send time, or what `catalogue.default_distribution` takes instead), and beside it, for
    requests, NAME-uncorrected.hgrm with those from the actual send time (not for standard output).
    """
    name = catalogue.default_distribution(record)
    texts = {path: hgrm(catalogue.distribution(record, name))}
    uncorrected = catalogue.distribution(record, "uncorrected")
    if name == "request" and uncorrected.count and path != files.STANDARD:
        whole = PurePath(path)
        beside = whole.with_name(f"{whole.stem}-uncorrected{whole.suffix}")
        texts[str(beside)] = hgrm(uncorrected)
    return texts


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
