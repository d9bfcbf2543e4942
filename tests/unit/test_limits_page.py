"""The reference page of limits has what the limits say, in their words.

After a change of a limit: C1M_DOCS=write .venv/bin/python -m pytest tests/unit/test_limits_page.py
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from c1m.limits.catalogue import COUNTERS, GAUGES, LIMITS, WALLS
from c1m.limits.limit import Limit

PAGE = Path(__file__).parents[2] / "docs/reference/walls.md"

Row = tuple[str, ...]


def limits() -> Iterator[Row]:
    yield "limit", "what it is", "recognised by", "what to do when it was met"
    for limit in LIMITS:
        what = " ".join((type(limit).__doc__ or "").partition("\n\n")[0].split())
        what = what.removeprefix(f"{limit.name}: ").rstrip(".")
        if what[1:2].islower() or what[1:2] == " ":  # a word, not an abbreviation
            what = what[0].lower() + what[1:]
        remedy = limit.remedy or "See `c1m doctor`."
        yield f"`{limit.name}`", what, ", ".join(signs(limit)), remedy


def signs(limit: Limit) -> Iterator[str]:
    yield from limit.errnos
    yield from (f"`{counter.name}`" for counter in limit.counters if not counter.remedy)
    if limit.gauge:
        yield f"`{limit.gauge.name}` near it"
    if limit.usual:
        yield "walls"


def walls() -> Iterator[Row]:
    yield "wall", "kind", "met at", ""
    for wall in WALLS:
        yield f"{wall.at:,}", wall.kind, f"{wall.at - wall.below:,} to {wall.at:,}", wall.cause


def counters() -> Iterator[Row]:
    yield "counter", "each time", "what to do"
    for counter in COUNTERS:
        yield f"`{counter.name}`", counter.meaning, counter.remedy


def gauges() -> Iterator[Row]:
    yield "gauge", "what it counts", "bound", "what to do"
    for gauge in GAUGES:
        yield f"`{gauge.name}`", gauge.meaning, f"`{gauge.limit}`" * bool(gauge.limit), gauge.remedy


TABLES = {table.__name__: table for table in (limits, walls, counters, gauges)}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_the_table(name: str) -> None:
    head, *rows = (f"| {' | '.join(row)} |" for row in TABLES[name]())
    table = "\n".join([head, "| --- " * (head.count(" | ") + 1) + "|", *rows]) + "\n"
    marked = re.compile(rf"(?<=<!-- table: {name} -->\n\n)(\|.*\n)*")
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("C1M_DOCS") == "write":
        PAGE.write_text(marked.sub(lambda _: table, page), encoding="utf-8")
    elif (found := marked.search(page)) is None or found[0] != table:
        pytest.fail(f"The table of {name} is not that of the code; see above how to write it.")
