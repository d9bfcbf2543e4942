"""The plots of a run as plotly figures in plain JSON values: traces and axes, without colours.

A trace's `c1mColour` names a CSS variable of the page, so that the plots follow light and dark.
Needs no plotly: the page's JavaScript draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from c1m.loadgen.histogram import Histogram
from c1m.report.record import Latency, ProcessColumns, RunRecord
from c1m.units import format_bytes, format_count, format_duration

Figure = dict[str, Any]  # id, title, note, traces, layout

_CPU_STEPS_MAX = 300  # points of the CPU plot: procfs counts in hundredths of a second
_CURVE_POINTS_A_DECADE = 24
_LATENCY_COLOURS = {"connect": "kernel", "first": "client", "stampede": "server"}


def figures(record: RunRecord) -> list[Figure]:
    """All plots that the record has data for, in the page's order."""
    made = (
        connections(record),
        ramp(record),
        user_memory(record),
        machine_memory(record),
        cpu(record),
        latency(record),
    )
    return [figure for figure in made if figure is not None]


def connections(record: RunRecord) -> Figure | None:
    """Connections open over time."""
    samples = record.samples
    if len(samples.t_s) < 2:
        return None
    trace = _line("open", samples.t_s, samples.open, "server", fill="tozeroy")
    trace["hovertemplate"] = "%{y:,} open<extra></extra>"
    layout = _time_layout(record, {"title": {"text": "connections"}, "tickformat": ",~s"})
    return _figure("connections", "Connections open", "", [trace], layout)


def ramp(record: RunRecord) -> Figure | None:
    """What each further 1,000 connections took, and the mean of each 50,000."""
    thousands = [1000 * seconds for seconds in record.ramp.per_1000_s]
    if not thousands:
        return None
    ends = [1000 * (i + 1) for i in range(len(thousands))]
    each = _line("each 1,000", ends, _rounded(thousands, 3), "kernel")
    each |= {"mode": "lines" if len(ends) > 60 else "lines+markers"}
    each["line"] = {"width": 1}
    each["hovertemplate"] = "the 1,000 up to %{x:,}: %{y:.4~g} ms<extra></extra>"
    traces = [each]
    blocks = record.ramp.per_50000_s
    if blocks:
        edges = [50_000 * i for i in range(len(blocks) + 1)]
        means = _rounded([1000 * seconds / 50 for seconds in blocks], 3)
        mean = _line("mean of each 50,000", edges, [*means, means[-1]], "server")
        mean["line"] = {"width": 2.5, "shape": "hv"}
        mean["customdata"] = [_duration_s(seconds) for seconds in [*blocks, blocks[-1]]]
        mean["hovertemplate"] = "50,000 from %{x:,}: %{customdata}<extra></extra>"
        traces.append(mean)
    layout = {
        "xaxis": {
            "title": {"text": "connections open"},
            "tickformat": ",~s",
            "range": [0, 1.01 * ends[-1]],
        },
        "yaxis": {"title": {"text": "ms for 1,000 connections"}, "rangemode": "tozero"},
        "hovermode": "closest",
    }
    note = "Flat is good: a connection costs the same, however many are open already."
    return _figure("ramp", "Time that each further 1,000 connections took", note, traces, layout)


def user_memory(record: RunRecord) -> Figure | None:
    """Resident memory of both processes over time."""
    columns = {
        name: process.rss_bytes
        for name, process in (("server", record.samples.server), ("client", record.samples.client))
        if process is not None and any(value is not None for value in process.rss_bytes)
    }
    note = "Resident memory of the processes: Python, NumPy and a row for each connection."
    return _bytes_figure(record, "user-memory", "Memory of the processes", note, columns)


def machine_memory(record: RunRecord) -> Figure | None:
    """The machine's used memory, slab and TCP buffers over time."""
    kernel = record.samples.kernel
    columns = {"machine used": kernel.used_bytes, "slab": kernel.slab_bytes}
    columns["TCP buffers"] = kernel.tcp_mem_bytes
    note = (
        "Used is MemTotal - MemAvailable, with everything else that runs; the kernel keeps its "
        "sockets in slab."
    )
    kept = {name: column for name, column in columns.items() if any(column)}
    return _bytes_figure(record, "machine-memory", "Memory of the machine", note, kept)


