"""The plots of a run: connections, requests, latencies, memory and CPU, each from its columns.

What happened in an interval is from the record's series, which may have an hour's seconds; what was
at a moment from its samples. `thinned` keeps the peaks of both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.report.plot import (
    Column,
    Plot,
    Trace,
    axis,
    counts,
    kept_rows,
    latency_axis,
    line,
    over_time,
    plot,
    significant,
    thinned,
)
from c1m.report.request_sections import other_latencies, other_latencies_title, spectra
from c1m.results.histogram import highest_in
from c1m.results.record import Latency, ProcessColumns, RunRecord, Series
from c1m.units import format_bytes, format_count, format_duration

__all__ = ["Plot", "plots"]

_APART = 0.02  # of the highest rate: below, sent lies on due in the plot
_STEPS_MAX = 240  # rows up to which an interval is drawn as a step
_CPU_STEP_S = 0.5  # at least: procfs counts in hundredths of a second
_CPU_STEPS_MAX = 300
_CURVE_POINTS_A_DECADE = 24
_BINS_A_DECADE = 20
_COLOURS = {  # of latencies
    "connect": "kernel",
    "first": "client",
    "ended by the server": "client",
    "stampede": "server",
    "corrected": "server",
    "uncorrected": "client",
    "push": "server",
    "push, last of each": "client",
}

Line = tuple[str, Column, str]  # name, values, colour


def plots(record: RunRecord) -> list[Plot]:
    """All plots that the record has data for, in the page's order."""
    made = (
        connections(record),
        requests(record),
        latency_over_time(record),
        latency_by_percentile(record),
        distribution(record),
        changes(record),
        in_flight(record),
        lag(record),
        trouble(record),
        ramp(record),
        user_memory(record),
        machine_memory(record),
        cpu(record),
        other_latencies_by_percentile(record),
    )
    return [one for one in made if one is not None]


# Over time


def connections(record: RunRecord) -> Plot | None:
    """Connections open."""
    columns = record.samples if len(record.samples.t_s) >= 2 else record.series
    traces = _counts(columns.t_s, "open", columns.open)
    y_axis, time = counts("connections"), over_time(record)
    return plot("connections", "Connections open", "", traces, y_axis, time, is_wide=True)


def in_flight(record: RunRecord) -> Plot | None:
    """Requests that were sent and not answered yet."""
    series = record.series
    traces = _counts(series.t_s, "in flight", series.in_flight) if any(series.in_flight) else []
    note = "Sent but not yet answered. What keeps growing is a queue that the server cannot empty."
    y_axis, time = counts("requests"), over_time(record)
    return plot("in-flight", "Requests in flight", note, traces, y_axis, time)


def _counts(t_s: Sequence[float], name: str, column: Sequence[int]) -> list[Trace]:
    if len(t_s) < 2:
        return []
    x, (y,) = thinned(t_s, [column])
    return [line(name, x, y, "server", f"%{{y:,}} {name}") | {"fill": "tozeroy"}]


def requests(record: RunRecord) -> Plot | None:
    """Requests a second: due, right, and those that were wrong or missing."""
    series = record.series
    if not any(series.due):
        return None
    lines: list[Line] = [("asked (due)", series.due, "other")]
    apart = max(abs(a - b) for a, b in zip(series.due, series.sent, strict=False))
    if apart > _APART * max(series.due):
        lines.append(("sent", series.sent, "client"))
    lines.append(("reached (right)", series.right, "server"))  # it lies over the others
    lines += _moved(("wrong or missing", series.bad, "bad"))
    traces = _rates(series, lines)
    for trace in traces[:1]:
        trace["line"]["dash"] = "dot"
    note = "Every request that is due should come back right within the same second."
    y_axis, time = counts("requests a second"), over_time(record)
    return plot("requests", "Requests a second", note, traces, y_axis, time, is_wide=True)


