"""How a server stops: who is in the accept queue is let in, what has come is answered, and
connections are closed, all at once or spread over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.bounds import QUIET_NS
from c1m.engine.contract import NO_SLOTS, Engine, Slots
from c1m.units import NS_PER_MS

SLICE_NS = 10 * NS_PER_MS  # how often some more are closed
CALM_NS = 100 * NS_PER_MS  # who has sent something within this time is closed later
QUIET_TICKS = 4
SOON = 0.75  # of the time for output to go out: the rest is for the output of who is closed then


class Draining:
    """Of a server with rows of slots: who is to be closed when.

    Made when it stops; `heard` is told of data from then on. `spread_end_ns`: until then some
    connections are closed at a time. A server's `drain_grace_ns`: so long is waited at least for
    those who have connected and said nothing yet, or whose TLS is not ready.
    """

    def __init__(self, capacity: int, now_ns: int, spread_ns: int, drain_ns: int) -> None:
        self.spread_end_ns = now_ns + spread_ns
        self._soon_ns = self.spread_end_ns + int(drain_ns * SOON)
        self.deadline_ns = self.spread_end_ns + drain_ns
        self.spreads = spread_ns > 0
        self._heard_ns: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._next_ns = now_ns

    def heard(self, slots: Slots, now_ns: int) -> None:
        """Something came from these."""
        self._heard_ns[slots] = now_ns

    def is_soon(self, now_ns: int) -> bool:
        """Whether nobody is waited for any more who still sends."""
        return now_ns >= self._soon_ns

    def quota(self, live: int, now_ns: int) -> int:
        """How many of those who are open are to be closed now, so that the last of them is when the
        spread is over."""
        if now_ns < self._next_ns or now_ns >= self.spread_end_ns or not live:
            return 0
        passes = max((self.spread_end_ns - now_ns) // SLICE_NS, 1)
        self._next_ns = now_ns + SLICE_NS * max(passes // live, 1)
        return -(-live // passes)

    def due(self, live: Slots, now_ns: int) -> Slots:
        """Of those who are open, the ones to be closed now; nobody who has just sent something."""
        quota = self.quota(len(live), now_ns)
        if not quota:
            return NO_SLOTS
        return live[self._heard_ns.take(live) <= now_ns - CALM_NS][:quota]


class Quiet:
    """Whether nothing comes any more: for QUIET_NS, and in so many ticks.

    A tick may bring nothing and have had much to do: of 100,000 connections that all have something
    an engine first takes note (200 ms), and brings the data in the next ticks. One of two engines
    is looked at in a tick (engine/tiered.py).
    """

    def __init__(self) -> None:
        self._ticks, self._since_ns = 0, 0

    def is_so(self, is_empty: bool, now_ns: int) -> bool:
        """After a tick that has brought nothing, or something."""
        if not is_empty:
            self._ticks = 0
            return False
        self._ticks += 1
        if self._ticks == 1:
            self._since_ns = now_ns
        return self._ticks >= QUIET_TICKS and now_ns - self._since_ns >= QUIET_NS


def drain(server: Any, draining: Draining) -> None:
    """See Server.drain."""
    engine, now_ns = server.engine, server.clock.now_ns
    now, quiet = now_ns(), Quiet()
    grace_end_ns = now + server.drain_grace_ns
    for call in server.at_stop:
        call()
    _let_in(server, now + server.drain_ns // 4)
    engine.listen([], 0)
    server.listeners.close()
    app = server.app
    server.attempt("on_stop", lambda: app.on_stop(server))
    while now < draining.deadline_ns:
        events = server.tick(timeout_ns=QUIET_NS)  # may be shorter: a timer, on_tick, a wake-up
        now = now_ns()
        if draining.spreads and not app.closes_at_stop:
            server.end_drained(draining.due(server.live_slots(), now))
            if now < draining.spread_end_ns and server.statistics.live:
                continue
        is_quiet = quiet.is_so(not events, now) and not (
            now < grace_end_ns and (server.statistics.live or engine.statistics().opening)
        )
        is_quiet = is_quiet or draining.is_soon(now)
        if (
            is_quiet and engine.statistics().outbox_bytes == 0
            and server.attempt("is_done", lambda: app.is_done(server), True)
        ):  # fmt: skip
            break
    server.end_drained(server.live_slots())
    while engine.statistics().lingering and now_ns() < draining.deadline_ns:
        server.loop.tick(QUIET_NS)
        if server.statistics.live:  # one whose handshake, or PROXY header, has come just now
            server.end_drained(server.live_slots())


def _let_in(server: Any, until_ns: int) -> None:
    """Who is in the accept queues has connected, and may have sent something."""
    if not server.listeners.turn_away():
        return
    found = -1
    while found != (found := accepted(server.engine)) and server.clock.now_ns() < until_ns:
        server.tick(QUIET_NS)


def accepted(engine: Engine) -> int:
    """How many have come, those included whom nobody has been told of."""
    counts = engine.statistics()
    return counts.accepted + counts.opening + sum(counts.never_opened.values())
