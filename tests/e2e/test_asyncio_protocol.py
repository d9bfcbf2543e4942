"""Unchanged asyncio protocols under c1m.ProtocolServer, against asyncio's own clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import c1m
from e2e.library_runs import ServerThread, eventually, serving

Serve = Callable[..., ServerThread]


@pytest.fixture(params=["uring", "epoll"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Makes a running server for a protocol class; it must end in good order."""
    runs: list[ServerThread] = []

    def make(factory: Callable[[], Any], **options: Any) -> ServerThread:
        server = c1m.ProtocolServer(factory, "tcp://127.0.0.1:0", engine=request.param, **options)
        runs.append(ServerThread(server))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


class Recorder(asyncio.Protocol):
    """Echo that writes down what it is told."""

    made: list[Recorder]

    def __init_subclass__(cls) -> None:
        cls.made = []

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.lost: list[BaseException | None] = []
        type(self).made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.calls.append("data")
        self.transport.write(data)

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return None

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("lost")
        self.lost.append(exc)


def connect(run: ServerThread) -> socket.socket:
    sock = socket.create_connection((run.host, run.port))
    sock.settimeout(30)
    return sock


def read_all(sock: socket.socket) -> bytes:
    received = bytearray()
    while piece := sock.recv(1 << 16):
        received += piece
    return bytes(received)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_asyncio_clients_get_their_echo(serve: Serve) -> None:
    class Echo(Recorder):
        pass

    run = serve(Echo)

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(run.host, run.port)
        for size in (1, 100, 10_000, 300_000):
            message = bytes([number]) * size
            writer.write(message)
            assert await reader.readexactly(size) == message
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    async def clients() -> None:
        await asyncio.gather(*(client(number) for number in range(50)))

    asyncio.run(clients())
    statistics = run.stop()
    assert statistics.closed[c1m.CloseReason.PEER_EOF] == 50
    assert len(Echo.made) == 50
    for protocol in Echo.made:
        order = [c for c in protocol.calls if c not in ("pause", "resume")]
        assert order[0] == "made"
        assert set(order[1:-2]) == {"data"}
        assert order[-2:] == ["eof", "lost"]
        assert protocol.lost == [None]


def test_a_true_eof_received_keeps_the_connection(serve: Serve) -> None:
    class Late(Recorder):
        def eof_received(self) -> bool:
            self.calls.append("eof")
            return True

    run = serve(Late)
    with connect(run) as sock, connect(run) as other:
        sock.sendall(b"first ")
        sock.shutdown(socket.SHUT_WR)
        eventually(lambda: any("eof" in p.calls for p in Late.made), "end of stream")
        half_open = next(p for p in Late.made if "eof" in p.calls)

        def data_received(data: bytes) -> None:  # in the server's thread
            half_open.transport.write(data)
            half_open.transport.close()

        next(p for p in Late.made if p is not half_open).data_received = data_received  # type: ignore[method-assign]
        other.sendall(b"second")
        assert read_all(sock) == b"first second"
    assert eventually(lambda: half_open.lost, "connection_lost") == [None]


def test_a_reset_is_told(serve: Serve) -> None:
    class Told(Recorder):
        pass

    run = serve(Told)
    sock = connect(run)
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"
    reset(sock)
    protocol = eventually(lambda: [p for p in Told.made if p.lost], "connection_lost")[0]
    assert isinstance(protocol.lost[0], ConnectionResetError)
    assert run.stop().closed[c1m.CloseReason.RESET] == 1