def changes(record: RunRecord) -> Plot | None:
    """Connections opened, and closed by the plan, a second: the two together are churn."""
    series = record.series
    moved = _moved(("opened", series.opened, "server"), ("closed", series.closed, "kernel"))
    note = "Opened, and closed by the plan; both at once is churn."
    y_axis, time = counts("connections a second"), over_time(record)
    traces = _rates(series, moved)
    return plot("changes", "Connections opened and closed", note, traces, y_axis, time)


def trouble(record: RunRecord) -> Plot | None:
    """What went wrong a second, in a plot of its own: a few are not seen beside thousands."""
    series = record.series
    moved = _moved(
        ("replies wrong or missing", series.bad, "bad"),
        ("connections lost", series.lost, "other"),
        ("connects failed", series.failed, "client"),
    )
    traces = _rates(series, moved)
    return plot("trouble", "What went wrong", "", traces, counts("a second"), over_time(record))


def _moved(*lines: Line) -> list[Line]:
    return [one for one in lines if any(one[1])]


def _rates(series: Series, lines: Sequence[Line]) -> list[Trace]:
    """Counts divided by how long their interval was; [] of fewer than two intervals."""
    if len(series.t_s) < 2 or not lines:
        return []
    widths = np.maximum(np.diff(np.array(series.t_s), prepend=_start_s(series)), 1e-3)
    t_s, kept = thinned(series.t_s, [(np.array(one[1]) / widths).tolist() for one in lines])
    traces = []
    for (name, _, colour), column in zip(lines, kept, strict=True):
        values = [significant(value) for value in column]
        traces.append(_intervals(series, name, t_s, values, colour, f"{name} %{{y:,.5~g}}/s"))
    return traces


def latency_over_time(record: RunRecord) -> Plot | None:
    """Corrected p50, p99 and maximum of each interval."""
    series = record.series
    traces, y_axis = _durations(
        series,
        ("max", series.max_ns, "bad"),
        ("p99", series.p99_ns, "client"),
        ("p50", series.p50_ns, "server"),
    )
    note = "Of the replies in each second, corrected: counted from when a request was due."
    time = over_time(record)
    return plot("latency-time", "Latency over time", note, traces, y_axis, time, is_wide=True)


def lag(record: RunRecord) -> Plot | None:
    """How far the generator was behind its schedule."""
    traces, y_axis = _durations(record.series, ("behind", record.series.lag_max_ns, "client"))
    note = "The longest delay in each second; where it equals the latencies, it is their cause."
    return plot("lag", "Generator behind its schedule", note, traces, y_axis, over_time(record))


def _durations(series: Series, *lines: Line) -> tuple[list[Trace], dict[str, Any]]:
    """Nanoseconds on a logarithmic axis; 0 is a gap: nothing was measured."""
    if len(series.t_s) < 2 or not _moved(*lines):
        return [], {}
    t_s, kept = thinned(series.t_s, [[v or None for v in one[1]] for one in lines])
    in_ms = [[None if v is None else significant(v / 1e6, 4) for v in column] for column in kept]
    traces = []
    for (name, _, colour), values in zip(lines, in_ms, strict=True):
        trace = _intervals(series, name, t_s, values, colour, f"{name} %{{customdata}}")
        trace["customdata"] = ["" if v is None else format_duration(1e6 * v) for v in trace["y"]]
        traces.append(trace)
    return traces, latency_axis(value for values in in_ms for value in values)


def _start_s(series: Series) -> float:
    """When the first interval began."""
    return max(0.0, series.t_s[0] - series.interval_s)


