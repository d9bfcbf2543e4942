"""Writes the measured part of docs/explanation/performance.md, and its plots, from results.

Usage: render.py RESULTS.json [RESULTS.json ...]. What later files measured again replaces what
earlier ones say. Between the markers nothing is typed by hand, outside of them nothing is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import chart, targets
from harness.build import BENCH
from harness.counting import Run, cpu_us, key, middle
from harness.peers import BY_NAME
from harness.results import Results, read
from harness.tables import tables
from harness.workloads import CONNECTIONS, Workload
from million import figures

PAGE = BENCH.parent / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    """The command."""
    if len(sys.argv) < 2:
        print("usage: render.py RESULTS.json ...", file=sys.stderr)
        return 2
    paths = list(map(Path, sys.argv[1:]))
    documents = [read(path) for path in paths]
    merged = merge(documents)
    parts = [conditions_text(path, each) for path, each in zip(paths, documents, strict=True)]
    parts += ["## Targets\n", targets.table(merged).markdown().split("\n\n", 1)[1]]
    parts += ["\n## Plots\n", *plots(merged)]
    parts += ["\n## All tables\n", servers_text(merged)]
    shown = [*figures.tables(merged.million), *tables(merged.comparisons)]
    parts += ["\n" + table.markdown() + "\n" for table in shown]
    PAGE.write_text(between(PAGE.read_text(), "\n".join(parts)))
    return 0


def merge(documents: Sequence[Results]) -> Results:
    """All comparisons, of two of the same the later one; the rest from the last document."""
    kept = {
        (each.workload, each.peer, each.against): each
        for document in documents
        for each in document.comparisons
    }
    last = documents[-1]
    start_up = next((d.start_up for d in reversed(documents) if d.start_up), {})
    return Results(
        last.name, last.started, last.conditions, last.settings, last.skipped,
        list(kept.values()), start_up, merge_million([d.million for d in documents]),
    )  # fmt: skip


def merge_million(documents: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Of each life (ramp, work, largest) with so many connections what was measured last."""
    lives: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        lives.update(figures.lives(document))
    return [each for life in lives.values() for each in life]


def between(page: str, text: str) -> str:
    """The page with `text` between the markers. Raises ValueError when they are not there."""
    if BEGIN not in page or END not in page:
        raise ValueError(f"The page has no {BEGIN} and {END}.")
    before, rest = page.split(BEGIN, 1)
    return f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}"


def conditions_text(path: Path, results: Results) -> str:
    """Where a document's figures come from, as a paragraph."""
    c, s = results.conditions, results.settings
    versions = ", ".join(f"{name} {version}" for name, version in c["versions"].items())
    load = f"{c['load_average_before']:.1f} before, {c['load_average_after']:.1f} after"
    lines = [
        f"`bench/results/{path.name}`: {results.started}, commit {c['commit']}, {c['kernel']}, "
        f"{c['cpu']}, {c['cores']} cores, {c['memory_bytes'] / 2**30:.0f} GiB, RLIMIT_NOFILE "
        f"{c['nofile_soft']:,}. Python {c['python']}, NumPy {c['numpy']}, {versions}. "
        f"{s['pairs']} pairs of {s['seconds']:g} s each; load average {load}.",
    ]
    lines += [f"Left out: {name} ({why})." for name, why in results.skipped.items()]
    return "\n".join(lines) + "\n"


def servers_text(results: Results) -> str:
    """Which servers the names stand for."""
    names = dict.fromkeys(n for c in results.comparisons for n in (c.against, c.peer))
    return "\n".join(f"- `{name}`: {BY_NAME[name].what}" for name in names)


def plots(results: Results) -> list[str]:
    """Writes the SVG files beside the page; returns the Markdown that shows them."""
    rate = _series(results, lambda runs: middle(runs, key("rps")) / 1e3)
    cost = _series(results, lambda runs: middle(runs, cpu_us))
    shown = []
    for name, title, series, is_log in (
        ("rate", "Echo of 64 B: thousand requests/s", rate, False),
        ("cpu", "Echo of 64 B: server processor time, microseconds a request", cost, True),
    ):
        measured = [i for i in range(len(CONNECTIONS)) if any(line[i] for line in series.values())]
        if len(measured) > 1:
            file = PAGE.parent / f"performance-{name}.svg"
            places = [f"{CONNECTIONS[i]:,}" for i in measured]
            lines = {n: [line[i] for i in measured] for n, line in series.items()}
            file.write_text(chart.line_chart(title, "connections", places, lines, is_log))
            shown.append(f"![{title}]({file.name})\n")
    return shown


def _series(
    results: Results, figure: Callable[[Sequence[Run]], float]
) -> dict[str, list[float | None]]:
    """A figure of each server at each number of connections; None where it was not measured."""
    runs: dict[tuple[str, Workload], list[Run]] = {}
    for c in results.comparisons:
        for first, second in c.pairs:
            runs.setdefault((c.peer, c.workload), []).append(second)
            runs.setdefault((c.against, c.workload), []).append(first)
    names = list(dict.fromkeys(name for name, workload in runs if workload.kind == "echo"))
    return {
        name: [
            figure(runs[name, w]) if (name, w) in runs else None
            for w in (Workload("echo", n) for n in CONNECTIONS)
        ]
        for name in names
    }


if __name__ == "__main__":
    sys.exit(main())
