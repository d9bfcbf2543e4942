"""What a web server sends to many, who does not read it, and how connections end when it stops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from c1m.engine.contract import NO_SLOTS, Slots
from c1m.engine.given import given_pieces, given_slots
from c1m.engine.ragged import Ragged
from c1m.fanout.deliveries import Deliveries
from c1m.guard.unread import Limit, Unread
from c1m.protocols.websocket.frames import Close
from c1m.server.connections import AnySlots, Payload
from c1m.server.server import Server
from c1m.units import NS_PER_MS, NS_PER_S
from c1m.web.connections import HTTP, STREAM, WEBSOCKET, Connections, GoneBatch

UNREAD = Limit(hard=16 << 20, soft=2 << 20, soft_ns=30 * NS_PER_S)
STOP_PER_S = 10_000  # connections that are ended a second at least while it stops
STOP_NS = 2 * NS_PER_MS  # how often some more are


class Output(Connections):
    """`deliveries` go out in slices, as the last thing in each tick; see `say` for the order."""

    closes_at_stop = True
    unread_limit: Limit
    unread_total: int

    def say(self, slots: AnySlots, data: Payload, server: Server) -> None:
        """`Server.send`, behind what is on its way to these slots in `deliveries`."""
        if not self.deliveries and self.compression is None:
            server.send(slots, data)
            return
        those = given_slots(slots, server.capacity)
        pieces = given_pieces(data, len(those))
        self.do_behind(those, lambda: self._put(those, pieces, server))

    def _put(self, slots: Slots, pieces: Ragged, server: Server) -> None:
        """Frames and events, as each of these has them."""
        if self.compression is not None:
            pieces = self.compression.compressed(slots, pieces)
        server.send(slots, pieces)

    def do_behind(self, slots: Slots, call: Callable[[], object]) -> None:
        """Call this now, or in this tick behind what is on its way to these slots."""
        if self._said_behind or self.deliveries.any_waits(slots):
            self._said_behind.append(call)
            self._said_first.append(slots)
        else:
            call()

    # --- what the server calls ------------------------------------------------------------------

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self.deliveries = Deliveries(server.capacity)
        self.unread = Unread(
            server.engine.unsent, lambda slot: self.unread_limit, total_max=self.unread_total
        )
        self._said_behind: list[Callable[[], object]] = []
        self._said_first: list[Slots] = []  # whose deliveries come first
        self._ending: Slots | None = None  # while it stops: who is still to be told
        self._end_ns = 0  # since when nobody was

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        due_ns = super().on_tick(now_ns, server)
        if self._ending is not None and len(self._ending):
            self._end_some(now_ns, server)
            due_ns = now_ns + STOP_NS
        if self.deliveries or self._said_behind:
            first = np.concatenate(self._said_first) if self._said_first else NO_SLOTS
            for slots, pieces in self.deliveries.due(first):
                self._put(slots, pieces, server)
                self.unread.sent(
                    slots, pieces.nbytes(), lambda: server.engine.statistics().outbox_bytes
                )
            behind, self._said_behind = self._said_behind, []
            self._said_first.clear()
            for call in behind:
                call()
        self._drop_unread(now_ns, server)
        return now_ns if self.deliveries else due_ns

    def on_blocked(self, slots: Slots, server: Server) -> None:
        self.unread.blocked(slots.tolist())

    def on_drained(self, slots: Slots, server: Server) -> None:
        self.unread.forget(slots.tolist())

    def on_stop(self, server: Server) -> None:
        slots = server.live_slots()
        self._ending = slots[self.kinds.take(slots) != 0]
        self._end_ns = server.clock.now_ns()
        if server.drain_spread_ns:
            self._per_s = len(self._ending) * NS_PER_S / server.drain_spread_ns
            return
        spread_s = server.drain_ns * 3 / 4 / NS_PER_S  # the peers' close frames come back behind it
        self._per_s = max(len(self._ending) / max(spread_s, 1e-9), STOP_PER_S)

    def is_done(self, server: Server) -> bool:
        """Whether all were told that it stops, and whose answer is waited for has ended."""
        is_told = self._ending is not None and not len(self._ending)
        return is_told and not self.deliveries and not self._closing_ones()

    # --- ends -----------------------------------------------------------------------------------

    def _forget(self, slots: Slots) -> None:
        super()._forget(slots)
        self.deliveries.forget(slots)
        self.unread.forget(slots.tolist())

    def _end_some(self, now_ns: int, server: Server) -> None:
        """The server stops: some more are told, WebSockets with 1001 (RFC 6455, 7.4.1)."""
        assert self._ending is not None
        count = int((now_ns - self._end_ns) * self._per_s / NS_PER_S)
        if not count:
            return
        self._end_ns = now_ns
        slots, self._ending = self._ending[:count], self._ending[count:]
        kinds = self.kinds.take(slots)
        self.close(slots[(kinds == WEBSOCKET) | (kinds == STREAM)], Close.GOING_AWAY, server)
        self._end(slots[kinds == HTTP], server)

    def _drop_unread(self, now_ns: int, server: Server) -> None:
        """Who does not read is closed with 1008 behind what it is owed, or for the total at once.

        In the former case, too, it is reset after a while (`linger_ns`) if it takes nothing.
        """
        if not self.unread:
            return
        found = self.unread.enforce(now_ns, server.engine.statistics().outbox_bytes)
        if not found:
            return
        slots = np.fromiter(found, np.int32, len(found))
        at_once = np.array([reason == "total" for reason in found.values()], np.bool_)
        kinds = self.kinds.take(slots)
        told = (kinds == WEBSOCKET) | (kinds == STREAM)
        self.deliveries.forget(slots)  # nothing comes behind the close frame
        self.close(
            slots[(kinds == WEBSOCKET) & ~at_once], Close.POLICY, server, b"You do not read."
        )
        self._forget(slots)
        server.close(slots[~at_once])
        server.close(slots[at_once], abort=True)
        self.unread.leave(slots[~at_once].tolist())
        rest = slots[told & (at_once | (kinds == STREAM))]
        if len(rest):
            codes = np.full(len(rest), Close.POLICY, np.int32)
            self.on_gone(GoneBatch(rest, codes), server)
