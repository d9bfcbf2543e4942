"""When the stages of a run begin, where several load clients do one run together."""

from __future__ import annotations

from c1m.loadgen.stages import Stage


class Steps:
    """Of a load client that is alone: each stage begins when the one before is over."""

    def ready(self) -> int | None:
        """All is prepared, nothing is open: wait for the others. The start of the run in monotonic
        nanoseconds; None: now."""
        return None

    def begins(self, number: int) -> int | None:
        """When this stage, from 0, begins, in monotonic nanoseconds: 0, at once; None, not known
        yet. Asked at each tick, from when the one before is over."""
        return 0

    def begun(self, number: int, stage: Stage, now_ns: int) -> Stage:
        """This stage begins now; what is to be done of it."""
        return stage


ALONE = Steps()
