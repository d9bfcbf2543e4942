"""A server behind a proxy, on a fake kernel whose time passes when a test says so."""

from __future__ import annotations

import errno
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.addresses import AF_INET, Endpoint
from c1m.engine.contract import Slots
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.errors import UsageError
from c1m.protocols.proxy import Wrong
from c1m.server import proxied
from c1m.server.proxied import HEADER_NS, ProxyEngine
from c1m.server.server import Server
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_S
from proxy_headers import binary, binary_of, line

SMALL = Tuning(capacity=512, files_per_ring=128)
PROXIED, DIRECT = "tcp+proxy://127.0.0.1:8001", "tcp://127.0.0.1:8002"
CLIENT, PUBLIC = ("192.0.2.7", 51000), ("198.51.100.1", 443)
CLIENT6 = ("2001:db8::7", 52000)
HEADER = line(CLIENT, PUBLIC)


class Echo(c1m.App):
    """Sends back what comes, and keeps what it is told."""

    def __init__(self) -> None:
        self.opened: list[tuple[int, tuple[str, int]]] = []
        self.came: dict[int, bytes] = {}
        self.closed: list[int] = []

    def on_open(self, batch: c1m.OpenBatch, server: Server) -> None:
        slots = batch.slots.tolist()
        self.opened += zip(slots, server.peers(batch.slots), strict=True)
        self.came.update(dict.fromkeys(slots, b""))

    def on_data(self, batch: c1m.DataBatch, server: Server) -> None:
        for slot, piece in zip(batch.slots.tolist(), batch.data.pieces(), strict=True):
            self.came[slot] += piece
        server.send(batch.slots, batch.data)

    def on_eof(self, slots: Slots, server: Server) -> None:
        self.closed += slots.tolist()
        server.close(slots)

    def on_close(self, batch: c1m.CloseBatch, server: Server) -> None:
        self.closed += batch.slots.tolist()


class Stage:
    """A server with an echo, and its peers."""

    def __init__(self, *listen: str, kernel: FakeKernel | None = None, **options: Any) -> None:
        self.kernel = kernel or FakeKernel()
        engine = UringEngine(kernel=self.kernel, clock=self.kernel.clock, tuning=SMALL)
        self.app = Echo()
        urls = listen or (PROXIED,)
        self.server = Server(self.app, urls, engine=engine, clock=self.kernel.clock, **options)
        self.app.on_start(self.server)

    def peer(self, port: int = 8001) -> Socket:
        peer = self.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", port))
        self.ticks()
        return peer

    def say(self, peer: Socket, data: bytes) -> bytes:
        """Send all of it; what comes back."""
        came = b""
        while data:
            data = data[peer.send(data) :]
            self.ticks()
            came += peer.recv()
        return came

    def ticks(self, count: int = 4) -> None:
        for _ in range(count):
            self.server.tick(0)

    def never_opened(self) -> dict[int, int]:
        """By reason; and all who were accepted are somewhere."""
        found = self.server.engine.statistics()
        inner = self.server.engine._inner.statistics()  # type: ignore[attr-defined]
        assert inner.accepted == found.accepted + found.opening + sum(found.never_opened.values())
        assert found.accepted == found.live + found.lingering + found.closed
        assert found.accepted == len(self.app.opened)
        return found.never_opened

    def end(self) -> None:
        self.server.shutdown()
        statistics = self.server.statistics
        assert statistics.opened == sum(statistics.closed.values())


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (HEADER, CLIENT),
        (binary(CLIENT, PUBLIC), CLIENT),
        (line(CLIENT6, CLIENT6), CLIENT6),
        (binary(CLIENT6, CLIENT6), CLIENT6),
        (binary_of(0x21, 0x31, bytes(216)), ("", 0)),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_connection_opens_when_its_header_has_come(
    header: bytes, client: tuple[str, int], size: int
) -> None:
    stage = Stage()
    peer, stream = stage.peer(), header + b"hello"
    back = b""
    for at in range(0, len(stream), size):
        assert (stage.app.opened == []) is (at < len(header))
        assert stage.server.engine.statistics().opening == (at < len(header))
        back += stage.say(peer, stream[at : at + size])
    assert back == b"hello" and stage.app.opened == [(0, client)]
    assert stage.say(peer, b"again") == b"again" and stage.app.came == {0: b"helloagain"}
    peer.close()
    stage.ticks()
    assert stage.app.closed == [0] and stage.never_opened() == {}
    stage.end()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", binary_of(0x20, 0)])
