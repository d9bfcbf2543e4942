"""Until when something is waited for, one for each connection: a column of seconds.

It is looked through in slices, so that no tick is long. A deadline is found some seconds late at
most: what is waited for is slow clients.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, Slots

SLICE = 1 << 14  # rows that are looked at in one tick at least,
SLICES = 16  # and so many ticks are enough for all
LONGEST_S = 1 << 15  # from now on: a row has the last 16 bits of its second
NONE = 0


class Deadlines:
    """Two bytes a connection. Times are seconds of any clock that does not go back."""

    def __init__(self, capacity: int) -> None:
        self._seconds: npt.NDArray[np.uint16] = np.zeros(capacity, np.uint16)
        self.top = 0  # no row from here on has one
        self._at = 0  # where it is looked next
        self._second = -1  # in which the looking through all began
        self._has_some = False  # since then one was set, or found

    def set(self, slots: Slots, second: int) -> None:
        """Theirs is at this second, less than LONGEST_S from now."""
        self._seconds[slots] = second & 0xFFFF or 1
        self._has_some = True
        if len(slots):
            self.top = max(self.top, int(slots.max()) + 1)

    def renew(self, slots: Slots, second: int) -> None:
        """The same for such as had one before: in a third of the time."""
        self._seconds[slots] = second & 0xFFFF or 1
        self._has_some = True

    def set_one(self, slot: int, second: int) -> None:
        """The same for one that had one before."""
        self._seconds[slot] = second & 0xFFFF or 1
        self._has_some = True

    def clear(self, slots: Slots | int) -> None:
        """They have none any more."""
        self._seconds[slots] = NONE

    def is_looking(self) -> bool:
        """Whether some of them are still to be looked at in this pass."""
        return self._at < self.top

    def over(self, second: int) -> Slots:
        """Those in the next slice whose time is up; they have no deadline any more.

        All is looked through once a second at most. Where none is left the memory goes, too.
        """
        if self._at >= self.top:
            if second == self._second:
                return NO_SLOTS
            if self.top and not self._has_some:
                self._seconds, self.top = np.zeros(len(self._seconds), np.uint16), 0
            self._at, self._second, self._has_some = 0, second, False
        size = max(SLICE, self.top // SLICES + 1)
        part = self._seconds[self._at : self._at + size]
        late = np.uint16(second & 0xFFFF) - part  # as a circle: what is ahead is a large number
        is_set = part != NONE
        rows = np.flatnonzero(is_set & (late < LONGEST_S))
        self._has_some = self._has_some or bool(is_set.any())
        at, self._at = self._at, self._at + size
        if not len(rows):
            return NO_SLOTS
        part[rows] = NONE
        return (rows + at).astype(np.int32)