def _intervals(
    series: Series,
    name: str,
    t_s: list[float],
    values: list[float | None],
    colour: str,
    hover: str,
) -> Trace:
    """A line over intervals, whose rows are at their ends. None is a gap.

    Few rows are drawn as steps, each along its interval: after a gap, and at first, a point is
    put where the interval began. Many are drawn as a thin line from one to the next, with dots
    where a value between two gaps would be no line at all.
    """
    if len(t_s) > _STEPS_MAX:
        before, after = [None, *values[:-1]], [*values[1:], None]
        alone = zip(before, values, after, strict=True)
        has_dots = any(v is not None and a is b is None for a, v, b in alone)
        mode = "lines+markers" if has_dots else "lines"
        return line(name, t_s, values, colour, hover, width=1.2) | {"mode": mode}
    x: list[float] = []
    y: list[float | None] = []
    begins, before_it = _start_s(series), None
    for end, value in zip(t_s, values, strict=True):
        if value is not None and before_it is None:
            x.append(begins)
            y.append(value)
        x.append(end)
        y.append(value)
        begins, before_it = end, value
    return line(name, x, y, colour, hover, width=1.8, shape="vh")


# Latencies by percentile, and how many took how long


def latency_by_percentile(record: RunRecord) -> Plot | None:
    """Corrected and uncorrected latency of all requests."""
    note = (
        "Corrected counts from when a request was due, uncorrected from when it was sent; where "
        "they differ, requests waited to be sent."
    )
    return _by_percentile("spectrum", "Latency of requests by percentile", note, spectra(record))


def other_latencies_by_percentile(record: RunRecord) -> Plot | None:
    """Connects, first replies, stampedes, pushes."""
    title = f"{other_latencies_title(record).capitalize()} by percentile"
    note = "Half of the values are at or below 50 %; each curve ends at the slowest."
    return _by_percentile("latency", title, note, other_latencies(record))


def _by_percentile(
    name: str, title: str, note: str, latencies: Mapping[str, Latency]
) -> Plot | None:
    """As HdrHistogram draws them: the further to the right, the rarer."""
    traces = []
    for label, one in latencies.items():
        if one.count and one.histogram:
            rarity, values = _curve(one)
            texts = [
                f"{_percent(r)} %: {format_duration(1e6 * v)}"
                for r, v in zip(rarity, values, strict=True)
            ]
            x, colour = [round(r, 4) for r in rarity], _COLOURS.get(label, "other")
            traces.append(line(label, x, values, colour, f"{label} %{{customdata}}", texts))
    rarest = max([10.0, *(trace["x"][-1] for trace in traces)])
    rarities = [2.0, *(10.0**e for e in range(1, 10) if 10**e <= rarest)]
    x_axis = axis(
        "percentile (% that took no longer)",
        type="log",
        range=[0, math.log10(rarest) + 0.05],
        tickangle=0,
        tickvals=rarities,
        ticktext=[_percent(rarity) for rarity in rarities],
    )
    y_axis = latency_axis(value for trace in traces for value in trace["y"])
    return plot(name, title, note, traces, y_axis, {"xaxis": x_axis})


def _curve(one: Latency) -> tuple[list[float], list[float]]:
    """(1 / (1 - quantile), milliseconds) from the fastest half to the slowest of all.

    Up to the quantile with ten samples beyond it, then straight to the maximum.
    """
    decades = max(0.0, math.log10(max(1.0, one.count / 10)))
    rarity = np.logspace(0, decades, max(2, round(decades * _CURVE_POINTS_A_DECADE)))
    values = one.distribution().quantiles(1 - 1 / rarity) / 1e6
    shown = [*values.tolist(), one.max_ns / 1e6]
    lowest = 1e-6  # a logarithmic axis has no place for 0
    ends = max(float(one.count), 1.0)
    return [*rarity.tolist(), ends], [max(lowest, float(f"{value:.4g}")) for value in shown]


def _percent(rarity: float) -> str:
    """1 -> "0", 2 -> "50", 10 -> "90", 1,000 -> "99.9"."""
    digits = max(0, math.ceil(math.log10(rarity) - 2 - 1e-9))
    return f"{100 - 100 / rarity:.{digits}f}"