def test_a_proxys_own_connection_has_its_own_address(header: bytes) -> None:
    stage = Stage()
    peer = stage.peer()
    stage.say(peer, header)
    (_, (host, port)) = stage.app.opened[0]
    assert host == "127.0.0.1" and port > 0
    stage.end()


def test_what_is_no_header_is_refused() -> None:
    stage = Stage()
    for stream in (b"GET / HTTP/1.1\r\n", HEADER.replace(b"TCP4", b"UDP4") + b"rest"):
        peer = stage.peer()
        assert stage.say(peer, stream) == b""
        assert peer.at_eof
    assert stage.app.opened == []
    assert stage.never_opened() == {Wrong.NO_HEADER.code: 1, Wrong.LINE_FAMILY.code: 1}
    stage.end()


def test_who_ends_before_his_header_was_never_there() -> None:
    stage = Stage()
    stage.peer().close()
    stage.ticks()
    peer = stage.peer()
    stage.say(peer, HEADER[:5])
    peer.reset()
    stage.ticks()
    assert stage.never_opened() == {Wrong.ENDED.code: 1, errno.ECONNRESET: 1}
    assert stage.server.engine.statistics().opening == 0
    stage.end()


def test_a_header_must_come_in_time() -> None:
    stage = Stage()
    slow, late = stage.peer(), stage.peer()
    stage.kernel.clock.advance(HEADER_NS - 1)
    stage.say(slow, HEADER[:9])
    assert stage.never_opened() == {}
    stage.say(late, HEADER)
    stage.kernel.clock.advance(1)
    stage.ticks()
    assert slow.recv() == late.recv() == b"" and slow.at_eof and not late.at_eof
    assert stage.never_opened() == {Wrong.LATE.code: 1}
    stage.kernel.clock.advance(9 * HEADER_NS)
    assert stage.say(late, b"hello") == b"hello"
    stage.end()


def test_headers_that_have_not_come_whole_are_bounded_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxied, "UNFINISHED_MAX", 100)
    stage = Stage()
    begun = binary_of(0x21, 0x31, bytes(216))[:50]
    first, second, third = stage.peer(), stage.peer(), stage.peer()
    for peer in (first, second, third):
        stage.say(peer, begun)
    assert stage.never_opened() == {Wrong.TOO_MUCH.code: 1}
    assert third.recv() == b"" and third.at_eof
    assert stage.say(first, binary_of(0x21, 0x31, bytes(216))[50:] + b"hello") == b"hello"
    assert stage.say(stage.peer(), begun[:49]) == b""
    assert stage.never_opened() == {Wrong.TOO_MUCH.code: 1}
    stage.end()


def test_waiting_ends_when_the_oldest_is_late() -> None:
    stage = Stage()
    engine = stage.server.engine
    assert isinstance(engine, ProxyEngine)
    peers = [stage.peer()]
    stage.kernel.clock.advance(NS_PER_S)
    peers.append(stage.peer())
    assert engine._due_ns() == HEADER_NS - NS_PER_S
    peers[0].close()
    stage.ticks()
    assert engine._due_ns() == HEADER_NS
    stage.end()


def test_a_server_that_stops_has_told_of_nobody() -> None:
    stage = Stage()
    stage.peer()
    stage.end()
    assert stage.server.statistics.never_opened == {errno.ECANCELED: 1}


def test_other_listeners_take_no_header_and_no_address_stays() -> None:
    stage = Stage(PROXIED, DIRECT)
    peer = stage.peer(8001)
    stage.say(peer, HEADER)
    peer.close()
    stage.ticks()
    peer = stage.peer(8002)
    assert stage.say(peer, HEADER) == HEADER
    (first, client), (second, (host, _)) = stage.app.opened
    assert first == second and client == CLIENT and host == "127.0.0.1"
    stage.end()


def test_all_listeners_of_a_server_that_is_told_so() -> None:
    stage = Stage("tcp://127.0.0.1:8001", "unix:///run/x.sock", proxy_protocol=True)
    assert list(map(str, stage.server.endpoints)) == [PROXIED, "unix+proxy:///run/x.sock"]
    stage.say(stage.peer(), HEADER)
    assert stage.app.opened == [(0, CLIENT)]
    stage.end()


