"""A user's WebSocketApp, and the whole push server with Redis's protocol beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import c1m
from c1m.apps.push.push import Push
from c1m.protocols.websocket.frames import FrameReader, Op, frame
from chaos.kinds import Run, mutated
from chaos.peers import Peer
from chaos.stage import Stage

MASK = b"\x9a\x00\xff\x31"
UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
RESP_PORT = 8002
HTTP = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /stats HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n",
    b"POST /publish?channel=a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /publish?channel=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    b"GET /events?channel=a&channel=c HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
    b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nabc", b"\r\n" * 9,
    b"OPTIONS /events HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n",
)  # fmt: skip
FRAMES = (
    frame(Op.TEXT, b"hello", MASK), frame(Op.BINARY, bytes(3000), MASK), frame(Op.PING, b"p", MASK),
    frame(Op.CLOSE, b"\x03\xe8", MASK), frame(Op.TEXT, b"half", MASK, first=0),
    frame(Op.TEXT, b"not masked"), frame(Op.TEXT, b"\xff", MASK), frame(Op.PONG, b"", MASK),
    frame(Op.TEXT, json.dumps({"subscribe": ["a"]}).encode(), MASK),
    frame(Op.TEXT, json.dumps({"publish": {"channel": "c", "data": "x"}}).encode(), MASK),
)  # fmt: skip
RESP = (
    b"SUBSCRIBE a b\r\n", b"PUBLISH a hello\r\n", b"PSUBSCRIBE *\r\n", b"HELLO 3\r\n", b"GET a\r\n",
    b"MULTI\r\nPUBLISH b 1\r\nEXEC\r\n", b"QUIT\r\n", b"*1\r\n$-5\r\n", b"UNSUBSCRIBE\r\n",
)  # fmt: skip


KEPT = (
    "_readers", "_asked", "_behind", "_paused", "_half_closed", "_frames", "_said_behind",
    "_said_first",
)  # fmt: skip


class Texts:
    """Whether a WebSocket has heard its own messages in order, with others' left out."""

    def __init__(self, wanted: list[bytes], mark: bytes) -> None:
        self.wanted = wanted
        self.mark = mark

    def __call__(self, came: bytes) -> bool | None:
        if came.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 500 ", b"HTTP/1.1 503 ")):
            return None  # it was late, or the server is full, or stops
        head, _, frames = came.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"[: len(head)]):
            return False
        found = [
            message.payload
            for message in FrameReader(1 << 24, is_server=False).take(frames)
            if message.op in (Op.TEXT, Op.BINARY) and message.payload.startswith(self.mark)
        ]
        if found != self.wanted[: len(found)]:
            return False
        return True if len(found) == len(self.wanted) else None


class Rooms(c1m.WebSocketApp):
    """Echoes what begins with "good"; with others it does what they say, or anything."""

    ping_interval = "20s"

    def __init__(self, random: Random, strike: Callable[[], None]) -> None:
        self.random = random
        self.strike = strike
        self.live: set[int] = set()

    def on_open(self, batch: c1m.ConnectBatch, server: c1m.WebSocketServer) -> None:
        self.strike()
        odd = batch.slots[batch.paths() != "/good"].tolist()
        refused = [slot for slot in odd if self.random.random() < 0.2]
        if refused:
            batch.refuse(refused)
        self.live.update({*batch.slots.tolist()} - {*refused})
        server.subscribe(batch.slots, "all")
        server.send_text(batch.slots, "welcome")

    def on_tick(self, now_ns: int, server: c1m.WebSocketServer) -> None:
        self.strike()

    def on_stop(self, server: c1m.WebSocketServer) -> None:
        self.strike()

    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        for slot, message in zip(batch.slots.tolist(), batch.messages.pieces(), strict=True):
            self.strike()
            if message.startswith(b"good"):
                server.send_binary(slot, message)
                continue
            kind = self.random.randrange(8)
            if kind == 0:
                server.close(slot, 4000, "why not")
            elif kind == 1:
                server.publish("all", b"to all")
            elif kind == 2:
                server.unsubscribe(slot, "all")
            elif kind == 3:
                server.send_text(server.live_slots(), "also to all")
            elif kind == 4:
                server.send_binary(slot, bytes(50_000))

    def on_close(self, batch: c1m.GoneBatch, server: c1m.WebSocketServer) -> None:
        gone = batch.slots.tolist()
        assert self.live.issuperset(gone), "an end is told twice, or of a stranger"
        self.live.difference_update(gone)
        self.strike()


