"""Comparisons as tables, for a terminal and for Markdown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from harness.counting import (
    DISTURBED,
    Pair,
    Run,
    busy,
    cpu_us,
    disturbed,
    failed,
    foreign_sockets,
    kernel_bytes,
    key,
    middle,
    ratio,
    step_figures,
    user_share,
)
from harness.measure import Comparison
from harness.workloads import Workload


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, a row of names and rows of text; the first column is text, the others figures."""

    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=list)

    def text(self) -> str:
        """For a terminal: aligned columns."""
        widths = [max(map(len, column)) for column in zip(self.names, *self.rows, strict=True)]
        lines = [self.title, *(_aligned(row, widths) for row in (self.names, *self.rows))]
        return "\n".join(["", *lines, *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """As a Markdown table under a heading of the third level."""
        rule = ["---", *["---:"] * (len(self.names) - 1)]
        lines = ["| " + " | ".join(row) + " |" for row in (self.names, rule, *self.rows)]
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"### {self.title}\n", *lines, *notes])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(["  " + first, *others])


def tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """A table for each workload, in the order they were measured."""
    workloads = list(dict.fromkeys(each.workload for each in comparisons))
    return [table_of(w, [c for c in comparisons if c.workload == w]) for w in workloads]


def table_of(workload: Workload, comparisons: Sequence[Comparison]) -> Table:
    """All peers of one workload: each beside the reference's runs that were its partners."""
    notes = [f"{c.peer} against {c.against}: {c.error}" for c in comparisons if c.error]
    measured = [c for c in comparisons if c.pairs]
    if workload.kind == "idle":
        return Table(workload.title, IDLE, _idle_rows(measured), notes + _foreign(measured))
    main = measured[0].against if measured else ""
    rows = [_row(main, [a for c in measured if c.against == main for a, _ in c.pairs], None)]
    rows += [_row(c.peer, [b for _, b in c.pairs], c.pairs) for c in measured if c.against == main]
    for c in measured:
        if c.against != main:
            rates, cost = ratio(c.pairs, key("rps")), ratio(c.pairs, cpu_us)
            notes.append(f"{c.peer} / {c.against}: {workload.unit}/s {rates}, processor {cost}")
    if workload.kind == "ramp":
        notes += _ramp_notes(measured, main)
    rough = [c for c in measured if any(disturbed(run) > DISTURBED for p in c.pairs for run in p)]
    if rough:
        worst = max(disturbed(run) for c in rough for p in c.pairs for run in p)
        notes.append(f"Disturbed: others had a core that was wanted up to {worst:.0%} of the time.")
    names = ["server", f"{workload.unit}/s", "ratio (least..most)", "p50 us", "p99", "p99.9"]
    names += ["CPU us", "user", "system", "ratio", "busy", "failed"]
    return Table(workload.title, names, rows if measured else [], notes)


def _row(name: str, runs: Sequence[Run], pairs: Sequence[Pair] | None) -> list[str]:
    if not runs:
        return [name, *["-"] * 11]
    rates = str(ratio(pairs, key("rps"))) if pairs else ""
    latency = [_figure(middle(runs, key(k))) if k in runs[0] else "-" for k in QUANTILES]
    row = [name, f"{middle(runs, key('rps')):,.0f}", rates, *latency]
    if "server_cpu_ns" not in runs[0]:
        own = f"-/{middle(runs, lambda run: busy(run, 'own')):.0%}"
        return [*row, "-", "-", "-", "-", own, str(sum(map(failed, runs)))]
    cost, share = middle(runs, cpu_us), user_share(runs)
    costs = ratio(pairs, cpu_us) if pairs else None
    row += [f"{cost:.2f}", f"{cost * share:.2f}", f"{cost * (1 - share):.2f}"]
    both = f"{middle(runs, busy):.0%}/{middle(runs, lambda run: busy(run, 'own')):.0%}"
    return [*row, f"{costs.median:.2f}" if costs else "", both, str(sum(map(failed, runs)))]


QUANTILES = ("p50_us", "p99_us", "p999_us")


def _figure(value: float) -> str:
    """Three figures that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ramp_notes(comparisons: Sequence[Comparison], main: str) -> list[str]:
    notes = []
    for c in comparisons:
        if c.against == main and (steps := step_figures([b for _, b in c.pairs])):
            notes.append(f"{c.peer}: {steps[0]:,.0f}/s at first, {steps[1]:,.0f}/s at last")
    return notes


FOREIGN_MAX = 0.01  # sockets of others, as a part of the connections

IDLE = ("server", "user B", "kernel B, both ends", "over the bare socket")


def user_bytes(run: Run) -> float:
    """Resident memory over the empty server, bytes a connection."""
    grown = run["held"]["rss_bytes"] - run["empty"]["rss_bytes"]
    return float(grown / run["connections"])


def slab_bytes(run: Run) -> float:
    """The kernel's object caches over those at the empty server, bytes a connection."""
    return kernel_bytes(run["empty"]["slabs"], run["held"]["slabs"]) / float(run["connections"])


def idle_runs(comparisons: Sequence[Comparison]) -> dict[str, list[Run]]:
    """Runs by server; the reference's of all its pairs."""
    runs: dict[str, list[Run]] = {}
    for c in comparisons:
        for first, second in c.pairs:
            runs.setdefault(c.against, []).append(first)
            runs.setdefault(c.peer, []).append(second)
    return runs


def _foreign(comparisons: Sequence[Comparison]) -> list[str]:
    """A note where others' connections are in the kernel's figures."""
    runs = [run for runs in idle_runs(comparisons).values() for run in runs]
    worst = max((abs(foreign_sockets(run)) / run["connections"] for run in runs), default=0)
    if worst < FOREIGN_MAX:
        return []
    return [f"Others opened or closed sockets meanwhile, up to {worst:.0%}: kernel B is rough."]


def _idle_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    by_server = idle_runs(comparisons)
    bare = median(map(slab_bytes, by_server["bare"])) if "bare" in by_server else None
    rows = []
    for name, runs in by_server.items():
        user, kernel = median(map(user_bytes, runs)), median(map(slab_bytes, runs))
        over = "-" if bare is None or name == "bare" else f"{kernel - bare:,.0f}"
        rows.append([name, f"{user:,.0f}", f"{kernel:,.0f}", over])
    return rows
