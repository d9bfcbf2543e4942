"""A guard whose limits never bite: what its engine does is the contract, and nothing else."""

from __future__ import annotations

from c1m.clock import Clock, SystemClock
from c1m.engine.contract import Engine
from c1m.guard.engine import GuardEngine
from c1m.guard.options import Limits


def guarded(engine: Engine, clock: Clock | None = None) -> Engine:
    """The engine in a guard."""
    limits = Limits(
        per_source=1 << 30,
        accept_rate=1e9,
        accept_burst=1 << 30,
        deny=["192.0.2.0/24"],
        memory_max=1 << 40,
        idle_timeout=8 * 3600,
        first_byte_timeout=8 * 3600,
        unread_timeout=8 * 3600,
        unsent_total=1 << 40,
        # This one does, in memory, and nobody sees it but by the size of batches.
        turn=None if clock is None else 1 << 12,
    )
    return GuardEngine(engine, limits, SystemClock() if clock is None else clock)
