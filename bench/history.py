"""The benchmark over commits: a small file for each run, and a page that plots them.

    bench/history.py                      # writes the page from bench/history/*.json
    bench/history.py RESULTS.json ...     # adds what these runs measured before

`bench/run.py --name NAME` adds its own. A file has the commit, the date, the conditions and what
lasts from one machine to the next: ratios from pairs of the same minutes, the median with the least
and the most. Uvloop is plotted beside c1m as a control: c1m's commits do not change it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import chart
from harness.build import BENCH
from harness.counting import Ratio, cpu_us, disturbed, key, ratio
from harness.peers import REFERENCE
from harness.results import Results, read
from harness.tables import Table
from harness.workloads import from_name

SCHEMA = 1
HISTORY = BENCH / "history"
PAGES = BENCH.parent / "docs" / "explanation"
CONDITIONS = (
    "kernel", "cpu", "cores", "python", "numpy", "load_average_before", "load_average_after",
)  # fmt: skip
OURS = ("c1m-uring", "c1m-epoll")
FIGURES = {"rate": "operations a second", "cpu": "processor time an operation"}
# Drawn: (workload, server)
LINES = [
    *((f"echo:64:{n}", "c1m-uring") for n in (1, 64, 1_000, 15_000)),
    *((f"echo:64:{n}", name) for n in (64, 1_000) for name in ("c1m-epoll", "uvloop")),
]
LABELS_MAX = 10  # commits named below a plot

Entry = Mapping[str, Any]

INTRODUCTION = """# Benchmarks over commits

Written by `make bench-page` from the files in `bench/history`, one for each run of `make bench`.
Every figure is a ratio to a plain epoll loop in C that was measured in the same minutes, in turns:
the median of the pairs with the least and the most ([how it is
measured](../../bench/README.md)). A higher rate is better, and less processor time. uvloop is the
control: where it moves as well, the machine did. *Others had a core* is the largest part of any run
in which server or generator waited for one: such figures are rough. What the load client drives
beside wrk, redis-benchmark and others [has a page of its own](beside-other-load-tools.md).
"""


def main() -> int:
    """The command."""
    for path in map(Path, sys.argv[1:]):
        add(read(path))
    write_page(entries())
    return 0


def add(results: Results) -> Path | None:
    """Keep what a run measured; None where it compared nothing."""
    entry = entry_of(results)
    if not entry["ratios"]:
        return None
    when = results.started.replace(":", "").replace("-", "")
    path = HISTORY / f"{when}-{results.name}.json"
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"  {json.dumps(each)}" for each in entry["ratios"])
    head = json.dumps({**entry, "ratios": []}, indent=1)
    path.write_text(head.replace('"ratios": []', f'"ratios": [\n{lines}\n ]') + "\n")
    return path


def entry_of(results: Results) -> dict[str, Any]:
    """Commit, date, conditions and ratios of a run."""
    ratios = []
    for each in results.comparisons:
        if not each.pairs or each.workload.kind == "idle":  # memory is no ratio
            continue
        found = {"workload": each.workload.name, "peer": each.peer, "against": each.against}
        figures = {"rate": ratio(each.pairs, key("rps"))}
        if "server_cpu_ns" in each.pairs[0][1]:
            figures["cpu"] = ratio(each.pairs, cpu_us)
        ratios.append(found | {name: _numbers(of) for name, of in figures.items() if of})
    known = {name: results.conditions.get(name) for name in CONDITIONS}
    runs = [run for each in results.comparisons for pair in each.pairs for run in pair]
    known["disturbed"] = round(max(map(disturbed, runs), default=0.0), 2)
    return {
        "schema": SCHEMA, "name": results.name, "started": results.started,
        "commit": results.conditions.get("commit", ""), "conditions": known,
        "pairs": results.settings["pairs"], "seconds": results.settings["seconds"],
        "ratios": ratios,
    }  # fmt: skip


def _numbers(of: Ratio) -> list[float]:
    return [round(value, 4) for value in (of.median, of.least, of.most)]


def entries() -> list[Entry]:
    """All that is kept, in the order in which it was measured."""
    found = [json.loads(path.read_text()) for path in sorted(HISTORY.glob("*.json"))]
    return sorted(found, key=lambda entry: entry["started"])


def find(entry: Entry, workload: str, peer: str, figure: str) -> Ratio | None:
    """A server's ratio to the reference; None where the run has not measured it."""
    for each in entry["ratios"]:
        if (each["workload"], each["peer"], each["against"]) == (workload, peer, REFERENCE):
            return Ratio(*each[figure]) if figure in each else None
    return None


def plot(runs: Sequence[Entry], figure: str) -> str:
    """One figure over all runs as SVG: a line for each server and number of connections."""
    lines = {line: [find(entry, *line, figure) for entry in runs] for line in LINES}
    columns = [i for i in range(len(runs)) if any(line[i] for line in lines.values())]
    series = {
        f"{peer}, {from_name(workload).connections:,}": [
            found.median if (found := line[i]) else None for i in columns
        ]
        for (workload, peer), line in lines.items()
        if any(line)
    }
    step = -(-len(columns) // LABELS_MAX)
    places = [_short(runs[at]) if i % step == 0 else "" for i, at in enumerate(columns)]
    title = f"Echo of 64 B: {FIGURES[figure]}, as a ratio to a plain loop in C"
    return chart.line_chart(title, "commit", places, series)


def page(runs: Sequence[Entry]) -> str:
    """The page in Markdown."""
    parts = [INTRODUCTION]
    parts += [f"![{text}](benchmarks-{name}.svg)\n" for name, text in FIGURES.items()]
    names = ["run", "commit", "conditions", "load before and after", "measured"]
    tables = [Table("Runs", names, [_run(entry) for entry in runs])]
    columns = ["run", "commit", *(f"{peer}, {figure}" for peer in OURS for figure in FIGURES)]
    workloads = dict.fromkeys(each["workload"] for entry in runs for each in entry["ratios"])
    for name in workloads:
        if rows := [row for entry in runs if (row := _row(entry, name))]:
            tables.append(Table(from_name(name).title, columns, rows))
    return "\n".join([*parts, *(table.markdown() + "\n" for table in tables)])


def _run(entry: Entry) -> list[str]:
    its = entry["conditions"]
    machine = f"{its['cpu']}, {its['cores']} cores, {its['kernel']}"
    versions = f"Python {its['python']}, NumPy {its['numpy']}"
    load = f"{its['load_average_before']:.1f} to {its['load_average_after']:.1f}"
    load += f", others had a core {its['disturbed']:.0%}"
    measured = f"{entry['pairs']} pairs of {entry['seconds']:g} s"
    return [*_names(entry), f"{machine}, {versions}", load, measured]


def _row(entry: Entry, workload: str) -> list[str]:
    found = [find(entry, workload, peer, figure) for peer in OURS for figure in FIGURES]
    cells = ["" if each is None else str(each) for each in found]
    return [*_names(entry), *cells] if any(cells) else []


def _names(entry: Entry) -> list[str]:
    return [entry["started"][:16].replace("T", " "), f"`{_short(entry)}`"]


def _short(entry: Entry) -> str:
    """The commit; with a + where files were changed since."""
    return str(entry["commit"].replace("-dirty", "+"))


def write_page(runs: Sequence[Entry]) -> None:
    """The page and its plots."""
    (PAGES / "benchmarks.md").write_text(page(runs))
    for figure in FIGURES:
        (PAGES / f"benchmarks-{figure}.svg").write_text(plot(runs, figure))


if __name__ == "__main__":
    sys.exit(main())
