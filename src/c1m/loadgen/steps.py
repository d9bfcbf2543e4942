"""When the stages of a run begin, where several load clients do one run together."""

from __future__ import annotations


class Steps:
    """Of a load client that is alone: each stage begins when the one before is over."""

    first = 0  # the stage that it takes part in first, where it takes another one's place

    def ready(self) -> int | None:
        """All is prepared, nothing is open: wait for the others. The start of the run in monotonic
        nanoseconds; None: now."""
        return None

    def begins(self, number: int) -> int | None:
        """When this stage, from 0, begins, in monotonic nanoseconds: 0, at once; None, not known
        yet. Asked at each tick, from when the one before is over."""
        return 0

    def begun(self, number: int, now_ns: int) -> None:
        """It has begun now."""


ALONE = Steps()
