"""WebSockets that are not read from: bounded, dropped with 1008, and nobody else is slowed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import c1m
from c1m.protocols.websocket.frames import FrameReader, Message, Op
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving
from e2e.test_websocket_app import Room, clients

KB = 1 << 10
DEAF = 6
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def deaf_clients(run: ServerThread, count: int) -> Iterator[list[socket.socket]]:
    """WebSockets that read nothing behind the handshake."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(WAIT_S)
            sock.connect(("127.0.0.1", run.port))
            sock.sendall(HANDSHAKE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            found.append(sock)
        yield found


def publish_until(app: Room, run: ServerThread, ws: Any, ended: int) -> int:
    """Publish 256 KiB at a time, which the reader gets, until so many have ended."""
    message, count = "x" * (256 * KB), 0
    while len(app.closed) < ended:
        ws.send(message)
        assert ws.recv(WAIT_S) == message
        assert ws.recv(WAIT_S) == "said " + message
        count += 1
        assert count < 2000
    return count


def test_who_does_not_read_is_told_1008_behind_what_it_is_owed(engine: str) -> None:
    app = Room()
    app.unread_hard = 1024 * KB
    with (
        serving(app, engine=engine, outbox_high=64 * KB) as run,
        deaf_clients(run, 1) as (deaf,),
        clients(run, 1) as (ws,),
    ):
        count = publish_until(app, run, ws, 1)
        assert [code for _, code in app.closed] == [1008]
        server = run.server.app._server
        assert server.statistics.not_read == {"hard": 1}
        assert len(server.subscribers("room")) == 1
        reader = FrameReader(1024 * KB, is_server=False)
        came: list[Message] = []
        while piece := deaf.recv(256 * KB):  # it reads at last
            came += reader.take(piece)
        *messages, last = came
        assert (last.op, last.payload[:2]) == (Op.CLOSE, (1008).to_bytes(2, "big"))
        assert all(message.payload == b"x" * (256 * KB) for message in messages)
        assert 0 < len(messages) <= count


def test_all_together_have_a_bound(engine: str) -> None:
    app = Room()
    app.unread_total = 2048 * KB
    with (
        serving(app, engine=engine, outbox_high=64 * KB) as run,
        deaf_clients(run, DEAF) as deaf,
        clients(run, 1) as (ws,),
    ):
        publish_until(app, run, ws, DEAF - 2)
        server: c1m.Server = run.server
        eventually(lambda: server.engine.statistics().outbox_bytes <= 2048 * KB, "the bound holds")
        assert {code for _, code in app.closed} == {1008}
        assert run.server.app._server.statistics.not_read["total"] >= DEAF - 2
        dropped = [sock for sock in deaf if _is_reset(sock)]
        assert len(dropped) == len(app.closed)
    assert server.statistics.opened == sum(server.statistics.closed.values())


def _is_reset(sock: socket.socket) -> bool:
    sock.settimeout(0.2)
    try:
        while sock.recv(256 * KB):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return False
