"""What the reference pages have of the catalogue: written by `make docs`, held by a test.

python tests/reference_tables.py     writes the tables between the marks `<!-- table: NAME -->` and
                                     `<!-- end of table -->`, and the record's JSON schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from c1m.cli.live import prometheus
from c1m.results import catalogue, schema
from c1m.results.record import Connections, FanOut, Requests
from c1m.results.snapshot import LIVE_FIGURES

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _families() -> Iterator[Sequence[str]]:
    yield f"`{prometheus.INFO}`", "gauge", "`target`, `scenario`", prometheus.INFO_HELP
    for name, fields in prometheus.METRICS.items():
        one = LIVE_FIGURES[fields[0]]
        kind = "counter" if prometheus.is_counter(name) else "gauge"
        yield f"`{name}`", kind, f"`{one.label}`" if one.label else "", one.help
    yield f"`{prometheus.HISTOGRAM}`", "histogram", "`le`", prometheus.HISTOGRAM_HELP


def _laws() -> Iterator[Sequence[str]]:
    for where, part in (("connections", Connections), ("requests", Requests), ("fan_out", FanOut)):
        yield from ((f"`{where}`", f"`{law}`") for law in part.LAWS)


TABLES = {
    "distributions": _table(
        ("distribution", "latencies of"),
        ((f"`{name}`", text) for name, text in catalogue.DISTRIBUTIONS.items()),
    ),
    "metrics": _table(
        ("name", "unit", "better", "what it is"),
        (
            (f"`{one.name}`", catalogue.KINDS[one.kind].unit, one.better, one.help)
            for one in catalogue.PLAIN.values()
        ),
    ),
    "laws": _table(("part", "law"), _laws()),
    "families": _table(("name", "kind", "labels", "what it is"), _families()),
}


def written() -> dict[Path, str]:
    """Every page with such tables, and the schema, as they are to be."""
    pages = {}
    for path in sorted(REFERENCE.glob("*.md")):
        if _TABLE.search(text := path.read_text()):
            pages[path] = _TABLE.sub(lambda mark: mark[1] + TABLES[mark[2]] + mark[3], text)
    return pages | {REFERENCE / "record.schema.json": schema.schema_text()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text)
