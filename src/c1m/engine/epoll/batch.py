"""What the next batch of the epoll engine will say, gathered event by event.

Data goes into one arena, one piece behind the other, and into three preallocated columns: a batch
is then a slice of each, and no array is built for it. All the other kinds are rare beside data and
are gathered in lists and dicts (slot -> what goes with it).

A batch of nothing but n pieces of data is always the same slices of the same columns, and is valid
until the next one only: so it is made once for each n, and only the pieces' frame is new each time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from c1m.engine.contract import NO_SLOTS, EventBatch, Slots
from c1m.engine.ragged import Ragged, read_only

_NO = NO_SLOTS


class NextBatch:
    """Events by kind; `pieces_max` pieces of data and `arena_size` bytes of them at most."""

    def __init__(self, pieces_max: int, arena_size: int) -> None:
        self.opened: dict[int, int] = {}  # slot -> index of the listener
        self.connected: list[int] = []
        self.failed: dict[int, int] = {}  # slot -> errno
        self.eof: list[int] = []
        self.closed: dict[int, int] = {}  # slot -> errno
        self.blocked: set[int] = set()
        self.drained: set[int] = set()
        self.expired: list[int] = []
        self._memory = np.empty(arena_size, np.uint8)  # taken up only as it is read into
        self.arena = self._memory.data
        self._slots = np.zeros(pieces_max, np.int32)
        self._offsets = np.zeros(pieces_max, np.int64)
        self._lengths = np.zeros(pieces_max, np.int32)
        self.columns = (self._slots.data, self._offsets.data, self._lengths.data)
        self._plain: dict[int, EventBatch] = {}  # the first n pieces of data and nothing else, by n

    def has_news(self) -> bool:
        """Whether there is something to say without asking the kernel."""
        return bool(self.blocked or self.failed or self.closed or self.expired)

    def forget(self, slot: int) -> None:
        """The caller has closed the slot: nothing about it may follow."""
        self.failed.pop(slot, None)
        self.blocked.discard(slot)

    def take(self, pieces: int, nbytes: int) -> EventBatch:
        """The batch, with the first `pieces` pieces of data, `nbytes` in all; then all anew."""
        plain = self._plain.get(pieces)
        if plain is None:
            plain = self._make_plain(pieces)
        data = plain.data
        plain.data = Ragged(self._memory, data.offsets, data.lengths, data.address, nbytes)
        if not (
            self.opened or self.connected or self.failed or self.eof
            or self.closed or self.blocked or self.drained or self.expired
        ):  # fmt: skip
            return plain
        # Void is a slot that was blocked and drained at once, or that is gone.
        void = (self.blocked & self.drained) | self.closed.keys()
        batch = EventBatch(
            _array(self.opened), _array(self.opened.values()),
            _array(self.connected), _array(self.failed), _array(self.failed.values()),
            plain.data_slots, plain.data, _array(self.eof),
            _array(self.closed), _array(self.closed.values()),
            _array(self.blocked - void), _array(self.drained - void), _array(self.expired),
        )  # fmt: skip
        self.opened, self.connected, self.failed = {}, [], {}
        self.eof, self.closed, self.blocked, self.drained = [], {}, set(), set()
        self.expired = []
        return batch

    def _make_plain(self, pieces: int) -> EventBatch:
        offsets, lengths = read_only(self._offsets[:pieces]), read_only(self._lengths[:pieces])
        data = Ragged(self._memory, offsets, lengths)
        slots = read_only(self._slots[:pieces])
        batch = EventBatch(data_slots=slots, data=data, is_plain=pieces > 0)
        self._plain[pieces] = batch
        return batch


def _array(numbers: Iterable[int]) -> Slots:
    found = [*numbers]
    return np.array(found, np.int32) if found else NO_SLOTS
