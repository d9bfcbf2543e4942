"""Bars and charts out of block characters, and short numbers beside them. Pure.

Where the terminal has no blocks they are made of `#`. `dashboard.py` colours and places them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_ACROSS = " ▏▎▍▌▋▊▉█"  # a cell filled from the left, in eighths
_UP = " ▁▂▃▄▅▆▇█"  # a cell filled from below, in eighths
_WHOLE = "#"


def bar(share: float, width: int, is_ascii: bool = False) -> str:
    """A bar of `width` cells, filled to `share` (0 to 1; clipped).

    What is above nothing shows at least an eighth of a cell, what is below all of it never fills
    the last eighth: a bar that looks empty or full is so.
    """
    if width <= 0:
        return ""
    share = share if math.isfinite(share) else 0.0
    steps = 1 if is_ascii else 8  # of a cell
    filled = _filled(share, width * steps)
    whole, part = divmod(filled, steps)
    if is_ascii:
        return (_WHOLE * whole).ljust(width, ".")
    return ("█" * whole + (_ACROSS[part] if part else "")).ljust(width)


def chart(
    values: Sequence[float | None], rows: int, top: float, is_ascii: bool = False
) -> list[str]:
    """An area chart, a column for each value, `rows` lines from the top down.

    `top` is the value at the upper edge; None leaves its column empty.
    """
    steps = 1 if is_ascii else 8
    heights = [_filled((v or 0.0) / top if top > 0 else 0.0, rows * steps) for v in values]
    signs = (" ", _WHOLE) if is_ascii else _UP
    lines = []
    for row in range(rows - 1, -1, -1):
        cells = (min(max(height - row * steps, 0), steps) for height in heights)
        lines.append("".join(signs[cell] for cell in cells))
    return lines


def _filled(share: float, most: int) -> int:
    """How many of `most` steps a share fills: none only for nothing, all only for everything."""
    if not share > 0:  # also what is no number
        return 0
    if share >= 1:
        return most
    return min(max(round(share * most), 1), max(most - 1, 1))


def joined_octaves(octaves: list[int], rows: int) -> list[tuple[int, int]]:
    """(end in ns, replies below it) for each row, from the first octave in use to the last.

    `octaves[i]` counts latencies from 2**i to below 2**(i + 1). Where there are more than `rows`,
    as many neighbours are joined as it takes.
    """
    used = [i for i, count in enumerate(octaves) if count]
    if not used or rows < 1:
        return []
    first, last = used[0], used[-1]
    step = -(-(last - first + 1) // rows)
    ends = range(first + step, last + step + 1, step)
    return [(1 << end, sum(octaves[end - step : end])) for end in ends]


def percent(share: float) -> str:
    """0.9996 -> '99.9 %': cut, not rounded, so that 100 % is all and 0 % is none."""
    if share <= 0 or share >= 1:
        return f"{round(share * 100)} %"
    if share < 0.001:
        return "<0.1 %"
    return f"{math.floor(share * 1000) / 10:.1f} %"


def short_time(seconds: float) -> str:
    """90 -> '90 s', 600 -> '10 min', for the end of a chart."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def printable(text: str) -> str:
    """A user's text without characters that would move the terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)
