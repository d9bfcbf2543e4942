"""A run's progress as one line."""

from __future__ import annotations

from c1m.loadgen.generator import Progress
from c1m.units import format_count


def progress_line(progress: Progress) -> str:
    """Phase, connections, replies, failures."""
    parts = [
        f"{progress.elapsed_ns / 1e9:6.1f} s",
        f"{progress.phase:<8}",
        f"{format_count(progress.open)} open",
        f"{format_count(progress.round.right)} of {format_count(progress.round.sent)} "
        f"{progress.round.name} replies right",
    ]
    if progress.phase == "ramp" and progress.last_step_ms is not None:
        parts.append(f"last 1,000 in {progress.last_step_ms:.1f} ms")
    for name, count in (
        ("wrong", progress.round.wrong),
        ("failed", progress.failed),
        ("lost", progress.lost),
    ):
        if count:
            parts.append(f"{format_count(count)} {name}")
    return "  ".join(parts)
