"""One busy peer does not starve others: what one connection may bring into one tick. Pure.

What it has sent beyond `most` bytes is kept here, and handed over in the next ticks, as much in
each. Until all of it is, the connection is not read from: the kernel tells its peer to wait when
its buffer is full. So what is kept is what a single tick may bring of a connection, once. While
KEPT_MAX is kept in all nobody else's is: turns are longer then.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NOTHING, EventBatch, Pieces, Slots
from c1m.engine.ragged import Ragged

KEPT_MAX = 64 << 20  # bytes


class Turns:
    """Nothing for a connection that brings no more than `most` bytes into a tick.

    `muted` and `unmuted` say from whom to read no more, and again, since they were looked at last.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[int, memoryview] = {}  # what is to be handed over, by slot
        self._is_full = False
        self._ended: set[int] = set()  # their streams have ended behind that
        self.muted: list[int] = []
        self.unmuted: list[int] = []

    def __contains__(self, slot: int) -> bool:
        """Whether some of what it has sent is kept."""
        return slot in self._kept

    def waiting(self) -> list[int]:
        """Those of whom something is kept."""
        return [*self._kept]

    def take(
        self, batch: EventBatch, pieces: Pieces | None, at: int, off: Collection[int]
    ) -> EventBatch:
        """What a tick brings, with nobody's turn longer than it may be.

        `off`: of those of whom something is kept, from whom the caller wants nothing for now.
        """
        before = [slot for slot in self._kept if slot not in off]
        self._is_full = sum(map(len, self._kept.values())) > KEPT_MAX
        if pieces is not None and len(pieces) > at:  # they came before what is in arrays
            self._cut_pieces(pieces, at)
        if len(batch.data_slots):
            batch = self._cut_arrays(batch)
        if not self._kept:
            return batch
        gone = self._kept.keys() & {*batch.closed.tolist()}
        self._ended -= gone
        due = [(slot, bytes(self._kept.pop(slot))) for slot in gone]  # it comes before the end
        due += [(slot, self._next(slot)) for slot in before if slot not in gone]
        return self._with(batch, pieces, due)

    def _next(self, slot: int) -> bytes:
        kept = self._kept[slot]
        head, rest = kept[: self._most], kept[self._most :]
        if len(rest):
            self._kept[slot] = rest
        else:
            del self._kept[slot]
            self.unmuted.append(slot)
        return bytes(head)

    def _keep(self, slot: int, data: bytes) -> None:
        before = self._kept.get(slot)
        if before is None:
            self.muted.append(slot)
        self._kept[slot] = memoryview(data if before is None else bytes(before) + data)

    def _cut_arrays(self, batch: EventBatch) -> EventBatch:
        slots, data = batch.data_slots, batch.data
        if not self._kept and data.nbytes() <= self._most:
            return batch
        kept = self._kept.keys() & {*slots.tolist()} if self._kept else set()
        over = kept if self._is_full else self._over(slots, data.lengths) | kept
        if not over:
            return batch
        lengths, stays = data.lengths.copy(), np.ones(len(slots), np.bool_)
        for slot in over:
            rows = np.flatnonzero(slots == slot)
            most = 0 if slot in self._kept else self._most
            left = np.maximum(most - (lengths[rows].cumsum() - lengths[rows]), 0)
            taken = np.minimum(lengths[rows], left)
            rest = Ragged(data.memory, data.offsets[rows] + taken, lengths[rows] - taken)
            self._keep(slot, b"".join(rest.pieces()))
            lengths[rows] = taken
            stays[rows] = taken > 0
        cut = Ragged(data.memory, data.offsets[stays], lengths[stays])
        return replace(batch, data_slots=slots[stays], data=cut)

    def _over(self, slots: Slots, lengths: npt.NDArray[np.int32]) -> set[int]:
        """Who brings more than may be, in all of his pieces. Without a column: an idle connection
        costs nothing, though its first bytes came with many others'."""
        if len(slots) * int(lengths.max()) <= self._most:
            return set()
        order = np.argsort(slots, kind="stable")
        ordered = slots.take(order)
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        sums = np.add.reduceat(lengths.take(order), starts, dtype=np.int64)
        return {*ordered.take(starts[sums > self._most]).tolist()}

    def _cut_pieces(self, pieces: Pieces, at: int) -> None:
        """The same for Python's rows."""
        kept = self._kept
        if not kept and sum(len(piece) for _, piece in pieces[at:]) <= self._most:
            return
        brought: dict[int, int] = {}
        found: Pieces = []
        for slot, piece in pieces[at:]:
            room = 0 if slot in kept else self._most - brought.get(slot, 0)
            room = len(piece) if self._is_full and slot not in kept else room
            brought[slot] = brought.get(slot, 0) + len(piece)
            if len(piece) > room:
                self._keep(slot, piece[room:])
            if room:
                found.append((slot, piece[:room]))
        pieces[at:] = found

    def _with(self, batch: EventBatch, pieces: Pieces | None, due: Pieces) -> EventBatch:
        """The batch, with this data, and the ends of streams when all before them has come."""
        if pieces is not None:
            pieces += due
        elif due:
            those = np.array([slot for slot, _ in due], np.int32)
            data = Ragged.of([*batch.data.pieces(), *(piece for _, piece in due)])
            slots = np.concatenate((batch.data_slots, those))
            is_plain = batch.is_plain or batch is NOTHING
            batch = replace(batch, data_slots=slots, data=data, is_plain=is_plain)
        self._ended.update(self._kept.keys() & {*batch.eof.tolist()})
        if not self._ended:
            return batch
        ready = self._ended - self._kept.keys()
        now = [slot for slot in batch.eof.tolist() if slot not in self._ended]
        self._ended -= ready
        eof = np.array([*now, *ready], np.int32)
        return replace(batch, eof=eof, is_plain=batch.is_plain and not len(eof))

    def forget(self, slots: Slots) -> None:
        """They have ended."""
        if self._kept or self._ended:
            for slot in slots.tolist():
                self._kept.pop(slot, None)
                self._ended.discard(slot)
