"""What the next batch of the epoll engine will say, gathered event by event. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from c1m.engine.contract import EventBatch, Slots
from c1m.engine.ragged import Ragged, read_only

EVENTS_MAX = 1024  # connections one tick may serve
ARENA_SIZE = EVENTS_MAX * 4096  # bytes one tick may read: a page each, or more of fewer


class NextBatch:
    """Data goes into one arena, one piece behind the other, and into three preallocated columns: a
    batch is then a slice of each, and no array is built for it. All the other kinds are rare beside
    data and are gathered in lists and dicts (slot -> what goes with it).

    A batch of nothing but n pieces of data is always the same slices of the same columns, and is
    valid until the next one only: so it is made once for each n.
    """

    def __init__(self) -> None:
        self._memory = np.empty(ARENA_SIZE, np.uint8)  # taken up only as it is read into
        self.arena = self._memory.data
        self._columns = (
            np.zeros(EVENTS_MAX, np.int32),
            np.zeros(EVENTS_MAX, np.int64),
            np.zeros(EVENTS_MAX, np.int32),
        )
        self.columns = tuple(column.data for column in self._columns)
        self._plain: dict[int, EventBatch] = {}  # the first n pieces of data and nothing else, by n
        self._told: set[int] = set()  # whose ends the last batch has
        self._begin()

    def _begin(self) -> None:
        self.opened: dict[int, int] = {}  # slot -> index of the listener
        self.connected: list[int] = []
        self.failed: dict[int, int] = {}  # slot -> errno
        self.eof: list[int] = []
        self.closed: dict[int, int] = {}  # slot -> errno
        self.blocked: set[int] = set()
        self.drained: set[int] = set()
        self.expired: list[int] = []
        self.ended: dict[int, int] = {}  # slot -> errno

    def has_news(self) -> bool:
        """Whether there is something to say without asking the kernel."""
        return bool(
            self.opened or self.blocked or self.failed or self.closed or self.expired or self.ended
        )

    def still_ends(self, slot: int) -> bool:
        """Whether its end is to be reported, or was in the last batch: the caller may still be at
        that, and may know the slot as the old connection's.
        """
        return slot in self.ended or slot in self._told

    def is_empty(self) -> bool:
        """Whether there is nothing to say but data."""
        return not (
            self.opened or self.connected or self.failed or self.eof
            or self.closed or self.blocked or self.drained or self.expired or self.ended
        )  # fmt: skip

    def passed(self, slot: int) -> None:
        """Its output is over the high watermark. Where it has drained and that is not reported yet,
        it is blocked as its caller knows: `blocked` comes before `drained` in a batch.
        """
        if slot in self.drained:
            self.drained.remove(slot)
        else:
            self.blocked.add(slot)

    def closed_late(self, slot: int, reports_end: bool) -> None:
        """The caller has closed a slot that may have ended by an error, which is not reported yet:
        then that is its end.
        """
        code = self.closed.pop(slot, -1)
        if code >= 0 and reports_end:
            self.ended[slot] = code

    def forget(self, slot: int) -> None:
        """The caller has closed the slot: nothing about it may follow."""
        self.failed.pop(slot, None)
        self.blocked.discard(slot)
        self.drained.discard(slot)
        if slot in self.eof:
            self.eof.remove(slot)

    def take(self, pieces: int, nbytes: int) -> EventBatch:
        """The batch, with the first `pieces` pieces of data, `nbytes` in all; then all anew."""
        assert 0 <= pieces <= EVENTS_MAX and nbytes <= ARENA_SIZE
        plain = self._plain.get(pieces)
        if plain is None:
            slots, offsets, lengths = (read_only(column[:pieces]) for column in self._columns)
            data = Ragged(self._memory, offsets, lengths)
            plain = EventBatch(data_slots=slots, data=data, is_plain=pieces > 0)
            self._plain[pieces] = plain
        data = plain.data
        plain.data = Ragged(self._memory, data.offsets, data.lengths, data.address, nbytes)
        self._told = {*self.ended}
        if self.is_empty():
            return plain
        void = self.closed.keys()
        batch = EventBatch(
            _array(self.opened), _array(self.opened.values()),
            _array(self.connected), _array(self.failed), _array(self.failed.values()),
            plain.data_slots, plain.data, _array(self.eof),
            _array(self.closed), _array(self.closed.values()),
            _array(self.blocked - void), _array(self.drained - void), _array(self.expired),
            _array(self.ended), _array(self.ended.values()),
        )  # fmt: skip
        self._begin()
        return batch


def _array(numbers: Iterable[int]) -> Slots:
    return np.fromiter(numbers, np.int32)