def distribution(record: RunRecord) -> Plot | None:
    """How many requests took how long, corrected and uncorrected."""
    traces = []
    for name, one in spectra(record).items():
        if not one.count or not one.histogram:
            continue
        edges, numbers = _bins(one)
        heights = [max(0.5, n) for n in [*numbers, numbers[-1]]]  # 0 has no place on the axis
        texts = [
            f"{format_duration(1e6 * a)} to {format_duration(1e6 * b)}: {format_count(n)}"
            for a, b, n in zip(edges[:-1], edges[1:], numbers, strict=True)
        ]
        x = [significant(edge) for edge in edges.tolist()]  # neighbours are 12 % apart
        hover = f"{name} %{{customdata}}"
        style = {"width": 1.6, "shape": "hv"}
        traces.append(line(name, x, heights, _COLOURS[name], hover, [*texts, ""], **style))
    if not traces:
        return None
    traces[0]["fill"] = "tozeroy"
    most = math.log10(max(2, *(value for trace in traces for value in trace["y"])))
    decades = [10**e for e in range(math.ceil(most) + 1)]
    y_axis = axis(
        "requests",
        type="log",
        range=[math.log10(0.5), round(most + 0.1, 3)],
        tickvals=decades,
        ticktext=[format_count(decade) for decade in decades],
    )
    ticks = latency_axis(value for trace in traces for value in trace["x"])
    layout = {"xaxis": axis("latency", tickangle=0, **ticks)}
    note = "Both axes are logarithmic: a bump to the right is a few slow requests among many."
    return plot("distribution", "How many requests took how long", note, traces, y_axis, layout)


def _bins(one: Latency) -> tuple[npt.NDArray[np.float64], list[int]]:
    """(edges in milliseconds float[n + 1], counts of n bins), equally wide on a logarithmic axis.

    A histogram's bucket is far narrower than a bin and counts where its highest value lies.
    """
    data = one.histogram
    buckets = np.cumsum(np.array(data["steps"], np.int64)).tolist()
    values = np.array([max(1, highest_in(bucket)) for bucket in buckets], np.float64) / 1e6
    first = math.floor(math.log10(values.min()) * _BINS_A_DECADE)
    last = math.floor(math.log10(values.max()) * _BINS_A_DECADE) + 1
    edges = 10.0 ** (np.arange(first, last + 1) / _BINS_A_DECADE)
    placed = np.searchsorted(edges, values, side="right") - 1
    numbers = np.zeros(len(edges) - 1, np.int64)
    np.add.at(numbers, placed.clip(0, len(numbers) - 1), np.array(data["counts"], np.int64))
    return edges, numbers.tolist()


# The ramp


def ramp(record: RunRecord) -> Plot | None:
    """What each further 1,000 connections took, and the mean of each 50,000."""
    thousands = [round(1000 * seconds, 3) for seconds in record.ramp.per_1000_s]
    if not thousands:
        return None
    kept = kept_rows([thousands]).tolist()
    x, y = [1000 * (i + 1) for i in kept], [thousands[i] for i in kept]
    each = line("each 1,000", x, y, "kernel", "the 1,000 up to %{x:,}: %{y:.4~g} ms", width=1)
    traces = [each | {"mode": "lines" if len(kept) > 60 else "lines+markers"}]
    if blocks := record.ramp.per_50000_s:
        edges = [50_000 * i for i in range(len(blocks) + 1)]
        took = [*blocks, blocks[-1]]  # the last is there twice, to draw its step
        means = [round(1000 * seconds / 50, 3) for seconds in took]
        texts = [
            f"{format_duration(1e9 * s)} ({format_count(50_000 / max(s, 1e-9))}/s)" for s in took
        ]
        hover = "50,000 from %{x:,}: %{customdata}"
        style = {"width": 2.5, "shape": "hv"}
        traces.append(line("mean of each 50,000", edges, means, "server", hover, texts, **style))
    x_axis = axis("connections open", tickformat=",~s", range=[0, 1010 * len(thousands)])
    y_axis = axis("ms per 1,000 connections", rangemode="tozero")
    title = "Time to open each further 1,000 connections"
    note = "Flat is good: a connection costs the same, however many are open already."
    return plot("ramp", title, note, traces, y_axis, {"xaxis": x_axis}, is_wide=True)


