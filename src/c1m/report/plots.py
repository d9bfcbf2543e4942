"""The plots of a run: connections, requests, latencies, memory and CPU, each from its columns.

What happened in an interval is from the record's series, which may have an hour's seconds; what was
at a moment from its samples. `thinned` keeps the peaks of both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from c1m.report import plot, workers
from c1m.report.plot import Column, Plot, Trace, axis, figure, line
from c1m.report.request_sections import other_latencies, other_latencies_title, spectra
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
    "secured": "other",
    "handshake": "server",
    "first": "client",
    "ended by the server": "client",
    "stampede": "server",
    "corrected": "server",
    "uncorrected": "client",
    "push": "server",
    "push, last of each": "client",
}


def plots(record: RunRecord) -> list[Plot]:
    """All plots that the record has data for, in the page's order."""
    made = (
        connections(record),
        requests(record),
        _over_time(record, LATENCIES),
        _by_percentile(
            "spectrum",
            "Latency of requests by percentile",
            "Corrected counts from when a request was due, uncorrected from when it was sent; "
            "where they differ, requests waited to be sent.",
            spectra(record),
        ),
        distribution(record),
        _over_time(record, CHANGES),
        _over_time(record, IN_FLIGHT),
        _over_time(record, LAG),
        _over_time(record, TROUBLE),
        *workers.plots(record),
        ramp(record),
        _over_time(record, USER_MEMORY),
        _over_time(record, MACHINE_MEMORY),
        cpu(record),
        _by_percentile(
            "latency",
            f"{other_latencies_title(record).capitalize()} by percentile",
            "Half of the values are at or below 50 %; each curve ends at the slowest.",
            other_latencies(record),
        ),
    )
    return [one for one in made if one is not None]


# Over time


# What a column is.
LEVEL = "level"  # the number of something at each moment
SIZE = "size"  # bytes at each moment
RATE = "rate"  # counts of each interval
DURATION = "duration"  # nanoseconds in each interval; 0: nothing was measured


@dataclass(frozen=True, slots=True)
class OverTime:
    """A plot of columns over time: of those that have any value but 0."""

    id: str
    title: str
    part: str  # of the record: "series" or "samples"
    kind: str
    unit: str
    columns: Sequence[tuple[str, str, str]]  # name, column, colour
    note: str = ""
    is_wide: bool = False


OPEN = OverTime(
    "connections", "Connections open", "series", LEVEL, "connections",
    [("open", "open", "server")], is_wide=True,
)  # fmt: skip
REQUESTS = OverTime(
    "requests", "Requests a second", "series", RATE, "requests a second",
    [("asked (due)", "due", "other"), ("sent", "sent", "client"),
     ("reached (right)", "right", "server"),  # it lies over the others
     ("wrong or missing", "bad", "bad")],
    "In each second as many right replies should come as requests are due.", is_wide=True,
)  # fmt: skip
LATENCIES = OverTime(
    "latency-time", "Latency over time", "series", DURATION, "",
    [("max", "max_ns", "bad"), ("p99", "p99_ns", "client"), ("p50", "p50_ns", "server")],
    "Of the replies in each second, corrected: counted from when a request was due.", is_wide=True,
)  # fmt: skip
CHANGES = OverTime(
    "changes", "Connections opened and closed", "series", RATE, "connections a second",
    [("secured", "secured", "client"), ("opened", "opened", "server"),
     ("closed", "closed", "kernel")],
    "Opened, and closed by the plan; both at once is churn. Secured: TLS handshakes done.",
)  # fmt: skip
IN_FLIGHT = OverTime(
    "in-flight", "Requests in flight", "series", LEVEL, "requests",
    [("in flight", "in_flight", "server")],
    "Sent but not yet answered. What keeps growing is a queue that the server cannot empty.",
)  # fmt: skip
LAG = OverTime(
    "lag", "Generator behind its schedule", "series", DURATION, "",
    [("behind", "lag_max_ns", "client")],
    "The longest delay in each second; where it equals the latencies, it is their cause.",
)  # fmt: skip
TROUBLE = OverTime(  # in a plot of its own: a few are not seen beside thousands
    "trouble", "What went wrong", "series", RATE, "a second",
    [("replies wrong or missing", "bad", "bad"), ("connections lost", "lost", "other"),
     ("connects failed", "failed", "client")],
)  # fmt: skip
USER_MEMORY = OverTime(
    "user-memory", "Memory of the processes", "samples", SIZE, "",
    [("server", "server.rss_bytes", "server"), ("client", "client.rss_bytes", "client")],
    "Resident memory of the processes: Python, NumPy and a row for each connection.",
)  # fmt: skip
MACHINE_MEMORY = OverTime(
    "machine-memory", "Memory of the machine", "samples", SIZE, "",
    [("machine used", "kernel.used_bytes", "other"), ("slab", "kernel.slab_bytes", "kernel"),
     ("TCP buffers", "kernel.tcp_mem_bytes", "client")],
    "Used is MemTotal - MemAvailable and includes everything else that runs; the kernel keeps its "
    "sockets in slab caches.",
)  # fmt: skip


