"""An application's exceptions: whom they concern, what is said of them, what goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.addresses import AF_INET, Endpoint
from c1m.apps.kv.app import KeyValue
from c1m.clock import SystemClock
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.errors import InternalError
from c1m.protocols.http.requests import Request
from c1m.protocols.http.responses import Response, text
from c1m.protocols.websocket.frames import Op, closing
from c1m.server import failures
from c1m.server.by_listener import ByListener, Further
from c1m.server.logs import ServerLog
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.web.app import WebApp
from chaos.web import UPGRADE
from websocket_stage import Stage as SocketStage

SMALL = Tuning(capacity=512, files_per_ring=128)
CALLBACKS = ("on_open", "on_data", "on_eof", "on_blocked", "on_drained", "on_tick", "call_soon")


class Faulty(c1m.App):
    """Echoes, and raises once where it is told to; `closed`: whom on_close was told of, and why."""

    def __init__(self, where: str, error: BaseException | None = None) -> None:
        self.where = where
        self.error = error or ValueError("on purpose")
        self.closed: list[tuple[int, int]] = []

    def fail(self, here: str) -> None:
        if here == self.where:
            self.where = ""
            raise self.error

    def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
        self.fail("on_open")

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        self.fail("on_data")
        server.send(batch.slots, batch.data)

    def on_eof(self, slots: np.ndarray, server: c1m.Server) -> None:
        self.fail("on_eof")
        server.close(slots)

    def on_blocked(self, slots: np.ndarray, server: c1m.Server) -> None:
        self.fail("on_blocked")

    def on_drained(self, slots: np.ndarray, server: c1m.Server) -> None:
        self.fail("on_drained")

    def on_close(self, batch: c1m.CloseBatch, server: c1m.Server) -> None:
        self.closed += zip(batch.slots.tolist(), batch.reasons.tolist(), strict=True)
        self.fail("on_close")

    def on_tick(self, now_ns: int, server: c1m.Server) -> None:
        self.fail("on_tick")

    def on_stop(self, server: c1m.Server) -> None:
        self.fail("on_stop")

    def is_done(self, server: c1m.Server) -> bool:
        self.fail("is_done")
        return True


class Stage:
    """A server on a fake kernel, and its peers."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.kernel = FakeKernel()
        engine = UringEngine(
            kernel=self.kernel, clock=self.kernel.clock, tuning=SMALL, outbox_high=1000
        )
        self.server = c1m.Server(
            app, "tcp://127.0.0.1:8001", engine=engine, clock=self.kernel.clock, **options
        )
        self.server.app.on_start(self.server)

    def peer(self, port: int = 8001) -> Socket:
        peer = self.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", port))
        self.ticks()
        return peer

    def ticks(self, count: int = 5) -> None:
        for _ in range(count):
            self.server.tick(0)

    def end(self) -> None:
        self.server.drain()
        self.server.shutdown()
        counts = self.server.statistics
        assert counts.opened == sum(counts.closed.values())
        assert self.kernel.open_files() == 0


def provoke(stage: Stage, where: str) -> Socket:
    """Make the callback be called for one connection: whose that is."""
    if where == "call_soon":
        app = stage.server.app
        stage.server.call_soon(lambda: app.fail("call_soon"))  # type: ignore[attr-defined]
    peer = stage.peer()
    if where in ("on_blocked", "on_drained"):
        sent = 0
        for _ in range(20):
            sent += peer.send(bytes(20_000))
            stage.ticks(1)
        has_ended(stage, peer)
    elif where == "on_eof":
        peer.shutdown_write()
    else:
        peer.send(b"x")
    stage.ticks()
    return peer


def has_ended(stage: Stage, peer: Socket) -> bool:
    """Whether the server has closed it, with all read that it sent."""
    try:
        while peer.recv():
            stage.ticks()
    except ConnectionResetError:
        return True
    return peer.at_eof or peer.was_reset