# Memory and CPU


def user_memory(record: RunRecord) -> Plot | None:
    """Resident memory of both processes over time."""
    both = {"server": record.samples.server, "client": record.samples.client}
    lines = [(name, one.rss_bytes, name) for name, one in both.items() if one]
    note = "Resident memory of the processes: Python, NumPy and a row for each connection."
    traces, y_axis = _bytes(record, *lines)
    return plot("user-memory", "Memory of the processes", note, traces, y_axis, over_time(record))


def machine_memory(record: RunRecord) -> Plot | None:
    """The machine's used memory, slab and TCP buffers over time."""
    kernel = record.samples.kernel
    traces, y_axis = _bytes(
        record,
        ("machine used", kernel.used_bytes, "other"),
        ("slab", kernel.slab_bytes, "kernel"),
        ("TCP buffers", kernel.tcp_mem_bytes, "client"),
    )
    note = (
        "Used is MemTotal - MemAvailable and includes everything else that runs; the kernel keeps "
        "its sockets in slab caches."
    )
    return plot("machine-memory", "Memory of the machine", note, traces, y_axis, over_time(record))


def _bytes(record: RunRecord, *lines: Line) -> tuple[list[Trace], dict[str, Any]]:
    """Lines of bytes over time, in the unit of the largest."""
    lines, times = tuple(_moved(*lines)), record.samples.t_s
    if len(times) < 2 or not lines:
        return [], {}
    unit = format_bytes(max(v for one in lines for v in one[1] if v is not None)).split()[1]
    divisor = 1024 ** ("B", "KiB", "MiB", "GiB").index(unit)
    t_s, kept = thinned(times, [one[1] for one in lines])
    traces = []
    for (name, _, colour), column in zip(lines, kept, strict=True):
        values = [None if v is None else significant(v / divisor) for v in column]
        traces.append(line(name, t_s, values, colour, f"{name} %{{y:.4~g}} {unit}"))
    return traces, axis(unit, rangemode="tozero")


def cpu(record: RunRecord) -> Plot | None:
    """CPU of both processes over time, as a share of one core."""
    traces: list[Trace] = []
    for name, process in (("server", record.samples.server), ("client", record.samples.client)):
        shares = _cpu_shares(record.samples.t_s, process) if process else None
        if shares is None:
            continue
        at, both, kernel = shares
        for label, column, style in (
            (f"{name}, all", both, {"width": 2}),
            (f"{name}, in the kernel", kernel, {"width": 1.2, "dash": "dot"}),
        ):
            hover = f"{label} %{{y:.0f}} %"
            traces.append(line(label, at, column, name, hover, shape="hv", **style))
    note = "A single-threaded process uses at most 100 %; interrupts are not included."
    y_axis = axis("% of one core", rangemode="tozero")
    return plot("cpu", "CPU of the processes", note, traces, y_axis, over_time(record))


def _cpu_shares(
    t_s: Sequence[float], process: ProcessColumns
) -> tuple[list[float], list[float], list[float]] | None:
    """(time, % of a core in all, % in the kernel) of even steps, long enough for procfs' ticks.

    Element i is the share from its time to the next one's; the last is there twice, to draw it.
    None where the process was not seen twice.
    """
    if not (t_s and process.user_s and process.system_s):
        return None
    table = np.array([t_s, process.user_s, process.system_s], np.float64)  # None is NaN
    t, user, system = table[:, ~np.isnan(table).any(axis=0)]
    if len(t) < 2 or t[-1] <= t[0]:
        return None
    steps = min(max(1, int((t[-1] - t[0]) / _CPU_STEP_S)), _CPU_STEPS_MAX)
    edges, width = np.linspace(t[0], t[-1], steps + 1, retstep=True)
    shares = []
    for used in (user + system, system):
        share = 100 * np.diff(np.interp(edges, t, used)) / width
        shares.append(np.append(share, share[-1]).round(1).tolist())
    return edges.round(3).tolist(), shares[0], shares[1]
