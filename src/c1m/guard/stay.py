"""Who may stay: limits on connections that were let in. Of an engine inside a guard (engine.py).

The parts are pure: `activity` (a first byte, idleness), `unread` (output that is not taken) and
`turns` (one peer is not read from all the time). Connections that a program opens itself, and those
it adopts, only have turns.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import Engine, EventBatch, Pieces, Slots
from c1m.engine.ragged import Ragged
from c1m.guard.activity import Activity
from c1m.guard.options import Limits
from c1m.guard.reasons import Why
from c1m.guard.turns import Turns
from c1m.guard.unread import LOOK_NS as UNREAD_LOOK_NS
from c1m.guard.unread import Limit, Unread
from c1m.units import NS_PER_MS, NS_PER_S

LOOK_NS = NS_PER_S  # how often deadlines are looked through,
SLICE_NS = 50 * NS_PER_MS  # and how soon the next slice of them is, meanwhile
SOFT_NS = 60 * NS_PER_S
Ends = list[tuple[Slots, Why, bool]]  # whom to end, why, and whether by a reset

_BY_REASON = {
    "unread": Why.UNREAD, "hard": Why.UNSENT, "soft": Why.UNSENT_SOFT, "total": Why.UNSENT_TOTAL,
}  # fmt: skip
_SILENCE = ("first_byte_timeout", "idle_timeout")
_OUTPUT = ("unread_timeout", "unsent_max", "unsent_soft", "unsent_total")


class Stay:
    """Told of what happens to connections; says who is to end."""

    def __init__(self, inner: Engine, limits: Limits, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._second = clock.now_ns() // NS_PER_S
        self.limited: Counter[str] = Counter()  # how often a limit acted that ends nobody
        self._spared: set[int] = set()
        first_s, idle_s = (-(-(limits.value(name) or 0) // NS_PER_S) for name in _SILENCE)
        self._activity = (
            Activity(inner.capacity, first_s, idle_s, inner.unsent) if first_s or idle_s else None
        )
        self._unread = _unread_of(inner, limits) if _are_any(limits, _OUTPUT) else None
        self._has_total = limits.unsent_total is not None
        self.hears_sends = self._activity is not None or self._unread is not None
        turn = limits.value("turn")
        self._turns = None if turn is None else Turns(turn)
        self._is_off = np.zeros(inner.capacity, np.bool_)  # the caller does not want their input

    @staticmethod
    def wanted(limits: Limits) -> bool:
        """Whether there is such a limit."""
        return _are_any(limits, (*_SILENCE, *_OUTPUT, "turn"))

    # --- what happens -----------------------------------------------------------------------------

    def begin(self, slots: Slots) -> None:
        """These were accepted, and are open from now on."""
        self._second = self._clock.now_ns() // NS_PER_S
        self._afresh(slots)
        if self._activity is not None:
            self._activity.begin(slots, self._second)

    def spare(self, slots: Slots) -> None:
        """These were not accepted, but opened by the program: they only have turns."""
        self._afresh(slots)
        self._spared.update(slots.tolist())

    def _afresh(self, slots: Slots) -> None:
        if self._unread:
            self._unread.forget(slots.tolist())
        if self._turns is not None and self._is_off.take(slots).any():  # zeros take no memory
            self._is_off[slots] = False

    def came(self, batch: EventBatch, pieces: Pieces | None, at: int) -> None:
        """Data came: in the batch, and in the pieces from this place on."""
        if self._activity is None:
            return
        self._second = self._clock.now_ns() // NS_PER_S
        slots = batch.data_slots
        if pieces is not None and len(pieces) > at:
            some = np.array([slot for slot, _ in pieces[at:]], np.int32)
            slots = np.concatenate((some, slots)) if len(slots) else some
        self._activity.came(self._limited_ones(slots), self._second)

    def in_turn(self, batch: EventBatch, pieces: Pieces | None, at: int) -> EventBatch:
        """What came, and what is kept of before, as far as it is its connections' turn."""
        turns = self._turns
        if turns is None:
            return batch
        batch = turns.take(batch, pieces, at, [s for s in turns.waiting() if self._is_off[s]])
        if turns.muted or turns.unmuted:
            self.limited["turn"] += len(turns.muted)
            off = [slot for slot in turns.muted if slot in turns]
            on = [slot for slot in turns.unmuted if not self._is_off[slot]]
            turns.muted, turns.unmuted = [], []
            self._inner.receive(np.array(off, np.int32), False)
            self._inner.receive(np.array(on, np.int32), True)
        return batch

    def _limited_ones(self, slots: Slots) -> Slots:
        return slots[~np.isin(slots, [*self._spared])] if self._spared else slots

    def marks(self, blocked: Slots, drained: Slots) -> None:
        """The output of these has passed a watermark."""
        if self._unread is not None:
            self._unread.forget(drained.tolist())
            self._unread.blocked(self._limited_ones(blocked).tolist())

    def has_watermark(self, slot: int, high: int) -> None:
        """Its own from now on: where it is over that already, no mark tells so."""
        if self._unread is None or slot in self._spared:
            return
        if self._inner.unsent(slot) > high:
            self._unread.blocked([slot])

    def sent(self, slots: Slots, data: Ragged | Collection[bytes]) -> None:
        """These are sent something. Where `hears_sends` is not so it need not be told."""
        if self._activity is not None:
            self._activity.sent(self._limited_ones(slots), self._second)
        unread = self._unread
        if unread is None or not (unread or self._has_total):
            return
        if unread:
            lengths = data.lengths.tolist() if isinstance(data, Ragged) else map(len, data)
            unread.handed(slots.tolist(), lengths)
        if self._has_total:
            size = data.nbytes() if isinstance(data, Ragged) else sum(map(len, data))
            unread.sent(self._limited_ones(slots), size, self._owed)

    def receive(self, slots: Slots, on: bool) -> None:
        """The caller turns receiving off or on: of whom some is kept, later."""
        if self._turns is not None:
            self._is_off[slots] = not on
            waiting = self._turns.waiting() if on else []
            if waiting:
                slots = slots[~np.isin(slots, waiting)]
        self._inner.receive(slots, on)

    def gone(self, slots: Slots) -> None:
        """They are closed, by whomever; some may still be owed something."""
        if self._spared:
            self._spared.difference_update(slots.tolist())
        if self._activity is not None:
            self._activity.gone(slots)
        if self._unread:
            self._unread.forget(slots.tolist())
            self._unread.leave(slot for slot in slots.tolist() if self._inner.unsent(slot))
        if self._turns is not None:
            self._turns.forget(slots)

    # --- what follows -----------------------------------------------------------------------------

    def bounded(self, timeout_ns: int) -> int:
        """The time to wait, or less where something is due before."""
        most_ns = timeout_ns
        if self._turns is not None and not all(map(self._is_off.item, self._turns.waiting())):
            return 0
        if self._unread:
            most_ns = UNREAD_LOOK_NS
        elif self._activity is not None and self._activity.deadlines.top:
            most_ns = SLICE_NS if self._activity.deadlines.is_looking() else LOOK_NS
        return most_ns if timeout_ns < 0 else min(timeout_ns, most_ns)

    def over(self) -> Ends:
        """Who is to end now."""
        ends: Ends = []
        activity, unread = self._activity, self._unread
        if activity is None and not unread:
            return ends
        now_ns = self._clock.now_ns()
        self._second = now_ns // NS_PER_S
        if activity is not None and activity.deadlines.top:
            silent, idle = activity.over(self._second)
            if len(silent):
                ends.append((silent, Why.FIRST_BYTE, False))
            if len(idle):
                ends.append((idle, Why.IDLE, False))
        if unread:
            total, leaving = self._owed() if self._has_total else 0, unread.leaving()
            for slot, reason in unread.enforce(now_ns, total).items():
                one = np.array([slot], np.int32)
                if slot in leaving:  # the caller has closed it
                    self._inner.close(one, abort=True)
                else:
                    ends.append((one, _BY_REASON[reason], True))
        return ends

    def _owed(self) -> int:
        return self._inner.statistics().outbox_bytes


def _unread_of(inner: Engine, limits: Limits) -> Unread:
    limit = Limit(
        hard=limits.value("unsent_max") or 0,
        soft=limits.value("unsent_soft") or 0,
        soft_ns=limits.value("unsent_soft_time") or SOFT_NS,
        unread_ns=limits.value("unread_timeout") or 0,
    )
    total_max = limits.value("unsent_total")
    total_max = sys.maxsize if total_max is None else total_max
    return Unread(inner.unsent, lambda slot: limit, total_max=total_max)


def _are_any(limits: Limits, names: Sequence[str]) -> bool:
    return any(getattr(limits, name) is not None for name in names)
