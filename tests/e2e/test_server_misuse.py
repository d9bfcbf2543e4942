"""What a caller does wrong to a server: a sentence tells it, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import c1m
from c1m.apps.echo import Echo
from e2e.library_runs import WAIT_S, eventually, serving

MB = 1 << 20
LISTEN = "tcp://127.0.0.1:0"


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    gc.unfreeze()  # what conftest.py has frozen is thawed by the first server of a process
    before, frozen = set(os.listdir("/proc/self/fd")), gc.get_freeze_count()
    yield
    assert set(os.listdir("/proc/self/fd")) == before
    assert gc.get_freeze_count() == frozen


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("where", ["on_start", "on_tick", "on_stop", "on_report"])
def test_what_a_callback_raises_leaves_no_port_bound(engine: str, where: str) -> None:
    def fail(here: str) -> None:
        if here == where:
            raise RuntimeError("on purpose")

    class Faulty(c1m.App):
        def on_start(self, server: c1m.Server) -> None:
            fail("on_start")

        def on_tick(self, now_ns: int, server: c1m.Server) -> None:
            fail("on_tick")
            server.stop()

        def on_stop(self, server: c1m.Server) -> None:
            fail("on_stop")

    def on_report(server: c1m.Server) -> int:
        fail("on_report")
        return 1 << 62

    server = c1m.Server(Faulty(), LISTEN, engine=engine, on_error="stop")
    port = server.endpoints[0].port
    with pytest.raises(RuntimeError, match="on purpose"):
        server.run(on_report)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.usefixtures("nothing_is_left")
def test_arguments_that_cannot_be_meant_leave_nothing(engine: str) -> None:
    odd: list[tuple[str, Any]] = [
        ("listen", None), ("listen", [LISTEN, None]), ("engine", None), ("engine", object()),
        ("connections_max", "some"), ("connections_max", 2.5), ("backlog", 2**40),
        ("backlog", -1), ("outbox_high", "1M"), ("busy_poll_ns", -1), ("drain_ns", None),
        ("clock", 5), ("app", Echo), ("app", None),
    ]  # fmt: skip
    for name, value in odd:
        wanted: dict[str, Any] = {"app": Echo(), "listen": LISTEN, "engine": engine, name: value}
        with pytest.raises(c1m.UsageError):
            c1m.Server(**wanted)


def test_what_can_be_meant_is_taken(engine: str) -> None:
    listen = {LISTEN: "the only key"}
    server = c1m.Server(Echo(), listen, engine=engine, connections_max="10", backlog=1e3)  # type: ignore[arg-type]
    assert server.engine.live_max == 10
    server.shutdown()


def test_callbacks_that_nobody_would_call_are_refused() -> None:
    class Later(c1m.App):
        async def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:  # type: ignore[override]
            ...

    class Never(c1m.App):
        on_open = None  # type: ignore[assignment]

    with pytest.raises(c1m.UsageError, match=r"Later.on_data is a coroutine"):
        c1m.Server(Later(), LISTEN)
    with pytest.raises(c1m.UsageError, match=r"Never.on_open cannot be called"):
        c1m.Server(Never(), LISTEN)


def test_an_on_tick_may_not_return_what_is_no_time(engine: str) -> None:
    class Odd(c1m.App):
        due: Any = 5.0

        def on_tick(self, now_ns: int, server: c1m.Server) -> Any:
            return self.due

    app = Odd()
    server = c1m.Server(app, LISTEN, engine=engine, on_error="stop")
    server.tick()
    for due in ("soon", float("nan"), 2.5):
        app.due = due
        with pytest.raises(c1m.UsageError, match="What on_tick returned"):
            server.tick(0)
        server._due_ns = None
    for timeout in ("soon", None, 2**60, -5):
        with pytest.raises(c1m.UsageError, match="timeout_ns"):
            server.tick(timeout)  # type: ignore[arg-type]
    server.shutdown()


def test_a_server_that_has_ended_says_so(engine: str) -> None:
    server = c1m.Server(Echo(), LISTEN, engine=engine)
    server.shutdown()
    for call in (server.tick, server.run, server.drain):
        with pytest.raises(c1m.UsageError, match="has ended"):
            call()
    server.send([0], b"x")
    server.close([0])
    assert server.broadcast(b"x") == 0
    server.stop()
    server.wake()


def test_a_server_may_be_woken_while_it_ends(engine: str) -> None:
    """Its doorbell's descriptor may be somebody else's a moment later."""
    for _ in range(30):
        server = c1m.Server(Echo(), LISTEN, engine=engine)
        go = threading.Barrier(3)
        failures: list[BaseException] = []

        def ring(
            server: c1m.Server = server,
            go: threading.Barrier = go,
            failures: list[Any] = failures,
        ) -> None:
            try:
                go.wait()
                for _ in range(200):
                    server.wake()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=ring) for _ in range(2)]
        for thread in threads:
            thread.start()
        go.wait()
        server.shutdown()
        for thread in threads:
            thread.join()
        assert failures == []


def test_a_pause_of_slots_that_are_free_does_not_last(engine: str) -> None:
    """The next connection on such a slot is read from, also after its output has drained."""

    class Answering(c1m.App):
        blocked = drained = 0

        def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
            server.send(batch.slots, bytes(MB) * 16)

        def on_blocked(self, slots: Any, server: c1m.Server) -> None:
            self.blocked += 1

        def on_drained(self, slots: Any, server: c1m.Server) -> None:
            self.drained += 1

    app = Answering()
    with serving(app, engine=engine) as run:
        run.server.pause(range(100))
        with socket.socket() as sock:
            sock.settimeout(WAIT_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MB)
            sock.connect((run.host, run.port))
            for round_ in (1, 2):
                sock.sendall(b"x")
                eventually(lambda round_=round_: app.blocked == round_, "on_blocked")
                left = 16 * MB
                while left:
                    left -= len(sock.recv(min(left, MB)))
                eventually(lambda round_=round_: app.drained == round_, "on_drained")


def test_what_came_cannot_be_written_to(engine: str) -> None:
    """The engine's columns go back to it as they are, so nobody looks at them again."""
    seen: list[Any] = []

    class Meddling(c1m.App):
        def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
            for column in (batch.slots, batch.data.offsets, batch.data.lengths):
                with pytest.raises(ValueError, match="read-only"):
                    column[0] = 7
            with pytest.raises(AttributeError):
                batch.data.lengths = batch.data.lengths * 2
            few = batch.data.take(slice(0, 1))
            too_long = c1m.Ragged(few.memory, few.offsets, few.lengths + len(few.memory))
            with pytest.raises(c1m.UsageError, match="Piece 0 of data"):
                server.send(batch.slots[:1], too_long)
            seen.append(len(batch))
            server.send(batch.slots, batch.data)

    with serving(Meddling(), engine=engine) as run:
        socks = [socket.create_connection((run.host, run.port), WAIT_S) for _ in range(40)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%d" % number)
        for number, sock in enumerate(socks):
            assert sock.recv(10) == b"%d" % number
            sock.close()
    assert sum(seen) == 40
