"""c1m.ProtocolServer: an event loop around protocols, a drain, counts that add up, bounds."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

import c1m
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving

MB = 1 << 20
LISTEN = "tcp://127.0.0.1:0"


@pytest.fixture(params=["uring", "epoll", "auto"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    gc.unfreeze()  # what conftest.py has frozen is thawed by the first server of a process
    before, frozen = set(os.listdir("/proc/self/fd")), gc.get_freeze_count()
    yield
    assert set(os.listdir("/proc/self/fd")) == before
    assert gc.get_freeze_count() == frozen


class Echo(asyncio.Protocol):
    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def connect(run: ServerThread, small: bool = False) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(WAIT_S)
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((run.host, run.port))
    return sock


@pytest.mark.usefixtures("nothing_is_left")
def test_tasks_timers_and_futures_work_in_all_callbacks(engine: str) -> None:
    seen: list[str] = []

    class Busy(Echo):
        def __init__(self) -> None:
            self.note("factory")

        def note(self, where: str) -> None:
            assert type(asyncio.get_running_loop()) is c1m.EventLoop
            asyncio.get_running_loop().call_later(0.001, seen.append, where)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.note("connection_made")

        def data_received(self, data: bytes) -> None:
            self.note("data_received")
            self.task = asyncio.get_running_loop().create_task(self.answer(data))

        async def answer(self, data: bytes) -> None:
            async with asyncio.timeout(WAIT_S):
                await asyncio.sleep(0.01)
                self.transport.write(await asyncio.to_thread(bytes.upper, data))

        def eof_received(self) -> bool:
            self.note("eof_received")
            self.task.add_done_callback(lambda _: self.transport.close())
            return True

        def connection_lost(self, exc: BaseException | None) -> None:
            self.note("connection_lost")

    with serving(Busy, engine=engine) as run:
        with connect(run) as sock:
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(10) == b"HELLO"
            assert sock.recv(10) == b""
        where = ["factory", "connection_made", "data_received", "eof_received", "connection_lost"]
        eventually(lambda: len(seen) == 5, "all timers")
        assert sorted(seen) == sorted(where)


@pytest.mark.usefixtures("nothing_is_left")
def test_why_connections_ended_is_counted(engine: str) -> None:
    class Obeying(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"close":
                self.transport.close()
            elif data == b"abort":
                self.transport.abort()
            elif data == b"raise":
                raise OSError("on purpose")
            elif data == b"much":
                self.transport.write(bytes(16 * MB))
                self.transport.close()
            else:
                self.transport.write(data)

    many = contextlib.ExitStack()
    with serving(Obeying, engine=engine, linger_ns=50_000_000) as run, many as stack:
        socks = [stack.enter_context(connect(run, small=True)) for _ in range(7)]
        words = [b"close", b"abort", b"raise", b"much", b"echo", b"echo", b"echo"]
        for sock, word in zip(socks, words, strict=True):
            sock.sendall(word)
        for sock in socks[4:]:
            assert sock.recv(10) == b"echo"
        socks[4].shutdown(socket.SHUT_WR)
        socks[5].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socks[5].close()
        statistics = run.server.statistics
        eventually(lambda: statistics.live == 1, f"six ends: {statistics}")
        statistics = run.stop()
        assert socks[6].recv(10) == b""
    assert {reason: n for reason, n in statistics.closed.items() if n} == {
        c1m.CloseReason.LOCAL: 3,
        c1m.CloseReason.NOT_READ: 1,
        c1m.CloseReason.PEER_EOF: 1,
        c1m.CloseReason.RESET: 1,
        c1m.CloseReason.DRAIN: 1,
    }
    assert (statistics.opened, statistics.peak) == (7, 7)
    assert statistics.messages == 7
    assert statistics.received_bytes == sum(map(len, words))
    assert statistics.unsent_bytes > 0 and statistics.ticks > 0


@pytest.mark.usefixtures("nothing_is_left")
def test_a_drain_answers_what_has_come_and_sends_what_is_owed(engine: str) -> None:
    lost: list[Any] = []
    cancelled: list[str] = []

    class Owing(Echo):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.task = asyncio.get_running_loop().create_task(self.wait())

        async def wait(self) -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append("yes")
                raise

        def data_received(self, data: bytes) -> None:
            self.transport.write(bytes(16 * MB))

        def connection_lost(self, exc: BaseException | None) -> None:
            lost.append(exc)

    run = ServerThread(c1m.ProtocolServer(Owing, LISTEN, engine=engine))
    with connect(run, small=True) as sock:
        sock.sendall(b"x")
        eventually(lambda: run.server.update_statistics().sent_bytes, "output")
        run.server.stop()

        def is_refused() -> bool:
            try:
                socket.create_connection((run.host, run.port), 1).close()
            except OSError:
                return True
            return False

        eventually(is_refused, "nobody is accepted")
        came = 0
        while piece := sock.recv(MB):
            came += len(piece)
    statistics = run.stop()
    assert came == 16 * MB
    assert lost == [None] * statistics.opened
    assert len(cancelled) == statistics.opened
    assert statistics.closed[c1m.CloseReason.DRAIN] >= 1


@pytest.mark.usefixtures("nothing_is_left")
def test_a_drain_has_an_end(engine: str) -> None:
    lost: list[Any] = []

    class Owing(Echo):
        def data_received(self, data: bytes) -> None:
            self.transport.write(bytes(16 * MB))

        def connection_lost(self, exc: BaseException | None) -> None:
            lost.append(exc)

    run = ServerThread(c1m.ProtocolServer(Owing, LISTEN, engine=engine, drain_ns=50_000_000))
    with connect(run, small=True) as sock:
        sock.sendall(b"x")
        eventually(lambda: run.server.update_statistics().sent_bytes, "output")
        statistics = run.stop()
    assert statistics.closed[c1m.CloseReason.DRAIN] == 1
    assert lost == [None]


def test_who_does_not_read_is_not_read_from_where_a_bound_is_given(engine: str) -> None:
    """Its echo ignores pause_writing; without a bound that costs memory, as with asyncio."""
    peers = 4
    with serving(Echo, engine=engine, outbox_high=1 << 18) as run, contextlib.ExitStack() as stack:
        for _ in range(peers):
            sock = stack.enter_context(connect(run, small=True))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while sock.send(bytes(MB)):
                    pass
        socks = [connect(run) for _ in range(3)]
        for sock in socks:
            with sock:
                sock.sendall(b"still")
                assert sock.recv(10) == b"still"
        counts = run.server.engine.statistics()
        assert counts.outbox_bytes < peers * 4 * MB


def test_reading_goes_on_when_the_output_has_gone(engine: str) -> None:
    with serving(Echo, engine=engine, outbox_high=1 << 16) as run, connect(run) as sock:
        payload = os.urandom(MB) * 8

        async def both() -> bytes:
            reader, writer = await asyncio.open_connection(sock=sock.dup())
            writer.write(payload)
            came = await reader.readexactly(len(payload))
            writer.close()
            return came

        assert asyncio.run(both()) == payload


def test_reports_and_their_errors(engine: str) -> None:
    server = c1m.ProtocolServer(Echo, LISTEN, engine=engine)
    calls: list[int] = []

    def report(running: c1m.ProtocolServer) -> int:
        assert running is server
        calls.append(running.update_statistics().live)
        if len(calls) == 3:
            raise RuntimeError("on purpose")
        return int(running.clock.now_ns()) + 1_000_000

    with pytest.raises(RuntimeError, match="on purpose"):
        server.run(report)
    assert calls == [0, 0, 0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.endpoints[0].port))
    with pytest.raises(c1m.UsageError, match="has ended"):
        server.run()
    server.stop()
    server.shutdown()


@pytest.mark.usefixtures("nothing_is_left")
def test_inside_a_running_loop_is_a_sentence(engine: str) -> None:
    server = c1m.ProtocolServer(Echo, LISTEN, engine=engine)

    async def main() -> None:
        for call in (server.run, lambda: c1m.serve(Echo, LISTEN, engine=engine)):
            with pytest.raises(c1m.UsageError, match=r"loop runs in this thread.*create_server"):
                call()

    asyncio.run(main())


@pytest.mark.usefixtures("nothing_is_left")
def test_invalid_arguments_leave_nothing(engine: str) -> None:
    odd: list[tuple[str, Any]] = [
        ("listen", None), ("listen", []), ("engine", None), ("engine", object()),
        ("connections_max", 2.5), ("connections_max", 0), ("backlog", -1), ("outbox_high", "1M"),
        ("busy_poll_ns", -1), ("drain_ns", None), ("linger_ns", -1), ("clock", 5),
        ("factory", 5), ("listen", "tcp://192.0.2.1:1"), ("proxy_from", "10.0.0.1"),
        ("admin", "192.0.2.1:1"),
    ]  # fmt: skip
    kept = []  # with their frames: nothing is given back by luck
    for name, value in odd:
        wanted: dict[str, Any] = {"factory": Echo, "listen": LISTEN, "engine": engine, name: value}
        with pytest.raises(c1m.UsageError) as raised:
            c1m.ProtocolServer(**wanted)
        kept.append(raised)
    c1m.ProtocolServer(Echo, LISTEN, engine=engine).shutdown()


@pytest.mark.usefixtures("nothing_is_left")
def test_several_endpoints(engine: str, tmp_path: Any) -> None:
    path = tmp_path / "sock"
    with serving(Echo, [LISTEN, f"unix://{path}", LISTEN], engine=engine) as run:
        ports = [each.port for each in run.server.endpoints]
        assert len({ports[0], ports[2]}) == 2 and ports[1] == 0
        with socket.socket(socket.AF_UNIX) as one, socket.socket() as two, socket.socket() as three:
            for sock, address in (
                (one, str(path)), (two, (run.host, ports[2])), (three, (run.host, ports[0])),
            ):  # fmt: skip
                sock.settimeout(WAIT_S)
                sock.connect(address)
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
    assert not path.exists()


@pytest.mark.usefixtures("nothing_is_left")
def test_a_limit_of_connections(engine: str) -> None:
    with serving(Echo, engine=engine, connections_max=2) as run:
        socks = [connect(run) for _ in range(3)]
        for sock in socks:
            sock.sendall(b"x")
        assert socks[0].recv(1) == socks[1].recv(1) == b"x"
        assert run.server.statistics.opened == 2
        for sock in socks[:2]:
            sock.close()
        assert socks[2].recv(1) == b"x"
        socks[2].close()


# --- exceptions of protocols ----------------------------------------------------------------------


class Faulty(asyncio.Protocol):
    """Raises for what is b"bad", and echoes all else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data == b"bad":
            raise ValueError("on purpose")
        self.transport.write(data)