@pytest.mark.parametrize(
    "where", ["factory", "connection_made", "data_received", "eof_received", "connection_lost"]
)
def test_an_exception_ends_that_connection_only(
    serve: Serve, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    armed: list[bool] = []

    class Faulty(Recorder):
        def __init__(self) -> None:
            self.is_faulty = bool(armed)
            self.fail("factory")
            super().__init__()

        def fail(self, here: str) -> None:
            if self.is_faulty and here == where:
                raise RuntimeError(f"on purpose in {here}")

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.fail("connection_made")

        def data_received(self, data: bytes) -> None:
            self.fail("data_received")
            super().data_received(data)

        def eof_received(self) -> None:
            self.fail("eof_received")
            super().eof_received()

        def connection_lost(self, exc: BaseException | None) -> None:
            super().connection_lost(exc)
            self.fail("connection_lost")

    run = serve(Faulty)
    with connect(run) as good:
        good.sendall(b"a")
        assert good.recv(1) == b"a"
        armed.append(True)
        with connect(run) as bad, contextlib.suppress(OSError):  # a reset, at any moment
            bad.sendall(b"b")
            bad.shutdown(socket.SHUT_WR)
            read_all(bad)
        eventually(lambda: "on purpose" in caplog.text, "a message in the log")
        good.sendall(b"c")
        assert good.recv(1) == b"c"
    records = [r for r in caplog.records if r.name == "asyncio"]
    assert len(records) == 1
    assert records[0].levelno == logging.ERROR
    if where in ("connection_made", "data_received", "eof_received"):
        failed = next(p for p in Faulty.made if isinstance(p, Faulty) and p.is_faulty)
        assert len(eventually(lambda: failed.lost, "connection_lost")) == 1
        # As asyncio has it: what takes input ends its connection, what does not, does not.
        assert isinstance(failed.lost[0], RuntimeError) == (where != "connection_made")


def test_a_slow_reader_pauses_the_writing(serve: Serve) -> None:
    class Slow(Recorder):
        pass

    run = serve(Slow, outbox_high=1 << 18)
    payload = os.urandom(1 << 20) * 24

    async def client() -> None:
        reader, writer = await asyncio.open_connection(run.host, run.port)
        writer.write(payload)
        await asyncio.to_thread(eventually, lambda: Slow.made and Slow.made[0].calls[1:2], "data")
        await asyncio.to_thread(eventually, lambda: "pause" in Slow.made[0].calls, "pause_writing")
        assert await reader.readexactly(len(payload)) == payload
        writer.close()
        await writer.wait_closed()

    asyncio.run(client())
    run.stop()
    calls = [c for c in Slow.made[0].calls if c in ("pause", "resume")]
    assert calls == ["pause", "resume"] * (len(calls) // 2)


def test_a_producer_that_writes_until_it_is_paused(serve: Serve) -> None:
    """As asyncio's: pause_writing comes within write(), or a loop like this would never end."""
    chunk = bytes(range(256)) * 256
    total = 200 * len(chunk)

    class Producer(Recorder):
        def data_received(self, data: bytes) -> None:
            self.left = total
            self.is_paused = False
            self.produce()

        def produce(self) -> None:
            while self.left and not self.is_paused:
                self.transport.write(chunk)
                self.left -= len(chunk)
            if not self.left:
                self.transport.close()

        def pause_writing(self) -> None:
            self.is_paused = True

        def resume_writing(self) -> None:
            self.is_paused = False
            self.produce()

    run = serve(Producer, outbox_high=1 << 18)
    with connect(run) as sock:
        sock.sendall(b"go")
        assert read_all(sock) == chunk * 200


def test_paused_reading_keeps_what_comes(serve: Serve) -> None:
    class Paused(Recorder):
        paused: asyncio.Transport

        def data_received(self, data: bytes) -> None:
            assert self.transport.is_reading()
            if data == b"pause":
                self.transport.pause_reading()
                assert not self.transport.is_reading()
                Paused.paused = self.transport
                self.transport.write(b"paused")
            elif data == b"resume":
                Paused.paused.resume_reading()
                self.transport.write(b"resumed")
            else:
                super().data_received(data)

    run = serve(Paused)
    with connect(run) as sock, connect(run) as other:
        sock.sendall(b"pause")
        assert sock.recv(10) == b"paused"
        sock.sendall(b"kept")
        sock.shutdown(socket.SHUT_WR)
        other.sendall(b"tick")
        assert other.recv(10) == b"tick"
        assert all("eof" not in p.calls for p in Paused.made)
        other.sendall(b"resume")
        assert other.recv(10) == b"resumed"
        assert read_all(sock) == b"kept"


def test_writes_of_a_tick_go_as_one_batch(serve: Serve) -> None:
    class Chatty(Recorder):
        def data_received(self, data: bytes) -> None:
            for byte in data:
                self.transport.write(bytes([byte]))
            self.transport.write(bytearray(b"-"))
            self.transport.writelines([memoryview(b"o"), b"", b"k"])
            self.transport.close()
            self.transport.write(b"never sent")

    run = serve(Chatty)
    batches: list[bytes] = []
    engine: Any = run.server.engine
    plain_send, send_each = engine.send, engine.send_each

    def send(slots: Any, data: Any) -> None:
        batches.append(b"".join(data.pieces()))
        plain_send(slots, data)

    def send_lists(slots: list[int], pieces: list[bytes]) -> None:
        batches.append(b"".join(pieces))
        engine.send = plain_send  # which it may use
        send_each(slots, pieces)
        engine.send = send

    engine.send, engine.send_each = send, send_lists
    with connect(run) as sock:
        sock.sendall(b"abc")
        assert read_all(sock) == b"abc-ok"
    assert batches == [b"abc-ok"]


def test_the_size_of_the_write_buffer_is_what_the_kernel_has_not_taken(serve: Serve) -> None:
    sizes: list[int] = []

    class Asking(Recorder):
        def data_received(self, data: bytes) -> None:
            for piece in (b"a little", bytes(32 << 20)):
                self.transport.write(piece)
                sizes.append(self.transport.get_write_buffer_size())
            self.transport.close()
            sizes.append(self.transport.get_write_buffer_size())

    run = serve(Asking)
    with connect(run) as sock:
        sock.sendall(b"go")
        eventually(lambda: len(sizes) == 3, "three sizes, while nobody reads")
        assert len(read_all(sock)) == (32 << 20) + 8
    assert sizes[0] == 0
    assert 16 << 20 < sizes[2] <= sizes[1] < 32 << 20


def test_abort_wins_over_a_close_long_before_it(serve: Serve) -> None:
    class Farewell(Recorder):
        def data_received(self, data: bytes) -> None:
            if data == b"large":
                self.transport.write(bytes(16 << 20))
                self.transport.close()
            else:
                type(self).made[0].transport.abort()
                self.transport.abort()

    run = serve(Farewell)
    with contextlib.closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((run.host, run.port))
        sock.sendall(b"large")
        eventually(lambda: run.server.engine.statistics().outbox_bytes, "output that is owed")
        eventually(lambda: Farewell.made[0].transport.is_closing(), "the close, one line later")
        assert Farewell.made[0].lost == []
        with socket.create_connection((run.host, run.port)) as other:
            other.sendall(b"now")
            eventually(lambda: Farewell.made[0].lost, "connection_lost")
            assert run.server.engine.statistics().outbox_bytes == 0
        assert Farewell.made[0].lost == [None]
        sock.settimeout(30)
        assert len(read_all(sock)) < 16 << 20


def test_abort_ends_at_once(serve: Serve) -> None:
    """What the kernel takes at once still goes out, as asyncio has it, and nothing after that."""

    class Aborting(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"taken")
            self.transport.write(bytes(16 << 20))
            self.transport.close()
            self.transport.abort()
            assert self.transport.is_closing()
            assert not self.lost, "connection_lost comes later, never from within abort()"

    run = serve(Aborting)
    with connect(run) as sock:
        sock.sendall(b"x")
        eventually(lambda: Aborting.made and Aborting.made[0].lost, "connection_lost")
        came = read_all(sock)
        assert came[:5] == b"taken"
        assert len(came) < 16 << 20
    assert Aborting.made[0].lost == [None]


def test_what_a_transport_tells(serve: Serve) -> None:
    told: list[Any] = []

    class Curious(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            mine = self.transport
            told.append(mine.get_extra_info("sockname"))
            told.append(mine.get_extra_info("peername"))
            told.append(mine.get_extra_info("nothing", "default"))
            told.append(mine.can_write_eof())
            told.append(mine.get_write_buffer_limits())
            mine.set_write_buffer_limits(high=100)
            told.append(mine.get_write_buffer_limits())
            told.append(mine.get_protocol() is self)
            real = mine.get_extra_info("socket")
            told.append(real.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            with pytest.raises(TypeError):
                mine.write("text")  # type: ignore[arg-type]
            mine.set_protocol(Second(mine))

    class Second(asyncio.BufferedProtocol):
        def __init__(self, transport: asyncio.Transport) -> None:
            self.transport = transport
            self.buffer = bytearray(3)

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.transport.write(b"second " + self.buffer[:nbytes])

        def eof_received(self) -> bool:
            self.transport.write(b" end")
            self.transport.write_eof()
            return False

    for options, limits in ((1000, (250, 1000)), (None, (16384, 65536))):
        told.clear()
        run = serve(Curious, outbox_high=options)
        with connect(run) as sock:
            own = sock.getsockname()
            sock.sendall(b"abcde")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"second abcsecond de end"
        assert told == [
            (run.host, run.port), own, "default", True, limits, (25, 100), True, 1
        ]  # fmt: skip


def test_the_stop_of_the_server_ends_all_protocols(serve: Serve) -> None:
    class Ended(Recorder):
        pass

    run = serve(Ended)
    socks = [connect(run) for _ in range(20)]
    eventually(lambda: len(Ended.made) == 20, "20 connections")
    statistics = run.stop()
    assert [p.lost for p in Ended.made] == [[None]] * 20
    assert statistics.closed[c1m.CloseReason.DRAIN] == 20
    for sock in socks:
        assert sock.recv(1) == b""
        sock.close()


def test_what_is_no_protocol_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    class Needing(asyncio.Protocol):
        def __init__(self, config: object) -> None: ...

    async def handle(reader: object, writer: object) -> None: ...

    async def asgi(scope: object, receive: object, send: object) -> None: ...

    class Asgi:
        async def __call__(self, scope: object, receive: object, send: object) -> None: ...

    endpoint = "tcp://127.0.0.1:0"
    for factory, said in (
        (asyncio.DatagramProtocol, "DatagramProtocol is no asyncio protocol"),
        (int, "int is no asyncio protocol: it has no data_received"),
        (handle, "handle is a coroutine function.*asyncio.start_server"),
        (asgi, "asgi is an ASGI application.*uvicorn .* --loop c1m:new_event_loop"),
        (Asgi(), "Asgi object .* is an ASGI application.*uvicorn"),
        (Needing, "Needing cannot be called without arguments.*'config'.*lambda: .*Needing"),
        (lambda one, two=2: None, "cannot be called without arguments .*'one'"),
    ):
        for make in (c1m.ProtocolServer, c1m.serve):
            with pytest.raises(c1m.UsageError, match=said):
                make(factory, endpoint)  # type: ignore[arg-type]
    with pytest.raises(c1m.UsageError, match="makes no protocols"):
        c1m.ProtocolServer(5, endpoint)  # type: ignore[arg-type]
    with pytest.raises(c1m.UsageError, match="neither"):
        c1m.serve(5, endpoint)
    for make in (c1m.ProtocolServer, c1m.serve):
        with pytest.raises(c1m.UsageError, match="each connection needs its own"):
            make(asyncio.Protocol(), endpoint)  # type: ignore[arg-type]
    with pytest.raises(c1m.UsageError, match=r"App\(\)"):
        c1m.serve(c1m.App, endpoint)
    with pytest.raises(c1m.UsageError, match=r"Protocol is a class of asyncio.*Use c1m.serve"):
        c1m.Server(asyncio.Protocol, endpoint)  # type: ignore[arg-type]


def test_a_factory_that_makes_something_else_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with serving(lambda: asyncio.DatagramProtocol()) as run, connect(run) as sock:
        assert sock.recv(1) == b""
        eventually(lambda: "which is no asyncio protocol" in caplog.text, "a message in the log")
