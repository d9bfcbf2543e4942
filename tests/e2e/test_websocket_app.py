"""c1m.WebSocketApp on both engines, with the `websockets` package as the client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import c1m
from e2e.library_runs import WAIT_S, ServerThread, serving


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def clients(run: ServerThread, count: int, path: str = "/") -> Iterator[list[ClientConnection]]:
    """WebSockets that are open."""
    with contextlib.ExitStack() as stack:
        url = f"ws://127.0.0.1:{run.port}{path}"
        yield [
            stack.enter_context(connect(url, compression=None, open_timeout=WAIT_S, proxy=None))
            for _ in range(count)
        ]


class Room(c1m.WebSocketApp):
    """Everybody hears everything."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[tuple[int, int]] = []

    def on_open(self, batch: c1m.ConnectBatch, server: c1m.WebSocketServer) -> None:
        server.subscribe(batch.slots, "room")

    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        for slot, message in zip(batch.slots.tolist(), batch.messages.pieces(), strict=True):
            server.publish("room", message.decode())
            server.send_text(slot, b"said " + message)

    def on_close(self, batch: c1m.GoneBatch, server: c1m.WebSocketServer) -> None:
        self.closed += zip(batch.slots.tolist(), batch.codes.tolist(), strict=True)


def test_what_is_published_comes_before_what_is_sent_behind_it(engine: str) -> None:
    with serving(Room(), engine=engine) as run, clients(run, 20) as sockets:
        for number, ws in enumerate(sockets):
            ws.send(f"hello {number}")
            for each in sockets:
                assert each.recv(WAIT_S) == f"hello {number}"
            assert ws.recv(WAIT_S) == f"said hello {number}"


def test_a_stop_says_1001_to_all_and_all_is_accounted_for(engine: str) -> None:
    app = Room()
    with serving(app, engine=engine) as run, clients(run, 50) as sockets:
        sockets[0].send("hello")
        for ws in sockets:
            assert ws.recv(WAIT_S) == "hello"
        run.server.stop()
        for ws in sockets[1:]:
            with pytest.raises(ConnectionClosed) as ended:
                ws.recv(WAIT_S)
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == 1001
        statistics = run.stop()
    assert sorted(code for _, code in app.closed) == [1001] * 50
    assert statistics.opened == 50
