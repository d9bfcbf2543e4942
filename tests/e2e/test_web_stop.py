"""How a web server stops: WebSockets with 1001, streams, connections that ask nothing, and those
who answer nothing; each is accounted for."""

from __future__ import annotations

import contextlib
import socket

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import c1m
from c1m.apps.push.push import Push
from c1m.testing.manual_clock import ManualClock
from c1m.web.app import HTTP, WebApp
from c1m.web.output import STOP_PER_S
from e2e.library_runs import WAIT_S, eventually, serving

CONNECT = (
    b"GET /connect?channel=a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
EACH = 8
LISTEN = "http://127.0.0.1:0"


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_kinds_of_connections_are_told_in_their_way(engine: str) -> None:
    with (
        serving(Push(), LISTEN, engine=engine, drain_ns=1_000_000_000) as run,
        contextlib.ExitStack() as stack,
    ):
        url = f"ws://127.0.0.1:{run.port}/connect?channel=a"
        sockets = [
            stack.enter_context(connect(url, open_timeout=WAIT_S, proxy=None)) for _ in range(EACH)
        ]
        raw: list[list[socket.socket]] = []
        for said in (CONNECT, b"GET /events?channel=a HTTP/1.1\r\nHost: a\r\n\r\n", b""):
            raw.append([])
            for _ in range(EACH):
                sock = socket.create_connection(("127.0.0.1", run.port), WAIT_S)
                stack.enter_context(sock)
                sock.sendall(said)
                raw[-1].append(sock)
        silent, streams, idle = raw
        statistics = run.server.statistics
        for sock in (*silent, *streams):
            assert sock.recv(1 << 16, socket.MSG_PEEK)
        eventually(lambda: statistics.live == 4 * EACH, "all are there")
        run.server.stop()
        for ws in sockets:
            with pytest.raises(ConnectionClosed) as ended:
                ws.recv(WAIT_S)
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == 1001
        for sock in (*streams, *idle):
            while sock.recv(1 << 16):
                pass
        for sock in silent:
            heard = b""
            while piece := sock.recv(1 << 16):
                heard += piece
            assert heard.endswith(b"\x88\x02\x03\xe9")
        run.stop()
    assert statistics.opened == 4 * EACH
    assert statistics.closed[c1m.CloseReason.DRAIN] == EACH  # who did not answer the close frame
    assert statistics.closed[c1m.CloseReason.LOCAL] == 3 * EACH


def test_many_are_told_over_three_quarters_of_the_drain_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two hundred thousand, in ten seconds; the pace is kept whenever a tick comes."""
    count, clock = 200_000, ManualClock()
    app = WebApp()
    server = c1m.Server(app, LISTEN, engine="uring", clock=clock)
    try:
        app.on_start(server)
        slots = np.arange(count, dtype=np.int32)
        app.kinds[slots] = HTTP
        monkeypatch.setattr(server, "live_slots", lambda: slots)
        ended: list[int] = []
        monkeypatch.setattr(server, "close", lambda those: ended.append(len(those)))
        app.on_stop(server)
        assert not app.is_done(server)
        for step in (0, 1, 500, 1000, 3000, 3000):
            clock.advance(step * 1_000_000)
            app.on_tick(clock.now_ns(), server)
        done = 7501 / 7500
        assert sum(ended) == min(count, round(done * count))
        assert app.is_done(server)
        assert max(ended) <= 3000 / 7500 * count + 1
        assert count / 7.5 > STOP_PER_S
    finally:
        server.shutdown()
