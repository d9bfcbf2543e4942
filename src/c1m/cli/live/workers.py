"""The workers of a cluster on the dashboard: a line each, the worst where they are many."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from c1m.cli.live.plots import printable
from c1m.results.snapshot import WORKER_STATES, Snapshot, WorkerNow, worst
from c1m.units import format_count, format_duration, format_rate

ROWS_MAX = 12  # of workers
_BAD = "bold red"
_STYLES = {
    "lost": _BAD, "aborted": _BAD, "silent": "bold yellow", "starting": "dim", "ready": "",
    "running": "green", "finished": "dim",
}  # fmt: skip
_NAME, _NAME_LEAST = 24, 9  # columns
_WIDTHS = {"open": 12, "right": 13, "p99": 10, "cores": 7}


def degraded(snapshot: Snapshot) -> Text | None:
    """What was lost and when; None where all are there."""
    said = printable(snapshot.degraded)
    return Text(f" DEGRADED: lost {said} ", "bold white on red") if said else None


def rows_of(snapshot: Snapshot) -> int:
    """How many lines `lines` would like to have; 0: this run has no workers."""
    return 1 + min(len(snapshot.workers), ROWS_MAX) if snapshot.workers else 0


def lines(snapshot: Snapshot, width: int, rows: int) -> list[Text]:
    """A heading with how many are how, and a line for each worker that there is room for."""
    name = min(max(width - 12 - sum(_WIDTHS.values()), _NAME_LEAST), _NAME)
    heads = "".join(f"{head:>{columns}}" for head, columns in _WIDTHS.items())
    heading = Text().append(" workers", "bold").append(f"  {counted(snapshot)}", "dim")
    heading.truncate(name + 11, pad=True)
    heading.append(heads, "dim")
    return [heading, *(_line(one, name) for one in worst(snapshot.workers, rows - 1))]


def counted(snapshot: Snapshot) -> str:
    """'3 running, 1 lost', the worst first."""
    states = snapshot.worker_states
    return ", ".join(
        f"{format_count(states[state])} {state}" for state in WORKER_STATES if states.get(state)
    )


def _line(one: WorkerNow, name: int) -> Text:
    line = Text(f" {printable(one.name)}")
    line.truncate(name + 1, overflow="crop", pad=True)
    line.append(f" {one.state:<9}", _STYLES[one.state])
    figures: Sequence[str] = (
        "-" if one.state == "lost" else format_count(one.open),
        format_rate(one.right_per_s) if one.state == "running" else "-",
        "-" if one.p99_ns is None else format_duration(one.p99_ns),
        "-" if one.cores is None else f"{one.cores * 100:.0f} %",
    )
    for text, width in zip(figures, _WIDTHS.values(), strict=True):
        line.append(f"{text:>{width}}")
    if one.why:
        line.append(f"  {printable(one.why)}", _BAD)
    return line
