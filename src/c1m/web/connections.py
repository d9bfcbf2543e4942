"""What all connections of a web server have: a kind, callbacks, and an end.

The halves are `requests` (HTTP) and `sockets` (WebSocket); `output` is what goes out of both, and
`app` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.guard.deadlines import Deadlines
from c1m.protocols.http.requests import Head, Request
from c1m.protocols.http.responses import Response, text
from c1m.protocols.websocket.frames import Close
from c1m.server.connections import AnySlots, Payload
from c1m.server.server import App, Server
from c1m.units import NS_PER_S
from c1m.web.compression import Compression

# A connection's kind. CLOSING: a WebSocket whose close frame was sent, and the peer's awaited.
# ENDING: the last was sent, and what still comes is passed over.
NONE, HTTP, WEBSOCKET, STREAM, CLOSING, ENDING = range(6)


@dataclass(slots=True)
class UpgradeBatch:
    """Clients that ask for a WebSocket: `slots` int32[n], `heads` and `keys` of each.

    Heads that say the same are one object. Each is to be answered with accept or refuse.
    """

    slots: list[int]
    heads: list[Head]
    keys: list[bytes]


@dataclass(slots=True)
class MessageBatch:
    """Messages that came: `slots` int32[n] (one may appear several times, in order), their bytes,
    and which are text: bool[n]. Valid until the callback returns."""

    slots: Slots
    messages: Ragged
    is_text: npt.NDArray[np.bool_]


@dataclass(slots=True)
class GoneBatch:
    """WebSockets and streams that ended: `slots` int32[n], `codes` int32[n] (RFC 6455, 7.4).

    1006 where the connection broke, and for streams, which have no code.
    """

    slots: Slots
    codes: npt.NDArray[np.int32]


class Connections(App):
    """A byte of `kinds` for each connection, and what a subclass overrides."""

    compression: Compression | None  # None: messages are not compressed
    of_user: object = None  # whose callbacks these are, where it is another object

    # --- what a subclass overrides --------------------------------------------------------------

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        """One whole request; None: it is answered otherwise (`stream`), or later (`respond`)."""
        return text(404, "There is nothing here.")

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        """Clients that ask for a WebSocket: `accept` or `refuse` each."""
        for slot in batch.slots:
            self.refuse(slot, text(404, "There is no WebSocket here."), server)

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        """Messages of WebSockets."""

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        """WebSockets and streams that ended, whoever ended them."""

    def refuse(self, slot: int, response: Response, server: Server) -> None:
        """An upgrade is answered with this, and the connection ends behind it."""
        raise NotImplementedError

    # --- what the halves call -------------------------------------------------------------------

    def say(self, slots: AnySlots, data: Payload, server: Server) -> None:
        """See Output."""
        raise NotImplementedError

    def do_behind(self, slots: Slots, call: Callable[[], object]) -> None:
        """See Output."""
        raise NotImplementedError

    def _offered(self, batch: UpgradeBatch) -> None:
        """Clients that are about to be asked for by on_upgrades."""
        raise NotImplementedError

    def close(self, slots: AnySlots, code: int, server: Server, reason: bytes = b"") -> None:
        """See Sockets."""
        raise NotImplementedError

    def _closing_ones(self) -> bool:
        """Whether the close frame of any peer is still waited for."""
        raise NotImplementedError

    # --- beginnings and ends --------------------------------------------------------------------

    def on_start(self, server: Server) -> None:
        self.kinds = np.zeros(server.capacity, np.uint8)
        self._deadlines = Deadlines(server.capacity)
        self._second = server.clock.now_ns() // NS_PER_S

    def _gone(self, slots: Slots, server: Server) -> None:
        """Their connections have ended: what is kept of them goes, and who was told of is told."""
        kinds = self.kinds.take(slots)
        told = slots[(kinds == WEBSOCKET) | (kinds == STREAM)]
        self._forget(slots)
        if len(told):
            codes = np.full(len(told), Close.ABNORMAL, np.int32)
            self.on_gone(GoneBatch(told, codes), server)

    def _end(self, slots: Slots, server: Server) -> None:
        self._forget(slots)
        server.close(slots)

    def _forget(self, slots: Slots) -> None:
        """Each half has more to forget."""
        self.kinds[slots] = NONE