def _over_time(record: RunRecord, one: OverTime, always: str = "") -> Plot | None:
    """`always`: the line that is drawn even where it is 0 all the time."""
    table = getattr(record, one.part)
    lines = [
        (name, column, colour)
        for name, path, colour in one.columns
        if len(column := _column(table, path)) == len(table.t_s) >= 2
        and (any(column) or name == always)
    ]
    if not lines:
        return None
    columns, y_axis, hover = _values(one, table, [column for _, column, _ in lines])
    t_s, kept = plot.thinned(table.t_s, columns)
    traces = []
    for (name, _, colour), values in zip(lines, kept, strict=True):
        x, y, style = t_s, values, dict[str, Any]()
        if one.kind in (RATE, DURATION):
            x, y, style = _intervals(table, t_s, values)
        trace = line(name, x, y, colour, hover.replace("NAME", name), **style)
        if one.kind == LEVEL:
            trace["fill"] = "tozeroy"
        if one.kind == DURATION:
            trace["customdata"] = ["" if v is None else format_duration(1e6 * v) for v in y]
        traces.append(trace)
    return figure(one.id, one.title, one.note, traces, y_axis, plot.over_time(record), one.is_wide)


def _column(table: Any, path: str) -> Column:
    """The column "server.rss_bytes"; empty where that process is not known."""
    for name in path.split("."):
        table = getattr(table, name, ())
    return cast(Column, table)


def _values(
    one: OverTime, table: Any, columns: Sequence[Column]
) -> tuple[Sequence[Column], dict[str, Any], str]:
    """(columns as they are drawn, y axis, what hovering over the line NAME shows)."""
    if one.kind == RATE:
        widths = np.maximum(np.diff(table.t_s, prepend=_start_s(table)), 1e-3)
        rates = [plot.significant(np.array(column) / widths) for column in columns]
        return rates, plot.counts(one.unit), "NAME %{y:,.5~g}/s"
    if one.kind == DURATION:
        in_ms = [plot.significant([v / 1e6 if v else None for v in each], 4) for each in columns]
        return in_ms, plot.latency_axis(itertools.chain(*in_ms)), "NAME %{customdata}"
    if one.kind == SIZE:
        sizes = np.array(columns, np.float64)  # None is NaN
        unit = format_bytes(np.nanmax(sizes)).split()[1]
        sizes /= 1024 ** ("B", "KiB", "MiB", "GiB").index(unit)
        hover = f"NAME %{{y:.4~g}} {unit}"
        return [*map(plot.significant, sizes)], axis(unit, rangemode="tozero"), hover
    return columns, plot.counts(one.unit), "%{y:,} NAME"


def connections(record: RunRecord) -> Plot | None:
    """Connections open, at the samples' moments if there are any."""
    part = "samples" if len(record.samples.t_s) >= 2 else "series"
    return _over_time(record, replace(OPEN, part=part), always="open")


def requests(record: RunRecord) -> Plot | None:
    """Requests a second: due, right, and those that were wrong or missing."""
    due, sent = record.series.due, record.series.sent
    if not any(due):
        return None
    columns = list(REQUESTS.columns)
    apart = (abs(a - b) for a, b in zip(due, sent, strict=False))
    if max(apart, default=0) <= _APART * max(due):
        columns = [each for each in columns if each[0] != "sent"]
    made = _over_time(record, replace(REQUESTS, columns=columns), always="reached (right)")
    if made is not None:
        made["traces"][0]["line"]["dash"] = "dot"
    return made


def _start_s(series: Series) -> float:
    """When the first interval began."""
    return max(0.0, series.t_s[0] - series.interval_s)


