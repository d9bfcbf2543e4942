"""The plots of latencies: by percentile as HdrHistogram draws them, and how many took how long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.report.figures_parts import Figure, Trace, figure, latency_ticks, line, rounded
from c1m.report.text_latency import other_latencies, spectrum_of
from c1m.results.histogram import Histogram, highest_in
from c1m.results.record import Latency, RunRecord
from c1m.units import format_count, format_duration

_CURVE_POINTS_A_DECADE = 24
_BINS_A_DECADE = 20
_COLOURS = {
    "connect": "kernel",
    "first": "client",
    "ended": "client",
    "stampede": "server",
    "corrected": "server",
    "uncorrected": "client",
    "push": "server",
    "push_last": "client",
}


def spectrum(record: RunRecord) -> Figure | None:
    """Corrected and uncorrected latency of all requests by percentile."""
    both = _spectra(record)
    if not both:
        return None
    note = (
        "Corrected is from the moment a request was due, uncorrected from when it was sent; where "
        "they part, requests waited to be sent."
    )
    return _by_percentile("spectrum", "Latency of requests by percentile", note, both)


def latency(record: RunRecord) -> Figure | None:
    """The other latencies by percentile, the further to the right the rarer."""
    note = "Half of all are at 50 % or below; every curve ends at its slowest."
    others = other_latencies(record)
    is_apart = spectrum_of(record) is not None
    title = "Latency by percentile: connections" if is_apart else "Latency by percentile"
    return _by_percentile("latency", title, note, others)


def distribution(record: RunRecord) -> Figure | None:
    """How many requests took how long, corrected and uncorrected."""
    named = _spectra(record)
    if not named:
        return None
    traces = []
    for name, one in named.items():
        edges, counts = _bins(one)
        heights = [max(0.5, n) for n in [*counts, counts[-1]]]  # 0 has no place on the axis
        trace = line(name, _rounded_edges(edges), heights, _COLOURS[name])
        trace["line"] = {"width": 1.6, "shape": "hv"}
        if name == "corrected":
            trace["fill"] = "tozeroy"
        trace["customdata"] = [
            f"{format_duration(1e6 * a)} to {format_duration(1e6 * b)}: {format_count(n)}"
            for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
        ] + [""]
        trace["hovertemplate"] = f"{name} %{{customdata}}<extra></extra>"
        traces.append(trace)
    most = max(value for trace in traces for value in trace["y"])
    values = [value for trace in traces for value in trace["x"]]
    decades = range(math.ceil(math.log10(max(most, 2))) + 1)
    layout = {
        "xaxis": {**latency_ticks(values), "title": {"text": "latency"}, "tickangle": 0},
        "yaxis": {
            "type": "log",
            "title": {"text": "requests"},
            "range": [math.log10(0.5), round(math.log10(max(most, 2)) + 0.1, 3)],
            "tickvals": [10**e for e in decades],
            "ticktext": [format_count(10**e) for e in decades],
        },
        "hovermode": "closest",
    }
    note = "Both axes are logarithmic: a bump to the right is a few slow requests among many."
    return figure("distribution", "How many requests took how long", note, traces, layout)


def _rounded_edges(edges: npt.NDArray[np.float64]) -> list[float]:
    """Five digits each: neighbours are 12 % apart."""
    return [float(f"{edge:.5g}") for edge in edges.tolist()]


def _spectra(record: RunRecord) -> dict[str, Latency]:
    both = spectrum_of(record)
    named = {} if both is None else dict(zip(("corrected", "uncorrected"), both, strict=True))
    return {name: one for name, one in named.items() if one.count and one.histogram}


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
    counts = np.zeros(len(edges) - 1, np.int64)
    np.add.at(counts, placed.clip(0, len(counts) - 1), np.array(data["counts"], np.int64))
    return edges, counts.tolist()


def _by_percentile(
    name: str, title: str, note: str, latencies: Mapping[str, Latency]
) -> Figure | None:
    traces: list[Trace] = []
    rarest = 10.0
    for label, one in latencies.items():
        if one.count == 0 or not one.histogram:
            continue
        rarity, values = _curve(one)
        trace = line(label, rounded(rarity, 4), values, _COLOURS.get(label, "other"))
        trace["customdata"] = [
            f"{_percent(r)} %: {format_duration(1e6 * v)}"
            for r, v in zip(rarity, values, strict=True)
        ]
        trace["hovertemplate"] = f"{label} %{{customdata}}<extra></extra>"
        traces.append(trace)
        rarest = max(rarest, rarity[-1])
    if not traces:
        return None
    return figure(name, title, note, traces, _percentile_layout(traces, rarest))


def _percentile_layout(traces: list[Trace], rarest: float) -> dict[str, Any]:
    rarities = [2.0, *(10.0**e for e in range(1, 10) if 10**e <= rarest)]
    return {
        "xaxis": {
            "type": "log",
            "title": {"text": "percentile (how many are at most as slow, in %)"},
            "range": [0, math.log10(rarest) + 0.05],
            "tickangle": 0,
            "tickvals": rarities,
            "ticktext": [_percent(rarity) for rarity in rarities],
        },
        "yaxis": latency_ticks(value for trace in traces for value in trace["y"]),
        "hovermode": "closest",
    }


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
