"""What the kernel has refused for now: when to ask again, and what is reported about it.

Growing is something that can be refused. Existing connections stay; what is missing is asked for
again after a pause that doubles, so that a shortage costs next to nothing however long it lasts and
is over soon after there is room.
"""

from __future__ import annotations

from collections import Counter

from c1m.clock import Clock
from c1m.kernel.refusals import refusal

PAUSE_FIRST_NS = 10_000_000  # about what the kernel takes to tidy up after a ring that was closed
PAUSE_MOST_NS = 1_000_000_000


class Shortage:
    """One kind of thing. `counts`: refusals by what was asked; `text`: the last as a sentence."""

    def __init__(self, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self.text = ""
        self.remedy = ""
        self.until_ns = 0  # not asked for before then; 0: nothing is short
        self._clock = clock
        self._pause_ns = 0

    def refused(self, kind: str, what: str, error: OSError | MemoryError | int) -> None:
        """`what` was asked for and refused: count it as `kind`, and pause, twice as long as before.

        What was asked for together is refused together, and is one reason to pause.
        """
        self.counts[kind] += 1
        self.text, self.remedy = refusal(what, error)
        now_ns = self._clock.now_ns()
        if now_ns < self.until_ns:
            return
        self._pause_ns = min(2 * self._pause_ns, PAUSE_MOST_NS) or PAUSE_FIRST_NS
        self.until_ns = now_ns + self._pause_ns

    @property
    def lasts(self) -> bool:
        """Whether the last request was refused: ask for one, and no more."""
        return self._pause_ns > 0

    def holds(self) -> bool:
        """Whether it should not be asked for yet."""
        return self.until_ns > 0 and self._clock.now_ns() < self.until_ns

    def may_be_over(self) -> None:
        """Something came back: ask at once. A further refusal still lengthens the pause."""
        self.until_ns = 0

    def ends(self) -> None:
        """The request was granted."""
        self._pause_ns = self.until_ns = 0


def refusals(*shortages: Shortage) -> tuple[dict[str, int], str]:
    """For statistics: what was refused and how often, and the last refusal as a sentence."""
    counts = sum((shortage.counts for shortage in shortages), Counter[str]())
    return dict(counts), next((shortage.text for shortage in shortages if shortage.text), "")
