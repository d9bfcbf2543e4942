"""c1m.WebSocketApp on both engines, with the `websockets` package as the client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

import c1m
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving


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
        run.server.app.deliveries.slice = 3  # a publication takes seven ticks
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


class Farewell(Room):
    """Says good-bye to all, and to each."""

    def on_stop(self, server: c1m.WebSocketServer) -> None:
        server.publish("room", "we close")
        slots = server.live_slots()
        server.send_text(slots, [f"good-bye {slot}" for slot in slots.tolist()])


def test_what_is_said_at_the_stop_comes_before_1001(engine: str) -> None:
    with serving(Farewell(), engine=engine) as run, clients(run, 20) as sockets:
        sockets[0].send("x")
        for ws in sockets:
            assert ws.recv(WAIT_S) == "x"
        assert sockets[0].recv(WAIT_S) == "said x"
        run.server.app.deliveries.slice = 1
        run.server.stop()
        told = set()
        for ws in sockets:
            assert ws.recv(WAIT_S) == "we close"
            told.add(ws.recv(WAIT_S))
            with pytest.raises(ConnectionClosed, match="1001"):
                ws.recv(WAIT_S)
        assert len(told) == 20


class Door(c1m.WebSocketApp):
    """Decides by arrays and one by one, greets, and chooses a subprotocol."""

    def __init__(self) -> None:
        self.greeted = 0

    def on_open(self, batch: c1m.ConnectBatch, server: c1m.WebSocketServer) -> None:
        batch.refuse(batch.slots[batch.paths() == "/nowhere"], 404)
        batch.refuse(batch.slots[batch.query("token") == "wrong"])
        for head, slots in batch:
            if b"chat.v2" in (head.get(b"sec-websocket-protocol") or b""):
                batch.choose(slots, "chat.v2")
        server.subscribe(batch.slots, "all")
        names = batch.field("X-Name", "nobody")
        server.send_text(batch.slots, [f"hello {name}" for name in names])
        self.greeted += len(batch)


def test_who_is_let_in_is_decided_before_anything_is_said(engine: str) -> None:
    app = Door()
    with serving(app, engine=engine) as run:
        url = f"ws://127.0.0.1:{run.port}"
        options = {"compression": None, "proxy": None, "open_timeout": WAIT_S}
        for path, status in (("/nowhere", 404), ("/?token=wrong", 403)):
            with pytest.raises(InvalidStatus) as refused:
                connect(url + path, **options)  # type: ignore[arg-type]
            assert refused.value.response.status_code == status
        headers = {"X-Name": "Ada"}
        with connect(
            f"{url}/a?token=right",
            subprotocols=[Subprotocol("chat.v1"), Subprotocol("chat.v2")],
            additional_headers=headers,
            **options,  # type: ignore[arg-type]
        ) as ws:
            assert ws.recv(WAIT_S) == "hello Ada"
            assert ws.subprotocol == "chat.v2"
        server = run.server.app._server
        eventually(lambda: server.statistics.live == 0, "it has left")
        statistics = server.statistics
        assert statistics.refused == {404: 1, 403: 1}
        assert (statistics.opened, statistics.closed) == (1, {1000: 1})
        assert statistics.not_sent == 2  # those who were refused were greeted in vain
        assert not len(server.subscribers("all"))


def test_by_http_one_is_told_what_this_is(engine: str) -> None:
    with serving(Door(), engine=engine) as run:
        http = HTTPConnection("127.0.0.1", run.port, timeout=WAIT_S)
        http.request("GET", "/")
        response = http.getresponse()
        assert (response.status, response.getheader("Upgrade")) == (426, "websocket")
        assert response.getheader("Connection") == "Upgrade"
        http.close()


class Asked(c1m.WebSocketApp):
    """Runs what a test wants in the server's thread, when a message comes."""

    def __init__(self) -> None:
        self.wanted: Callable[[int, c1m.WebSocketServer], object] = lambda slot, server: None
        self.error: BaseException | None = None

    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        for slot in batch.slots.tolist():
            try:
                self.wanted(slot, server)
            except BaseException as error:
                self.error = error
            server.send_text(slot, "done")

    def ask(self, ws: ClientConnection, wanted: Callable[[int, c1m.WebSocketServer], Any]) -> Any:
        found: list[Any] = []
        self.wanted, self.error = lambda slot, server: found.append(wanted(slot, server)), None
        ws.send("go")
        while ws.recv(WAIT_S) != "done":
            pass
        if self.error is not None:
            raise self.error
        return found[0]


MISUSES: list[tuple[str, Callable[[int, c1m.WebSocketServer], Any]]] = [
    ("no UTF-8", lambda slot, server: server.send_text(slot, b"\xff")),
    (
        r"messages\[1\] is no UTF-8",
        lambda slot, server: server.send_text([slot] * 2, [b"", b"\x80"]),
    ),
    ("cannot be sent as UTF-8", lambda slot, server: server.send_text(slot, "\ud800")),
    ("2 pieces were given for 1", lambda slot, server: server.send_text(slot, ["a", "b"])),
    ("messages is of type int", lambda slot, server: server.send_text(slot, 5)),  # type: ignore[arg-type]
    ("data is of type NoneType", lambda slot, server: server.send_binary(slot, None)),  # type: ignore[arg-type]
    (r"slots\[0\] is -1", lambda slot, server: server.send_text(-1, "x")),
    ("no row of whole numbers", lambda slot, server: server.subscribe([0.5], "a")),  # type: ignore[list-item]
    ("too small for code", lambda slot, server: server.close(slot, 999)),
    ("1005 is no code to close with", lambda slot, server: server.close(slot, 1005)),
    ("2999 is no code to close with", lambda slot, server: server.close(slot, 2999)),
    ("reason has 124 bytes", lambda slot, server: server.close(slot, 1000, "é" * 62)),
    ("reason is 5", lambda slot, server: server.close(slot, 1000, 5)),  # type: ignore[arg-type]
    ("name is of type int", lambda slot, server: server.subscribe(slot, 5)),  # type: ignore[arg-type]
    ("name has 1,025 bytes", lambda slot, server: server.publish("x" * 1025, "a")),
    ("message is of type list", lambda slot, server: server.publish("a", [b"x"])),  # type: ignore[arg-type]
]


