"""What the kernel has refused for now: when it is asked again, and what is told of it. Pure.

Growing is something that can be refused. Whoever is there stays; what is not there is asked for
again after a pause that doubles, so that a shortage costs next to nothing however long it lasts and
is over soon after there is room.
"""

from __future__ import annotations

from collections import Counter

PAUSE_FIRST_NS = 10_000_000  # about what the kernel takes to tidy up after a ring that was closed
PAUSE_MOST_NS = 1_000_000_000


class Shortage:
    """One kind of thing. `counts`: refusals by what was asked; `text`: the last in a sentence."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.text = ""
        self.remedy = ""
        self.until_ns = 0  # not asked for before then; 0: nothing is short
        self._pause_ns = 0

    def refused(self, what: str, text: str, remedy: str, now_ns: int) -> None:
        """It was asked for and refused: pause, twice as long as the last time.

        What was asked for together is refused together, and is one reason to pause.
        """
        self.counts[what] += 1
        self.text, self.remedy = text, remedy
        if self.holds(now_ns):
            return
        self._pause_ns = min(2 * self._pause_ns, PAUSE_MOST_NS) or PAUSE_FIRST_NS
        self.until_ns = now_ns + self._pause_ns

    @property
    def lasts(self) -> bool:
        """Whether the last that was asked for was refused: ask for one, and no more."""
        return self._pause_ns > 0

    def holds(self, now_ns: int) -> bool:
        """Whether it should not be asked for yet."""
        return now_ns < self.until_ns

    def may_be_over(self) -> None:
        """Something came back: ask at once, though a refusal lengthens the pause as ever."""
        self.until_ns = 0

    def ends(self) -> None:
        """It was given."""
        self._pause_ns = self.until_ns = 0
