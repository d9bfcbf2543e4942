"""The push server's application: subscribers by WebSocket and server-sent events, publishers."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from c1m.apps.push.options import PushOptions
from c1m.engine.contract import Slots
from c1m.protocols.http.requests import Head, Request
from c1m.protocols.http.responses import Response, text
from c1m.push.hub import Hub
from c1m.push.statistics import is_reserved
from c1m.push.wire import EVENT, JSON, RAW, encoded
from c1m.server.by_listener import ByListener
from c1m.server.server import App, Server
from c1m.web.app import GoneBatch, MessageBatch, UpgradeBatch, WebApp
from c1m.web.pages import page


def make_push(*, say: Callable[[str], object] = lambda line: None, **options: Any) -> App:
    """The application of `c1m serve push`, with those of its further listeners.

    Raises UsageError for options that cannot be meant.
    """
    push = Push(PushOptions(**options))
    return ByListener(push, [])


class Push(WebApp):
    """Serves /connect (WebSocket), /events (server-sent events) and /publish."""

    def __init__(self, options: PushOptions) -> None:
        super().__init__()
        self.options = options
        self._page = page("c1m.apps.push", "page.html") if options.page else None

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self.hub = Hub(server.capacity, secrets.token_hex(4), server.clock.now_ns, self.deliveries)

    # --- subscribers ----------------------------------------------------------------------------

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        wanted: dict[int, list[int]] = defaultdict(list)  # by head: which clients
        for row, head in enumerate(batch.heads):
            wanted[id(head)].append(row)
        for rows in wanted.values():
            head = batch.heads[rows[0]]
            slots, keys = [batch.slots[i] for i in rows], [batch.keys[i] for i in rows]
            channels = head.query.get("channel", [])
            if head.path != "/connect" or not channels:
                for slot in slots:
                    self.refuse(slot, text(404, "Connect to /connect?channel=NAME."), server)
                continue
            self.accept(slots, keys, server)
            form = JSON if head.query.get("form") == ["json"] else RAW
            self._subscribe(np.array(slots, np.int32), channels, form, _since(head), server)

    def _subscribe(
        self, slots: Slots, channels: list[str], form: bytes, since: str, server: Server
    ) -> None:
        for channel in channels:
            if since:
                for missed in self.hub.missed(channel, since):
                    self.say(slots, encoded(form, missed), server)
            self.hub.subscribe(slots, channel, form)

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        head = request.head
        if head.path == "/" and self._page is not None:
            return self._page
        if head.path == "/events" and head.method == b"GET":
            channels = head.query.get("channel", [])
            if not channels:
                return text(400, "Name a channel: /events?channel=NAME.")
            self.stream(slot, server)
            self._subscribe(np.array([slot], np.int32), channels, EVENT, _since(head), server)
            return None
        if head.path == "/publish" and head.method == b"POST":
            channels = head.query.get("channel", [])
            if not channels:
                return text(400, "Name a channel: /publish?channel=NAME.")
            if any(map(is_reserved, channels)):
                return text(403, "Only the server publishes to channels of statistics.")
            count = sum(self.hub.size(channel) for channel in channels)
            made = [self.hub.publish(channel, request.body) for channel in channels]
            said = {"id": made[-1].id, "subscribers": count}
            return Response(200, json.dumps(said).encode(), [("Content-Type", "application/json")])
        return text(404, "There is nothing here.")

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        rows = zip(
            batch.slots.tolist(), batch.messages.pieces(), batch.is_text.tolist(), strict=True
        )
        for slot, message, is_text in rows:
            for name in self.hub.channels.of(slot)[:1]:
                if not is_reserved(name[1:].decode()):
                    self.hub.publish(name[1:].decode(), message, is_text=is_text)

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        self.hub.forget(batch.slots)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        # What the tick before sent is with the kernel now.
        due = [self.hub.statistics.tick(now_ns, self.deliveries.done)]
        due.append(super().on_tick(now_ns, server))
        if self.hub.statistics.is_waiting:
            due.append(now_ns)
        return min((each for each in due if each is not None), default=None)


def _since(head: Head) -> str:
    """The id of the last publication that a client has had."""
    value = head.get(b"last-event-id")
    return value.decode("latin-1") if value else head.query.get("since", [""])[0]
