"""The model of a plot: lines over axes, and the thinning of long columns. Plain JSON values.

The page's JavaScript draws it with plotly, whose words these are. A line's `c1mColour` names a CSS
variable of the page, so that plots follow light and dark; `c1mBands` and `c1mTime` are its, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.results.record import RunRecord

Plot = dict[str, Any]  # id, title, note, traces, layout, wide
Trace = dict[str, Any]
Column = Sequence[int | float | None]

ROWS_MAX = 1_200  # of a plot over time: more points than a wide screen has columns help nobody
_TICK_UNITS = ((1e-6, "ns"), (1e-3, "us"), (1.0, "ms"), (1e3, "s"))  # in milliseconds


def line(
    name: str,
    x: Sequence[Any],
    y: Sequence[Any],
    colour: str,
    hover: str,
    texts: Sequence[str] = (),
    mode: str = "lines",
    **style: Any,
) -> Trace:
    """A line; `hover` is what is shown of a point, `texts` its %{customdata}."""
    trace: Trace = {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"width": 2, **style},
        "c1mColour": colour,
        "hovertemplate": f"{hover}<extra></extra>",
    }
    return trace | ({"customdata": list(texts)} if texts else {})


def figure(
    name: str,
    title: str,
    note: str,
    traces: Sequence[Trace],
    y_axis: dict[str, Any],
    layout: dict[str, Any],
    is_wide: bool = False,
) -> Plot | None:
    """Lines over a `layout`: `over_time`, or one with an x axis. None without lines."""
    if not traces:
        return None
    layout = {"hovermode": "closest", **layout, "yaxis": y_axis}
    figure = {"id": name, "title": title, "note": note, "wide": is_wide}
    return figure | {"traces": list(traces), "layout": layout}


def over_time(record: RunRecord) -> dict[str, Any]:
    """The layout of seconds, with the run's phases as bands."""
    bands = [
        {"name": phase.name, "start": round(phase.start_s, 3), "end": round(phase.end_s, 3)}
        for phase in record.phases
        if phase.end_s > phase.start_s
    ]
    return {
        "xaxis": axis("seconds since the start", hoverformat=".2f"),
        "hovermode": "x unified",
        "c1mBands": bands,
        "c1mTime": True,  # zooming one zooms all that have it
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": title}, **more}


def counts(title: str) -> dict[str, Any]:
    """An axis of counts, from 0 on: 20k."""
    return axis(title, tickformat=",~s", rangemode="tozero")


def significant(values: Iterable[float | None], digits: int = 5) -> list[Any]:
    """So many digits that matter: shorter JSON, and nobody reads off more. NaN is None."""
    return [None if v is None or v != v else float(f"{v:.{digits}g}") for v in values]


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
        values = np.array(column, np.float64)  # None is NaN
        for start, end in itertools.pairwise(edges.tolist()):
            block = values[start:end]
            if not np.isnan(block).all():
                kept |= {start + int(np.nanargmin(block)), start + int(np.nanargmax(block))}
    return np.array(sorted(kept), np.int64)


def thinned(x: Sequence[float], columns: Sequence[Column]) -> tuple[list[Any], list[list[Any]]]:
    """(x, columns) of the rows of `kept_rows`: the same for all, so that hovering tells all."""
    kept = kept_rows(columns).tolist()
    return [x[i] for i in kept], [[column[i] for i in kept] for column in columns]


def latency_axis(values: Iterable[float | None]) -> dict[str, Any]:
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
