"""The table of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from .verdicts import Judged, Verdict

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
NOTES = """\
asyncio's fails too: it does not pass on asyncio's own loop here either. skipped: by the suite
itself, on both loops. excluded: tests/conformance/exclusions.toml says why. unsteady: failed, and
passed when it was run again. no loop: passes, and makes no loop of the kind that was replaced."""


@dataclass(frozen=True)
class Row:
    """What one suite gave on one loop."""

    suite: str
    loop: str
    python: str
    judged: Sequence[Judged]

    def count(self) -> Counter[Verdict]:
        return Counter(one.verdict for one in self.judged)


def table(rows: Sequence[Row]) -> str:
    """All rows under one heading, with right-aligned counts."""
    heading = ["suite", "loop", "Python", "tests", *VERDICTS]
    lines = [heading]
    for row in rows:
        counts = row.count()
        counted = [len(row.judged), *(counts[verdict] for verdict in VERDICTS)]
        lines.append([row.suite, row.loop, row.python, *map(str, counted)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for cells in lines:
        names = [cell.ljust(width) for cell, width in zip(cells[:3], widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
        text.append("  ".join(names + numbers).rstrip())
    return "\n".join(text)
