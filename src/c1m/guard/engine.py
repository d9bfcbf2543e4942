"""An engine that lets in and lets stay only whom its limits allow: the contract around another.

It stands outside what reads PROXY headers, so that it sees clients' addresses, and inside TLS, so
that nobody who may not come in costs a handshake. Connections are plain (engine/decorated.py): data
passes in arrays, and what limits need to know of a connection is in columns.

Who is not let in is `never_opened` (`admission.py` decides that); who may not stay is reported as
closed, by a number of `reasons.py` (`stay.py`).

When the server is full some more may be accepted, to be told so: they are held until they have
gone. A close would reset a connection whose peer has sent something that nobody has read, and a
reset may overtake the words. So their output ends, and what they send is read for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from c1m.addresses import AF_UNIX, Endpoint, ListeningSocket
from c1m.clock import Clock
from c1m.engine import checks
from c1m.engine.contract import (
    NO_SLOTS,
    NOTHING,
    Engine,
    EngineStatistics,
    EventBatch,
    Pieces,
    Slots,
    distinct,
)
from c1m.engine.decorated import FREE, HELD, NEVER, PLAIN, Decorated
from c1m.engine.names import sockaddrs
from c1m.engine.ragged import Ragged
from c1m.guard.admission import PLACES, Admission
from c1m.guard.ledger import Ledger
from c1m.guard.options import Limits
from c1m.guard.reasons import BY_CODE, Why
from c1m.guard.stay import Ends, Stay
from c1m.units import NS_PER_S

Words = Callable[[int], bytes]
GRACE_NS = NS_PER_S  # for those who are refused, to read why and to close


def no_words(listener: int) -> bytes:
    """Nothing is said."""
    return b""


class GuardEngine(Decorated):
    """See engine.contract.Engine. Takes over `inner`.

    `words`: what those are told who come by a listener when the server is full, by its index.
    `memory`: how much the process has, in bytes.
    """

    def __init__(
        self,
        inner: Engine,
        limits: Limits,
        clock: Clock,
        words: Words = no_words,
        memory: Callable[[], int] = lambda: 0,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(inner)
        self._clock = clock
        self._ledger = ledger
        if ledger is not None:
            ledger.kinds = self.kinds
        self._words = words
        self._admission = Admission(limits, inner.capacity, clock.now_ns(), memory)
        self._stay = Stay(inner, limits, clock) if Stay.wanted(limits) else None
        self._put_off: dict[int, tuple[Why, bool]] = {}  # ends of who had just begun (rule 7)
        self._limited: Counter[str] = Counter()
        self._endpoints: list[Endpoint] = []
        self._had_unix = False
        self._refused: dict[int, int] = {}  # slot -> since when it is held
        self._leaving: set[int] = set()  # turned away, and not over yet
        self._checks = checks.COSTLY
        self._accepted = 0  # by the inner engine, whatever has become of them
        # An engine that holds some back does not tell when it accepts: it is asked each time.
        self._is_asked = isinstance(inner, Decorated) and limits.accept_rate is not None
        self._live_max = inner.live_max
        if self._admission.refuses:  # they need places, too
            inner.live_max = inner.capacity
            self._live_max = max(min(self._live_max, inner.room() - PLACES), 1)
        self._inner_max = inner.live_max
        self._is_steered = False  # nothing has changed since `_steer`
        self._steer_ns = NEVER  # when to do so in any case

    # --- how many ---------------------------------------------------------------------------------

    @property
    def live_max(self) -> int:
        """See Engine.live_max."""
        return self._live_max

    @live_max.setter
    def live_max(self, value: int) -> None:
        self._live_max = value
        self._is_steered = False

    def room(self) -> int:
        """See Engine.room."""
        self._inner.live_max = self._live_max
        try:
            return self._inner.room()
        finally:
            self._inner.live_max = self._inner_max

    def _steer(self) -> None:
        """Say how many the inner engine may accept before we look again."""
        now_ns = self._clock.now_ns()
        self._is_steered = not self._is_asked
        self._steer_ns, most = NEVER, 0
        inner = self._inner.statistics()
        accepted = inner.accepted + inner.opening + sum(inner.never_opened.values())
        self._admission.accepted(accepted - self._accepted)
        self._accepted = accepted
        if self._live_max:
            free = self._free() - inner.opening
            room = self._admission.room(free, len(self._refused), now_ns)
            self._steer_ns = now_ns + room.due_ns
            if room.count:  # else nobody, also when somebody goes
                most = inner.live + inner.lingering + inner.opening + room.count
        if most != self._inner_max:
            self._inner.live_max = self._inner_max = most

    def _free(self) -> int:
        """How many more may be let in; fewer than none: those are too many."""
        inner = self._inner.statistics()
        used = inner.live + inner.lingering
        return self._live_max - used + len(self._refused) + len(self._leaving)

    # --- who comes and who goes -------------------------------------------------------------------

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        """See Engine.listen."""
        found = super().listen(endpoints, backlog)
        self._had_unix |= any(each.family == AF_UNIX for each in self._endpoints)
        if endpoints:  # else those may still come whose PROXY header is on its way
            self._endpoints = [e if isinstance(e, Endpoint) else e.endpoint for e in endpoints]
        return found

    def adopt(self, fd: int) -> int:
        """See Engine.adopt."""
        slot = super().adopt(fd)
        self._is_steered = False
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
        self._is_steered = False
        those = distinct(slots)
        those = those[self.kinds.take(those) >= PLAIN]
        self._closed(those)
        if abort:
            self._over_inside(those)
        super().close(slots, abort=abort, drop=drop)

    def _closed(self, slots: Slots) -> None:
        """They are no more for our caller; the inner engine may still be at their output."""
        if self._stay is not None:
            self._stay.gone(slots)
            for slot in self._put_off.keys() & {*slots.tolist()}:
                del self._put_off[slot]

    def _sort_ended(self, slots: Slots, errnos: Slots, made: EventBatch) -> None:
        self._over_inside(slots)
        if self._leaving:
            self._leaving.difference_update(slots.tolist())
        super()._sort_ended(slots, errnos, made)

    def _over_inside(self, slots: Slots) -> None:
        """Nothing is left of them, in the inner engine neither."""
        self._admission.gone(slots)

    def _sort_beginnings(self, batch: EventBatch, made: EventBatch) -> None:
        self._is_steered = False
        if len(batch.ended):  # connections of before, whose slots may be others' in this batch
            self._sort_ended(batch.ended, batch.ended_errnos, made)
            batch.ended = batch.ended_errnos = NO_SLOTS
        if len(batch.closed):
            self._over_inside(batch.closed)
        if len(batch.opened):
            if self._admission.asks_names:
                self._ask_names(batch)
            if self._admission.refuses and len(batch.opened):
                self._refuse(batch)
        super()._sort_beginnings(batch, made)

    def _ask_names(self, batch: EventBatch) -> None:
        """Take those out of the batch whose address is not let in."""
        reasons = np.zeros(len(batch.opened), np.int32)
        names = sockaddrs(self._inner, batch.opened)
        columns = zip(batch.opened.tolist(), batch.opened_listeners.tolist(), names, strict=True)
        for at, (slot, listener, name) in enumerate(columns):
            why = self._admission.why_not(slot, name, self._is_unix(listener))
            if why is not None:
                reasons[at] = why.code
        if reasons.any():
            self._turn_away(batch, reasons)

    def _is_unix(self, listener: int) -> bool:
        if listener < 0:
            return self._had_unix
        return self._endpoints[listener].family == AF_UNIX

    def _refuse(self, batch: EventBatch) -> None:
        """Take those out of the batch who are too many, the last ones, and tell them."""
        over = min(-self._free(), len(batch.opened))
        if over <= 0:
            return
        self._admission.refused(over)
        reasons = np.zeros(len(batch.opened), np.int32)
        for at in range(len(batch.opened) - over, len(batch.opened)):
            slot, listener = int(batch.opened[at]), int(batch.opened_listeners[at])
            reasons[at] = Why.FULL.code
            is_plain = listener >= 0 and not self._endpoints[listener].is_tls
            words = self._words(listener) if is_plain else b""
            if words:
                self._hold_refused(slot, listener, words)
        self._turn_away(batch, reasons)

    def _hold_refused(self, slot: int, listener: int, words: bytes) -> None:
        self._held[slot] = listener
        self._set_kind(slot, HELD)
        self._refused[slot] = self._clock.now_ns()
        self._inner.send_each([slot], [words])
        self._inner.end_output(slot)

    def _turn_away(self, batch: EventBatch, reasons: Slots) -> None:
        """Take those out of the batch that have a reason; end them, but for who is told why."""
        self._told.is_mixed = True
        is_out = reasons != 0
        slots, codes = batch.opened[is_out], reasons[is_out]
        batch.opened = batch.opened[~is_out]
        batch.opened_listeners = batch.opened_listeners[~is_out]
        if self._refused:
            is_over = self.kinds.take(slots) != HELD
            slots, codes = slots[is_over], codes[is_over]
        self._never_opened.update(codes.tolist())
        self._own_ends.update(slots.tolist())
        self._leaving.update(slots.tolist())
        self._admission.gone(slots)
        self._inner.close(slots)

    # --- who is refused ---------------------------------------------------------------------------

    def _end_of_input(self, slot: int) -> None:
        self._end(slot, Why.FULL.code)

    def _over(self, slot: int, reason: int) -> None:
        super()._over(slot, Why.FULL.code if self._kind_bytes[slot] == HELD else reason)

    def _forget(self, slot: int) -> None:
        self._refused.pop(slot, None)
        self._is_steered = False

    def _due_ns(self) -> int:
        if not self._refused:
            return NEVER
        return max(next(iter(self._refused.values())) + GRACE_NS - self._clock.now_ns(), 0)

    def _work(self) -> None:
        limit_ns = self._clock.now_ns() - GRACE_NS
        for slot, since_ns in [*self._refused.items()]:
            if since_ns > limit_ns:
                return
            self._end(slot, Why.FULL.code)

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
        if not self._is_steered or self._is_due():
            self._steer()
        if self._steer_ns < NEVER:
            left_ns = max(self._steer_ns - self._clock.now_ns(), 0)
            timeout_ns = left_ns if timeout_ns < 0 else min(timeout_ns, left_ns)
        if stay is not None:
            timeout_ns = 0 if self._put_off else stay.bounded(timeout_ns)
        at = 0 if pieces is None else len(pieces)
        batch = super().wait(timeout_ns, pieces)
        if self._checks:
            self._admission.check()
        return batch if stay is None else self._stayed(stay, batch, pieces, at)

    def _is_due(self) -> bool:
        next_ns = min(self._steer_ns, self._admission.memory_ns)
        return next_ns < NEVER and self._clock.now_ns() >= next_ns

    def _stayed(self, stay: Stay, batch: EventBatch, pieces: Pieces | None, at: int) -> EventBatch:
        """The batch, of which that part is told, with those ended who may not stay."""
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
                self._closed(batch.closed)
        ends = stay.over()
        return self._with_ends(batch, ends) if ends or self._put_off else batch

    def send(self, slots: Slots, data: Ragged) -> None:
        """See Engine.send."""
        super().send(slots, data)
        if self._ledger is not None and len(slots):
            self._ledger.gave(slots, data)
        if self._stay is not None and self._stay.hears_sends:
            self._stay.sent(slots, data)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        """See Engine.send_each."""
        if self._held:
            self.send(np.array([*slots], np.int32), Ragged.of(pieces))
            return
        self._inner.send_each(slots, pieces)
        if self._ledger is not None:
            self._ledger.gave_each(slots, pieces)
        if self._stay is not None and self._stay.hears_sends:
            self._stay.sent(np.array([*slots], np.int32), pieces)

    def _with_ends(self, batch: EventBatch, ends: Ends) -> EventBatch:
        """The batch, with these ended by us. Who has just begun in it, in the next.

        A new one: an engine may return the same object for many batches.
        """
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
                batch = replace(batch)
                self._end_plain(batch, slots, why, abort)
        return batch

    def _end_plain(self, batch: EventBatch, slots: Slots, why: Why, abort: bool) -> None:
        self._limited[why.option] += len(slots)
        self._closed(slots)
        self.kinds[slots] = FREE
        self._is_steered = False
        if self._ledger is not None:
            self._ledger.leave(self._inner, slots)
        if abort:
            self._over_inside(slots)
        else:
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
        limited = self._limited + self._admission.counted(self._clock.now_ns())
        if self._stay is not None:
            limited += self._stay.limited
        for code, count in self._never_opened.items():
            if code in BY_CODE:
                limited[BY_CODE[code].option] += count
        found.limited = dict(limited)
        return found
