"""Applications of WebSockets as users write them: `c1m.WebSocketApp`.

class Chat(c1m.WebSocketApp):
    def on_open(self, batch, server):
        server.subscribe(batch.slots, "lobby")

    def on_messages(self, batch, server):
        for message in batch.messages.pieces():
            server.publish("lobby", message.decode())

c1m.serve(Chat(), "http://127.0.0.1:8000")
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m import arguments
from c1m.bounds import OUTBOX_TOTAL_MAX
from c1m.engine.contract import Slots
from c1m.engine.given import given_slots
from c1m.errors import UsageError
from c1m.guard.unread import Limit
from c1m.protocols.http.requests import Head, Request
from c1m.protocols.http.responses import Response, text
from c1m.server.checks import check_callbacks
from c1m.server.connections import AnySlots
from c1m.server.server import App, Makes, Server
from c1m.units import NS_PER_S
from c1m.web.app import (
    HTTP,
    PING_NS,
    WEBSOCKET,
    GoneBatch,
    MessageBatch,
    UpgradeBatch,
    WebApp,
)
from c1m.web.output import UNREAD
from c1m.web.websocket_server import WebSocketServer

Int32s = npt.NDArray[np.int32]
Texts = npt.NDArray[np.object_]


class ConnectBatch:
    """Clients that ask for a WebSocket; all are accepted that are not refused.

    `slots`  int32[n]
    `heads`  the different requests, with `.path`, `.query` and `.get(b"field-name")`: clients that
             say the same share one, so a million that connect alike are decided at once
    `which`  int32[n]: slots[i] has said heads[which[i]]

    As arrays: `batch.slots[batch.paths() == "/chat"]`. Those that say the same at once: `for path,
    slots in batch.by(batch.paths())`; by the whole request: `for head, slots in batch`.
    """

    def __init__(self, slots: Slots, heads: list[Head], which: Int32s) -> None:
        self.slots = slots
        self.heads = heads
        self.which = which
        self.refused: dict[int, int] = {}  # slot -> status
        self.protocols: dict[int, str] = {}  # slot -> subprotocol

    def __len__(self) -> int:
        return len(self.slots)

    def __iter__(self) -> Iterator[tuple[Head, Slots]]:
        """Each different request, and who has made it: int32[m]."""
        for number, head in enumerate(self.heads):
            yield head, self.slots[self.which == number]

    def paths(self) -> Texts:
        """The path that each has asked for, decoded: str objects [n]."""
        return self._each([head.path for head in self.heads])

    def query(self, name: str, default: str = "") -> Texts:
        """A parameter of each one's query, the first if there are several: str objects [n]."""
        return self._each([head.query.get(name, [default])[0] for head in self.heads])

    def field(self, name: str, default: str = "") -> Texts:
        """A header field of each, such as "Origin": str objects [n]."""
        key = name.lower().encode()
        values = [head.get(key) for head in self.heads]
        return self._each([default if v is None else v.decode("latin-1") for v in values])

    def by(self, values: Iterable[Any]) -> Iterator[tuple[Any, Slots]]:
        """Each different one of `values` [n], and the slots that have it: int32[m]."""
        rows: dict[Any, list[int]] = defaultdict(list)
        for row, value in enumerate(values):
            rows[value].append(row)
        for value, those in rows.items():
            yield value, self.slots[those]

    def refuse(self, slots: AnySlots, status: int = 403) -> None:
        """Answer these with an HTTP status from 400 to 599 instead."""
        status = arguments.integer("status", status, 400, 599)
        self.refused.update(dict.fromkeys(self._asking(slots), status))

    def choose(self, slots: AnySlots, protocol: str) -> None:
        """Speak a subprotocol with these. They must have offered it (RFC 6455, 4.2.2)."""
        word = arguments.text("protocol", protocol)
        those = self._asking(slots)
        offered = {
            number
            for number, head in enumerate(self.heads)
            if word.encode() in _words(head.get(b"sec-websocket-protocol") or b"")
        }
        for slot, number in zip(self.slots.tolist(), self.which.tolist(), strict=True):
            if slot in those and number not in offered:
                raise UsageError(
                    f"The client in slot {slot} has not offered the subprotocol {word!r}.",
                    'Look at batch.field("Sec-WebSocket-Protocol").',
                )
        self.protocols.update(dict.fromkeys(those, word))

    def _asking(self, slots: AnySlots) -> set[int]:
        asking = set(self.slots.tolist())
        those = set(given_slots(slots, 1 << 31).tolist())
        if not those <= asking:
            raise UsageError(
                f"Slot {min(those - asking):,} is not in this batch.", "Use batch.slots."
            )
        return those

    def _each(self, values: list[str]) -> Texts:
        return np.array(values, np.object_)[self.which]


