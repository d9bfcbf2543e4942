"""Progress as lines of text, for logs, pipes and terminals that cannot draw a dashboard."""

from __future__ import annotations

import math
import os
import shutil
from typing import TextIO

import click

from c1m.cli.streams import takes_a_line
from c1m.results.record import REQUEST_COUNTS
from c1m.results.snapshot import Snapshot
from c1m.units import NS_PER_MS, format_count, format_duration, format_number_of, format_rate

LINE_S = 1.0  # the least time between lines, except for a new stage and the end
ALIVE_S = 60.0  # after so long even a line without news is shown: the run is alive
CAUSES_MAX = 4  # errnos and faults in a line, the most frequent first


def can_draw(stream: TextIO) -> bool:
    """Whether this is a terminal on which a line can be overwritten."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class Live:
    """Shows the latest line. On a terminal it stays in place until `done`.

    A line is dropped rather than waited for: a stopped terminal (Ctrl-S) or a slow reader must not
    stop a server or a run.
    """

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self.is_terminal = can_draw(self._stream)
        self._last = ""

    def show(self, line: str) -> None:
        """Show this line instead of the last one; off a terminal, only if it is a new one."""
        if self._quiet or line == self._last or not takes_a_line(self._stream):
            return
        self._last = line
        if self.is_terminal:
            width = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + line[: width - 1])
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def done(self) -> None:
        """Leave the last line as it is and continue below it."""
        if self.is_terminal and self._last:
            click.echo(file=self._stream)
        self._last = ""


def plain_line(snapshot: Snapshot) -> str:
    """Time, stage, connections, requests, latency, and what went wrong."""
    return f"{snapshot.elapsed_s:6.1f} s  {_said(snapshot)}"


def _said(s: Snapshot) -> str:
    """The line without its time."""
    is_one_of_many = s.stages > 1 and s.stage_number
    stage = f"{s.stage} ({s.stage_number} of {s.stages})" if is_one_of_many else s.stage
    parts = [stage] if stage else []
    parts.append(f"{format_count(s.open)} open")
    if s.requests.sent or s.rate_asked_per_s is not None:
        asked = "" if s.rate_asked_per_s is None else f" of {format_rate(s.rate_asked_per_s)}"
        rate = s.right_per_s if math.isfinite(s.right_per_s) else 0.0
        parts.append(f"{format_count(s.requests.right)} right at {format_rate(rate)}{asked}")
    latencies = s.recent_ns or s.percentiles_ns
    known = [name for name in ("p50", "p99", "max") if name in latencies]
    if known:
        parts.append(" ".join(f"{name} {format_duration(latencies[name])}" for name in known))
    if s.last_step_ms is not None and s.connects_per_s:
        parts.append(f"last 1,000 in {format_duration(s.last_step_ms * NS_PER_MS)}")
    bad = {name: getattr(s.requests, name) for name, c in REQUEST_COUNTS.items() if c.shortfall}
    for name, count in (bad | {"failed": s.failed, "lost": s.lost}).items():
        if count:
            parts.append(f"{format_count(count)} {name}")
    if causes := [f"{format_count(count)} x {name}" for name, count in s.causes()[:CAUSES_MAX]]:
        parts.append(f"({', '.join(causes)})")
    if silent := s.worker_states.get("silent"):
        parts.append(f"{format_number_of(silent, 'worker')} silent")
    if s.degraded:
        parts.append(f"DEGRADED: lost {s.degraded}")
    return "  ".join(parts)


class PlainLines(Live):
    """Shows snapshots as lines: one that is written over on a terminal, new ones elsewhere.

    Elsewhere a line comes at most once a second and only if it says something new; the end of the
    run and a new stage are shown at once.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._said = ""
        self._stage = 0
        self._shown_s = -math.inf

    def add(self, snapshot: Snapshot) -> None:
        """Show this snapshot, or drop it."""
        said = _said(snapshot)
        if self.is_terminal or self._is_due(snapshot, said):
            self._said, self._stage = said, snapshot.stage_number
            self._shown_s = snapshot.elapsed_s
            self.show(plain_line(snapshot))

    def _is_due(self, snapshot: Snapshot, said: str) -> bool:
        since_s = snapshot.elapsed_s - self._shown_s
        if snapshot.is_last:
            return True
        if said == self._said:
            return since_s >= ALIVE_S
        # A hair less: snapshots a second apart come a little early now and then.
        return snapshot.stage_number != self._stage or since_s >= 0.95 * LINE_S
