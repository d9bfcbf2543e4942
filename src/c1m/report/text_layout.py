"""Laying out the summary: tables under their heads, wrapped sentences, shares and short rates.

Pure text; knows nothing of records.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from c1m.units import NS_PER_S, format_count, format_duration, format_rate

WIDTH = 96
FIRST_COLUMN = 26  # columns at least: tables below each other then line up

Row = tuple[str, ...]


def table(head: Row, rows: Iterable[Row], left: Sequence[int] = ()) -> list[str]:
    """Columns under their heads; figures to the right, the first column and `left` to the left."""
    rows = list(rows)
    if not rows:
        return []
    cells = [head, *((f"  {row[0]}", *row[1:]) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    widths[0] = max(widths[0], FIRST_COLUMN)
    lines = []
    for row in cells:
        columns = (
            f"{cell:<{width}}" if i == 0 or i in left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(columns).rstrip())
    return lines


def wrapped(text: str, first: str = "", other: str | None = None) -> list[str]:
    """Lines of at most WIDTH columns, indented by `first` and then by `other` (as wide a blank)."""
    indent = " " * len(first) if other is None else other
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    )


def named(name: str, text: str) -> list[str]:
    """A name in the margin, its text beside it."""
    return wrapped(text, f"{name:9} ")


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends in some stop already."""
    return text if text.endswith((".", "!", "?", ":")) or not text else text + "."


def share(part: int, whole: int) -> str:
    """A percentage that says 100 % only for all of it and 0 % only for nothing."""
    if whole == 0:
        return "-"
    if part == whole:
        return "100 %"
    percent = 100 * part / whole
    if 99.9 < percent < 100:  # show the digits that matter, cut off rather than rounded up
        return f"{min(int(percent * 10_000), 999_999) / 10_000:.4f} %"
    return f"{percent:.2f} %" if percent >= 0.01 or part == 0 else "< 0.01 %"


def less(count: int) -> str:
    """What a step cost: "-12", or nothing."""
    return f"-{format_count(count)}" if count > 0 else ""


def seconds(value: float) -> str:
    """Seconds for people: "1.4 s", "33.1 s"."""
    return format_duration(value * NS_PER_S)


def rate(count: int, value_s: float) -> str:
    """So many in so many seconds, "" where there is no such time."""
    return format_rate(count / value_s) if value_s > 0 else ""


def short_rate(per_s: float) -> str:
    """A rate as it is typed: 50000 -> "50k/s", 1500 -> "1.5k/s", 1234567 -> "1.235M/s"."""
    for scale, unit in ((1e6, "M"), (1e3, "k")):
        if per_s >= scale:
            return f"{per_s / scale:.4g}{unit}/s"
    return f"{per_s:.4g}/s"


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, with "..." where something is missing."""
    return text if len(text) <= width else text[: width - 3].rstrip() + "..."
