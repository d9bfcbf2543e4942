"""An engine that brings what a test tells it to, and keeps what it was asked for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from c1m.engine.contract import NO_SLOTS, EngineStatistics, EventBatch, Owed, Pieces, Slots
from c1m.engine.ragged import Ragged


class ScriptedEngine:
    """See engine.contract.Engine; only what decorators use of it. `batches` come one a wait."""

    name, reason = "scripted", "a test"
    capacity = 64
    sends_in_wait, uses_descriptors = False, False
    thread = None
    watched_is_ready = False

    def __init__(self) -> None:
        self.live_max = self.capacity
        self.reports_ends = False
        self.batches: list[EventBatch] = []
        self.sent: list[tuple[int, bytes]] = []
        self.closed: list[tuple[int, bool]] = []  # slot, abort
        self.muted: set[int] = set()
        self.timeouts: list[int] = []
        self.counts = EngineStatistics()

    def brings(self, **kinds: Any) -> None:
        """A batch for a next wait: lists of slots by kind; `data` is a list of (slot, bytes)."""
        data: Pieces = kinds.pop("data", [])
        batch = EventBatch.nothing()
        for name, rows in kinds.items():
            setattr(batch, name, np.array(rows, np.int32))
        if data:
            batch.data_slots = np.array([slot for slot, _ in data], np.int32)
            batch.data = Ragged.of([piece for _, piece in data])
        batch.is_plain = not kinds and bool(data)
        self.counts.accepted += len(batch.opened)
        self.counts.connected += len(batch.connected)
        self.counts.live += len(batch.opened) + len(batch.connected) - len(batch.closed)
        self.counts.closed += len(batch.closed)
        self.batches.append(batch)

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        self.timeouts.append(timeout_ns)
        if not self.batches:
            return EventBatch.nothing()
        batch = self.batches.pop(0)
        if pieces is not None:
            pieces += zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True)
            batch.data_slots, batch.data = EventBatch.nothing().data_slots, Ragged.empty()
        return batch

    def listen(self, endpoints: Any, backlog: int) -> Any:
        return list(endpoints)

    def send(self, slots: Slots, data: Ragged) -> None:
        self.sent += zip(slots.tolist(), data.pieces(), strict=True)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        self.sent += zip(slots, pieces, strict=True)

    def receive(self, slots: Slots, on: bool) -> None:
        self.muted = self.muted - {*slots.tolist()} if on else self.muted | {*slots.tolist()}

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        self.closed += [(slot, abort) for slot in slots.tolist()]
        self.counts.live -= len(slots)
        self.counts.closed += len(slots)

    def failure(self, slot: int) -> int:
        return 0

    def unsent(self, slot: int) -> int:
        return 0

    def owed(self) -> Owed:
        return NO_SLOTS, np.zeros(0, np.int64)

    def end_output(self, slot: int) -> None: ...

    def statistics(self) -> EngineStatistics:
        return self.counts

    def shutdown(self) -> None:
        self.counts.closed += self.counts.live
        self.counts.live = 0

    def said_to(self, slot: int) -> bytes:
        """All that was sent to it since the last time."""
        said = b"".join(piece for to, piece in self.sent if to == slot)
        self.sent = [row for row in self.sent if row[0] != slot]
        return said