@pytest.mark.parametrize(
    ("trusted", "is_let_in"),
    [
        ("127.0.0.1", True),
        (["10.0.0.0/8", "127.0.0.0/8"], True),
        ("127.0.0.1/8", True),
        ("10.0.0.0/8", False),
        ("::/0", False),
    ],
)
def test_only_proxies_that_are_trusted(trusted: Any, is_let_in: bool) -> None:
    stage = Stage(PROXIED, DIRECT, proxy_from=trusted)
    peer = stage.peer()
    assert stage.say(peer, HEADER + b"x") == b"x" * is_let_in
    assert peer.at_eof is not is_let_in
    assert stage.say(stage.peer(8002), b"y") == b"y"
    assert stage.never_opened() == ({} if is_let_in else {Wrong.STRANGER.code: 1})
    stage.end()


def test_a_unix_sockets_file_says_who_may() -> None:
    stage = Stage("unix+proxy:///run/x.sock", proxy_from="10.0.0.0/8")
    peer = stage.kernel.network.peer(stage.server.endpoints[0])
    stage.ticks()
    assert stage.say(peer, HEADER + b"x") == b"x" and stage.app.opened == [(0, CLIENT)]
    stage.end()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"proxy_from": "nobody"},
            "'nobody' in proxy_from (--proxy-from) is no address and no network.",
        ),
        (
            {"proxy_from": "10.0.0.0/8"},
            "Proxies are trusted (proxy_from, --proxy-from), and no PROXY headers",
        ),
        ({"proxy_protocol": "no"}, "proxy_protocol is 'no'."),
        ({"proxy_protocol": True, "proxy_from": 7}, "proxy_from is 7."),
    ],
)
def test_options_that_cannot_be_meant(options: Any, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Stage("tcp://127.0.0.1:8001", **options)
    assert raised.value.message.startswith(said) and raised.value.remedy


def test_no_memory_is_touched_for_those_without_a_header() -> None:
    stage = Stage(PROXIED, DIRECT)
    stage.peer(8002)
    engine = stage.server.engine
    assert isinstance(engine, ProxyEngine) and not engine._rows.any()
    assert engine._waiting == {}
    stage.end()


@pytest.mark.parametrize("seed", range(30))
def test_random_peers(seed: int) -> None:
    """Each is opened once, with its address and its bytes, or is counted; however it is cut."""
    random = Random(seed)
    faults: dict[str, Any] = {
        name: random.choice((0.0, 0.3)) for name in ("short_send", "no_buffers", "end_multishot")
    }
    stage = Stage(PROXIED, DIRECT, kernel=FakeKernel(seed=seed, **faults))
    wanted, refused, waiting = [], Counter[int](), 0
    streams: list[tuple[Socket, list[bytes]]] = []
    for number in range(40):
        kind, client = random.random(), (f"192.0.2.{number}", 1000 + number)
        header = random.choice((line, binary))(client, PUBLIC)
        body = random.randbytes(random.choice((0, 1, 200)))
        if kind < 0.6:
            wanted.append((client, body))
            stream = header + body
        elif kind < 0.8:
            refused[Wrong.NO_HEADER.code] += 1
            stream = random.choice((b"GET", b"PROXY\r\n", b"\r\nx"))
        else:
            waiting += 1
            stream = header[: random.randrange(len(header))]
        places = sorted(random.randrange(len(stream) + 1) for _ in range(random.randrange(4)))
        cuts = [stream[i:j] for i, j in pairwise([0, *places, len(stream)]) if i < j]
        streams.append((stage.peer(), cuts))
    while streams:
        peer, cuts = random.choice(streams)
        if not cuts:
            streams.remove((peer, cuts))
        else:
            try:
                cuts[0] = cuts[0][peer.send(cuts[0]) :]
            except OSError:  # it was refused by what it has sent before
                cuts[0] = b""
            if not cuts[0]:
                del cuts[0]
        stage.ticks(random.randrange(2))
    stage.ticks(40)
    app = stage.app
    assert stage.never_opened() == dict(refused)
    assert stage.server.engine.statistics().opening == waiting
    found = [(client, app.came[slot]) for slot, client in app.opened]
    assert sorted(found) == sorted(wanted)
    slots = np.array([slot for slot, _ in app.opened], np.int32)
    assert stage.server.peers(slots) == [client for _, client in app.opened]
    stage.end()
