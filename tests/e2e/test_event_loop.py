"""The event loop: what it does is what asyncio's own loop does with the same program."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import c1m

Main = Callable[[], Coroutine[Any, Any, Any]]


def on_both(main: Main, engine: str, *, debug: bool = False) -> tuple[Any, Any]:
    """What a program returns on asyncio's loop, and on ours."""
    results = []
    for factory in (asyncio.SelectorEventLoop, lambda: c1m.new_event_loop(engine)):
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            results.append(runner.run(main()))
    return results[0], results[1]


class Recorder(asyncio.Protocol):
    """Notes what is called."""

    transport: asyncio.Transport

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        self.has_ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.log.append("made")

    def data_received(self, data: bytes) -> None:
        self.log.append(data)

    def eof_received(self) -> bool | None:
        self.log.append("eof")
        return None

    def pause_writing(self) -> None:
        self.log.append("pause")

    def resume_writing(self) -> None:
        self.log.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.log.append(("lost", type(exc).__name__))
        if not self.has_ended.done():
            self.has_ended.set_result(None)


async def served(
    make: Callable[[], asyncio.Protocol],
) -> tuple[asyncio.Server, socket.socket]:
    """A server, and a blocking client that has connected to it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    client.settimeout(20)
    return server, client


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not happen")


def test_callbacks_come_in_asyncios_order(engine: str) -> None:
    """What was ready goes first, then what came, then timers; what those make ready is next."""

    async def main() -> list[Any]:
        log: list[Any] = []
        loop = asyncio.get_running_loop()

        class Here(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                loop.call_soon(log.append, "soon after data")
                self.transport.write(b"reply")
                self.transport.close()
                log.append("closing")
                loop.call_soon(log.append, "soon after close")

        server, client = await served(lambda: Here(log))
        await until(lambda: log)
        client.sendall(b"data")
        time.sleep(0.05)  # it has arrived, whatever the loop does now
        loop.call_soon(log.append, "ready before")
        loop.call_later(0, log.append, "timer")
        await until(lambda: ("lost", "NoneType") in log)
        assert client.recv(100) == b"reply"
        client.close()
        server.close()
        return log

    theirs, ours = on_both(main, engine)
    assert ours == theirs


def test_what_data_has_made_ready_goes_before_the_end_that_came_with_it(engine: str) -> None:
    async def main() -> list[Any]:
        log: list[Any] = []

        class Here(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                asyncio.get_running_loop().call_soon(log.append, "soon")

        server, client = await served(lambda: Here(log))
        for _ in range(20):  # until rings have a receive armed, which brings both at once
            client.sendall(b"more")
            await asyncio.sleep(0.001)
        await until(lambda: log.count("soon") == 20)
        log.clear()
        client.sendall(b"last")
        client.close()
        time.sleep(0.05)
        await until(lambda: ("lost", "NoneType") in log)
        server.close()
        return log

    theirs, ours = on_both(main, engine)
    assert ours == theirs == [b"last", "soon", "eof", ("lost", "NoneType")]


def test_flow_control(engine: str) -> None:
    """pause_writing comes from within write, resume_writing when the low watermark is reached."""

    async def main() -> list[Any]:
        log: list[Any] = []
        made: list[Recorder] = []
        server, client = await served(lambda: made.append(Recorder(log)) or made[-1])  # type: ignore[func-returns-value]
        await until(lambda: made and log)
        transport = made[0].transport
        log.append(transport.get_write_buffer_limits())
        transport.set_write_buffer_limits(high=1000, low=100)
        log.append(transport.get_write_buffer_limits())
        transport.write(b"x" * 16_000_000)
        log.append(("unsent", transport.get_write_buffer_size() > 1000))
        received = 0
        while received < 16_000_000:
            received += len(await asyncio.to_thread(client.recv, 1 << 20))
        await until(lambda: "resume" in log)
        log.append(transport.get_write_buffer_size())
        client.close()
        await made[0].has_ended
        server.close()
        return log

    theirs, ours = on_both(main, engine)
    assert ours == theirs
    assert ours[1:4] == [(16384, 65536), (100, 1000), "pause"]


def test_a_large_message_is_a_few_calls(engine: str) -> None:
    """A reader that stops after each piece, as asyncio's streams do, goes on by the piece."""
    sizes: list[int] = []

    class Here(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            sizes.append(len(data))

    async def main() -> None:
        server, client = await served(Here)
        await asyncio.to_thread(client.sendall, b"x" * 1_000_000)
        await until(lambda: sum(sizes) == 1_000_000)
        client.close()
        server.close()
        await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=lambda: c1m.new_event_loop(engine)) as runner:
        runner.run(main())
    assert len(sizes) <= 200


