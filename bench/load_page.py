"""Tables of docs/explanation/beside-other-load-tools.md, from files of results, between its marks.

    python bench/load_page.py [bench/results/DATE-load-tools.json bench/results/DATE-beside.json]

Without files: the newest of each kind.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from beside import FAST, MANY
from harness.build import BENCH
from harness.load_peers import OURS
from load_tools import ratio_of

PAGE = BENCH.parent / "docs" / "explanation" / "beside-other-load-tools.md"
MARKS = {
    "rows": ("<!-- measured: begin -->", "<!-- measured: end -->"),
    "tools": ("<!-- tools: begin -->", "<!-- tools: end -->"),
}
WORDS = {"http": "nginx", "redis": "redis-server", "mqtt": "mosquitto"}


def main() -> int:
    """The command."""
    results = BENCH / "results"
    files = [Path(text) for text in sys.argv[1:]] or [
        max(results.glob(f"*-{name}.json")) for name in ("load-tools", "beside")
    ]
    text = PAGE.read_text()
    for found in (json.loads(file.read_text()) for file in files):
        kind = "tools" if "task" in found["rows"][0] and "tool" in found["rows"][0] else "rows"
        begin, end = MARKS[kind]
        lines = tools_table(found) if kind == "tools" else rows_table(found)
        before, rest = text.split(begin, 1)
        table = "\n".join([*lines, "", conditions_of(found)])
        text = f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end, 1)[1]}"
    PAGE.write_text(text)
    return 0


def conditions_of(found: dict[str, Any]) -> str:
    """A line of what it was measured with."""
    c, s = found["conditions"], found["settings"]
    pairs = f"{s['pairs']} turns of {s['seconds']:g} s; " if "pairs" in s else ""
    return (
        f"{found['started'][:10]}, commit {c['commit']}, {c['kernel']}, {c['cpu']}, {c['cores']} "
        f"cores, Python {c['python']}; {pairs}load average {c['load_average_before']:.1f} before, "
        f"{c['load_average_after']:.1f} after."
    )


def rows_table(found: dict[str, Any]) -> Iterator[str]:
    """c1m beside the tools of one protocol."""
    yield "| server | connections | beside | c1m/s | its/s | ratio | us of a core each: c1m, it |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    for row in found["rows"]:
        ours = row["runs"].get(OURS, [])
        for name, theirs in row["runs"].items():
            if name == OURS or not theirs or not ours:
                continue
            yield (
                f"| {WORDS[row['task']]} | {row['connections']:,} | {name} "
                f"| {_middle(ours, 'rps'):,.0f} | {_middle(theirs, 'rps'):,.0f} "
                f"| {ratio_of(ours, theirs, 'rps')} "
                f"| {_middle(ours, 'own_us'):.1f}, {_middle(theirs, 'own_us'):.1f} |"
            )


def _middle(some: Sequence[dict[str, Any]], key: str) -> float:
    return float(statistics.median(each[key] for each in some))


def tools_table(found: dict[str, Any]) -> Iterator[str]:
    """All tools on nginx."""
    yield "| tool | 100 connections: requests/s | asked for 10,000: held | memory |"
    yield "| --- | ---: | ---: | ---: |"
    runs = {(row["task"], row["tool"]): row for row in found["rows"]}
    for name, version in found["versions"].items():
        fast, many = (runs.get((task, name)) for task in (FAST, MANY))
        if fast is None or many is None:
            continue
        held = min(many["held"], 10_000)  # some look whether the port is open, on one more
        yield (
            f"| {name} {version} | {_rate(fast)} | {held:,} | {many['rss_bytes'] / 1e6:,.0f} MB |"
        )


def _rate(run: dict[str, Any]) -> str:
    return "-" if run["rps"] is None else f"{run['rps']:,.0f}"


if __name__ == "__main__":
    raise SystemExit(main())