class WebRun(Run):
    """What both have in common."""

    path = b"/good"

    @property
    def finishes(self) -> bool:
        return super().finishes and self.stage.is_calm  # else it may be late, or not answer a ping

    def good(self, number: int) -> Peer:
        mark = b"good %d " % number
        count = self.random.choice((1, 5, 40))
        texts = [mark + b"%d" % at + b"-" * self.random.choice((0, 0, 2000)) for at in range(count)]
        stream = UPGRADE % (self.path + (b"?channel=own%d" % number))
        stream += b"".join(frame(Op.TEXT, text, MASK) for text in texts)
        return Peer(self.random, self.stage.connect(), stream, Texts(texts, mark))

    def bad(self) -> bytes:
        random = self.random
        stream = b"".join(random.choices(HTTP, k=random.choice((0, 0, 1, 3))))
        if random.random() < 0.7:
            stream += UPGRADE % random.choice((b"/x", b"/connect?channel=a&channel=c",
                                               b"/connect?channel=a&form=json"))  # fmt: skip
            stream += b"".join(random.choices(FRAMES, k=random.choice((0, 3, 20))))
        return mutated(random, stream) if random.random() < 0.4 else stream


def check_web(app: Any) -> None:
    """Nothing is left of anybody."""
    assert not app.kinds.any()
    assert not app._is_odd.any()
    assert not app._unfinished
    assert not app._unfinished_frames
    for name in KEPT:
        assert not getattr(app, name), name
    assert not app.unread._blocked
    assert not app.unread._leaving
    assert not app.deliveries
    assert not app.deliveries.bytes


class RoomsRun(WebRun):
    """A user's WebSocketApp."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.rooms = Rooms(random, self.saboteur.strike)
        self.rooms.compress = random.random() < 0.3
        self.stage = Stage(random, self.rooms)

    def check_empty(self) -> None:
        app: Any = self.stage.server.app
        check_web(app)
        assert not self.rooms.live
        counts = app._server.statistics
        assert counts.live == 0
        assert counts.opened == sum(counts.closed.values())
        assert not len(app._server._channels)


class PushRun(WebRun):
    """The push server."""

    path = b"/connect"

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        options: dict[str, Any] = {"history": random.choice((0, 100)), "page": False}
        if random.random() < 0.5:
            options["resp"] = f"tcp://127.0.0.1:{RESP_PORT}"
        self.push = Push(**options)
        self.has_all = len(options) > 2
        self.stage = Stage(random, self.push)
        if self.saboteur.chance:
            web: Any = self.stage.server.app._apps[0]  # type: ignore[attr-defined]
            for name in ("_do_asked", "_published_raw", "_events", "_publish_request", "_wanted"):
                self.saboteur.spoil(web, name)
            self.saboteur.spoil(web.hub, "join")

    def port(self) -> int:
        return self.random.choice((8001, 8001, RESP_PORT)) if self.has_all else 8001

    def bad(self) -> bytes:
        if self.has_all and self.random.random() < 0.3:
            return b"".join(self.random.choices(RESP, k=self.random.choice((1, 10))))
        return super().bad()

    def step(self) -> None:
        if self.random.random() < 0.2:
            self.push.publish(self.random.choice("abc"), self.random.choice(("x", "y" * 3000)))

    def check_empty(self) -> None:
        apps = self.stage.server.app._apps  # type: ignore[attr-defined]
        web: Any = apps[0]
        for app in (apps[0], *apps[2:]):
            check_web(app)
        assert not (web._streams or web._slowed or web._bursts or web._orphans)
        hub = web.hub
        assert not (len(hub.channels) or len(hub.selected) or hub._replays or hub._first)
        assert not (hub.selected._templates or hub.selected._by_start or hub.channels._many)
        assert not (web.holders._grant_of.any() or web.holders._expires.any())
        assert not (hub.statistics._asked or hub.statistics._on_their_way)
        if self.has_all:
            assert not apps[1].store.rows.count
