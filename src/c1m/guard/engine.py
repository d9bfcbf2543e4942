"""An engine that lets in and lets stay only whom its limits allow: the contract around another.

It stands outside what reads PROXY headers, so that it sees clients' addresses, and inside TLS, so
that nobody who may not come in costs a handshake. Connections are plain (engine/decorated.py): data
passes in arrays, and what limits need to know of a connection is in columns.

Who is not let in is `never_opened`; who may not stay is reported as closed, by a number of
`reasons.py`.
"""

from __future__ import annotations

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import NOTHING, Engine, EventBatch, Pieces, Slots, distinct
from c1m.engine.decorated import FREE, PLAIN, Decorated
from c1m.engine.names import sockaddrs
from c1m.engine.ragged import Ragged
from c1m.guard.deadlines import Deadlines
from c1m.guard.options import Limits
from c1m.guard.reasons import Why
from c1m.guard.sources import Sources
from c1m.units import NS_PER_S

LOOK_NS = NS_PER_S  # how often deadlines are looked through


class GuardEngine(Decorated):
    """See engine.contract.Engine. Takes over `inner`."""

    def __init__(self, inner: Engine, limits: Limits, clock: Clock) -> None:
        super().__init__(inner)
        self._clock = clock
        per_source = limits.value("per_source")
        self._sources = None if per_source is None else Sources(per_source)
        idle_ns = limits.value("idle_timeout")
        self._idle_s = 0 if idle_ns is None else max(idle_ns // NS_PER_S, 1)
        self._deadlines = Deadlines(inner.capacity) if self._idle_s else None
        self._look_ns = clock.now_ns()

    # --- who comes and who goes -------------------------------------------------------------------

    def _holds(self, listener: int) -> bool:
        return self._sources is not None

    def _begin(self, slot: int) -> None:
        assert self._sources is not None
        [name] = sockaddrs(self._inner, np.array([slot], np.int32))
        if self._sources.take(slot, name):
            self._open(slot, PLAIN)
        else:
            self._end(slot, Why.PER_SOURCE.code)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        """See Engine.close."""
        those = distinct(slots)
        self._gone(those[self.kinds.take(those) != FREE])
        super().close(slots, abort=abort, drop=drop)

    def _gone(self, slots: Slots) -> None:
        if self._deadlines is not None:
            self._deadlines.clear(slots)
        if self._sources is not None:
            for slot in slots.tolist():
                self._sources.give_back(slot)

    # --- the tick ---------------------------------------------------------------------------------

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        """See Engine.wait."""
        deadlines = self._deadlines
        if deadlines is not None and deadlines.top:
            timeout_ns = LOOK_NS if timeout_ns < 0 else min(timeout_ns, LOOK_NS)
        at = 0 if pieces is None else len(pieces)
        batch = super().wait(timeout_ns, pieces)
        if not batch.is_plain and batch is not NOTHING:
            self._gone(batch.closed)
        if deadlines is not None:
            second = self._clock.now_ns() // NS_PER_S
            if pieces is not None and len(pieces) > at:
                came = np.array([slot for slot, _ in pieces[at:]], np.int32)
                deadlines.set(came, second + self._idle_s)
            deadlines.set(batch.opened, second + self._idle_s)
            deadlines.set(batch.data_slots, second + self._idle_s)
            late = deadlines.over(second)
            if len(late):
                batch = self._closed_too(batch, late, Why.IDLE)
        return batch

    def send(self, slots: Slots, data: Ragged) -> None:
        """See Engine.send."""
        super().send(slots, data)
        if self._deadlines is not None:
            live = slots[self.kinds.take(slots) == PLAIN]
            self._deadlines.set(live, self._clock.now_ns() // NS_PER_S + self._idle_s)

    def _closed_too(self, batch: EventBatch, slots: Slots, why: Why) -> EventBatch:
        """The batch, with these ended by us; who has just begun or ended stays as it is."""
        slots = slots[self.kinds.take(slots) == PLAIN]
        slots = slots[~np.isin(slots, np.concatenate((batch.opened, batch.connected)))]
        if not len(slots):
            return batch
        if batch is NOTHING:
            batch = EventBatch.nothing()
        self._gone(slots)
        self.kinds[slots] = FREE
        self._own_ends.update(slots.tolist())
        self._inner.close(slots)
        codes = np.full(len(slots), why.code, np.int32)
        batch.closed = np.concatenate((batch.closed, slots))
        batch.closed_errnos = np.concatenate((batch.closed_errnos, codes))
        batch.is_plain = False
        return batch
