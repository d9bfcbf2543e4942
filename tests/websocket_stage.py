"""A web server on a fake kernel with a clock of its own, and clients that speak WebSocket to it."""

from __future__ import annotations

from collections.abc import Iterable

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.protocols.websocket.frames import FrameReader, Message, Op, frame
from c1m.server.server import Server
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_S
from c1m.web.app import WebApp

SMALL = Tuning(capacity=512, files_per_ring=128)
ENDPOINT = Endpoint(AF_INET, "127.0.0.1", 8001)
MASK = b"\x9a\x00\xff\x31"


class Stage:
    """A server, which does something only when a test says so."""

    def __init__(self, app: WebApp, kernel: FakeKernel | None = None) -> None:
        self.kernel = kernel or FakeKernel()
        self.app = app
        engine = UringEngine(kernel=self.kernel, clock=self.kernel.clock, tuning=SMALL)
        self.server = Server(app, "tcp://127.0.0.1:8001", engine=engine, clock=self.kernel.clock)
        app.on_start(self.server)

    def client(self, *fields: bytes) -> Client:
        """A new connection that has become a WebSocket."""
        client = Client(self, self.connection())
        client.upgrade(*fields)
        return client

    def connection(self) -> Socket:
        """A new connection that has said nothing."""
        peer = self.kernel.network.peer(ENDPOINT)
        self.ticks(3)
        return peer

    def ticks(self, count: int = 6) -> None:
        """So many ticks, in which no time passes."""
        for _ in range(count):
            self.server.tick(0)

    def pass_time(self, seconds: float) -> None:
        """Ticks, ten in each second."""
        for _ in range(round(seconds * 10)):
            self.kernel.clock.advance(NS_PER_S // 10)
            self.ticks(2)


class Client:
    """A WebSocket of the other side."""

    def __init__(self, stage: Stage, peer: Socket) -> None:
        self.stage = stage
        self.peer = peer
        self.reader = FrameReader(1 << 24, is_server=False)

    def upgrade(self, *fields: bytes, behind: bytes = b"") -> None:
        """Become a WebSocket; `behind`: bytes that are sent in the same piece."""
        lines = [b"GET / HTTP/1.1", b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade",
                 b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                 *fields]  # fmt: skip
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + behind)
        self.response = self.peer.recv()
        assert self.response.startswith(b"HTTP/1.1 101 ")

    def send(self, data: bytes) -> None:
        """Bytes as they are, all of them."""
        while data:
            data = data[self.peer.send(data) :]
            self.stage.ticks()

    def say(self, op: Op, payload: bytes) -> None:
        """One frame."""
        self.send(frame(op, payload, MASK))

    def hear(self) -> list[Message]:
        """All that has come."""
        self.stage.ticks()
        found: list[Message] = []
        while data := self.peer.recv():
            found += self.reader.take(data)
            self.stage.ticks()
        return found

    def has_ended(self) -> bool:
        """Whether the server has ended the connection, with all read that it sent."""
        try:
            self.hear()
        except ConnectionResetError:
            return True
        return self.peer.at_eof


def texts(messages: Iterable[Message]) -> list[bytes]:
    """The payloads of text messages; there are no others."""
    messages = list(messages)
    assert all(message.op == Op.TEXT for message in messages)
    return [message.payload for message in messages]