@pytest.mark.parametrize("where", CALLBACKS)
def test_only_the_connections_of_the_batch_are_closed(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Faulty("")
    stage = Stage(app)
    other = stage.peer()
    app.where = where
    peer = provoke(stage, where)
    concerned = where not in ("on_tick", "call_soon")
    assert has_ended(stage, peer) is concerned
    assert stage.server.statistics.failed == {where: 1}
    assert stage.server.statistics.closed[c1m.CloseReason.APP] == concerned
    assert app.closed == [(slot, c1m.CloseReason.APP) for slot, _ in app.closed]
    assert len(app.closed) == concerned
    other.send(b"still here")
    stage.ticks()
    assert other.recv() == b"still here"
    [record] = caplog.records
    said = record.getMessage()
    assert said.startswith(f"{where} of Faulty failed (ValueError: on purpose).")
    assert record.exc_info is not None
    if concerned:
        assert peer.source is not None
        assert f"are closed: {app.closed[0][0]} (127.0.0.1:{peer.source.port})" in said
    stage.end()


@pytest.mark.parametrize("where", ["on_close", "on_stop", "is_done"])
def test_what_concerns_those_that_have_ended_or_nobody_goes_on(where: str) -> None:
    app = Faulty(where)
    stage = Stage(app)
    peer = stage.peer()
    peer.send(b"x")
    stage.ticks()
    stage.end()
    assert stage.server.statistics.failed == {where: 1}
    assert len(app.closed) == 1


@pytest.mark.parametrize("where", [*CALLBACKS, "on_close", "on_stop", "is_done"])
def test_stop_raises_it(where: str) -> None:
    app = Faulty("")
    stage = Stage(app, on_error="stop")
    stage.peer()
    app.where = where
    with pytest.raises(ValueError, match="on purpose"):
        provoke(stage, where)
        stage.server.drain()
    stage.server.shutdown()
    counts = stage.server.statistics
    assert counts.opened == sum(counts.closed.values())
    assert stage.kernel.open_files() == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), InternalError("ours")])
def test_some_are_always_the_end(error: BaseException) -> None:
    stage = Stage(Faulty("on_data", error))
    with pytest.raises(type(error)):
        provoke(stage, "on_data")
    stage.server.shutdown()


def test_a_broken_invariant_of_the_engine_is_the_end_and_one_of_the_application_is_not() -> None:
    class Asserts(c1m.App):
        def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
            if batch.data.piece(0) == b"mine":
                raise AssertionError
            server.engine.send(np.repeat(batch.slots, 20), batch.data)  # 20 slots, and one piece

    stage = Stage(Asserts())
    peer = stage.peer()
    peer.send(b"mine")
    stage.ticks()
    assert stage.server.statistics.closed[c1m.CloseReason.APP] == 1
    other = stage.peer()
    other.send(b"theirs")
    with pytest.raises(AssertionError):
        stage.ticks()
    stage.server.shutdown()


def test_a_memory_error_is_one_as_others() -> None:
    stage = Stage(Faulty("on_data", MemoryError()))
    provoke(stage, "on_data")
    assert stage.server.statistics.closed[c1m.CloseReason.APP] == 1
    stage.end()


def test_a_function_decides() -> None:
    told: list[c1m.Failure] = []

    def decide(failure: c1m.Failure) -> str:
        told.append(failure)
        return words.pop(0)

    words = ["keep", "close", "stop", "perhaps"]
    app = Faulty("")
    stage = Stage(app, on_error=decide)
    peer = stage.peer()
    for at_eof in (False, True):
        app.where = "on_data"
        peer.send(b"x")
        stage.ticks()
        peer.recv()
        assert peer.at_eof is at_eof
    assert [(f.callback, f.app, len(f.slots)) for f in told] == [("on_data", app, 1)] * 2
    for error in (ValueError, c1m.UsageError):
        app.where = "on_data"
        peer = stage.peer()
        peer.send(b"x")
        with pytest.raises(error):
            stage.ticks()
    stage.server.shutdown()