@pytest.mark.parametrize("end", ["close", "abort", "close and abort"])
def test_connection_lost_comes_when_the_output_has_gone(engine: str, end: str) -> None:
    async def main() -> list[Any]:
        log: list[Any] = []
        made: list[Recorder] = []
        server, client = await served(lambda: made.append(Recorder(log)) or made[-1])  # type: ignore[func-returns-value]
        await until(lambda: made and log)
        transport = made[0].transport
        transport.write(b"x" * 16_000_000)
        if end.startswith("close"):
            transport.close()
        log.append(("unsent while closing", transport.get_write_buffer_size() > 0))
        await asyncio.sleep(0.05)
        log.append(("lost", ("lost", "NoneType") in log))
        if end.endswith("abort"):
            transport.abort()
            await made[0].has_ended
        received = 0
        while data := await asyncio.to_thread(client.recv, 1 << 20):
            received += len(data)
        await made[0].has_ended
        log.append(("all of it arrived", received == 16_000_000))
        log.append((transport.is_closing(), transport.get_write_buffer_size()))
        client.close()
        server.close()
        return log

    theirs, ours = on_both(main, engine)
    assert ours == theirs


def test_a_half_close_goes_behind_the_output_and_reading_goes_on(engine: str) -> None:
    async def main() -> list[Any]:
        log: list[Any] = []

        class Here(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                self.transport.write(b"y" * 8_000_000)
                self.transport.write_eof()
                try:
                    self.transport.write(b"more")
                except RuntimeError as error:
                    log.append(str(error))

        server, client = await served(lambda: Here(log))
        received = 0
        while data := await asyncio.to_thread(client.recv, 1 << 20):
            received += len(data)
        log.append(received)
        client.sendall(b"still read")
        await until(lambda: b"still read" in log)
        client.close()
        await until(lambda: log[-1] == ("lost", "NoneType"))
        server.close()
        return [each for each in log if each not in ("pause", "resume")]

    theirs, ours = on_both(main, engine)
    assert ours == theirs


def test_what_interrupts_a_callback_ends_no_other_connection(engine: str) -> None:
    """KeyboardInterrupt ends run_forever; what came with it is delivered when the loop goes on."""
    for make in (asyncio.SelectorEventLoop, lambda: c1m.new_event_loop(engine)):
        loop = make()
        log: list[str] = []
        still_open: list[Any] = []

        class Here(asyncio.Protocol):
            def connection_made(self, transport: Any, open_: list[Any] = still_open) -> None:
                open_.append(transport)

            def data_received(self, data: bytes, log: list[str] = log) -> None:
                log.append(data.decode())
                if data == b"0":
                    raise KeyboardInterrupt

        async def main(
            here: type[asyncio.Protocol] = Here, still_open: list[Any] = still_open
        ) -> list[socket.socket]:
            server = await asyncio.get_running_loop().create_server(here, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            still_open.append(server)
            return [socket.create_connection(address) for _ in range(5)]

        clients = loop.run_until_complete(main())
        loop.run_until_complete(asyncio.sleep(0.1))
        for i, client in enumerate(clients):
            client.sendall(b"%d" % i)
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.sleep(1))
        loop.run_until_complete(asyncio.sleep(0.1))
        assert sorted(log) == ["0", "1", "2", "3", "4"]
        for client in clients:
            client.sendall(b"again")
        loop.run_until_complete(asyncio.sleep(0.1))
        assert log.count("again") == 5
        for each in (*clients, *still_open):
            each.close()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


def test_debug_mode_names_slow_callbacks(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    class Slow(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            time.sleep(0.15)

    async def main() -> None:
        server, client = await served(Slow)
        client.sendall(b"x")
        await asyncio.sleep(0.3)
        client.close()
        server.close()

    with (
        caplog.at_level(logging.WARNING, "asyncio"),
        asyncio.Runner(debug=True, loop_factory=lambda: c1m.new_event_loop(engine)) as runner,
    ):
        runner.run(main())
    assert any("EngineTransport" in r.message and "took" in r.message for r in caplog.records)


def test_callbacks_of_a_connection_share_a_context(engine: str) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    class Here(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            seen.append(who.get())

        def data_received(self, data: bytes) -> None:
            seen.append(who.get())
            who.set(data.decode())

    async def main() -> None:
        who.set("server")
        server, client = await served(Here)
        who.set("later")
        for said in (b"one", b"two"):
            client.sendall(said)
            await asyncio.sleep(0.05)
        client.close()
        server.close()

    with asyncio.Runner(loop_factory=lambda: c1m.new_event_loop(engine)) as runner:
        runner.run(main())
    assert seen == ["server", "server", "one"]


def test_an_idle_loop_sleeps_and_wakes_for_everything(engine: str) -> None:
    """Streams, a timer, another thread, a descriptor, a signal, a subprocess: one place to wait."""

    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, c1m.EventLoop)
        server, client = await served(asyncio.Protocol)
        await asyncio.sleep(0.1)
        waits = loop.connections.engine.statistics().ticks
        cpu = time.process_time()
        await asyncio.sleep(0.5)
        idle = loop.connections.engine.statistics().ticks - waits, time.process_time() - cpu

        came: asyncio.Future[int] = loop.create_future()
        threading.Timer(0.01, loop.call_soon_threadsafe, (came.set_result, 1)).start()
        await asyncio.wait_for(came, 10)

        reading, writing = os.pipe()
        woken = loop.create_future()
        loop.add_reader(reading, lambda: woken.done() or woken.set_result(1))
        os.write(writing, b"abc")
        await asyncio.wait_for(woken, 10)
        assert os.read(reading, 1) == b"a"  # the rest is still there, and is reported again
        woken = loop.create_future()
        await asyncio.wait_for(woken, 10)
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)

        signalled = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, lambda: signalled.set_result(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(signalled, 10)
        loop.remove_signal_handler(signal.SIGUSR1)

        child = await asyncio.create_subprocess_exec("echo", "said", stdout=subprocess.PIPE)
        assert (await child.communicate())[0] == b"said\n"
        client.close()
        server.close()
        return idle

    with asyncio.Runner(loop_factory=lambda: c1m.new_event_loop(engine)) as runner:
        waits, _ = runner.run(main())
    assert waits <= 4


def test_closing_the_loop_closes_what_is_open_and_says_so(engine: str) -> None:
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))

    async def main() -> socket.socket:
        server, client = await served(asyncio.Protocol)
        await asyncio.sleep(0.05)
        server.close()
        return client

    loop = c1m.new_event_loop(engine)
    client = loop.run_until_complete(main())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
        gc.collect()
    assert client.recv(1) == b""
    client.close()
    gc.collect()
    assert any("unclosed transport" in str(each.message) for each in caught)
    assert set(os.listdir("/proc/self/fd")) <= before  # threads of other tests may close theirs


MANY = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
import c1m

async def main():
    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=4096)
    address = server.sockets[0].getsockname()
    streams = []
    for _ in range(1000):
        streams.append(await asyncio.open_connection(*address))
    for i, (_, writer) in enumerate(streams):
        writer.write(b"%d" % i)
    for i, (reader, _) in enumerate(streams):
        assert await reader.read(100) == b"%d" % i
    print("held", len(streams), "and", len(streams))
    for _, writer in streams:
        writer.close()
    server.close()

