"""Notices when the server, the path to it or the generator itself stands still. Pure.

A *stage* stands still when something is under way and nothing of it has come to an end for the
time-out: then the stage is over (`moved_ns`, `is_still`).

The server (or the path) stood still when no reply came on any connection for STILL_NS though some
were waited for, the generator when it was not awake for so long. Both are kept as gaps;
`results/saturation.py` decides at the end which of them are reported.
"""

from __future__ import annotations

from c1m.results.record import Pause

STILL_NS = 500_000_000  # a sampler's interval: over less, processor time says nothing
GAPS_MAX = 32  # the longest are kept


class Watch:
    """When what last happened, in monotonic nanoseconds; the generator sets it."""

    def __init__(self, start_ns: int) -> None:
        self.gaps: list[Pause] = []
        self.recovers_ns = start_ns  # until then lateness may be a result of the server's gap
        self._start_ns = start_ns
        self.begin(start_ns)
        self.heard_ns = start_ns  # last whole reply, or when the first was waited for since
        self.ticked_ns = start_ns  # when the generator was last awake
        self.gave_up = False  # something since the last reply

    def begin(self, now_ns: int) -> None:
        """A stage begins to wait: for connects, or for replies."""
        self.moved_ns = now_ns  # its last progress
        self.is_still = False

    def given_up(self, limit_ns: int) -> None:
        """What was begun before `limit_ns` has come to no end."""
        self.gave_up = True
        self.is_still = self.moved_ns <= limit_ns

    def keep(self, is_ours: bool, start_ns: int, end_ns: int, waiting: int) -> None:
        """A gap is over, or the run is, with so many requests in flight."""
        start_s, seconds = (start_ns - self._start_ns) / 1e9, (end_ns - start_ns) / 1e9
        self.gaps.append(Pause("generator" if is_ours else "server", start_s, seconds, waiting))
        if not is_ours:
            self.recovers_ns = 2 * end_ns - start_ns
        if len(self.gaps) > GAPS_MAX:
            self.gaps.remove(min(self.gaps, key=lambda gap: gap.seconds))
