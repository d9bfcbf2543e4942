"""The plots of what a run took: memory of the processes and of the machine, CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from c1m.report.figures_parts import (  # fmt: skip
    Column,
    Figure,
    Trace,
    figure,
    line,
    significant,
    thinned,
    time_layout,
)
from c1m.results.record import ProcessColumns, RunRecord
from c1m.units import format_bytes

_CPU_STEPS_MAX = 300  # points of the CPU plot: procfs counts in hundredths of a second
_COLOURS = {"slab": "kernel", "TCP buffers": "client", "machine used": "other"}


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


def _bytes_figure(
    record: RunRecord, name: str, title: str, note: str, columns: Mapping[str, Column]
) -> Figure | None:
    """Lines of bytes over time, in the unit of the largest."""
    if len(record.samples.t_s) < 2 or not columns:
        return None
    highest = max(value for column in columns.values() for value in column if value is not None)
    unit = format_bytes(highest).split()[1]
    divisor = 1024 ** ("B", "KiB", "MiB", "GiB").index(unit)
    traces = []
    t_s, kept = thinned(record.samples.t_s, list(columns.values()))
    for label, column in zip(columns, kept, strict=True):
        values = [None if v is None else significant(v / divisor, 5) for v in column]
        trace = line(label, t_s, values, _COLOURS.get(label, label))
        trace["hovertemplate"] = f"{label} %{{y:.4~g}} {unit}<extra></extra>"
        traces.append(trace)
    axis = {"title": {"text": unit}, "rangemode": "tozero"}
    return figure(name, title, note, traces, time_layout(record, axis))


def cpu(record: RunRecord) -> Figure | None:
    """CPU of both processes over time, as a share of one core."""
    t_s = record.samples.t_s
    traces: list[Trace] = []
    for name, process in (("server", record.samples.server), ("client", record.samples.client)):
        if process is None:
            continue
        at, both, system = _cpu_shares(t_s, process)
        if at:
            traces.append(line(f"{name}, all", at, both, name))
            inner = line(f"{name}, of it kernel", at, system, name)
            inner["line"] = {"width": 1.2, "dash": "dot"}
            traces.append(inner)
    for trace in traces:
        trace["line"]["shape"] = "hv"
        trace["hovertemplate"] = f"{trace['name']} %{{y:.0f}} %<extra></extra>"
    axis = {"title": {"text": "% of one core"}, "rangemode": "tozero"}
    note = "A process of one thread has at most 100 %; what the kernel does in interrupts is apart."
    if not traces:
        return None
    return figure("cpu", "CPU of the processes", note, traces, time_layout(record, axis))


def _cpu_shares(
    t_s: Sequence[float], process: ProcessColumns
) -> tuple[list[float], list[float], list[float]]:
    """(time, % of a core in all, % in the kernel), over steps long enough for procfs' ticks.

    Element i is the share from its time to the next one's; the last is there twice, to draw it.
    Nothing, where the process's columns are empty.
    """
    rows = [
        (t, user, system)
        for t, user, system in zip(t_s, process.user_s, process.system_s, strict=False)
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