def test_a_large_batch_is_named_in_part(caplog: pytest.LogCaptureFixture) -> None:
    app = Faulty("")
    stage = Stage(app)
    peers = [stage.peer() for _ in range(30)]
    for peer in peers:
        peer.send(b"x")
    app.where = "on_data"
    stage.ticks()
    assert stage.server.statistics.closed[c1m.CloseReason.APP] == 30
    assert " and 22 more." in caplog.records[0].getMessage()
    stage.end()


@pytest.mark.parametrize("odd", ["", "Close", None, 5, []])
def test_what_cannot_be_meant_is_refused(odd: Any) -> None:
    with pytest.raises(c1m.UsageError, match="on_error is"):
        c1m.Server(c1m.App(), "tcp://127.0.0.1:0", on_error=odd)


def test_of_several_applications_one_fails_for_itself() -> None:
    first, second = Faulty(""), Faulty("")
    stage = Stage(ByListener(first, [Further(["tcp://127.0.0.1:8002"], second)]))
    one, two = stage.peer(8001), stage.peer(8002)
    for where in ("on_data", "on_tick"):
        second.where = where
        one.send(b"1")
        two.send(b"2")
        stage.ticks()
        assert one.recv() == b"1"
    two.recv()
    assert two.at_eof
    assert not first.closed
    assert [reason for _, reason in second.closed] == [c1m.CloseReason.APP]
    second.where = "on_stop"
    stage.end()
    assert stage.server.statistics.failed == {"on_data": 1, "on_tick": 1, "on_stop": 1}


# --- HTTP and WebSocket ---------------------------------------------------------------------------


class Site(WebApp):
    """/bad fails."""

    def on_request(self, slot: int, request: Request, server: c1m.Server) -> Response | None:
        if request.head.path == "/bad":
            raise ValueError("on purpose")
        return text(200, "fine")


