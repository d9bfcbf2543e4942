"""What operators ask about connections: since when, how many bytes, heard when last, from where.

Columns that the guard keeps where somebody may ask (--admin, --access-log) and nowhere else: 28
bytes a connection, and 21 more with `keeps_peers`, for those whose end is to be written down: whose
socket has gone has no address any more. Rows of those who ended stay until their slot begins anew.

Facts. np.add.at counts a slot that is there twice twice; for some pieces the plain loop is faster.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from c1m.clock import Clock
from c1m.engine.contract import NOTHING, Engine, EventBatch, Pieces, Slots
from c1m.engine.decorated import PLAIN
from c1m.engine.names import ROW, packed, sockaddrs
from c1m.engine.ragged import Ragged
from c1m.units import NS_PER_S

FEW = 16  # pieces that are counted one by one


class Row(NamedTuple):
    """One connection. Times are the clock's; `sent` is what was given to the engine; `peer` is an
    address that engine.names has packed. The last two are kept with `keeps_peers` only."""

    opened_ns: int
    heard_s: int
    received: int
    sent: int
    listener: int
    peer: bytes


class Ledger:
    """Of the connections of an engine inside a guard. Used by the engine's thread only."""

    def __init__(self, capacity: int, clock: Clock, *, keeps_peers: bool = False) -> None:
        self._capacity = capacity
        self._clock = clock
        self._keeps_peers = keeps_peers
        self.kinds: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # the guard's own
        self.top = 0  # no slot from here on has been in use
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """Columns of no connection, which have no memory yet."""
        self.opened_ns: npt.NDArray[np.int64] = np.zeros(self._capacity, np.int64)
        self.heard_s: npt.NDArray[np.uint32] = np.zeros(self._capacity, np.uint32)
        self.received: npt.NDArray[np.uint64] = np.zeros(self._capacity, np.uint64)
        self.sent: npt.NDArray[np.uint64] = np.zeros(self._capacity, np.uint64)
        self._received, self._sent = self.received.data, self.sent.data  # the same, quick for one
        self._heard = self.heard_s.data
        rows = self._capacity if self._keeps_peers else 0
        self._peers = np.zeros(rows, f"V{ROW}")
        self._listeners = np.zeros(rows, np.int16)
        self._kept: dict[int, Row] = {}  # of those whose slots have begun anew in this batch

    def open_slots(self, first: int, last: int) -> Slots:
        """Of the slots from `first` to before `last` those that are open, ascending."""
        there = self.kinds[first : min(last, self.top)] >= PLAIN
        return (np.flatnonzero(there) + first).astype(np.int32)

    def are_open(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Which of these are."""
        found: npt.NDArray[np.bool_] = self.kinds.take(slots) >= PLAIN
        return found

    def note(self, inner: Engine, batch: EventBatch, pieces: Pieces | None, at: int) -> None:
        """What a wait has brought: `batch`, and the pieces from this place on."""
        if not batch.is_plain and batch is not NOTHING:
            if self._keeps_peers:
                again = {*batch.ended.tolist()} & {*batch.opened.tolist()}
                self._kept = {slot: self.row(slot) for slot in again}
            if len(batch.opened):
                self.begin(inner, batch.opened, batch.opened_listeners)
            if len(batch.connected):
                self.begin(inner, batch.connected)
        second = self._clock.now_ns() // NS_PER_S
        if pieces is not None and len(pieces) > at:
            received, heard = self._received, self._heard
            for slot, piece in pieces[at:]:
                received[slot] += len(piece)
                heard[slot] = second
        slots = batch.data_slots
        if len(slots):
            _add(self.received, self._received, slots, batch.data.lengths)
            self.heard_s[slots] = second

    def begin(self, inner: Engine, slots: Slots, listeners: Slots | int = -1) -> None:
        """They are open from now on."""
        now_ns = self._clock.now_ns()
        self.top = max(self.top, int(slots.max()) + 1)
        self.opened_ns[slots] = now_ns
        self.heard_s[slots] = now_ns // NS_PER_S
        self.received[slots] = 0
        self.sent[slots] = 0
        if self._keeps_peers:
            self._listeners[slots] = listeners
            rows = b"".join(packed(name) for name in sockaddrs(inner, slots))
            self._peers[slots] = np.frombuffer(rows, self._peers.dtype)

    def gave(self, slots: Slots, data: Ragged) -> None:
        """They are sent this."""
        _add(self.sent, self._sent, slots, data.lengths)

    def gave_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        """The same of Python's own rows."""
        sent = self._sent
        for slot, piece in zip(slots, pieces, strict=True):
            sent[slot] += len(piece)

    def row(self, slot: int) -> Row:
        """Of a connection that is there, or was the last in this slot."""
        return Row(*(column.tolist()[0] for column in self.columns(np.array([slot]))))

    def last(self, slot: int) -> Row:
        """Of the connection whose end the last batch has reported."""
        return self._kept.pop(slot, None) or self.row(slot)

    def columns(self, slots: Slots) -> tuple[npt.NDArray[Any], ...]:
        """Their rows, as a Row has them."""
        nobody = np.zeros(len(slots), np.int16)
        return (
            self.opened_ns[slots], self.heard_s[slots], self.received[slots], self.sent[slots],
            self._listeners[slots] if self._keeps_peers else nobody,
            self._peers[slots] if self._keeps_peers else nobody,
        )  # fmt: skip

    def leave(self, inner: Engine, slots: Slots) -> None:
        """They are ended with what they are owed: it is not sent."""
        if self._keeps_peers:
            for slot in slots.tolist():
                self._sent[slot] -= min(inner.unsent(slot), self._sent[slot])


def _add(
    column: npt.NDArray[np.uint64],
    memory: memoryview[int],
    slots: Slots,
    lengths: npt.NDArray[np.int32],
) -> None:
    if len(slots) > FEW:
        np.add.at(column, slots, lengths.astype(np.uint64))
        return
    for slot, length in zip(slots.tolist(), lengths.tolist(), strict=True):
        memory[slot] += length
