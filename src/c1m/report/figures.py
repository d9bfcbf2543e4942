"""The plots of a run as plotly figures in plain JSON values: traces and axes, without colours.

Here are the list of them all and the plots of connections; latencies, requests and memory are in
the `figures_*` beside this file. Needs no plotly: the page's JavaScript draws.
"""

from __future__ import annotations

from c1m.report.figures_latency import distribution, latency, spectrum
from c1m.report.figures_machine import cpu, machine_memory, user_memory
from c1m.report.figures_parts import Figure, figure, kept_rows, line, rounded, thinned, time_layout
from c1m.report.figures_requests import (
    changes,
    in_flight,
    lag,
    latency_over_time,
    requests,
    trouble,
)
from c1m.results.record import RunRecord
from c1m.units import format_count, format_duration

__all__ = ["Figure", "connections", "cpu", "figures", "latency", "ramp"]


def figures(record: RunRecord) -> list[Figure]:
    """All plots that the record has data for, in the page's order."""
    made = (
        connections(record),
        requests(record),
        latency_over_time(record),
        spectrum(record),
        distribution(record),
        changes(record),
        in_flight(record),
        lag(record),
        trouble(record),
        ramp(record),
        user_memory(record),
        machine_memory(record),
        cpu(record),
        latency(record),
    )
    return [one for one in made if one is not None]


def connections(record: RunRecord) -> Figure | None:
    """Connections open over time."""
    columns = record.samples if len(record.samples.t_s) >= 2 else record.series
    if len(columns.t_s) < 2:
        return None
    t_s, (is_open,) = thinned(columns.t_s, [columns.open])
    trace = line("open", t_s, is_open, "server", fill="tozeroy")
    trace["hovertemplate"] = "%{y:,} open<extra></extra>"
    layout = time_layout(record, {"title": {"text": "connections"}, "tickformat": ",~s"})
    return figure("connections", "Connections open", "", [trace], layout)


def ramp(record: RunRecord) -> Figure | None:
    """What each further 1,000 connections took, and the mean of each 50,000."""
    thousands = rounded([1000 * seconds for seconds in record.ramp.per_1000_s], 3)
    if not thousands:
        return None
    kept = kept_rows([thousands]).tolist()
    each = line(
        "each 1,000", [1000 * (i + 1) for i in kept], [thousands[i] for i in kept], "kernel"
    )
    each |= {"mode": "lines" if len(kept) > 60 else "lines+markers"}
    each["line"] = {"width": 1}
    each["hovertemplate"] = "the 1,000 up to %{x:,}: %{y:.4~g} ms<extra></extra>"
    traces = [each]
    blocks = record.ramp.per_50000_s
    if blocks:
        edges = [50_000 * i for i in range(len(blocks) + 1)]
        means = rounded([1000 * seconds / 50 for seconds in blocks], 3)
        mean = line("mean of each 50,000", edges, [*means, means[-1]], "server")
        mean["line"] = {"width": 2.5, "shape": "hv"}
        mean["customdata"] = [_duration_s(seconds) for seconds in [*blocks, blocks[-1]]]
        mean["hovertemplate"] = "50,000 from %{x:,}: %{customdata}<extra></extra>"
        traces.append(mean)
    layout = {
        "xaxis": {
            "title": {"text": "connections open"},
            "tickformat": ",~s",
            "range": [0, 1010 * len(thousands)],
        },
        "yaxis": {"title": {"text": "ms for 1,000 connections"}, "rangemode": "tozero"},
        "hovermode": "closest",
    }
    note = "Flat is good: a connection costs the same, however many are open already."
    return figure("ramp", "Time that each further 1,000 connections took", note, traces, layout)


def _duration_s(seconds: float) -> str:
    return f"{format_duration(1e9 * seconds)} ({format_count(50_000 / max(seconds, 1e-9))}/s)"