def test_what_cannot_be_meant_is_told_and_nothing_is_done(engine: str) -> None:
    app = Asked()
    with serving(app, engine=engine) as run, clients(run, 1) as (ws,):
        app.ask(ws, lambda slot, server: server.subscribe(slot, "a"))
        for words, wanted in MISUSES:
            with pytest.raises(c1m.UsageError, match=words):
                app.ask(ws, wanted)
        assert app.ask(ws, lambda slot, server: server.channels_of(slot)) == ["a"]
        ws.send("again")
        assert ws.recv(WAIT_S) == "done"  # and no other message


def test_channels_by_name(engine: str) -> None:
    app = Asked()
    with serving(app, engine=engine) as run, clients(run, 1) as (ws,):
        app.ask(ws, lambda slot, server: [server.subscribe(slot, f"{i}") for i in range(40)])
        app.ask(ws, lambda slot, server: server.unsubscribe(slot, b"0"))
        names = app.ask(ws, lambda slot, server: server.channels_of(slot))
        assert names == [f"{i}" for i in range(1, 40)]
        assert app.ask(ws, lambda slot, server: server.publish("0", "x")) == 0
        assert app.ask(ws, lambda slot, server: server.subscribers("5").tolist() == [slot])
        assert app.ask(ws, lambda slot, server: server.live_slots().tolist() == [slot])
        assert app.ask(ws, lambda slot, server: server.subscribe([slot, slot + 1], "both")) == 1
        assert run.server.app._server.statistics.not_subscribed == 1
        ws.send("x")
        assert ws.recv(WAIT_S) == "done"


def test_subscriptions_have_a_bound(engine: str) -> None:
    app = Asked()
    app.subscriptions_max = 2
    with serving(app, engine=engine) as run, clients(run, 1) as (ws,):
        assert app.ask(ws, lambda slot, server: server.subscribe(slot, "a")) == 1
        assert app.ask(ws, lambda slot, server: server.subscribe(slot, "b")) == 1
        assert app.ask(ws, lambda slot, server: server.subscribe(slot, "c")) == 0
        assert app.ask(ws, lambda slot, server: server.channels_of(slot)) == ["a", "b"]
        app.ask(ws, lambda slot, server: server.unsubscribe(slot, "a"))
        assert app.ask(ws, lambda slot, server: server.subscribe(slot, "c")) == 1
        assert run.server.app._server.statistics.not_subscribed == 1


def test_who_has_gone_is_no_error(engine: str) -> None:
    app = Asked()
    with serving(app, engine=engine) as run, clients(run, 1) as (ws,):

        def wanted(slot: int, server: c1m.WebSocketServer) -> None:
            server.send_text([slot + 1, slot], ["for nobody", "for you"])
            server.close(slot + 1, 4000)

        app.wanted = wanted
        ws.send("go")
        assert ws.recv(WAIT_S) == "for you"
        assert ws.recv(WAIT_S) == "done"
        assert run.server.app._server.statistics.not_sent == 1


def test_a_close_comes_behind_what_was_published(engine: str) -> None:
    app = Asked()
    with serving(app, engine=engine) as run, clients(run, 3) as sockets:
        run.server.app.deliveries.slice = 1
        for ws in sockets:
            app.ask(ws, lambda slot, server: server.subscribe(slot, "a"))

        def wanted(slot: int, server: c1m.WebSocketServer) -> None:
            server.publish("a", "good-bye")
            server.close(server.live_slots(), 4001, "the end")
            server.publish("a", "for nobody")

        app.wanted = wanted
        sockets[0].send("go")
        for ws in sockets:
            assert ws.recv(WAIT_S) == "good-bye"
            with pytest.raises(ConnectionClosed) as ended:
                ws.recv(WAIT_S)
            assert ended.value.rcvd is not None
            assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4001, "the end")


def test_options_that_cannot_be_meant_leave_nothing(engine: str) -> None:
    for name, value in (
        ("message_max", 0), ("message_max", "many"), ("ping_interval", -1), ("unread_hard", "1Q"),
        ("unread_total", 0), ("subscriptions_max", 2.5), ("unread_soft_for", "soon"),
        ("compress", "yes"),
    ):  # fmt: skip
        app = Asked()
        setattr(app, name, value)
        with pytest.raises(c1m.UsageError, match=f"Asked.{name}"):
            c1m.Server(app, "http://127.0.0.1:0", engine=engine)

    class Later(c1m.WebSocketApp):
        async def on_open(self, batch: Any, server: Any) -> None:  # type: ignore[override]
            ...

    with pytest.raises(c1m.UsageError, match=r"Later.on_open is a coroutine"):
        c1m.Server(Later(), "http://127.0.0.1:0", engine=engine)
    with pytest.raises(c1m.UsageError, match=r"Later is a class"):
        c1m.Server(Later, "http://127.0.0.1:0", engine=engine)  # type: ignore[arg-type]
