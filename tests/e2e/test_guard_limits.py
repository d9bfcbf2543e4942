"""Limits on what a connection may take, on real sockets, for every server and both engines.

What is about time is held to a clock of the test in tests/unit/test_guard_stay.py; here connections
end, some time, and for the right reason.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import c1m
from c1m.server.statistics import CloseReason
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving

TCP_REPAIR = 19


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Echo(c1m.App):
    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.fixture(params=[Echo, EchoProtocol])
def app(request: pytest.FixtureRequest) -> Any:
    return request.param() if request.param is Echo else request.param


def connect(run: ServerThread) -> socket.socket:
    return socket.create_connection((run.host, run.port), WAIT_S)


def told(sock: socket.socket) -> bytes:
    """What came until the connection ended, in good order or not."""
    came = b""
    try:
        while piece := sock.recv(1 << 16):
            came += piece
    except ConnectionResetError:
        pass
    return came


# --- keep-alive -----------------------------------------------------------------------------------


def options_of(run: ServerThread) -> Iterator[tuple[int, int, int, int, int]]:
    """Of each connection: what the kernel has of keep-alive, and TCP_USER_TIMEOUT."""
    found: list[socket.socket] = []

    def take() -> None:
        engine = run.server.engine
        slots = (
            run.server.live_slots().tolist()
            if isinstance(run.server, c1m.Server)
            else [transport._slot for transport in run.server._streams.transports()]
        )
        found.extend(socket.socket(fileno=engine.descriptor(slot)) for slot in slots)

    run.server.call_soon(take)
    eventually(lambda: bool(found), "descriptors")
    for sock in found:
        with sock:
            tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            rest = (sock.getsockopt(socket.IPPROTO_TCP, name) for name in tcp)
            idle, between, count = rest
            is_on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            untaken = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            yield is_on, idle, between, count, untaken


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (c1m.Limits(keepalive=60), (1, 60, 20, 3, 0)),
        (c1m.Limits(keepalive="1s", unread_timeout=90), (1, 1, 1, 3, 90_000)),
        (c1m.Limits(keepalive=300, unread_timeout=90), (1, 300, 100, 3, 600_000)),
    ],
)
def test_connections_inherit_keepalive_from_their_listener(
    engine: str, app: Any, limits: Any, expected: Any
) -> None:
    with serving(app, engine=engine, limits=limits) as run, connect(run) as sock:
        sock.sendall(b"?")
        assert sock.recv(1) == b"?"
        assert list(options_of(run)) == [expected]


def test_no_keepalive_where_none_is_wanted_and_on_unix_sockets_none_at_all(
    engine: str, tmp_path: Path
) -> None:
    limits = c1m.Limits(unread_timeout=90)
    with serving(Echo(), engine=engine, limits=limits) as run, connect(run) as sock:
        sock.sendall(b"?")
        assert sock.recv(1) == b"?"
        assert [(found[0], found[4]) for found in options_of(run)] == [(0, 90_000)]
    with serving(Echo(), engine=engine) as run, connect(run) as sock:
        sock.sendall(b"?")
        assert sock.recv(1) == b"?"
        assert [(found[0], found[4]) for found in options_of(run)] == [(0, 0)]
    limits, listen = c1m.Limits(keepalive=60), f"unix://{tmp_path}/x"
    with serving(Echo(), listen, engine=engine, limits=limits), socket.socket(1) as sock:
        sock.connect(f"{tmp_path}/x")
        sock.sendall(b"?")
        assert sock.recv(1) == b"?"


def test_a_peer_that_is_gone_without_a_word_is_found(engine: str, app: Any) -> None:
    with serving(app, engine=engine, limits=c1m.Limits(keepalive=1)) as run:
        sock = connect(run)
        sock.sendall(b"?")
        assert sock.recv(1) == b"?"
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # then close says nothing
        except PermissionError:
            pytest.skip("needs CAP_NET_ADMIN")
        sock.close()
        eventually(lambda: run.server.statistics.live == 0, "the dead peer is found")
        closed = run.server.statistics.closed
        assert closed[CloseReason.RESET] == 1  # its kernel knows nothing of it


# --- silence, and output that is not read ---------------------------------------------------------


def test_who_says_nothing_is_closed_and_counted(engine: str, app: Any) -> None:
    limits = c1m.Limits(first_byte_timeout=3, idle_timeout=4)
    with (
        serving(app, engine=engine, limits=limits) as run,
        connect(run) as idle,
        connect(run) as silent,
    ):
        idle.sendall(b"?")
        assert told(silent) == b""
        assert told(idle) == b"?"
    closed = run.server.statistics.closed
    assert (closed[CloseReason.SILENT], closed[CloseReason.IDLE]) == (1, 1)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"unread_timeout": 1}, CloseReason.UNREAD),
        ({"unsent_max": "256K"}, CloseReason.UNSENT),
        ({"unsent_soft": "256K", "unsent_soft_time": 1}, CloseReason.UNSENT),
        ({"unsent_total": "256K"}, CloseReason.UNSENT),
    ],
)
def test_who_does_not_read_is_reset_and_others_are_not(
    engine: str, app: Any, limits: dict[str, Any], reason: CloseReason
) -> None:
    class Gives(c1m.App):
        def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
            size = 64 << 20 if batch.data.pieces()[0] == b"much" else 100
            server.send(batch.slots, b"x" * size)

    class GivesProtocol(EchoProtocol):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"x" * (64 << 20 if data == b"much" else 100))

    made = Gives() if isinstance(app, Echo) else GivesProtocol
    with (
        serving(made, engine=engine, limits=c1m.Limits(**limits)) as run,
        connect(run) as good,
        connect(run) as bad,
    ):
        good.sendall(b"few")
        assert good.recv(100, socket.MSG_WAITALL) == b"x" * 100
        bad.sendall(b"much")
        eventually(lambda: run.server.statistics.closed[reason] == 1, "who reads not goes")
        good.sendall(b"few")
        assert good.recv(100, socket.MSG_WAITALL) == b"x" * 100
        assert len(told(bad)) < 64 << 20
    assert run.server.statistics.closed[reason] == 1


def test_a_protocol_is_told_why(engine: str) -> None:
    errors: list[Any] = []

    class Keeps(asyncio.Protocol):
        def connection_lost(self, exc: BaseException | None) -> None:
            errors.append(exc)

    limits = c1m.Limits(first_byte_timeout=1)
    with serving(Keeps, engine=engine, limits=limits) as run, connect(run) as sock:
        assert told(sock) == b""
    [error] = errors
    assert isinstance(error, ConnectionAbortedError)
    assert error.strerror == "The server has closed it: it sent nothing in time."
    assert os.strerror(error.errno or 0)
