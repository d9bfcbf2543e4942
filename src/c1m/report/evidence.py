"""How much a figure varies within single runs, and what a difference of two such runs weighs.

Three kinds of figures: those with a series of ten intervals at least (rate, connect rate, CPU a
reply, the requests' p50 and p99 and with them its other percentiles), those with only a histogram
(connects, first replies, a stampede, pushes, the requests of a short run), and those that a run
measures once (memory, counts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.errors import UsageError
from c1m.loadgen.histogram import Histogram
from c1m.report import metrics, noise
from c1m.report.metrics import Metric
from c1m.report.noise import Floats, Spread
from c1m.report.record import RunRecord

TOLERANCE_SERIES = 0.10
TOLERANCE_ONCE = 0.50
TOLERANCE_BYTES = 0.05  # memory hardly varies: it is counted in pages and objects

# What a process or the machine takes and gives back for reasons of its own: fewer connections'
# memory is not told from that.
_MEMORY_NOISE = 4 << 20

_SERIES = (("p50_ns", 0.5), ("p99_ns", 0.99))  # the columns that are percentiles
_OF_REQUESTS = ("request", "uncorrected")  # uncorrected ones vary as the corrected do


@dataclass(frozen=True, slots=True)
class Evidence:
    """The probability of the difference by the noise within both runs, and the tolerance."""

    probability: float
    tolerance: float
    why: str = ""


def single_run(metric: Metric, a: RunRecord, b: RunRecord, name: str) -> Evidence | None:
    """What two runs say on their own; None where one of them does not know how it varies.

    `name` is the figure's full name, with its distribution.
    """
    values = [metrics.measure(one, metric).value for one in (a, b)]
    assert values[0] is not None and values[1] is not None
    if metric.kind == "bytes":
        resolved = max(_MEMORY_NOISE / max(one.connections.peak_open, 1) for one in (a, b))
        is_told = abs(values[1] - values[0]) > resolved
        return Evidence(0.0 if is_told else 1.0, TOLERANCE_BYTES, "One value a run.")
    if metric.kind == "count":
        return Evidence(_of_counts(values[0], values[1]), TOLERANCE_ONCE)
    if metric.kind == "share":
        return Evidence(0.0, TOLERANCE_ONCE, "One value a run.")
    spreads = [_spread(metric, one, name) for one in (a, b)]
    if spreads[0] is None or spreads[1] is None:
        if metric.figure:
            return None
        return Evidence(0.0, TOLERANCE_ONCE, "One value a run.")
    difference = math.log(max(values[1], 1e-9) / max(values[0], 1e-9))
    probability = noise.welch(difference, spreads[0], spreads[1])
    if metric.figure and not all(_has_series(one, name) for one in (a, b)):
        return Evidence(probability, TOLERANCE_ONCE, "Its samples are taken as independent.")
    return Evidence(probability, TOLERANCE_SERIES)


def _has_series(record: RunRecord, name: str) -> bool:
    is_of_requests = name.partition(".")[0] in _OF_REQUESTS
    return is_of_requests and len(_busy(record)[0]) >= noise.INTERVALS_MIN


def _of_counts(a: float, b: float) -> float:
    """Of two counts of rare events: the root of their sum is what their difference varies by."""
    return noise.student((b - a) / math.sqrt(a + b), 1e6) if a + b else 1.0


def _spread(metric: Metric, record: RunRecord, name: str) -> Spread | None:
    if metric.figure:
        return _of_latency(metric, record, name.partition(".")[0])
    if metric.name == "connect_rate":
        return noise.of_series(noise.relative(np.array(record.ramp.per_1000_s, np.float64)))
    rows, groups = _busy(record)
    starts, ends = _starts(record)[rows], np.array(record.series.t_s, np.float64)[rows]
    right = np.array(record.series.right, np.float64)[rows]
    if metric.name == "rate":
        return noise.of_series(noise.relative(right / (ends - starts), groups), groups)
    assert metric.name == "server_cpu", f"{metric.name} has no series"
    at = [metrics.server_cpu_at(record.samples, moments.tolist()) for moments in (starts, ends)]
    if at[0] is None or at[1] is None:
        return None
    used = np.array(at[1]) - np.array(at[0])
    each = used[right > 0] / right[right > 0]
    return noise.of_series(noise.relative(each, groups[right > 0]), groups[right > 0])


def _of_latency(metric: Metric, record: RunRecord, name: str) -> Spread | None:
    """A percentile by order statistics; where there is a series, with what it says of how many
    requests share one fate. No spread of a maximum, a minimum or a mean."""
    if metric.quantile is None:
        return None
    histogram = _histogram(record, name)
    if histogram is None:
        return None
    q = float(metric.quantile)
    if not _has_series(record, name):
        return noise.of_quantile(histogram, q)
    # How the middle varies says little of the tail.
    columns = [pair for pair in _SERIES if q < 0.99 or pair[1] == 0.99]
    over_time = [_over_time(record, column) for column, _ in columns]
    by_chance = [noise.of_quantile(histogram, at) for _, at in columns]
    # How many requests count as one: the variance seen between intervals over that of independent
    # requests.
    effects = [
        max(1.0, (seen.se / alone.se) ** 2)
        for seen, alone in zip(over_time, by_chance, strict=True)
        if seen is not None and alone is not None
    ]
    spread = noise.of_quantile(histogram, q, max(effects, default=1.0))
    known = [seen for seen in over_time if seen is not None]
    if spread is None and q <= 0.99 and known:  # so few count that they end before: take theirs
        return max(known, key=lambda one: one.se)
    return spread


def _over_time(record: RunRecord, column: str) -> Spread | None:
    """The spread of a percentile that the series has for each interval."""
    rows, groups = _busy(record)
    values = np.array(getattr(record.series, column), np.float64)[rows]
    return noise.of_series(np.log(values[values > 0]), groups[values > 0])


def _histogram(record: RunRecord, name: str) -> Histogram | None:
    data = metrics.distribution(record, name).histogram
    try:
        return Histogram.from_json(data) if data else None
    except UsageError:  # of another layout: its figures are there, its noise is not
        return None


def _starts(record: RunRecord) -> Floats:
    """When each interval began, float[n] seconds: when the one before it ended."""
    return np.concatenate([[0.0], record.series.t_s])[:-1]


def _busy(record: RunRecord) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(rows, stages): the intervals that lie within a stage in which requests were due.

    Not those that are far shorter than the others, as a run's last one is.
    """
    series = record.series
    starts, ends = _starts(record), np.array(series.t_s, np.float64)
    is_whole = ends - starts > 0.5 * series.interval_s
    rows, groups = [], []
    slack = 0.05 * series.interval_s  # an interval's end is read a little after it
    for number, (start, end) in enumerate(metrics.request_times(record)):
        inside = is_whole & (starts >= start - slack) & (ends <= end + slack)
        rows.append(np.flatnonzero(inside))
        groups.append(np.full(len(rows[-1]), number))
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(rows), np.concatenate(groups)
