"""Random clients of the whole push server, on a fake kernel that delays and cuts.

They subscribe in all forms, resume, publish by POST, lines, WebSocket, Mercure and Redis's
protocol, ask operators' addresses, say what is wrong, stop reading, break off. Nothing that they do
ends the server; numbers that a subscriber of form=json sees rise in each channel; and when all have
gone nothing is left of them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from c1m.addresses import AF_INET, Endpoint
from c1m.apps.push.push import Push
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.fanout.deliveries import Deliveries
from c1m.protocols.websocket.frames import FrameReader, Op, frame
from c1m.server.server import Server
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_S

SMALL = Tuning(capacity=512, files_per_ring=128)
PORTS = {"web": 8001, "resp": 8002}
MASK = b"\x9a\x00\xff\x31"
SECRET = "a secret of thirty-two bytes, or more"
FAULTS = ("short_send", "refuse_send", "no_buffers", "end_multishot")
NAMES = ("a", "b", "c", "%24stats:a", "*", "x%7By%7D", "%E2%98%83", "%00", "", "a" * 600)
IDS = ("", "0", "{epoch}-0", "{epoch}-3", "{epoch}-99999", "e-1", "mine", "earliest", "%0a")
JSONS: tuple[Any, ...] = (
    {"subscribe": ["a"]}, {"subscribe": ["b", "c"], "since": "0"}, {"unsubscribe": ["a", "b"]},
    {"publish": {"channel": "a", "data": "x"}}, {"publish": {"channel": "b", "base64": "AAE="}},
    {"publish": {"channels": ["a", "b"], "data": {"n": 1}}}, {"subscribe": ["\ud800"]}, [], 1,
    {"subscribe": "a", "since": ["e-1"], "unsubscribe": ["c"], "publish": {"channel": "c",
     "data": "\ud800"}}, {"publish": {"data": "x"}}, {"subscribe": [str(n) for n in range(99)]},
    {"subscribe": ["$stats:a"]}, {"publish": {"channel": "$stats:a", "data": 1}}, {"x": 1},
    {"publish": {"channel": "a", "data": "y" * 70_000}},
)  # fmt: skip
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
FIELDS = (
    "Origin: http://x\r\n", "Origin: null\r\n", "Last-Event-ID: 0\r\n", "Last-Event-ID: \xe9\r\n",
    "Connection: close\r\n", "Authorization: Bearer x\r\n", "Authorization: Basic x\r\n",
    f"Authorization: Bearer {'t' * 20}\r\n", "Cookie: mercureAuthorization=x\r\n",
    "Expect: 100-continue\r\n", "Sec-WebSocket-Extensions: permessage-deflate\r\n",
)  # fmt: skip
KINDS = ("application/x-ndjson", "application/x-www-form-urlencoded", "text/plain", "image/png", "")
RESP = (
    b"PUBLISH a hello\r\n", b"SUBSCRIBE a b\r\n", b"UNSUBSCRIBE\r\n", b"PSUBSCRIBE *\r\n",
    b"PUBSUB CHANNELS\r\n", b"PUBSUB NUMSUB a b\r\n", b"MULTI\r\nPUBLISH b 1\r\nEXEC\r\n",
    b"GET a\r\n",
    b"*3\r\n$7\r\nPUBLISH\r\n$1\r\n\xff\r\n$0\r\n\r\n", b"PUBLISH $stats:a 1\r\n", b"INFO\r\n",
    b"HELLO 3\r\n", b"RESET\r\n", b"QUIT\r\n", b"*1\r\n$-5\r\n", b"PUBLISH \x00 x\r\n",
)  # fmt: skip


class Stage:
    """The server, with all listeners that it can have."""

    def __init__(self, random: Random, secret: str) -> None:
        faults: dict[str, Any] = {name: random.choice((0.0, 0.2)) for name in FAULTS}
        self.kernel = FakeKernel(seed=random.randrange(1 << 30), **faults)
        options: dict[str, Any] = {"page": random.random() < 0.2}
        options["history"] = random.choice((0, 3, 100))
        options["history_age"] = random.choice((None, "1s"))
        options["history_bytes"] = random.choice((None, 3000))
        options["channels_max"] = random.choice((None, 3))
        options["compress"] = random.random() < 0.3
        options["message_max"] = random.choice((None, 1000))
        options["origin"] = random.choice(([], ["*"], ["http://x"]))
        kind = random.randrange(4)
        if kind == 1:
            options["publish_token"] = "t" * 20
        elif kind == 2:
            options["secret_file"] = secret
            options["anonymous"] = random.choice((None, "subscribe"))
        self.push = Push(resp=f"tcp://127.0.0.1:{PORTS['resp']}", **options)
        engine = UringEngine(kernel=self.kernel, clock=self.kernel.clock, tuning=SMALL)
        self.server = Server(
            self.push, f"tcp://127.0.0.1:{PORTS['web']}", engine=engine, clock=self.kernel.clock
        )
        self.server.app.on_start(self.server)
        self.web = self.server.app._apps[0]  # type: ignore[attr-defined]

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.server.tick(0)

    def check_empty(self) -> None:
        """Nothing is left of anybody."""
        web, redis = self.server.app._apps  # type: ignore[attr-defined]
        assert not web.kinds.any() and not web._is_odd.any() and not web._unfinished
        assert not web._unfinished_frames
        kept = "_readers _asked _behind _paused _half_closed _frames _said_behind _said_first"
        assert not any(getattr(web, name) for name in kept.split())
        assert not web.unread._blocked and not web.unread._leaving
        assert not (web._streams or web._slowed or web._bursts or web._orphans)
        hub = web.hub
        assert not (len(hub.channels) or len(hub.selected) or hub._replays or hub._first)
        assert not (hub.selected._templates or hub.selected._by_start or hub.channels._many)
        assert not hub.deliveries and not hub.deliveries.left and not hub.deliveries.bytes
        assert not (web.holders._grant_of.any() or web.holders._expires.any())
        assert not hub.statistics._asked and not hub.statistics._on_their_way
        assert not redis.store.rows.count
        counts = self.server.update_statistics()
        assert counts.opened == sum(counts.closed.values())


class Client:
    """Bytes that it still sends, and what it has read."""

    def __init__(self, random: Random, stage: Stage) -> None:
        place = random.choice(("web",) * 6 + ("resp",))
        self.peer: Socket = stage.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", PORTS[place]))
        self.came = b""
        self.is_json = False
        self.has_gone = False
        make = {"web": self._web, "resp": self._resp}[place]
        self.stream = make(random, stage.web.hub.epoch)

    def _web(self, random: Random, epoch: str) -> bytes:
        stream = b""
        for _ in range(random.randrange(1, 4)):
            kind = random.randrange(7)
            if kind < 3:
                return stream + self._connect(random, epoch)
            stream += self._request(random, epoch)
        return _mutated(random, stream)

    def _connect(self, random: Random, epoch: str) -> bytes:
        form = random.choice(("raw", "json", "json", "x"))
        self.is_json = form == "json"
        query = f"form={form}&" + _query(random, epoch)
        fields = UPGRADE + "".join(random.sample(FIELDS, random.randrange(2)))
        stream = f"GET /connect?{query} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode("latin-1")
        for _ in range(random.randrange(12)):
            kind = random.random()
            if kind < 0.8:
                said = json.dumps(random.choice(JSONS)).encode()
                stream += frame(random.choice((Op.TEXT, Op.BINARY)), said, MASK)
            elif kind < 0.9:
                stream += frame(Op.PING, b"x", MASK)
            elif kind < 0.95:
                stream += frame(Op.CLOSE, b"\x03\xe8", MASK)
            else:
                stream += frame(Op.TEXT, b"half", MASK, first=0)
        return _mutated(random, stream) if random.random() < 0.2 else stream

    def _request(self, random: Random, epoch: str) -> bytes:
        path = random.choice(("/events", "/events", "/publish", "/publish", "/connect", "/", "/x",
                              "/.well-known/mercure", "/.well-known/mercure"))  # fmt: skip
        method = random.choice(("GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT"))
        fields, body = "".join(random.sample(FIELDS, random.randrange(3))), b""
        if method in ("POST", "PUT"):
            kind = random.choice(KINDS)
            fields += f"Content-Type: {kind}\r\n"
            body = _body(random, kind, epoch)
            fields += f"Content-Length: {len(body)}\r\n"
        query = _query(random, epoch)
        line = f"{method} {path}?{query} HTTP/1.{random.choice('0111')}\r\n"
        return f"{line}Host: x\r\n{fields}\r\n".encode("latin-1") + body

    def _resp(self, random: Random, epoch: str) -> bytes:
        return _mutated(random, b"".join(random.choices(RESP, k=random.randrange(1, 20))))

    def act(self, random: Random, stage: Stage) -> None:
        """Send or read something, or go."""
        kind = random.randrange(20)
        try:
            if kind < 9 and self.stream:
                size = random.choice((1, 50, 1000, 100_000))
                self.stream = self.stream[self.peer.send(self.stream[:size]) :]
            elif kind < 16:
                self.came += self.peer.recv(random.choice((100, 100_000)))
            elif kind == 16 and random.random() < 0.2:
                self.peer.shutdown_write()
            elif kind == 17 and random.random() < 0.2:
                self.has_gone = True
                random.choice((self.peer.reset, self.peer.close))()
        except OSError:
            self.has_gone = True

    def check(self) -> None:
        """Numbers rise in each channel."""
        head, _, frames = self.came.partition(b"\r\n\r\n")
        if not self.is_json or not head.startswith(b"HTTP/1.1 101") or b"deflate" in head:
            return
        last: dict[str, int] = {}
        for message in FrameReader(1 << 24, is_server=False).take(frames):
            if message.op != Op.TEXT:
                continue
            said = json.loads(message.payload)
            epoch, _, number = said.get("id", "").rpartition("-")
            if "channel" in said and epoch:
                assert last.get(said["channel"], 0) < int(number), said
                last[said["channel"]] = int(number)
            for channel in said.get("unsubscribed", ()):  # it may ask for the same again
                last.pop(channel, None)


def _query(random: Random, epoch: str) -> str:
    parts = []
    for _ in range(random.randrange(1, 5)):
        name = random.choice(("channel", "channel", "channel", "topic", "match", "since",
                              "lastEventID", "event", "id", "token"))  # fmt: skip
        values = NAMES if name in ("channel", "topic", "match") else IDS
        parts.append(f"{name}={random.choice(values)}".replace("{epoch}", epoch))
    return "&".join(parts)


def _body(random: Random, kind: str, epoch: str) -> bytes:
    if "json" in kind:
        lines = [json.dumps(each.get("publish", each) if isinstance(each, dict) else each)
                 for each in random.choices(JSONS, k=random.randrange(1, 6))]  # fmt: skip
        return "\n".join(lines).encode()
    if "form" in kind:
        private = random.choice(("", "&private=on", "&retry=5", "&retry=x", "&type=t", "&id=mine"))
        return f"{_query(random, epoch)}&data=x{private}".encode()
    return random.randbytes(random.choice((0, 5, 2000)))


def _mutated(random: Random, data: bytes) -> bytes:
    if random.random() < 0.6:
        return data
    text = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(text) + 1)
        text[at : at + random.choice((0, 1, 1, 10))] = random.choice(
            (b"", b"\xff", b"\r\n", b"\0", b"&", b"%", bytes([random.randrange(256)]))
        )
    return bytes(text)


def run(random: Random) -> int:
    """One execution; how many bytes were sent."""
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder, "secret")
        secret.write_text(SECRET)
        secret.chmod(0o600)
        stage = Stage(random, str(secret))
    web = stage.web
    web.at_once = random.choice((1, 3, web.at_once))
    web.deliveries.slice = random.choice((1, 2, Deliveries.slice))
    clients: list[Client] = []
    size = 0
    for _ in range(random.choice((30, 300))):
        if len(clients) < 12 and random.random() < 0.2:
            clients.append(Client(random, stage))
            size += len(clients[-1].stream)
        if clients:
            client = random.choice(clients)
            client.act(random, stage)
            if client.has_gone:
                clients.remove(client)
                client.check()
        if random.random() < 0.1:
            stage.push.publish(random.choice("abc"), random.choice(("x", b"\xff", "y" * 900)))
        stage.kernel.clock.advance(random.choice((0, NS_PER_S // 100, NS_PER_S)))
        stage.ticks(random.randrange(3))
    is_stopped = random.random() < 0.3
    if is_stopped:
        web.on_stop(stage.server)
    for client in clients:
        for _ in range(20):
            client.act(random, stage)
            stage.ticks(1)
        client.check()
        if not client.has_gone:
            client.peer.close()
    for _ in range(100):
        stage.kernel.clock.advance(NS_PER_S)
        stage.ticks(3)
        if not len(stage.server.live_slots()):
            break
    stage.kernel.clock.advance(5 * NS_PER_S)
    stage.ticks(10)
    stage.check_empty()
    stage.server.shutdown()
    return size