c1m.run(main())
"""


def test_more_connections_than_descriptors() -> None:
    """2,000 ends of connections in a process that may have 400 descriptors."""
    code = textwrap.dedent(MANY)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    if "no io_uring" in done.stderr:
        pytest.skip("this machine has no io_uring for us")
    assert done.stdout == "held 1000 and 1000\n", done.stderr


def test_an_interrupt_while_the_loop_sleeps_leaves_it_whole(engine: str) -> None:
    """Ctrl-C in a bare run_forever: the handler raises within the wait, behind submissions."""
    loop = c1m.new_event_loop(engine)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    server, client = loop.run_until_complete(served(Echo))
    for _ in range(5):
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        client.sendall(b"said")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        timer.join()
    loop.run_until_complete(asyncio.sleep(0.05))
    assert client.recv(100) == b"said" * 5
    client.close()
    server.close()
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()


def test_a_loop_that_is_tied_to_a_thread_says_so() -> None:
    async def main() -> None:
        server, client = await served(asyncio.Protocol)
        await asyncio.sleep(0.05)
        client.close()
        server.close()
        await asyncio.sleep(0.1)

    loop = c1m.new_event_loop("uring")
    loop.run_until_complete(main())
    said: list[str] = []

    def run_again() -> None:
        waiting = asyncio.sleep(0)
        try:
            loop.run_until_complete(waiting)
        except RuntimeError as error:
            said.append(str(error))
            waiting.close()

    thread = threading.Thread(target=run_again)
    thread.start()
    thread.join()
    loop.close()
    assert "Run it in that thread" in said[0]


def test_what_is_no_server_is_said_so() -> None:
    async def main() -> None: ...

    with pytest.raises(c1m.UsageError, match=r"is a coroutine\. Run it by c1m\.run"):
        c1m.serve(main(), "tcp://127.0.0.1:0")
    with pytest.raises(c1m.UsageError, match=r"one Protocol object; .* Pass the class: Protocol"):
        c1m.serve(asyncio.Protocol(), "tcp://127.0.0.1:0")


def test_run_refuses_a_running_loop() -> None:
    async def inner() -> None: ...

    async def main() -> None:
        with pytest.raises(RuntimeError, match="Await the coroutine instead"):
            c1m.run(inner())

    c1m.run(main())


def test_a_name_of_no_engine_is_refused() -> None:
    with pytest.raises(c1m.UsageError, match="no engine 'fast'"):
        c1m.new_event_loop("fast")
