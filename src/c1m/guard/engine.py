"""An engine that lets in and lets stay only whom its limits allow: the contract around another.

It stands outside what reads PROXY headers, so that it sees clients' addresses, and inside TLS, so
that nobody who may not come in costs a handshake. Connections are plain (engine/decorated.py): data
passes in arrays, and what limits need to know of a connection is in columns.

Who is not let in is `never_opened` (`admission.py` decides that); who may not stay is reported as
closed, by a number of `reasons.py` (`stay.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import (
    NOTHING,
    Engine,
    EngineStatistics,
    EventBatch,
    Pieces,
    Slots,
    distinct,
)
from c1m.engine.decorated import FREE, PLAIN, Decorated
from c1m.engine.names import sockaddrs
from c1m.engine.ragged import Ragged
from c1m.guard.ledger import Ledger
from c1m.guard.options import Limits
from c1m.guard.reasons import BY_CODE, Why
from c1m.guard.sources import Sources
from c1m.guard.stay import Ends, Stay


class GuardEngine(Decorated):
    """See engine.contract.Engine. Takes over `inner`."""

    def __init__(
        self, inner: Engine, limits: Limits, clock: Clock, ledger: Ledger | None = None
    ) -> None:
        super().__init__(inner)
        self._clock = clock
        self._ledger = ledger
        if ledger is not None:
            ledger.kinds = self.kinds
        per_source = limits.value("per_source")
        self._sources = None if per_source is None else Sources(per_source)
        self._stay = Stay(inner, limits, clock) if Stay.wanted(limits) else None
        self._put_off: dict[int, tuple[Why, bool]] = {}  # ends of who had just begun (rule 7)
        self._limited: Counter[str] = Counter()

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

    def adopt(self, fd: int) -> int:
        """See Engine.adopt."""
        slot = super().adopt(fd)
        if self._stay is not None:
            self._stay.spare(np.array([slot], np.int32))
        if self._ledger is not None:
            self._ledger.begin(self._inner, np.array([slot], np.int32))
        return slot

    def limit_output(self, slot: int, low: int, high: int) -> None:
        """See Engine.limit_output."""
        super().limit_output(slot, low, high)
        if self._stay is not None:
            self._stay.has_watermark(slot, high)

    def receive(self, slots: Slots, on: bool) -> None:
        """See Engine.receive."""
        if self._stay is None:
            super().receive(slots, on)
        else:
            self._stay.receive(slots, on)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        """See Engine.close."""
        those = distinct(slots)
        self._gone(those[self.kinds.take(those) != FREE])
        super().close(slots, abort=abort, drop=drop)

    def _gone(self, slots: Slots) -> None:
        if self._stay is not None:
            self._stay.gone(slots)
            for slot in self._put_off.keys() & {*slots.tolist()}:
                del self._put_off[slot]
        if self._sources is not None:
            for slot in slots.tolist():
                self._sources.give_back(slot)

    # --- the tick ---------------------------------------------------------------------------------

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        """See Engine.wait."""
        if self._ledger is None:
            return self._wait(timeout_ns, pieces)
        at = 0 if pieces is None else len(pieces)
        batch = self._wait(timeout_ns, pieces)
        self._ledger.note(self._inner, batch, pieces, at)
        return batch

    def _wait(self, timeout_ns: int, pieces: Pieces | None) -> EventBatch:
        stay = self._stay
        if stay is None:
            batch = super().wait(timeout_ns, pieces)
            if not batch.is_plain and batch is not NOTHING:
                self._gone(batch.closed)
            return batch
        timeout_ns = 0 if self._put_off else stay.bounded(timeout_ns)
        at = 0 if pieces is None else len(pieces)
        batch = super().wait(timeout_ns, pieces)
        is_plain = batch.is_plain or batch is NOTHING
        if not is_plain and len(batch.opened):
            stay.begin(batch.opened)
        if not is_plain and len(batch.connected):
            stay.spare(batch.connected)
        if len(batch.data_slots) or pieces:
            stay.came(batch, pieces, at)
        batch = stay.in_turn(batch, pieces, at)
        if not is_plain:
            if len(batch.blocked) or len(batch.drained):
                stay.marks(batch.blocked, batch.drained)
            if len(batch.closed):
                self._gone(batch.closed)
        ends = stay.over()
        return self._with_ends(batch, ends) if ends or self._put_off else batch

    def send(self, slots: Slots, data: Ragged) -> None:
        """See Engine.send."""
        super().send(slots, data)
        if self._ledger is not None and len(slots):
            self._ledger.gave(slots, data)
        if self._stay is not None:
            self._stay.sent(slots, data)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        """See Engine.send_each."""
        if self._held:
            self.send(np.array([*slots], np.int32), Ragged.of(pieces))
            return
        self._inner.send_each(slots, pieces)
        if self._ledger is not None:
            self._ledger.gave_each(slots, pieces)
        if self._stay is not None:
            self._stay.sent(np.array([*slots], np.int32), pieces)

    def _with_ends(self, batch: EventBatch, ends: Ends) -> EventBatch:
        """The batch, with these ended by us. Who has just begun in it, in the next."""
        put_off, self._put_off = self._put_off, {}
        for slot, (why, abort) in put_off.items():
            ends.append((np.array([slot], np.int32), why, abort))
        fresh = np.concatenate((batch.opened, batch.connected))
        for slots, why, abort in ends:
            slots = distinct(slots[self.kinds.take(slots) == PLAIN])
            are_fresh = np.isin(slots, fresh)
            for slot in slots[are_fresh].tolist():
                self._put_off[slot] = why, abort
            slots = slots[~are_fresh]
            if len(slots):
                batch = EventBatch.nothing() if batch is NOTHING else batch
                self._end_plain(batch, slots, why, abort)
        return batch

    def _end_plain(self, batch: EventBatch, slots: Slots, why: Why, abort: bool) -> None:
        self._limited[why.option] += len(slots)
        self._gone(slots)
        self.kinds[slots] = FREE
        if not abort:  # else it is over at once
            self._own_ends.update(slots.tolist())
        self._inner.close(slots, abort=abort)
        for kind in ("eof", "blocked", "drained"):
            those = getattr(batch, kind)
            if len(those):
                setattr(batch, kind, those[~np.isin(those, slots)])
        codes = np.full(len(slots), why.code, np.int32)
        batch.closed = np.concatenate((batch.closed, slots))
        batch.closed_errnos = np.concatenate((batch.closed_errnos, codes))
        batch.is_plain = False

    def statistics(self) -> EngineStatistics:
        """See Engine.statistics."""
        found = super().statistics()
        found.limited = dict(self._limited)
        if self._stay is not None:
            found.limited |= self._stay.limited
        for code, count in self._never_opened.items():
            if code in BY_CODE:
                option = BY_CODE[code].option
                found.limited[option] = found.limited.get(option, 0) + count
        return found
