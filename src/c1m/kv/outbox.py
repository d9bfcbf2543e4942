"""What is to be sent: a tick's replies by connection, and what goes to many. Pure.

The order of what one connection gets is that in which it was said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.fanout.deliveries import Deliveries


class Outbox:
    """`replies` holds the pieces for a slot, `deliveries` what goes to whole arrays of slots, over
    as many ticks as it takes, and `batches` one piece for each of many.

    Batches are sent first. Replies are sent behind what their connections wait for; what would be
    out of order is added to the replies.
    """

    def __init__(self, capacity: int) -> None:
        self.replies: dict[int, list[bytes]] = {}
        self.taken: dict[int, list[bytes]] = {}  # the last that were taken, and may not be sent yet
        self.deliveries = Deliveries(capacity)
        self.batches: list[tuple[Sequence[int], list[bytes]]] = []
        self.closing: list[int] = []  # slots to close behind what they are sent
        self.killed: list[int] = []  # slots to close at once
        self.dropped: Counter[str] = Counter()  # connections that did not read, by the limit passed
        self._has_replies = np.zeros(capacity, np.bool_)

    def of(self, slot: int) -> list[bytes]:
        """The list of the pieces for a slot, to be added to."""
        found = self.replies.get(slot)
        if found is None:
            found = self.replies[slot] = []
            self._has_replies[slot] = True
        return found

    def say(self, slot: int, reply: bytes) -> None:
        """One more piece for a slot."""
        self.of(slot).append(reply)

    def say_each(self, slots: Sequence[int], pieces: list[bytes]) -> None:
        """Piece i for slots[i]."""
        if not self.replies and not self.deliveries.any_waits(slots):
            self.batches.append((slots, pieces))
            return
        for slot, piece in zip(slots, pieces, strict=True):
            self.of(slot).append(piece)

    def say_to_all(self, slots: Slots, payload: bytes) -> None:
        """The same bytes to all of these: int32[n], each once."""
        if self.replies:
            waits: npt.NDArray[np.bool_] = self._has_replies[slots]
            if waits.any():
                for slot in slots[waits].tolist():
                    self.replies[slot].append(payload)
                slots = slots[~waits]
        self.deliveries.add(slots, payload)

    def drop(self) -> list[int]:
        """Forget what was to be sent in this tick, and say to whom."""
        rows = [slot for slots, _ in self.batches for slot in slots]
        rows += [*self.taken, *self.take(), *self.closing, *self.killed]
        self.batches.clear()
        self.closing.clear()
        self.killed.clear()
        self.taken = {}
        return rows

    def take(self) -> dict[int, list[bytes]]:
        """The replies, which are waiting no longer."""
        replies, self.replies = self.replies, {}
        self.taken = replies
        for slot in replies:
            self._has_replies[slot] = False
        return replies
