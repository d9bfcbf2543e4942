"""How long a connection may be silent: until its first byte, and then between any two. Pure.

What counts: bytes that came, whatever they say (TLS's own records, too), and bytes that the server
was given to send. A connection from which nothing has come waits for its first byte, and nothing
that it is sent renews that; where there is no bound of that, it is idle from the beginning.

One that is owed something and takes it is not idle: it has as long again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from c1m.engine.contract import NO_SLOTS, Slots
from c1m.guard.deadlines import Deadlines


class Activity:
    """Two bytes a connection, three where a first byte is waited for; 0 seconds: no bound.

    `unsent` is the engine's. Times are seconds.
    """

    def __init__(
        self, capacity: int, first_byte_s: int, idle_s: int, unsent: Callable[[int], int]
    ) -> None:
        self._first_s, self._idle_s = first_byte_s, idle_s
        self._unsent = unsent
        self._is_silent = np.zeros(capacity, np.bool_)
        self.deadlines = Deadlines(capacity)
        self._last = NO_SLOTS, 0  # of whom bytes came last, and when
        self._owed: dict[int, int] = {}  # of those who would be idle: what they had not taken

    def begin(self, slots: Slots, second: int) -> None:
        """These are open now."""
        self.deadlines.set(slots, second + (self._first_s or self._idle_s) + 1)
        if self._first_s:
            self._is_silent[slots] = True

    def came(self, slots: Slots, second: int) -> None:
        """Bytes came from these."""
        if self._owed:
            self._forget(slots)
        self._last = slots, second
        if self._first_s:
            self._is_silent[slots] = False
        if self._idle_s:
            self.deadlines.renew(slots, second + self._idle_s + 1)
        else:
            self.deadlines.clear(slots)

    def sent(self, slots: Slots, second: int) -> None:
        """These are sent something."""
        if not self._idle_s or (slots is self._last[0] and second == self._last[1]):
            return  # an answer to what has just come has renewed it already
        if self._owed:
            self._forget(slots)
        if self._first_s:
            slots = slots[~self._is_silent.take(slots)]
        self.deadlines.renew(slots, second + self._idle_s + 1)

    def gone(self, slots: Slots) -> None:
        """They have ended."""
        self.deadlines.clear(slots)
        if self._owed:
            self._forget(slots)

    def _forget(self, slots: Slots) -> None:
        for slot in self._owed.keys() & set(slots.tolist()):
            del self._owed[slot]

    def over(self, second: int) -> tuple[Slots, Slots]:
        """Those who sent no first byte in time, and who was idle too long."""
        late = self.deadlines.over(second)
        if not len(late):
            return NO_SLOTS, NO_SLOTS
        is_silent = self._is_silent.take(late)
        idle = [slot for slot in late[~is_silent].tolist() if not self._takes(slot, second)]
        return late[is_silent], np.array(idle, np.int32)

    def _takes(self, slot: int, second: int) -> bool:
        """Whether it is owed something, and has taken some of it since it was looked at last."""
        owed, before = self._unsent(slot), self._owed.pop(slot, None)
        if not owed or (before is not None and owed >= before):
            return False
        self._owed[slot] = owed
        self.deadlines.set_one(slot, second + self._idle_s + 1)
        return True
