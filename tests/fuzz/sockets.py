"""Random WebSockets of an echo on a fake kernel that delays and cuts.

Each sends messages, whole or in fragments, compressed or not, and pings in between; it stops
reading for a while, closes, breaks the protocol, or breaks off. It reads its own messages in their
order, and how its connection ends; the server is told of each end once, and then nothing is left.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

from c1m.protocols.websocket.deflate import inflated
from c1m.protocols.websocket.frames import Close, FrameReader, Message, Op, closing, frame
from c1m.server.server import Server
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_S
from c1m.web.app import GoneBatch, MessageBatch, UpgradeBatch, WebApp
from websocket_stage import MASK, Stage

FAULTS = ("short_send", "refuse_send", "no_buffers", "end_multishot")
LAST = 20_000  # steps until all has come
UPGRADE = (
    b"GET /%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
CODES = (1000, 1001, 4999)
WRONG = {
    Close.PROTOCOL_ERROR: frame(Op.TEXT, b"not masked"),
    Close.INVALID_DATA: frame(Op.TEXT, b"\xff", MASK),
    Close.TOO_LARGE: frame(Op.BINARY, bytes(70_001), MASK),
}


class Echo(WebApp):
    """Sends back what comes; the connection's number and code are kept when it ends."""

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self.number: dict[int, int] = {}  # by slot
        self.gone: list[tuple[int, int]] = []

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        for slot, head in zip(batch.slots, batch.heads, strict=True):
            self.number[slot] = int(head.path[1:])
        self.accept(batch.slots, batch.keys, server)

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        if batch.is_text.all():
            self.send_text(batch.slots, batch.messages, server)
            return
        texts = batch.is_text.tolist()
        for slot, message, text in zip(batch.slots, batch.messages.pieces(), texts, strict=True):
            (self.send_text if text else self.send_binary)(int(slot), message, server)

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        for slot, code in zip(batch.slots.tolist(), batch.codes.tolist(), strict=True):
            self.gone.append((self.number.pop(slot), code))


@dataclass
class Client:
    """What it sends, what it is to read, and how that ends."""

    peer: Socket
    stream: bytes
    wanted: list[Message] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    code: int = 0  # with which the server closes; 0: it does not
    came: bytes = b""
    is_at_eof: bool = False
    breaks_off: bool = False
    has_gone: bool = False


def run(random: Random) -> int:
    """One execution; how many bytes were sent."""
    faults: dict[str, Any] = {name: random.choice((0.0, 0.3)) for name in FAULTS}
    compress = random.random() < 0.5
    app = Echo(message_max=70_000, ping_ns=9999 * NS_PER_S, compress=compress)
    stage = Stage(app, FakeKernel(seed=random.randrange(1 << 30), **faults))
    count = random.randrange(1, 6)
    clients = [_client(random, stage, number, compress) for number in range(count)]
    size = sum(len(client.stream) for client in clients)
    for step in range(LAST):
        _act(random, stage, random.choice(clients))
        if step % 50 == 0 and all(map(_is_done, clients)):
            break
    for client in clients:
        _check(client)
        client.peer.close()
    for _ in range(40):
        stage.pass_time(0.1)
        if not app.kinds.any():
            break
    told = sorted(number for number, _ in app.gone)
    asked = [number for number in range(count) if not clients[number].has_gone or number in told]
    assert told == asked and not app.number
    for number, code in app.gone:
        client = clients[number]
        assert code == (client.code or Close.ABNORMAL) or client.has_gone
    assert not app._frames and not app._unfinished_frames
    assert not app.kinds.any() and not app._is_odd.any()
    stage.server.shutdown()
    return size


def _client(random: Random, stage: Stage, number: int, compress: bool) -> Client:
    client = Client(stage.connection(), UPGRADE % number)
    for _ in range(random.randrange(20)):
        if random.random() < 0.2:
            payload = random.randbytes(random.randrange(126))
            client.stream += frame(Op.PING, payload, MASK)
            client.pongs.append(payload)
        else:
            _message(random, client, compress)
    kind = random.random()
    if kind < 0.3:
        client.code = random.choice(CODES)
        client.stream += frame(Op.CLOSE, client.code.to_bytes(2, "big") + b"why", MASK)
    elif kind < 0.5:
        client.code = random.choice(list(WRONG))
        client.stream += WRONG[Close(client.code)]
    if client.code and random.random() < 0.5:
        client.stream += frame(Op.TEXT, b"late", MASK) * random.randrange(9)
    client.breaks_off = random.random() < 0.1
    return client


def _message(random: Random, client: Client, compress: bool) -> None:
    op, size = random.choice((Op.TEXT, Op.BINARY)), random.choice((0, 5, 64, 64, 200, 60_000))
    payload = b"a" * size if op == Op.TEXT else random.randbytes(size)
    client.wanted.append(Message(op, payload))
    bit = 0
    if compress and random.random() < 0.3:
        state = zlib.compressobj(wbits=-15)
        payload, bit = (state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH))[:-4], 0x40
    cuts = sorted(random.randrange(len(payload) + 1) for _ in range(random.choice((0, 0, 3))))
    parts = [payload[i:j] for i, j in pairwise([0, *cuts, len(payload)])]
    for i, part in enumerate(parts):
        first = (0x80 if part is parts[-1] and i == len(parts) - 1 else 0) | (0 if i else bit)
        client.stream += frame(0 if i else op, part, MASK, first=first)


def _act(random: Random, stage: Stage, client: Client) -> None:
    kind = random.randrange(10)
    if client.has_gone:
        stage.ticks(1)
    elif kind < 3 and client.stream:
        size = random.choice((1, 20, 300, 3000, 100_000))
        try:
            client.stream = client.stream[client.peer.send(client.stream[:size]) :]
        except OSError:
            client.stream = b""
    elif kind < 5:
        try:
            client.came += client.peer.recv(random.choice((40, 1000, 1 << 20)))
        except ConnectionResetError:  # by what it sent behind its own close frame
            assert client.code in CODES
            client.is_at_eof = True
        client.is_at_eof |= client.peer.at_eof
    elif kind == 5 and client.breaks_off and b"GET" not in client.stream:
        client.has_gone = random.random() < 0.1
        if client.has_gone:
            client.peer.reset()
    else:
        stage.kernel.clock.advance(NS_PER_S // 1000)
        stage.ticks(1)


def _read(client: Client) -> list[Message]:
    _, _, frames = client.came.partition(b"\r\n\r\n")
    reader = FrameReader(1 << 20, is_server=False, inflated=inflated)
    return [message for message in reader.take(frames) if message.op != Op.PING]


def _is_done(client: Client) -> bool:
    if client.has_gone:
        return True
    if client.stream:
        return False
    count = len(client.wanted) + len(client.pongs) + bool(client.code)
    return len(_read(client)) == count and (client.is_at_eof or not client.code)


def _check(client: Client) -> None:
    found = _read(client)
    came = [message for message in found if message.op in (Op.TEXT, Op.BINARY)]
    pongs = [message.payload for message in found if message.op == Op.PONG]
    closes = [closing(message.payload)[0] for message in found if message.op == Op.CLOSE]
    if client.has_gone:
        assert came == client.wanted[: len(came)] and pongs == client.pongs[: len(pongs)]
    else:
        assert came == client.wanted and pongs == client.pongs
        assert closes == [client.code] * bool(client.code)
        assert client.is_at_eof is bool(client.code)
