"""A running load as lines of text, for logs, pipes and terminals that cannot draw."""

from __future__ import annotations

import math
from typing import TextIO

from c1m.cli.live.line import Live
from c1m.results.snapshot import Snapshot
from c1m.units import format_count, format_duration, format_rate

LINE_S = 1.0  # at most a line in so long, but for a new stage and the end
ALIVE_S = 60.0  # a line that says nothing new shows that the run is alive
CAUSES_MAX = 4  # errnos and faults in a line, the most frequent first


def plain_line(snapshot: Snapshot) -> str:
    """Time, stage, connections, requests, latency, and what went wrong."""
    return f"{snapshot.elapsed_s:6.1f} s  {_said(snapshot)}"


def _said(s: Snapshot) -> str:
    """The line without its time."""
    stage = s.stage if s.stages < 2 else f"{s.stage} ({s.stage_number} of {s.stages})"
    parts = [stage] if stage else []
    parts.append(f"{format_count(s.open)} open")
    if s.sent or s.rate_asked_per_s is not None:
        asked = "" if s.rate_asked_per_s is None else f" of {format_rate(s.rate_asked_per_s)}"
        rate = s.right_per_s if math.isfinite(s.right_per_s) else 0.0
        parts.append(f"{format_count(s.right)} right at {format_rate(rate)}{asked}")
    latencies = s.recent_ns or s.percentiles_ns
    told = [f"{n} {format_duration(latencies[n])}" for n in ("p50", "p99", "max") if n in latencies]
    if told:
        parts.append(" ".join(told))
    if s.last_step_ms is not None and s.connects_per_s:
        parts.append(f"last 1,000 in {s.last_step_ms:.1f} ms")
    for name in ("wrong", "missing", "unsent", "failed", "lost"):
        if count := getattr(s, name):
            parts.append(f"{format_count(count)} {name}")
    seen = sorted([*s.errnos.items(), *s.faults.items()], key=lambda pair: -pair[1])
    if causes := ", ".join(f"{format_count(c)} x {name}" for name, c in seen[:CAUSES_MAX] if c):
        parts.append(f"({causes})")
    return "  ".join(parts)


class PlainLines:
    """Shows snapshots as lines: one that is written over on a terminal, new ones elsewhere.

    Elsewhere a line comes at most once a second and only where it says something new; the end of
    the run and a new stage are told at once.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._live = Live(stream)
        self._said = ""
        self._stage = 0
        self._shown_s = -math.inf

    def show(self, snapshot: Snapshot) -> None:
        """Show this snapshot, or leave it out."""
        said = _said(snapshot)
        if not self._live.is_terminal and not self._is_due(snapshot, said):
            return
        self._said, self._stage, self._shown_s = said, snapshot.stage_number, snapshot.elapsed_s
        self._live.show(plain_line(snapshot))

    def _is_due(self, snapshot: Snapshot, said: str) -> bool:
        if said == self._said and not snapshot.is_last:
            return snapshot.elapsed_s - self._shown_s >= ALIVE_S
        if snapshot.is_last or snapshot.stage_number != self._stage:
            return True
        # A hair less: snapshots a second apart come a little early now and then.
        return snapshot.elapsed_s - self._shown_s >= 0.95 * LINE_S

    def close(self) -> None:
        """Leave the last line standing."""
        self._live.done()
