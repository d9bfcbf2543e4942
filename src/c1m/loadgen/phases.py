"""The stages of a run as they went. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from c1m.loadgen.recorder import Group
from c1m.loadgen.stages import Stage

# What follows the stages of a plan.
SETTLE, CLOSE = Stage("settle", "settle", 0, 0), Stage("close", "close", 0, 0)


@dataclass(slots=True)
class Phase:
    """A stage as it was run, in monotonic nanoseconds. `group`: its requests."""

    stage: Stage
    start_ns: int
    end_ns: int = 0
    group: Group | None = None
    open_at_end: int = 0
    moved_ns: int = 0  # its last progress
    gave_up: bool = False  # something since then
    stood_still: bool = False  # it was ended because of that
    extras: Counter[str] = field(default_factory=Counter)  # replies beyond those due, by kind
    before: Counter[str] = field(default_factory=Counter)  # those of the stages before

    @property
    def planned_end_ns(self) -> int:
        """When it is over by the plan, or its start where that has no time for it."""
        return self.start_ns + (self.stage.duration_ns or 0)
