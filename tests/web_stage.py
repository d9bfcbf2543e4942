"""A web server on a fake kernel, whose time passes when a test says so, and its clients."""

from __future__ import annotations

from typing import Any

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.protocols.http.replies import ResponseReader
from c1m.protocols.http.requests import Request
from c1m.protocols.http.responses import Response, text
from c1m.server.server import Server
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_S
from c1m.web.app import GoneBatch, UpgradeBatch, WebApp
from http_cases import HOST

SMALL = Tuning(capacity=512, files_per_ring=128)
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
UPGRADE = (b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"Sec-WebSocket-Version: 13\r\n",
           KEY)  # fmt: skip


class Site(WebApp):
    """Answers by path: /later is answered when a test says so, /big is a megabyte."""

    later: list[tuple[int, str]]  # whom to answer, and what
    paths: list[str]
    gone: list[int]

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self.later, self.paths, self.gone = [], [], []

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        path = request.head.path
        self.paths.append(path)
        if path == "/later":
            self.later.append((slot, self.says(request)))
            return None
        if path == "/events":
            self.stream(slot, server, b": hello\n\n")
            return None
        if path == "/big":
            return Response(200, b"x" * (1 << 20))
        return text(200, self.says(request))

    def says(self, request: Request) -> str:
        return f"{request.head.target.decode()} {len(request.body)}"

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        for slot, key, head in zip(batch.slots, batch.keys, batch.heads, strict=True):
            if head.path == "/no":
                self.refuse(slot, text(403, "No."), server)
            else:
                self.accept([slot], [key], server)

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        self.gone += batch.slots.tolist()


class Stage:
    """A server on a fake kernel, and its clients."""

    def __init__(self, kernel: FakeKernel | None = None, **options: Any) -> None:
        self.kernel = kernel or FakeKernel()
        engine = UringEngine(kernel=self.kernel, clock=self.kernel.clock, tuning=SMALL)
        self.app = Site(**options)
        self.server = Server(
            self.app, "tcp://127.0.0.1:8001", engine=engine, clock=self.kernel.clock
        )
        self.app.on_start(self.server)

    def client(self) -> Socket:
        peer = self.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001))
        self.ticks(3)
        return peer

    def ticks(self, count: int = 6) -> None:
        for _ in range(count):
            self.server.tick(0)

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.kernel.clock.advance(NS_PER_S)
            self.ticks(2)

    def say(self, peer: Socket, data: bytes) -> bytes:
        """Send all of it, and what comes back."""
        came = b""
        while data:
            data = data[peer.send(data) :]
            self.ticks()
            came += peer.recv()
        self.ticks()
        return came + peer.recv()


def get(path: bytes, *lines: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\n" + HOST + b"".join(lines) + b"\r\n"


def statuses(stream: bytes, method: bytes = b"GET") -> list[int]:
    found = []
    while stream:
        reader = ResponseReader(method)
        reader.feed(stream)
        assert reader.is_whole and reader.head is not None, stream
        found.append(reader.head.status)
        stream = reader.rest()
    return found
