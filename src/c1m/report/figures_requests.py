"""The plots of what happened in each interval: connections that came and went, requests, latency.

A record's series may have an hour's seconds; `thinned` keeps the peaks of what is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from c1m.report.figures_parts import (
    Figure,
    Trace,
    figure,
    latency_ticks,
    line,
    significant,
    thinned,
    time_layout,
)
from c1m.results.record import RunRecord, Series
from c1m.units import format_duration

_APART = 0.02  # of the highest rate: below, sent lies on due in the plot
_STEPS_MAX = 240  # rows up to which an interval is drawn as a step


def changes(record: RunRecord) -> Figure | None:
    """Connections opened, and closed by the plan, a second: the two together are churn."""
    series = record.series
    columns = {"opened": (series.opened, "server"), "closed": (series.closed, "kernel")}
    moved = {name: column for name, column in columns.items() if any(column[0])}
    if len(series.t_s) < 2 or not moved:
        return None
    axis = {"title": {"text": "connections a second"}, "tickformat": ",~s"}
    note = "Opened, and closed by the plan. Where both go on at once, that is churn."
    layout = time_layout(record, axis)
    return figure("changes", "Connections opened and closed", note, _rates(series, moved), layout)


def trouble(record: RunRecord) -> Figure | None:
    """What went wrong a second: connects that failed, connections lost, replies wrong or missing.

    In a plot of its own: a few are not seen beside thousands that went well.
    """
    series = record.series
    columns = {
        "replies wrong or missing": (series.bad, "bad"),
        "connections lost": (series.lost, "other"),
        "connects failed": (series.failed, "client"),
    }
    moved = {name: column for name, column in columns.items() if any(column[0])}
    if len(series.t_s) < 2 or not moved:
        return None
    axis = {"title": {"text": "a second"}, "tickformat": ",~s"}
    layout = time_layout(record, axis)
    return figure("trouble", "What went wrong", "", _rates(series, moved), layout)


def requests(record: RunRecord) -> Figure | None:
    """Requests a second: due, right, and those that were wrong or missing."""
    series = record.series
    if len(series.t_s) < 2 or not any(series.due):
        return None
    columns = {"asked (due)": (series.due, "other")}
    apart = max(abs(a - b) for a, b in zip(series.due, series.sent, strict=False))
    if apart > _APART * max(series.due):
        columns["sent"] = (series.sent, "client")
    columns["reached (right)"] = (series.right, "server")  # last: it lies over the others
    if any(series.bad):
        columns["wrong or missing"] = (series.bad, "bad")
    traces = _rates(series, columns)
    traces[0]["line"]["dash"] = "dot"
    axis = {"title": {"text": "requests a second"}, "tickformat": ",~s"}
    note = "As many as were due should come back right in the same second."
    return figure("requests", "Requests a second", note, traces, time_layout(record, axis))


def latency_over_time(record: RunRecord) -> Figure | None:
    """Corrected p50, p99 and maximum of each interval, on a logarithmic axis."""
    series = record.series
    columns = {
        "max": (series.max_ns, "bad"),
        "p99": (series.p99_ns, "client"),
        "p50": (series.p50_ns, "server"),
    }
    if len(series.t_s) < 2 or not any(series.max_ns):
        return None
    note = "Corrected: from the moment a request was due, of the replies that came in that second."
    return _milliseconds(record, "latency-time", "Latency over time", note, columns)


def lag(record: RunRecord) -> Figure | None:
    """How far the generator was behind its schedule."""
    series = record.series
    if len(series.t_s) < 2 or not any(series.lag_max_ns):
        return None
    note = "The longest in each second. Where this is as long as the latencies, it is their cause."
    columns = {"behind": (series.lag_max_ns, "client")}
    return _milliseconds(record, "lag", "Generator behind its schedule", note, columns)


def in_flight(record: RunRecord) -> Figure | None:
    """Requests that were sent and not answered yet."""
    series = record.series
    if len(series.t_s) < 2 or not any(series.in_flight):
        return None
    t_s, (column,) = thinned(series.t_s, [series.in_flight])
    trace = line("in flight", t_s, column, "server", fill="tozeroy")
    trace["hovertemplate"] = "%{y:,} in flight<extra></extra>"
    axis = {"title": {"text": "requests"}, "tickformat": ",~s"}
    note = "Sent and not answered yet. What keeps growing is a queue that the server cannot empty."
    return figure("in-flight", "Requests in flight", note, [trace], time_layout(record, axis))


def _rates(series: Series, columns: Mapping[str, tuple[Sequence[int], str]]) -> list[Trace]:
    """One line a column, its counts divided by how long its interval was."""
    start_s = _start_s(series)
    widths = np.diff(np.array(series.t_s), prepend=start_s)
    widths = np.maximum(widths, 1e-3)
    rates = [(np.array(column) / widths).tolist() for column, _ in columns.values()]
    t_s, kept = thinned(series.t_s, rates)
    traces = []
    for (name, (_, colour)), column in zip(columns.items(), kept, strict=True):
        values = [significant(value, 5) for value in column]
        trace = _drawn(name, t_s, values, colour, start_s)
        trace["hovertemplate"] = f"{name} %{{y:,.5~g}}/s<extra></extra>"
        traces.append(trace)
    return traces


def _milliseconds(
    record: RunRecord,
    name: str,
    title: str,
    note: str,
    columns: Mapping[str, tuple[Sequence[int], str]],
) -> Figure:
    """Lines of nanoseconds on a logarithmic axis; 0 is a gap: nothing was measured."""
    series = record.series
    t_s, kept = thinned(series.t_s, [[v or None for v in column] for column, _ in columns.values()])
    traces: list[Trace] = []
    every: list[Any] = []
    for (label, (_, colour)), column in zip(columns.items(), kept, strict=True):
        values = [None if v is None else significant(v / 1e6) for v in column]
        trace = _drawn(label, t_s, values, colour, _start_s(series))
        trace["customdata"] = ["" if v is None else format_duration(1e6 * v) for v in trace["y"]]
        trace["hovertemplate"] = f"{label} %{{customdata}}<extra></extra>"
        traces.append(trace)
        every += values
    return figure(name, title, note, traces, time_layout(record, latency_ticks(every)))


def _start_s(series: Series) -> float:
    """When the first interval began."""
    return max(0.0, series.t_s[0] - series.interval_s)


def _drawn(
    name: str, t_s: list[float], values: list[float | None], colour: str, start_s: float
) -> Trace:
    """A line over intervals, whose rows are at their ends. None is a gap.

    Few rows are drawn as steps, each along its interval: after a gap, and at first, a point is
    put where the interval began. Many are drawn as a thin line from one to the next, with dots
    where a value between two gaps would be no line at all.
    """
    if len(t_s) > _STEPS_MAX:
        trace = line(name, t_s, values, colour)
        trace["line"] = {"width": 1.2}
        before, after = [None, *values[:-1]], [*values[1:], None]
        alone = zip(before, values, after, strict=True)
        if any(v is not None and a is b is None for a, v, b in alone):
            trace["mode"] = "lines+markers"
        return trace
    x: list[float] = []
    y: list[float | None] = []
    begins, before_it = start_s, None
    for end, value in zip(t_s, values, strict=True):
        if value is not None and before_it is None:
            x.append(begins)
            y.append(value)
        x.append(end)
        y.append(value)
        begins, before_it = end, value
    trace = line(name, x, y, colour)
    trace["line"] = {"width": 1.8, "shape": "vh"}
    return trace
