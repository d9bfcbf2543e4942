"""Bars and charts out of block characters, as plain text; `#` where the terminal has no blocks.

Pure: numbers and sizes in, lines of text out. Who colours and places them is `dashboard.py`.
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


def chart(values: Sequence[float | None], rows: int, top: float, is_ascii: bool = False) -> str:
    """An area chart, a column for each value, `rows` lines from the top down joined by newlines.

    `top` is the value at the upper edge; None leaves its column empty.
    """
    steps = 1 if is_ascii else 8
    heights = [_filled((v or 0.0) / top if top > 0 else 0.0, rows * steps) for v in values]
    signs = (" ", _WHOLE) if is_ascii else _UP
    lines = []
    for row in range(rows - 1, -1, -1):
        cells = (min(max(height - row * steps, 0), steps) for height in heights)
        lines.append("".join(signs[cell] for cell in cells))
    return "\n".join(lines)


def _filled(share: float, most: int) -> int:
    """How many of `most` steps a share fills: none only for nothing, all only for everything."""
    if not share > 0:  # also what is no number
        return 0
    if share >= 1:
        return most
    return min(max(round(share * most), 1), max(most - 1, 1))
