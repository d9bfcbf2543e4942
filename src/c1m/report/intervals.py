"""What a figure was in each interval of a run: how much it varies within.

A series has an interval a second, longer ones in long runs; a ramp has one for each thousand of
connections. The figures that have one: the rate, the requests' p50 and p99, the server's CPU time a
reply, the connect rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from c1m.results import catalogue as metrics
from c1m.results.catalogue import Metric
from c1m.results.record import RunRecord

Floats = npt.NDArray[np.float64]

INTERVALS_MIN = 10  # fewer say too little of how much a figure varies

_COLUMNS = {"request.p50": "p50_ns", "request.p99": "p99_ns"}


def of_side(metric: Metric, records: Sequence[RunRecord], name: str) -> Floats | None:
    """The figure in each interval of all the records of a side; None: too few are known.

    `name` is the figure's full name, with its distribution.
    """
    values = np.concatenate([_of_run(metric, record, name) for record in records])
    return values if len(values) >= INTERVALS_MIN else None


def _of_run(metric: Metric, record: RunRecord, name: str) -> Floats:
    """float[n] above 0; none where the figure has no series."""
    rates: Floats
    if metric.name == "connect_rate":
        took = np.array(record.ramp.per_1000_s, np.float64)
        rates = 1000 / took[took > 0]
        return rates
    rows = _busy(record)
    series, samples = record.series, record.samples
    if name in _COLUMNS:
        values = np.array(getattr(series, _COLUMNS[name]), np.float64)[rows]
        return values[values > 0]
    if metric.name not in ("rate", "server_cpu") or not len(rows):
        return np.zeros(0)
    starts, ends = _starts(record)[rows], np.array(series.t_s, np.float64)[rows]
    right = np.array(series.right, np.float64)[rows]
    if metric.name == "rate":
        rates = right / (ends - starts)
        return rates[right > 0]
    at = [metrics.server_cpu_at(samples, moments.tolist()) for moments in (starts, ends)]
    if at[0] is None or at[1] is None:
        return np.zeros(0)
    used = np.array(at[1]) - np.array(at[0])
    is_known = (right > 0) & (used > 0)
    each: Floats = used[is_known] / right[is_known]
    return each


def _starts(record: RunRecord) -> Floats:
    """When each interval began, float[n] seconds: when the one before it ended."""
    return np.concatenate([[0.0], record.series.t_s])[:-1]


def _busy(record: RunRecord) -> npt.NDArray[np.int64]:
    """The intervals that lie within a stage in which requests were due.

    Not those that are far shorter than the others, as a run's last one is.
    """
    series = record.series
    starts, ends = _starts(record), np.array(series.t_s, np.float64)
    is_busy = np.zeros(len(ends), np.bool_)
    slack = 0.05 * series.interval_s  # an interval's end is read a little after it
    for start, end in metrics.request_times(record):
        is_busy |= (starts >= start - slack) & (ends <= end + slack)
    return np.flatnonzero(is_busy & (ends - starts > 0.5 * series.interval_s))
