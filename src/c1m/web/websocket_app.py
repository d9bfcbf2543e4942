"""Applications of WebSockets as users write them: `c1m.WebSocketApp`.

class Chat(c1m.WebSocketApp):
    def on_open(self, batch, server):
        server.subscribe(batch.slots, "lobby")

    def on_messages(self, batch, server):
        for message in batch.messages.pieces():
            server.publish("lobby", message)

c1m.serve(Chat(), "tcp://127.0.0.1:8000")
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import Slots, distinct
from c1m.engine.given import given_slots
from c1m.fanout.channels import Channels
from c1m.protocols.http.requests import Head
from c1m.protocols.http.responses import text
from c1m.protocols.websocket.frames import Op, frame
from c1m.server.server import AnySlots, App, Makes, Payload, Server
from c1m.web.app import GoneBatch, MessageBatch, UpgradeBatch, WebApp


@dataclass(slots=True)
class ConnectBatch:
    """Clients that ask for a WebSocket: `slots` int32[n]; all are accepted that are not refused.

    `heads[i]` has the request of slots[i]: `.path`, `.query` and `.get(b"field-name")`.
    """

    slots: Slots
    heads: list[Head]
    refused: dict[int, int] = field(default_factory=dict)  # slot -> status

    def __len__(self) -> int:
        return len(self.slots)

    def refuse(self, slots: AnySlots, status: int = 403) -> None:
        """Answer these with an HTTP status instead."""
        those = [slots] if isinstance(slots, int) else [int(slot) for slot in slots]
        self.refused.update(dict.fromkeys(those, status))


class WebSocketApp(Makes):
    """Derive from this and give what you need; pass an object to `c1m.serve` or `c1m.Server`."""

    def on_start(self, server: WebSocketServer) -> None:
        """The server listens."""

    def on_open(self, batch: ConnectBatch, server: WebSocketServer) -> None:
        """Clients ask for a WebSocket; `batch.refuse` says no. What is sent here comes first."""

    def on_messages(self, batch: MessageBatch, server: WebSocketServer) -> None:
        """Messages came."""

    def on_close(self, batch: GoneBatch, server: WebSocketServer) -> None:
        """WebSockets ended, with their codes; whoever closed them."""

    def on_tick(self, now_ns: int, server: WebSocketServer) -> int | None:
        """As `c1m.App.on_tick`."""
        return None

    def as_app(self) -> App:
        """What a Server calls."""
        return _WebSockets(self)


class WebSocketServer:
    """What the callbacks of a WebSocketApp are given. `server` is the c1m.Server below."""

    def __init__(self, web: _WebSockets, server: Server) -> None:
        self.server = server
        self.capacity = server.capacity
        self.clock: Clock = server.clock
        self._web = web
        self._channels = Channels(server.capacity)

    def send_text(self, slots: AnySlots, messages: Payload) -> None:
        """Send message i (UTF-8) to slots[i], or the same one to all of them."""
        self._web.send_text(slots, messages, self.server)

    def send_binary(self, slots: AnySlots, messages: Payload) -> None:
        """The same as binary messages."""
        self._web.send_binary(slots, messages, self.server)

    def close(self, slots: AnySlots, code: int = 1000, reason: str = "") -> None:
        """Close WebSockets with a code (RFC 6455, 7.4) and a reason of at most 123 bytes."""
        self._web.close(slots, code, self.server, reason.encode())

    def subscribe(self, slots: AnySlots, channel: str | bytes) -> None:
        """These hear what is published to the channel from now on."""
        those = distinct(given_slots(slots, self.capacity))
        self._channels.add_all(those, _name(channel))

    def unsubscribe(self, slots: AnySlots, channel: str | bytes) -> None:
        """These do no longer."""
        for slot in given_slots(slots, self.capacity).tolist():
            self._channels.remove(slot, _name(channel))

    def publish(self, channel: str | bytes, message: str | bytes) -> int:
        """Send a message to all subscribers of a channel, in slices; returns how many they are."""
        is_text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        slots = self._channels.slots(_name(channel))
        self._web.deliveries.add(slots, frame(Op.TEXT if is_text else Op.BINARY, payload))
        return len(slots)

    def subscribers(self, channel: str | bytes) -> Slots:
        """Who hears a channel: int32[n]."""
        return self._channels.slots(_name(channel))

    def forget(self, slots: Slots) -> None:
        """They have ended."""
        self._channels.forget(slots)

    def stop(self) -> None:
        """See Server.stop."""
        self.server.stop()


def _name(channel: str | bytes) -> bytes:
    return channel.encode() if isinstance(channel, str) else channel


class _WebSockets(WebApp):
    """A user's application on a server."""

    def __init__(self, app: WebSocketApp) -> None:
        super().__init__()
        self._app = app

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self._server = WebSocketServer(self, server)
        self._app.on_start(self._server)

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        asking = ConnectBatch(np.array(batch.slots, np.int32), batch.heads)
        self.accept(batch.slots, batch.keys, server)
        self._app.on_open(asking, self._server)
        for slot, status in asking.refused.items():
            self.refuse(slot, text(status, "This WebSocket was refused."), server)

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        self._app.on_messages(batch, self._server)

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        self._server.forget(batch.slots)
        self._app.on_close(batch, self._server)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        wanted = self._app.on_tick(now_ns, self._server)
        due = super().on_tick(now_ns, server)
        return min((each for each in (due, wanted) if each is not None), default=None)