def test_an_exception_closes_its_connection_and_is_counted(engine: str) -> None:
    run = ServerThread(c1m.ProtocolServer(Faulty, LISTEN, engine=engine))
    with connect(run) as good, connect(run) as bad:
        bad.sendall(b"bad")
        assert bad.recv(1) == b""
        good.sendall(b"good")
        assert good.recv(4) == b"good"
    statistics = run.stop()
    assert statistics.failed == {"data_received": 1}
    assert statistics.closed[c1m.CloseReason.APP] == 1


def test_an_exception_ends_the_server_if_it_is_told_to(engine: str) -> None:
    run = ServerThread(c1m.ProtocolServer(Faulty, LISTEN, engine=engine, on_error="stop"))
    with connect(run) as bad:
        bad.sendall(b"bad")
        assert bad.recv(1) == b""
    with pytest.raises(ValueError, match="on purpose"):
        run.stop()


def test_a_function_is_told_what_has_raised(engine: str) -> None:
    told: list[c1m.Failure] = []

    def decide(failure: c1m.Failure) -> str:
        told.append(failure)
        return "close"

    run = ServerThread(c1m.ProtocolServer(Faulty, LISTEN, engine=engine, on_error=decide))
    with connect(run) as bad:
        bad.sendall(b"bad")
        assert bad.recv(1) == b""
    run.stop()
    [failure] = told
    assert (failure.callback, len(failure.slots)) == ("data_received", 1)
    assert isinstance(failure.app, Faulty)
