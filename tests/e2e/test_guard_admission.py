"""Who is let in, on real sockets, for servers of both kinds and all engines.

What is about time is held to a clock of the test in tests/unit/test_guard_admission.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import c1m
from c1m.apps.kv.app import KeyValue
from c1m.guard.reasons import Why
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving
from proxy_headers import line

PEERS: list[Any] = []  # addresses that protocols were told


@pytest.fixture(params=["uring", "epoll", "auto"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Echo(c1m.App):
    def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
        PEERS.extend(server.peers(batch.slots))

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        PEERS.append(transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.fixture(params=[Echo, EchoProtocol])
def app(request: pytest.FixtureRequest) -> Any:
    PEERS.clear()
    return request.param() if request.param is Echo else request.param


@contextlib.contextmanager
def connected(run: ServerThread, *hosts: str, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """One connection from each of these addresses."""
    with contextlib.ExitStack() as stack:
        found = []
        for host in hosts:
            address = (run.host, run.port)
            sock = socket.create_connection(address, WAIT_S, source_address=(host, 0))
            found.append(stack.enter_context(sock))
            sock.sendall(first)
        yield found


def is_served(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"?")
        return sock.recv(10) == b"?"
    except OSError:  # it was closed
        return False


def never_opened(run: ServerThread, why: Why) -> int:
    return run.server.update_statistics().never_opened.get(why.code, 0)


def test_each_source_has_so_many(engine: str, app: Any) -> None:
    hosts = ["127.0.0.1"] * 3 + ["127.0.0.2"]
    with serving(app, engine=engine, limits=c1m.Limits(per_source=2)) as run:
        with connected(run, *hosts) as socks:
            assert [is_served(sock) for sock in socks] == [True, True, False, True]
        eventually(lambda: run.server.statistics.live == 0, "all have gone")
        with connected(run, "127.0.0.1", "127.0.0.1") as socks:
            assert [is_served(sock) for sock in socks] == [True, True]
        assert never_opened(run, Why.PER_SOURCE) == 1
    assert run.server.statistics.limited == {"per_source": 1}
    assert run.server.statistics.opened == 5


def test_networks(engine: str, app: Any) -> None:
    limits = c1m.Limits(allow="127.0.0.0/24", deny=["127.0.0.2", "2001:db8::/32"])
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.1.1"]
    with (
        serving(app, engine=engine, limits=limits) as run,
        connected(run, *hosts) as socks,
    ):
        assert [is_served(sock) for sock in socks] == [True, False, False]
        assert never_opened(run, Why.DENIED) == 2


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6(engine: str, app: Any) -> None:
    limits = c1m.Limits(per_source=1, allow="::1", deny="0.0.0.0/0")
    with (
        serving(app, "tcp://[::1]:0", engine=engine, limits=limits) as run,
        socket.create_connection(("::1", run.port), WAIT_S) as one,
    ):
        assert is_served(one)
        with socket.create_connection(("::1", run.port), WAIT_S) as other:
            assert not is_served(other)
        assert never_opened(run, Why.PER_SOURCE) == 1
    assert [peer[0] for peer in PEERS] == ["::1"]


def test_unix_sockets_have_no_address(engine: str, app: Any, tmp_path: Path) -> None:
    limits = c1m.Limits(per_source=1, allow="192.0.2.1")
    with (
        serving(app, f"unix://{tmp_path}/x", engine=engine, limits=limits),
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as other,
    ):
        one.connect(f"{tmp_path}/x")
        other.connect(f"{tmp_path}/x")
        assert is_served(one) and is_served(other)


def test_behind_a_proxy_clients_have_theirs(engine: str, app: Any) -> None:
    public = ("192.0.2.1", 443)
    limits = c1m.Limits(per_source=1, deny="203.0.113.0/24")
    with serving(app, "tcp+proxy://127.0.0.1:0", engine=engine, limits=limits) as run:
        for host, may in (("198.51.100.7", True), ("203.0.113.7", False), ("198.51.100.8", True)):
            header = line((host, 4000), public)
            with connected(run, "127.0.0.1", "127.0.0.1", first=header) as socks:
                assert is_served(socks[0]) == may
                assert not is_served(socks[1])
    assert [peer[:2] for peer in PEERS] == [("198.51.100.7", 4000), ("198.51.100.8", 4000)]


def test_peers_are_who_they_are(engine: str, app: Any) -> None:
    limits = c1m.Limits(per_source=10)
    with (
        serving(app, engine=engine, limits=limits) as run,
        connected(run, "127.0.0.1", "127.0.0.2") as socks,
    ):
        assert all(is_served(sock) for sock in socks)
        assert sorted(PEERS) == sorted(sock.getsockname() for sock in socks)


def test_when_it_is_full_further_ones_wait(engine: str, app: Any) -> None:
    limits = c1m.Limits(per_source=10)
    with (
        serving(app, engine=engine, connections_max=2, limits=limits) as run,
        connected(run, *["127.0.0.1"] * 3) as socks,
    ):
        assert is_served(socks[0]) and is_served(socks[1])
        socks[2].sendall(b"?")
        socks[0].close()
        assert socks[2].recv(1) == b"?"
        assert run.server.update_statistics().limited["connections_max"] >= 1


def told(sock: socket.socket) -> bytes:
    came = b""
    while piece := sock.recv(1 << 16):
        came += piece
    return came


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (KeyValue, b"-ERR max number of clients reached\r\n"),
        (c1m.WebSocketApp, b"HTTP/1.1 503 Service Unavailable\r\n"),
        (Echo, b""),
        (lambda: EchoProtocol, b""),
    ],
)
def test_when_it_is_full_further_ones_are_told_so(engine: str, made: Any, said: bytes) -> None:
    limits = c1m.Limits(when_full="refuse")
    with serving(made(), engine=engine, connections_max=2, limits=limits) as run:
        with connected(run, *["127.0.0.1"] * 6) as socks:
            for sock in socks[2:]:
                if said:  # what it sends itself does no harm to the words
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert told(sock).startswith(said)
            eventually(lambda: never_opened(run, Why.FULL) == 4, "they are counted")
            socks[0].close()
            eventually(lambda: run.server.statistics.live == 1, "one has gone")
        eventually(lambda: run.server.update_statistics().opening == 0, "nobody is held")
        with connected(run, "127.0.0.1"):
            eventually(lambda: run.server.statistics.opened == 3, "it is let in again")
    assert run.server.statistics.limited["connections_max"] == 4


def test_a_flood_of_the_refused_leaves_those_who_are_in_alone(engine: str) -> None:
    limits = c1m.Limits(when_full="refuse")
    with (
        serving(Echo(), engine=engine, connections_max=4, limits=limits) as run,
        connected(run, *["127.0.0.1"] * 4) as socks,
    ):
        assert all(is_served(sock) for sock in socks)
        has_ended = threading.Event()

        def flood() -> None:
            while not has_ended.is_set():
                with connected(run, *["127.0.0.1"] * 20):
                    time.sleep(0)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for _ in range(100):
                assert all(is_served(sock) for sock in socks)
            eventually(lambda: never_opened(run, Why.FULL) > 20, "they are refused")
        finally:
            has_ended.set()
            thread.join()
        assert all(is_served(sock) for sock in socks)


def test_so_many_are_accepted_in_a_second_and_none_is_lost(engine: str, app: Any) -> None:
    limits = c1m.Limits(accept_rate=200, accept_burst=10)
    with serving(app, engine=engine, limits=limits) as run:
        begin_s = time.monotonic()
        with connected(run, *["127.0.0.1"] * 100) as socks:
            assert all(is_served(sock) for sock in socks)
        # A lower bound: a busy machine only takes longer.
        assert time.monotonic() - begin_s > (100 - 10) / 200 * 0.95
    assert run.server.statistics.opened == 100
    assert run.server.statistics.limited["accept_rate"] >= 1


def test_above_so_much_memory_further_ones_wait(engine: str, app: Any) -> None:
    with (
        serving(app, engine=engine, limits=c1m.Limits(memory_max="1M")) as run,
        connected(run, "127.0.0.1") as socks,
    ):
        eventually(lambda: run.server.update_statistics().limited, "the limit acts")
        socks[0].settimeout(0.2)
        assert not is_served(socks[0])
        assert run.server.statistics.opened == 0
        assert run.server.statistics.limited["memory_max"] >= 1
