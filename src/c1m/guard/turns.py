"""One busy peer does not starve others: who brings more into a tick than its turn sits out. Pure.

What it brought beyond `most` bytes is a debt. For each further `most` it is not read from in one
tick: others come meanwhile, and the kernel tells its peer to wait when its buffer is full. Where
others bring nothing it goes on at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, Slots

DEBT_MAX = 64  # ticks: whatever came at once


class Turns:
    """Four bytes a connection that has been in a tick with more than `most` bytes in all."""

    def __init__(self, capacity: int, most: int) -> None:
        self._most = most
        self._brought = np.zeros(capacity, np.uint32)  # in this tick; else 0
        self.debts: dict[int, int] = {}  # who sits out, and for how many ticks

    def came(self, slots: Slots, lengths: npt.NDArray[np.integer]) -> Slots:
        """What one tick brought: who sits out from now on."""
        if int(lengths.sum()) <= self._most:
            return NO_SLOTS
        brought = self._brought
        np.add.at(brought, slots, lengths.astype(np.uint32))
        over = slots[brought.take(slots) > self._most]
        found = []
        for slot in dict.fromkeys(over.tolist()):
            if slot not in self.debts:
                self.debts[slot] = min((int(brought[slot]) - 1) // self._most, DEBT_MAX)
                found.append(slot)
        brought[slots] = 0
        return np.array(found, np.int32)

    def next(self, had_others: bool) -> Slots:
        """A tick is over, in which others brought something or not: who is read from again."""
        if had_others:
            self.debts = {slot: debt - 1 for slot, debt in self.debts.items()}
            found = [slot for slot, debt in self.debts.items() if debt <= 0]
        else:
            found = [*self.debts]
        for slot in found:
            del self.debts[slot]
        return np.array(found, np.int32)

    def gone(self, slots: Slots) -> None:
        """They have ended."""
        for slot in self.debts.keys() & set(slots.tolist()):
            del self.debts[slot]
