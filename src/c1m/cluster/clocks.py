"""How far another machine's monotonic clock is from ours, from questions and answers. Pure.

An answer was given between the question and its arrival, so each bounds the offset from both sides.
Bounds hold until clocks drift: they are moved apart by as much as two may in that time, and the
next answer's are cut with them. So the quickest way there and the quickest way back count, also
where they were not of the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

# Of two clocks against each other: crystals are within 50 ppm each, and most are steered.
DRIFT_PPM_MAX = 100


@dataclass(slots=True)
class Offset:
    """Their clock less ours, in ns: between `low_ns` and `high_ns` at our time `at_ns`."""

    rounds: int = 0  # answers so far
    low_ns: int = 0
    high_ns: int = 0
    at_ns: int = 0
    first_ns: int = 0  # the offset as it was first known, and when
    since_ns: int = 0
    restarts: int = 0  # answers that fitted no bounds: a clock was not what we take it for

    def hear(self, asked_ns: int, theirs_ns: int, heard_ns: int) -> None:
        """An answer: their clock said `theirs_ns` between two times of ours."""
        assert asked_ns <= heard_ns
        since = drift_ns(heard_ns - asked_ns)  # they answered
        low, high = theirs_ns - heard_ns - since, theirs_ns - asked_ns + since
        if self.rounds:
            apart = drift_ns(heard_ns - self.at_ns)
            known = self.low_ns - apart, self.high_ns + apart
            if low <= known[1] and known[0] <= high:
                low, high = max(low, known[0]), min(high, known[1])
            else:  # suspended, or in a virtual machine that was moved: what was known is void
                self.restarts += 1
        self.low_ns, self.high_ns, self.at_ns = low, high, heard_ns
        self.rounds += 1
        if self.rounds == 1:
            self.first_ns, self.since_ns = self.offset_ns, heard_ns

    @property
    def offset_ns(self) -> int:
        """The middle of what it can be."""
        return (self.low_ns + self.high_ns) // 2

    def uncertain_ns(self, now_ns: int) -> int:
        """How far the offset may be wrong at a time of ours."""
        return (self.high_ns - self.low_ns + 1) // 2 + drift_ns(now_ns - self.at_ns)

    @property
    def moved_ns(self) -> int:
        """How far the offset has gone since it was first known."""
        return self.offset_ns - self.first_ns


def drift_ns(elapsed_ns: int) -> int:
    """How far two clocks may drift apart meanwhile, rounded up."""
    return -(-max(elapsed_ns, 0) * DRIFT_PPM_MAX // 1_000_000)
