"""What plots are made of: lines, axes, the thinning of long columns. Plain JSON values, no colours.

A trace's `c1mColour` names a CSS variable of the page, so that the plots follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.results.record import RunRecord

Figure = dict[str, Any]  # id, title, note, traces, layout
Trace = dict[str, Any]
Column = Sequence[int | float | None]

ROWS_MAX = 1_200  # of a figure over time: more points than a wide screen has columns help nobody
_TICK_UNITS = ((1e-6, "ns"), (1e-3, "us"), (1.0, "ms"), (1e3, "s"))  # in milliseconds


def line(name: str, x: Sequence[Any], y: Sequence[Any], colour: str, **more: Any) -> Trace:
    """A trace of one line."""
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


def figure(name: str, title: str, note: str, traces: list[Trace], layout: dict[str, Any]) -> Figure:
    """A plot as the page's JavaScript draws it."""
    return {"id": name, "title": title, "note": note, "traces": traces, "layout": layout}


def time_layout(record: RunRecord, y_axis: dict[str, Any]) -> dict[str, Any]:
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
        "c1mTime": True,  # zooming one zooms all that have it
    }


def rounded(values: Iterable[float], digits: int) -> list[float]:
    """So many decimal places each."""
    return [round(value, digits) for value in values]


def significant(value: float | None, digits: int = 4) -> float | None:
    """So many digits that matter: shorter JSON, and nobody reads off more."""
    return None if value is None else float(f"{value:.{digits}g}")


def kept_rows(columns: Sequence[Column], rows_max: int = ROWS_MAX) -> npt.NDArray[np.int64]:
    """The rows to draw, int64[m] ascending: all, where there are at most `rows_max`.

    Otherwise the first, the last, and of each of equally long blocks of rows those with the lowest
    and the highest value of every column (None counts as no value): a peak of one row among
    thousands stays in the picture, at its time and its height. m may pass `rows_max` only where
    that has no room for one block (2 rows a column).
    """
    count = max((len(column) for column in columns), default=0)
    if count <= rows_max:
        return np.arange(count)
    blocks = max(1, (rows_max - 2) // (2 * len(columns)))
    edges = np.linspace(0, count, blocks + 1).astype(np.int64)
    kept = {0, count - 1}
    for column in columns:
        values = np.array([math.nan if v is None else v for v in column], np.float64)
        known = ~np.isnan(values)
        low = np.where(known, values, math.inf)
        high = np.where(known, values, -math.inf)
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if known[start:end].any():
                kept.add(start + int(np.argmin(low[start:end])))
                kept.add(start + int(np.argmax(high[start:end])))
    return np.array(sorted(kept), np.int64)


def thinned(x: Sequence[float], columns: Sequence[Column]) -> tuple[list[Any], list[list[Any]]]:
    """(x, columns) of the rows of `kept_rows`: the same for all, so that hovering tells all.

    None, where one of them is empty.
    """
    if not all(map(len, (x, *columns))):
        return [], [[] for _ in columns]
    kept = kept_rows(columns).tolist()
    return [x[i] for i in kept], [[column[i] for i in kept] for column in columns]


def latency_ticks(values: Iterable[float | None]) -> dict[str, Any]:
    """Range and ticks of a logarithmic axis of milliseconds: a tick at each power of ten.

    Where the axis has less than two of them, at 2 and 5 times each too.
    """
    known = [value for value in values if value is not None and value > 0] or [1.0]
    low, high = math.log10(min(known)) - 0.1, math.log10(max(known)) + 0.1
    if high - low < 0.5:  # equal values: show some room around them
        low, high = low - 0.25, high + 0.25
    factors = (1, 2, 5) if math.floor(high) - math.ceil(low) < 1 else (1,)
    ticks = [
        (factor * 10.0**exponent, _tick_text(factor, exponent))
        for exponent in range(max(-6, math.floor(low)), math.floor(high) + 1)
        for factor in factors
        if low <= exponent + math.log10(factor) <= high
    ]
    return {
        "type": "log",
        "range": [round(low, 3), round(high, 3)],
        "tickvals": [value for value, _ in ticks],
        "ticktext": [label for _, label in ticks],
    }


def _tick_text(factor: int, exponent: int) -> str:
    """(5, -2) milliseconds -> "50 us"."""
    scale, unit = max(known for known in _TICK_UNITS if exponent >= round(math.log10(known[0])))
    return f"{factor * 10.0**exponent / scale:,.0f} {unit}"