def _intervals(
    series: Series, t_s: list[float], values: list[float | None]
) -> tuple[list[float], list[Any], dict[str, Any]]:
    """(x, y, style) of a line over intervals, whose rows are at their ends. None is a gap.

    Few rows are drawn as steps, each along its interval: after a gap, and at first, a point is
    put where the interval began. Many are drawn as a thin line from one to the next, with dots
    where a value between two gaps would be no line at all.
    """
    if len(t_s) > _STEPS_MAX:
        alone = zip([None, *values[:-1]], values, [*values[1:], None], strict=True)
        has_dots = any(v is not None and a is b is None for a, v, b in alone)
        return t_s, values, {"width": 1.2, "mode": "lines+markers" if has_dots else "lines"}
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
    return x, y, {"width": 1.8, "shape": "vh"}


# Latencies by percentile, and how many took how long


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
    y_axis = plot.latency_axis(value for trace in traces for value in trace["y"])
    return figure(name, title, note, traces, y_axis, {"xaxis": x_axis})


def _curve(one: Latency) -> tuple[list[float], list[float]]:
    """(1 / (1 - quantile), milliseconds) from the fastest half to the slowest of all.

    Up to the quantile with ten samples beyond it, then straight to the maximum.
    """
    decades = max(0.0, math.log10(max(1.0, one.count / 10)))
    rarity = np.logspace(0, decades, max(2, round(decades * _CURVE_POINTS_A_DECADE)))
    values = one.distribution().quantiles(1 - 1 / rarity) / 1e6
    shown = np.maximum([*values, one.max_ns / 1e6], 1e-6)  # a logarithmic axis has no place for 0
    return [*rarity.tolist(), float(one.count)], plot.significant(shown, 4)


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
        x = plot.significant(edges)  # neighbours are 12 % apart
        hover, colour = f"{name} %{{customdata}}", _COLOURS[name]
        traces.append(line(name, x, heights, colour, hover, [*texts, ""], width=1.6, shape="hv"))
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
    ticks = plot.latency_axis(value for trace in traces for value in trace["x"])
    layout = {"xaxis": axis("latency", tickangle=0, **ticks)}
    note = "Both axes are logarithmic: a bump to the right is a few slow requests among many."
    return figure("distribution", "How many requests took how long", note, traces, y_axis, layout)


def _bins(one: Latency) -> tuple[npt.NDArray[np.float64], list[int]]:
    """(edges in milliseconds float[n + 1], counts of n bins), equally wide on a logarithmic axis.

    A histogram's bucket is far narrower than a bin and counts where its highest value lies.
    """
    _, tops, counts = one.distribution().buckets()
    places = _BINS_A_DECADE * np.log10(np.maximum(1, tops) / 1e6)
    bins = np.arange(math.floor(places.min()), math.floor(places.max()) + 2)
    numbers, _ = np.histogram(places, bins, weights=counts)
    return 10.0 ** (bins / _BINS_A_DECADE), numbers.astype(np.int64).tolist()


# The ramp


def ramp(record: RunRecord) -> Plot | None:
    """What each further 1,000 connections took, and the mean of each 50,000."""
    thousands = [round(1000 * seconds, 3) for seconds in record.ramp.per_1000_s]
    if not thousands:
        return None
    kept = plot.kept_rows([thousands]).tolist()
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
        name, hover = "mean of each 50,000", "50,000 from %{x:,}: %{customdata}"
        traces.append(line(name, edges, means, "server", hover, texts, width=2.5, shape="hv"))
    x_axis = axis("connections open", tickformat=",~s", range=[0, 1010 * len(thousands)])
    y_axis = axis("ms per 1,000 connections", rangemode="tozero")
    title = "Time to open each further 1,000 connections"
    note = "Flat is good: a connection costs the same, however many are open already."
    return figure("ramp", title, note, traces, y_axis, {"xaxis": x_axis}, is_wide=True)


# CPU


def cpu(record: RunRecord) -> Plot | None:
    """CPU of both processes over time, as a share of one core."""
    traces: list[Trace] = []
    for name, process in (("server", record.samples.server), ("client", record.samples.client)):
        if process is None or not (shares := _cpu_shares(record.samples.t_s, process)):
            continue
        at, both, kernel = shares
        for label, column, width, dash in (
            (f"{name}, all", both, 2, "solid"),
            (f"{name}, in the kernel", kernel, 1.2, "dot"),
        ):
            hover = f"{label} %{{y:.0f}} %"
            traces.append(line(label, at, column, name, hover, shape="hv", width=width, dash=dash))
    note = "A single-threaded process uses at most 100 %; interrupts are not included."
    y_axis = axis("% of one core", rangemode="tozero")
    return figure("cpu", "CPU of the processes", note, traces, y_axis, plot.over_time(record))


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