def cpu(record: RunRecord) -> Figure | None:
    """CPU of both processes over time, as a share of one core."""
    t_s = record.samples.t_s
    traces: list[dict[str, Any]] = []
    for name, process in (("server", record.samples.server), ("client", record.samples.client)):
        if process is None:
            continue
        at, both, system = _cpu_shares(t_s, process)
        if at:
            traces.append(_line(f"{name}, all", at, both, name))
            inner = _line(f"{name}, of it kernel", at, system, name)
            inner["line"] = {"width": 1.2, "dash": "dot"}
            traces.append(inner)
    for trace in traces:
        trace["line"]["shape"] = "hv"
        trace["hovertemplate"] = f"{trace['name']} %{{y:.0f}} %<extra></extra>"
    axis = {"title": {"text": "% of one core"}, "rangemode": "tozero"}
    note = "A process of one thread has at most 100 %; what the kernel does in interrupts is apart."
    if not traces:
        return None
    return _figure("cpu", "CPU of the processes", note, traces, _time_layout(record, axis))


def latency(record: RunRecord) -> Figure | None:
    """Latency by percentile, the further to the right the rarer (HDR style)."""
    traces = []
    rarest = 10.0
    for name, one in record.latencies.items():
        if one.count == 0 or not one.histogram:
            continue
        rarity, values = _curve(one)
        trace = _line(name, _rounded(rarity, 4), values, _LATENCY_COLOURS.get(name, "other"))
        trace["customdata"] = [
            f"{_percent(r)} %: {format_duration(1e6 * v)}"
            for r, v in zip(rarity, values, strict=True)
        ]
        trace["hovertemplate"] = f"{name} %{{customdata}}<extra></extra>"
        traces.append(trace)
        rarest = max(rarest, rarity[-1])
    if not traces:
        return None
    layout = {
        "xaxis": {
            "type": "log",
            "title": {"text": "percentile (how many are at most as slow, in %)"},
            "range": [0, math.log10(rarest) + 0.05],
            "tickangle": 0,
            "tickvals": (rarities := [2.0, *(10.0**e for e in range(1, 10) if 10**e <= rarest)]),
            "ticktext": [_percent(rarity) for rarity in rarities],
        },
        "yaxis": {"type": "log", **_latency_axis(traces)},
        "hovermode": "closest",
    }
    note = "Half of all are at 50 % or below; every curve ends at its slowest."
    return _figure("latency", "Latency by percentile", note, traces, layout)


def _curve(one: Latency) -> tuple[list[float], list[float]]:
    """(1 / (1 - quantile), milliseconds) from the fastest half to the slowest of all.

    Up to the quantile with ten samples beyond it, then straight to the maximum.
    """
    histogram = Histogram.from_json(one.histogram)
    decades = max(0.0, math.log10(max(1.0, one.count / 10)))
    rarity = np.logspace(0, decades, max(2, round(decades * _CURVE_POINTS_A_DECADE)))
    values = histogram.quantiles(1 - 1 / rarity) / 1e6
    ends = max(float(one.count), 1.0)
    shown = [*values.tolist(), one.max_ns / 1e6]
    lowest = 1e-6  # a logarithmic axis has no place for 0
    return [*rarity.tolist(), ends], [max(lowest, float(f"{value:.4g}")) for value in shown]


def _percent(rarity: float) -> str:
    """1 -> "0", 2 -> "50", 10 -> "90", 1,000 -> "99.9"."""
    digits = max(0, math.ceil(math.log10(rarity) - 2 - 1e-9))
    return f"{100 - 100 / rarity:.{digits}f}"


_TICK_UNITS = ((1e-6, "ns"), (1e-3, "us"), (1.0, "ms"), (1e3, "s"))  # in milliseconds