def test_a_request_that_fails_is_told_so_and_others_are_answered() -> None:
    stage = SocketStage(Site())
    good, bad = stage.connection(), stage.connection()
    good.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    bad.send(b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    stage.ticks()
    assert good.recv().startswith(b"HTTP/1.1 200 ")
    came = bad.recv()
    assert came.startswith(b"HTTP/1.1 500 ")
    assert came.count(b"HTTP/1.1") == 1
    assert bad.recv() == b""
    assert bad.at_eof
    assert stage.server.statistics.closed[c1m.CloseReason.APP] == 1
    stage.server.shutdown()


class Rooms(c1m.WebSocketApp):
    """What somebody says that is the name of a callback fails there."""

    where = ""
    gone: list[tuple[int, int]]

    def fail(self, here: str) -> None:
        if self.where == here:
            self.where = ""
            raise ValueError("on purpose")

    def on_start(self, server: c1m.WebSocketServer) -> None:
        self.gone = []

    def on_open(self, batch: c1m.ConnectBatch, server: c1m.WebSocketServer) -> None:
        server.send_text(batch.slots, "welcome")
        self.fail("on_open")

    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        self.fail("on_messages")
        server.send_text(batch.slots, batch.messages)

    def on_close(self, batch: c1m.GoneBatch, server: c1m.WebSocketServer) -> None:
        self.gone += zip(batch.slots.tolist(), batch.codes.tolist(), strict=True)
        self.fail("on_close")

    def on_tick(self, now_ns: int, server: c1m.WebSocketServer) -> None:
        self.fail("on_tick")

    def on_stop(self, server: c1m.WebSocketServer) -> None:
        self.fail("on_stop")


def rooms_stage() -> tuple[Rooms, Any]:
    rooms = Rooms()
    return rooms, SocketStage(rooms.as_app())  # type: ignore[arg-type]


def test_websockets_are_closed_with_1011() -> None:
    rooms, stage = rooms_stage()
    good, bad = stage.client(), stage.client()
    good.hear(), bad.hear()
    rooms.where = "on_messages"
    bad.say(Op.TEXT, b"x")
    stage.ticks()
    [message] = bad.hear()
    assert (message.op, closing(message.payload)[0]) == (Op.CLOSE, 1011)
    assert bad.has_ended()
    assert [code for _, code in rooms.gone] == [1011]
    good.say(Op.TEXT, b"still here")
    assert [message.payload for message in good.hear()] == [b"still here"]
    counts = stage.app._server.statistics
    assert (counts.opened, counts.live, dict(counts.closed)) == (2, 1, {1011: 1})
    stage.server.shutdown()


def test_who_asked_for_a_websocket_is_told_500() -> None:
    rooms, stage = rooms_stage()
    good = stage.client()
    rooms.where = "on_open"
    bad = stage.connection()
    bad.send(UPGRADE % b"/")
    stage.ticks()
    assert bad.recv().startswith(b"HTTP/1.1 500 ")
    assert not rooms.gone
    counts = stage.app._server.statistics
    assert (counts.opened, counts.live, dict(counts.refused)) == (1, 1, {500: 1})
    assert not good.has_ended()
    stage.server.shutdown()


@pytest.mark.parametrize("where", ["on_tick", "on_close", "on_stop"])
def test_other_callbacks_of_a_websocket_app_close_nobody(where: str) -> None:
    rooms, stage = rooms_stage()
    good, other = stage.client(), stage.client()
    rooms.where = where
    other.peer.close()
    stage.ticks()
    good.hear()
    good.say(Op.TEXT, b"still here")
    assert b"still here" in [message.payload for message in good.hear()]
    stage.server.drain()
    assert stage.server.statistics.failed == {where: 1}
    stage.server.shutdown()


# --- the key-value server -------------------------------------------------------------------------


def broken(*args: Any) -> Any:
    raise ValueError("on purpose")


@pytest.mark.parametrize("part", ["_look_after", "_send"])
def test_a_key_value_server_whose_tick_fails_leaves_nobody_waiting(part: str) -> None:
    app = KeyValue()
    stage = Stage(app)
    first, second = stage.peer(), stage.peer()
    whole: Callable[..., Any] = getattr(app, part)
    setattr(app, part, broken)
    first.send(b"SET k v\r\n")
    stage.ticks(2)
    setattr(app, part, whole)
    second.send(b"GET k\r\n")
    stage.ticks()
    assert second.recv() == b"$1\r\nv\r\n"
    if part == "_send":
        assert first.recv() == b""
        assert first.at_eof
    else:
        assert first.recv() == b"+OK\r\n"
    stage.end()


def test_replies_that_were_not_sent_are_never_those_of_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    app = KeyValue()
    stage = Stage(app)
    first = stage.peer()
    whole = app._send
    app._send = broken  # type: ignore[assignment, method-assign]
    first.send(b"ECHO secret\r\n")
    stage.ticks(3)
    app._send = whole  # type: ignore[method-assign]
    others = [stage.peer() for _ in range(200)]  # one has its slot
    stage.ticks()
    assert not any(other.recv() for other in others)
    stage.end()


def test_a_large_batch_is_no_long_line(caplog: pytest.LogCaptureFixture) -> None:
    server: Any = SimpleNamespace(
        statistics=SimpleNamespace(failed={}),
        on_error="close",
        peers=lambda slots: [("10.0.0.1", 7)] * len(slots),
        operators=SimpleNamespace(log=ServerLog(SystemClock(), lambda when_ns, call: None)),
    )
    slots = np.arange(100_000, dtype=np.int32)
    failures.take(failures.Failure("on_data", c1m.App(), slots, ValueError("no")), server)
    [record] = caplog.records
    assert record.count == 100_000  # type: ignore[attr-defined]
    assert record.connections == [*range(failures.LISTED)]  # type: ignore[attr-defined]
    assert "and 99,992 more" in record.getMessage()


class Speechless(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_an_exception_that_cannot_say_what_it_is_closes_its_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(Faulty("on_data", Speechless()))
    stage.peer().send(b"x")
    stage.ticks()
    assert stage.server.statistics.closed[c1m.CloseReason.APP] == 1
    assert "Speechless: which cannot say what it is" in caplog.records[0].getMessage()
    stage.end()