class WebSocketApp(Makes):
    """Derive from this and give what you need; pass an object to `c1m.serve` or `c1m.Server`.

    Options are attributes, of the class or of an object: sizes as 1000 or "1M", times in seconds or
    as "30s".
    """

    message_max: Any = "1M"  # bytes of a message; a longer one ends the connection with 1009
    ping_interval: Any = (
        PING_NS // NS_PER_S
    )  # each is pinged so often, and is gone if nothing comes; 0: nobody
    compress: Any = False  # whether permessage-deflate may be agreed on (RFC 7692)
    subscriptions_max: Any = 10_000  # channels of one connection
    unread_hard: Any = UNREAD.hard  # bytes unsent to one that does not read: it is dropped, 1008
    unread_soft: Any = UNREAD.soft  # the same, when it is more than so many
    unread_soft_for: Any = UNREAD.soft_ns / 1e9  # for so long
    unread_total: Any = OUTBOX_TOTAL_MAX  # of all together: those who are owed most are dropped

    def on_start(self, server: WebSocketServer) -> None:
        """The server listens."""

    def on_open(self, batch: ConnectBatch, server: WebSocketServer) -> None:
        """Clients ask for a WebSocket: refuse some, subscribe, greet. All others are accepted."""

    def on_messages(self, batch: MessageBatch, server: WebSocketServer) -> None:
        """Messages came: `batch.slots`, `batch.messages` (a Ragged), `batch.is_text`."""

    def on_close(self, batch: GoneBatch, server: WebSocketServer) -> None:
        """WebSockets have ended, whoever ended them: `batch.slots`, `batch.codes`.

        1005: the client gave no code; 1006: the connection broke. They are subscribed to nothing
        any more, and their slots may soon be others'.
        """

    def on_tick(self, now_ns: int, server: WebSocketServer) -> int | None:
        """Last in every tick, and at least every 100 ms; `now_ns` is monotonic.

        May return the time (as `now_ns`) at which to call it at the latest, if that is sooner.
        """
        return None

    def on_stop(self, server: WebSocketServer) -> None:
        """The server is stopping: all are closed with 1001 next, behind what is sent here."""

    def as_app(self) -> App:
        """What a Server calls. Raises UsageError for options and callbacks that cannot be meant."""
        check_callbacks(self, WebSocketApp)
        return _WebSockets(self)


class _WebSockets(WebApp):
    """A user's application on a server."""

    def __init__(self, app: WebSocketApp) -> None:
        def option(name: str, kind: arguments.Number | arguments.Kind) -> Any:
            return kind.check(f"{type(app).__name__}.{name}", getattr(app, name))

        limit = Limit(
            option("unread_hard", arguments.SIZE),
            option("unread_soft", arguments.SIZE),
            option("unread_soft_for", arguments.DURATION),
        )
        super().__init__(
            message_max=option("message_max", arguments.SIZE.within(1, 1 << 30)),
            ping_ns=option("ping_interval", arguments.DURATION),
            compress=option("compress", arguments.FLAG),
            unread_limit=limit,
            unread_total=option("unread_total", arguments.SIZE.within(1, 1 << 40)),
        )
        self._subscriptions_max = option("subscriptions_max", arguments.COUNT)
        self._app = self.of_user = app

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self._server = WebSocketServer(self, server, self._subscriptions_max)
        self._counts = self._server.statistics
        self._app.on_start(self._server)

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        return text(426, "Here one connects by WebSocket.", ("Upgrade", "websocket"))

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        slots = np.array(batch.slots, np.int32)
        numbers: dict[int, int] = {}
        which = [numbers.setdefault(id(head), len(numbers)) for head in batch.heads]
        heads = list({id(head): head for head in batch.heads}.values())
        asking = ConnectBatch(slots, heads, np.array(which, np.int32))
        self.kinds[slots] = WEBSOCKET  # for now: they can be subscribed
        self._server.hold()
        try:
            self._app.on_open(asking, self._server)
        except Exception as error:
            self._server.drop()
            self._server.forget(slots)
            self.kinds[slots] = HTTP
            self._counts.refused[500] += len(slots)
            server.failed("on_open", error, slots, self._app, self._sorry(server))
            return
        self._answer_all(asking, batch, server)
        self._server.release()

    def _answer_all(self, asking: ConnectBatch, batch: UpgradeBatch, server: Server) -> None:
        rows: dict[str, list[int]] = defaultdict(list)  # those that are accepted, by subprotocol
        if asking.refused or asking.protocols:
            for row, slot in enumerate(batch.slots):
                if slot not in asking.refused:
                    rows[asking.protocols.get(slot, "")].append(row)
        else:
            rows[""] = list(range(len(batch.slots)))
        for protocol, those in rows.items():
            keys = [batch.keys[row] for row in those]
            self.accept([batch.slots[row] for row in those], keys, server, protocol.encode())
            self._counts.opened += len(those)
            self._counts.live += len(those)
        if asking.refused:
            slots = np.fromiter(asking.refused, np.int32, len(asking.refused))
            self._server.forget(slots)
            self.kinds[slots] = HTTP
            for slot, status in asking.refused.items():
                self.refuse(slot, text(status, "This WebSocket was refused."), server)
                self._counts.refused[status] += 1

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        self._counts.messages += len(batch.slots)
        self._server.came = batch.messages if batch.is_text.all() else None
        self._app.on_messages(batch, self._server)

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        self._server.forget(batch.slots)
        self._counts.live -= len(batch.slots)
        self._counts.closed.update(Counter(batch.codes.tolist()))
        told = partial(self._app.on_close, batch, self._server)
        server.attempt("on_close", told, None, batch.slots, self._app)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        def ask() -> int | None:
            wanted = self._app.on_tick(now_ns, self._server)
            return None if wanted is None else arguments.integer("What on_tick returned", wanted)

        wanted = server.attempt("on_tick", ask, app=self._app)
        due = super().on_tick(now_ns, server)
        return min((each for each in (due, wanted) if each is not None), default=None)

    def on_stop(self, server: Server) -> None:
        server.attempt("on_stop", partial(self._app.on_stop, self._server), app=self._app)
        super().on_stop(server)


def _words(value: bytes) -> list[bytes]:
    return [word.strip() for word in value.split(b",")]
