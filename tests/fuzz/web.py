"""Random clients of a web server on a fake kernel that delays and cuts.

Each sends requests one behind the other, in pieces, waits or does not, stops reading for a while,
breaks off. What it reads is the responses to what it asked, in order, and nothing of anybody
else's; when all have gone nothing is left of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from c1m.protocols.http.replies import ResponseReader
from c1m.protocols.http.responses import text
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_S
from web_stage import UPGRADE, Stage, get

FAULTS = ("short_send", "refuse_send", "no_buffers", "end_multishot")
PATIENT = {"request_s": 9999, "idle_s": 9999, "ping_ns": 9999 * NS_PER_S}
LAST = 20000  # steps until all has come


@dataclass
class Client:
    """What it sends, and what it is to read: (status, body) in order, and how that ends."""

    peer: Socket
    stream: bytes = b""
    wanted: list[tuple[int, str]] = field(default_factory=list)
    methods: list[bytes] = field(default_factory=list)
    came: bytes = b""
    is_at_eof: bool = False
    ends: bool = False  # the server closes behind the last response
    breaks_off: bool = False
    has_gone: bool = False


def run(random: Random) -> int:
    """One execution; how many bytes were sent."""
    faults: dict[str, Any] = {name: random.choice((0.0, 0.3)) for name in FAULTS}
    stage = Stage(FakeKernel(seed=random.randrange(1 << 30), **faults), **PATIENT)
    clients = [_client(random, stage, number) for number in range(random.randrange(1, 5))]
    size = sum(len(client.stream) for client in clients)
    for step in range(LAST):
        client = random.choice(clients)
        _act(random, stage, client)
        if step % 50 == 0 and all(_is_done(client) for client in clients):
            break
    for client in clients:
        _check(client)
        client.peer.close()
    stage.ticks(20)
    app = stage.app
    assert not (app._readers or app._asked or app._behind or app._paused or app._half_closed)
    assert not app._unfinished and not app.kinds.any()
    stage.server.shutdown()
    return size


def _client(random: Random, stage: Stage, number: int) -> Client:
    client = Client(stage.client())
    for n in range(random.randrange(1, 8)):
        path = random.choice((b"/a", b"/later", b"/b")) + b"?%d-%d" % (number, n)
        method, body = random.choice((b"GET", b"HEAD", b"POST")), b""
        fields, sent = b"", b""
        if method == b"POST":
            body = sent = b"x" * random.choice((0, 10, 5000))
            fields = b"Content-Length: %d\r\n" % len(body)
            if body and random.random() < 0.3:
                fields = b"Transfer-Encoding: chunked\r\n"
                sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        client.stream += get(path, fields, method=method) + sent
        client.wanted.append((200, "" if method == b"HEAD" else f"{path.decode()} {len(body)}\n"))
        client.methods.append(method)
    _last(random, client)
    return client


def _last(random: Random, client: Client) -> None:
    kind = random.randrange(6)
    if kind == 0:
        client.stream += b"nonsense\r\n" + get(b"/a")
        client.ends = True
        client.wanted.append((400, "That is no request of HTTP/1.1.\n"))
    elif kind == 1:
        client.stream += get(b"/", *UPGRADE) + b"\x89\x80abcd"
        client.wanted.append((101, ""))
    elif kind == 2:
        client.stream += get(b"/events") + get(b"/a")
        client.wanted.append((200, ": hello\n\n"))
    elif kind == 3:
        client.stream += get(b"/a?close", b"Connection: close\r\n")
        client.ends = True
        client.wanted.append((200, "/a?close 0\n"))
    client.breaks_off = random.random() < 0.1
    if kind < 4:
        client.methods.append(b"GET")


def _act(random: Random, stage: Stage, client: Client) -> None:
    kind = random.randrange(10)
    if client.has_gone:
        stage.ticks(1)
    elif kind < 3 and client.stream:
        size = random.choice((1, 20, 300, 3000, 10_000))
        try:
            client.stream = client.stream[client.peer.send(client.stream[:size]) :]
        except OSError:
            client.stream = b""
    elif kind == 3:
        client.came += client.peer.recv(random.choice((40, 1000, 1 << 20)))
        client.is_at_eof |= client.peer.at_eof
    elif kind == 4 and stage.app.later:
        slot, said = stage.app.later.pop(random.randrange(len(stage.app.later)))
        stage.app.respond(slot, text(200, said), stage.server)
    elif kind == 5 and client.breaks_off and random.random() < 0.1:
        client.has_gone = True
        client.peer.reset()
    else:
        stage.kernel.clock.advance(NS_PER_S // 50)
        stage.ticks(1)


def _read(client: Client) -> list[tuple[int, str]]:
    found, stream = [], client.came
    for method in client.methods:
        if not stream:
            break
        reader = ResponseReader(method)
        reader.feed(stream)
        body = reader.body()
        if body.startswith(b": hello\n\n"):  # keep-alives may follow
            body = body[:9]
        if reader.head is None or not (reader.is_whole or body.startswith(b": hello\n\n")):
            break
        found.append((reader.head.status, body.decode()))
        stream = reader.rest()
    return found


def _is_done(client: Client) -> bool:
    if client.has_gone:
        return True
    return (
        not client.stream
        and len(_read(client)) == len(client.wanted)
        and (client.is_at_eof or not client.ends)
    )


def _check(client: Client) -> None:
    found = _read(client)
    if client.has_gone:
        assert found == client.wanted[: len(found)]
    else:
        assert found == client.wanted and client.is_at_eof is client.ends
