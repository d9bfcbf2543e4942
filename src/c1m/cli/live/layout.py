"""Which parts of the dashboard a terminal of some size has room for, and how tall each is.

A block says how many rows it needs and can use; `fit` picks by importance and hands out what is
left over. `beside` makes two blocks one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

GAP = 2  # columns between two blocks side by side


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the picture. `draw(width, rows)` gives at most `rows` lines."""

    rank: int  # 0 is the most important
    least: int  # rows
    most: int
    draw: Callable[[int, int], list[Text]]


def fit(blocks: Sequence[Block], width: int, height: int) -> list[Text]:
    """The lines of those blocks that fit, in the order given, each line `width` columns."""
    kept: dict[int, int] = {}  # which block -> its rows
    left = height
    for i in sorted(range(len(blocks)), key=lambda i: blocks[i].rank):
        if blocks[i].least <= left:
            kept[i] = blocks[i].least
            left -= blocks[i].least
    while left > 0:
        growing = [i for i in kept if kept[i] < blocks[i].most]
        if not growing:
            break
        for i in growing[:left]:
            kept[i] += 1
        left -= min(left, len(growing))
    lines = []
    for i in sorted(kept):
        lines += _sized(blocks[i].draw(width, kept[i]), width, kept[i])
    return lines


def beside(left: Block, right: Block) -> Block:
    """Two blocks as one: each has half of the width, and as many rows as the taller."""

    def draw(width: int, rows: int) -> list[Text]:
        half = (width - GAP) // 2
        lefts = _sized(left.draw(half, rows), half + GAP, rows)
        rights = _sized(right.draw(width - half - GAP, rows), width - half - GAP, rows)
        return [a.append_text(b) for a, b in zip(lefts, rights, strict=True)]

    least, most = max(left.least, right.least), max(left.most, right.most)
    return Block(min(left.rank, right.rank), least, most, draw)


def blank(rank: int) -> Block:
    """An empty row."""
    return Block(rank, 1, 1, lambda width, rows: [Text()])


def _sized(lines: list[Text], width: int, rows: int) -> list[Text]:
    """Exactly `rows` lines of exactly `width` columns."""
    lines = lines[:rows] + [Text() for _ in range(rows - len(lines))]
    for line in lines:
        line.truncate(width, overflow="crop", pad=True)
    return lines
