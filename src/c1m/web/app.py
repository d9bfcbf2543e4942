"""What speaks HTTP, WebSocket and server-sent events to its connections: the base of all of them.

A connection is a byte of `kinds`: it asks by HTTP at first, and may become a WebSocket or a stream
of events. Only one with something unfinished has an object. What a tick brings goes to the
subclass in batches: requests, upgrades, messages, ends.

Order within one connection is kept. What a subclass sends goes out at the end of the callback in
which it says so.
"""

from __future__ import annotations

import numpy as np

from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.protocols.http.requests import Bounds
from c1m.server.server import CloseBatch, DataBatch, OpenBatch, Server
from c1m.units import NS_PER_S
from c1m.web.connections import (
    CLOSING,
    HTTP,
    NONE,
    STREAM,
    WEBSOCKET,
    GoneBatch,
    MessageBatch,
    UpgradeBatch,
)
from c1m.web.requests import Requests
from c1m.web.sockets import Sockets

MESSAGE_MAX = 1 << 20  # bytes of one message
PING_NS = 30 * NS_PER_S

__all__ = [
    "CLOSING",
    "HTTP",
    "NONE",
    "STREAM",
    "WEBSOCKET",
    "GoneBatch",
    "MessageBatch",
    "UpgradeBatch",
    "WebApp",
]


class WebApp(Sockets, Requests):
    """Derive from this; override what you need of the four callbacks of `Connections`."""

    def __init__(
        self,
        *,
        message_max: int = MESSAGE_MAX,
        bounds: Bounds | None = None,
        ping_ns: int = PING_NS,
    ) -> None:
        self.message_max = message_max
        self.bounds = Bounds() if bounds is None else bounds
        self.ping_ns = ping_ns

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        self.kinds[batch.slots] = HTTP

    def on_data(self, batch: DataBatch, server: Server) -> None:
        kinds = self.kinds.take(batch.slots)
        is_frames = (kinds == WEBSOCKET) | (kinds == CLOSING)
        if is_frames.all():
            self._take_frames(batch.slots, batch.data, server)
            return
        if is_frames.any():
            self._take_frames(batch.slots[is_frames], batch.data.take(is_frames), server)
        rows = np.flatnonzero(kinds == HTTP).tolist()
        slots, data = batch.slots.tolist(), batch.data
        later = self._take_http([(slots[i], data.piece(i)) for i in rows], server)
        later = [each for each in later if self.kinds[each[0]] == WEBSOCKET]
        if later:
            sockets = np.array([slot for slot, _ in later], np.int32)
            self._take_frames(sockets, Ragged.of([piece for _, piece in later]), server)

    def on_eof(self, slots: Slots, server: Server) -> None:
        self._gone(slots, server)
        server.close(slots)

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        self._gone(batch.slots, server)
