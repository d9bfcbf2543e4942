"""Who may stay: limits on connections that were let in. Of an engine inside a guard (engine.py)."""

from __future__ import annotations

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import Engine, EventBatch, Pieces, Slots
from c1m.guard.deadlines import Deadlines
from c1m.guard.options import Limits
from c1m.guard.reasons import Why
from c1m.units import NS_PER_S

LOOK_NS = NS_PER_S  # how often deadlines are looked through
Ends = list[tuple[Slots, Why, bool]]  # whom to end, why, and whether by a reset


class Stay:
    """Told of what happens to connections; says who is to end."""

    def __init__(self, inner: Engine, limits: Limits, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        idle_ns = limits.value("idle_timeout")
        self._idle_s = max((idle_ns or 0) // NS_PER_S, 1)
        self._deadlines = Deadlines(inner.capacity)

    @staticmethod
    def wanted(limits: Limits) -> bool:
        """Whether there is such a limit."""
        return limits.idle_timeout is not None

    def begin(self, slots: Slots) -> None:
        """These are open from now on."""
        self._later(slots)

    def came(self, batch: EventBatch, pieces: Pieces | None, at: int) -> None:
        """Data came: in the batch, and in the pieces from this place on."""
        if pieces is not None and len(pieces) > at:
            self._later(np.array([slot for slot, _ in pieces[at:]], np.int32))
        self._later(batch.data_slots)

    def marks(self, blocked: Slots, drained: Slots) -> None:
        """The output of these has passed a watermark."""

    def sent(self, slots: Slots) -> None:
        """These are sent something."""
        self._later(slots)

    def gone(self, slots: Slots) -> None:
        """They are closed, by whomever."""
        self._deadlines.clear(slots)

    def bounded(self, timeout_ns: int) -> int:
        """The time to wait, or less where something is due before."""
        if not self._deadlines.top:
            return timeout_ns
        return LOOK_NS if timeout_ns < 0 else min(timeout_ns, LOOK_NS)

    def over(self) -> Ends:
        """Who is to end now."""
        late = self._deadlines.over(self._clock.now_ns() // NS_PER_S)
        return [(late, Why.IDLE, False)] if len(late) else []

    def _later(self, slots: Slots) -> None:
        self._deadlines.set(slots, self._clock.now_ns() // NS_PER_S + self._idle_s)