def _latency_axis(traces: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Range and ticks of a logarithmic axis of milliseconds: a tick at each power of ten."""
    values = [value for trace in traces for value in trace["y"]]
    low, high = math.log10(min(values)) - 0.1, math.log10(max(values)) + 0.1
    if high - low < 1:  # show a decade at least, so that one tick is in sight
        low, high = math.floor(low), max(high, math.floor(low) + 1)
    ticks = []
    for exponent in range(max(-6, math.ceil(low)), math.floor(high) + 1):
        scale, unit = max(known for known in _TICK_UNITS if exponent >= round(math.log10(known[0])))
        ticks.append((10.0**exponent, f"{10.0**exponent / scale:,.0f} {unit}"))
    return {
        "range": [round(low, 3), round(high, 3)],
        "tickvals": [value for value, _ in ticks],
        "ticktext": [label for _, label in ticks],
    }


def _cpu_shares(
    t_s: Sequence[float], process: ProcessColumns
) -> tuple[list[float], list[float], list[float]]:
    """(time, % of a core in all, % in the kernel), over steps long enough for procfs' ticks.

    Element i is the share from its time to the next one's; the last is there twice, to draw it.
    """
    rows = [
        (t, user, system)
        for t, user, system in zip(t_s, process.user_s, process.system_s, strict=True)
        if user is not None and system is not None
    ]
    if len(rows) < 2:
        return [], [], []
    step_s = max(0.5, (rows[-1][0] - rows[0][0]) / _CPU_STEPS_MAX)
    chosen = [rows[0]]
    for row in rows[1:]:
        if row[0] - chosen[-1][0] >= step_s:
            chosen.append(row)
    if len(chosen) < 2:
        chosen = [rows[0], rows[-1]]
    t, user, system = np.array(chosen).T
    steps = np.maximum(np.diff(t), 1e-9)
    kernel = 100 * np.diff(system) / steps
    both = kernel + 100 * np.diff(user) / steps
    closed = [np.append(column, column[-1]).round(1).tolist() for column in (both, kernel)]
    return t.tolist(), closed[0], closed[1]


def _bytes_figure(
    record: RunRecord, name: str, title: str, note: str, columns: dict[str, list[Any]]
) -> Figure | None:
    """Lines of bytes over time, in the unit of the largest."""
    if len(record.samples.t_s) < 2 or not columns:
        return None
    highest = max(value for column in columns.values() for value in column if value is not None)
    unit = format_bytes(highest).split()[1]
    divisor = 1024 ** ("B", "KiB", "MiB", "GiB").index(unit)
    colours = {"slab": "kernel", "TCP buffers": "client", "machine used": "other"}
    traces = []
    for label, column in columns.items():
        values = [None if v is None else float(f"{v / divisor:.5g}") for v in column]
        trace = _line(label, record.samples.t_s, values, colours.get(label, label))
        trace["hovertemplate"] = f"{label} %{{y:.4~g}} {unit}<extra></extra>"
        traces.append(trace)
    axis = {"title": {"text": unit}, "rangemode": "tozero"}
    return _figure(name, title, note, traces, _time_layout(record, axis))


def _time_layout(record: RunRecord, y_axis: dict[str, Any]) -> dict[str, Any]:
    """Axes over seconds, with the run's phases as bands (their colours are the page's)."""
    bands = [
        {"name": phase.name, "start": round(phase.start_s, 3), "end": round(phase.end_s, 3)}
        for phase in record.phases
        if phase.end_s > phase.start_s
    ]
    return {
        "xaxis": {"title": {"text": "seconds since the start"}, "hoverformat": ".2f"},
        "yaxis": {"rangemode": "tozero", **y_axis},
        "hovermode": "x unified",
        "c1mBands": bands,
    }


def _line(
    name: str, x: Sequence[Any], y: Sequence[Any], colour: str, **more: Any
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"width": 2},
        "c1mColour": colour,
        **more,
    }


def _figure(
    name: str, title: str, note: str, traces: list[dict[str, Any]], layout: dict[str, Any]
) -> Figure:
    return {"id": name, "title": title, "note": note, "traces": traces, "layout": layout}


def _rounded(values: Iterable[float], digits: int) -> list[float]:
    return [round(value, digits) for value in values]


def _duration_s(seconds: float) -> str:
    return f"{format_duration(1e9 * seconds)} ({format_count(50_000 / max(seconds, 1e-9))}/s)"
