"""What is on its way to many: handed out in pieces, so that no tick is long. Pure.

A publication to a million is some seconds of work. It goes out a slice at a time, and the server
serves everybody else in between. Publications go out in the order in which they came.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from c1m.engine.contract import Slots

SLICE = 1 << 15  # connections that a tick sends to


class Deliveries:
    """Publications that are not sent to all of their receivers yet.

    `add` takes int32[n] slots, each once, and does not change them.
    """

    def __init__(self, capacity: int) -> None:
        self._waiting: deque[tuple[Slots, bytes]] = deque()
        self._capacity = capacity
        self.left = 0  # receivers that nothing was sent to yet
        self.added = 0  # publications since the start

    def __len__(self) -> int:
        """Publications that wait."""
        return len(self._waiting)

    def add(self, slots: Slots, payload: bytes) -> None:
        """One more, behind the others."""
        if len(slots):
            self._waiting.append((slots, payload))
            self.left += len(slots)
            self.added += 1

    @property
    def done(self) -> int:
        """Of those that were `added`, how many have been taken whole. They go in order."""
        return self.added - len(self._waiting)

    def take(self, count: int = SLICE) -> list[tuple[Slots, bytes]]:
        """What is to be sent now, to `count` receivers in all at most."""
        taken = []
        while self._waiting and count > 0:
            slots, payload = self._waiting.popleft()
            if len(slots) > count:
                self._waiting.appendleft((slots[count:], payload))
                slots = slots[:count]
            if len(slots):
                taken.append((slots, payload))
            count -= len(slots)
            self.left -= len(slots)
        return taken

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: their slots may soon be others'."""
        if not self._waiting or not len(slots):
            return
        is_gone = np.zeros(self._capacity, np.bool_)
        is_gone[slots] = True
        # One without receivers stays in its place until it is taken: `done` counts in order.
        self._waiting = deque((those[~is_gone[those]], data) for those, data in self._waiting)
        self.left = sum(len(those) for those, _ in self._waiting)
