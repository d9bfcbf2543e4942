"""What speaks HTTP, WebSocket and server-sent events to its connections: the base of all of them.

A connection is a byte of `kinds`: it asks by HTTP at first, and may become a WebSocket or a stream
of events. Only one with something unfinished has an object. What a tick brings goes to the
subclass in batches: requests, upgrades, messages, ends.

Order within one connection is kept, also between what is said to one (`say`, `send_text`) and what
goes to many over several ticks (`deliveries`).
"""

from __future__ import annotations

import numpy as np

from c1m.bounds import OUTBOX_TOTAL_MAX, TURN
from c1m.engine.ragged import Ragged
from c1m.guard.unread import Limit
from c1m.protocols.http.requests import Bounds
from c1m.protocols.http.responses import encoded, text
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
from c1m.web.output import UNREAD, Output
from c1m.web.requests import Requests
from c1m.web.sockets import Sockets

MESSAGE_MAX = 1 << 20  # bytes of one message
REQUEST_S = 30  # in which a request is whole
IDLE_S = 75  # between two requests of a connection
UNFINISHED_MAX = 256 << 20  # bytes of unfinished requests, of all connections
FRAMES_MAX = 256 << 20  # bytes of unfinished messages, of all connections
PING_NS = 50 * NS_PER_S  # how often each connection is asked for a sign of life; 0: never

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


class WebApp(Output, Sockets, Requests):
    """Derive from this; override what you need of the four callbacks of `Connections`."""

    turn = TURN

    def __init__(
        self,
        *,
        message_max: int = MESSAGE_MAX,
        bounds: Bounds | None = None,
        request_s: int = REQUEST_S,
        idle_s: int = IDLE_S,
        unfinished_max: int = UNFINISHED_MAX,
        frames_max: int = FRAMES_MAX,
        ping_ns: int = PING_NS,
        compress: bool = False,
        unread_limit: Limit = UNREAD,
        unread_total: int = OUTBOX_TOTAL_MAX,
    ) -> None:
        self.message_max = message_max
        self.bounds = Bounds() if bounds is None else bounds
        self.request_s = request_s
        self.idle_s = idle_s
        self.unfinished_max = unfinished_max
        self.frames_max = frames_max
        self.ping_ns = ping_ns
        self.compress = compress
        self.unread_limit = unread_limit
        self.unread_total = unread_total

    def refusal(self, listener: int) -> bytes:
        busy = text(503, "The server is full.", ("Retry-After", "1"))
        return encoded(busy, date=self._date(), stays=False)

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        super().on_open(batch, server)
        self.unread.forget(batch.slots.tolist())

    def on_data(self, batch: DataBatch, server: Server) -> None:
        kinds = self.kinds.take(batch.slots)
        if int(kinds.min()) == WEBSOCKET == int(kinds.max()):
            self._take_frames(batch.slots, batch.data, server)
            return
        is_frames = (kinds == WEBSOCKET) | (kinds == CLOSING)
        if is_frames.any():
            some, data = batch.slots[is_frames], batch.data.take(is_frames)
            self._take_frames(some, data, server, kinds[is_frames])
        rows = kinds == HTTP
        pieces = batch.data.take(rows).pieces()
        self._take_pieces(list(zip(batch.slots[rows].tolist(), pieces, strict=True)), server)

    def _take_pieces(self, pieces: list[tuple[int, bytes]], server: Server) -> None:
        later = self._take_http(pieces, server)
        later = [each for each in later if self.kinds[each[0]] == WEBSOCKET]
        if later:
            sockets = np.array([slot for slot, _ in later], np.int32)
            self._take_frames(sockets, Ragged.of([piece for _, piece in later]), server)

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        self._gone(batch.slots, server)
