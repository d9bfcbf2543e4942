"""What a reader of the event loop's code took for wrong and found to be, beside asyncio's loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path
from typing import Any

import c1m
from e2e.test_event_loop import Recorder, on_both, served, until


class Named(Recorder):
    """Says in the log who it is."""

    def __init__(self, log: list[Any], name: str) -> None:
        super().__init__(log)
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.log[-1] = (self.name, "made")

    def data_received(self, data: bytes) -> None:
        self.log.append((self.name, data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.log.append((self.name, "lost", type(exc).__name__))


def listens_at(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_a_connection_is_not_taken_for_the_one_that_has_just_been_closed(
    engine: str, tmp_path: Path
) -> None:
    """The engine tells of the old one's end when the new one has its place already."""
    listener = listens_at(tmp_path / "socket")

    async def main() -> list[Any]:
        log: list[Any] = []
        loop = asyncio.get_running_loop()
        path = listener.getsockname()
        old, _ = await loop.create_unix_connection(lambda: Named(log, "old"), path)
        listener.accept()[0].close()
        old.close()
        await asyncio.sleep(0)
        new, _ = await loop.create_unix_connection(lambda: Named(log, "new"), path)
        peer, _ = listener.accept()
        peer.sendall(b"hello")
        await until(lambda: ("new", b"hello") in log)
        said = [*log]
        peer.close()
        new.close()
        return said

    theirs, ours = on_both(main, engine)
    listener.close()
    assert ours == theirs
    assert ours[-1] == ("new", b"hello")


def test_a_connection_is_not_taken_for_one_whose_reset_is_known_and_not_yet_told(
    engine: str, tmp_path: Path
) -> None:
    listener = listens_at(tmp_path / "socket")
    resets = socket.create_server(("127.0.0.1", 0))

    async def main() -> list[Any]:
        log: list[Any] = []
        loop = asyncio.get_running_loop()
        peers = []
        for number in range(3):
            name = f"old {number}"
            await loop.create_connection(lambda name=name: Named(log, name), *resets.getsockname())
            peers.append(resets.accept()[0])
        await asyncio.sleep(0.05)

        def reset_and_connect() -> None:
            for peer in peers:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
            path = listener.getsockname()
            connects = loop.create_unix_connection(lambda: Named(log, "new"), path)
            tasks.append(loop.create_task(connects))

        tasks: list[asyncio.Task[Any]] = []
        loop.call_soon(reset_and_connect)
        await until(lambda: bool(tasks) and tasks[0].done())
        peer, _ = listener.accept()
        peer.sendall(b"hello")
        await until(lambda: len(log) == 8)
        peer.close()
        tasks[0].result()[0].close()
        return sorted(log, key=str)

    theirs, ours = on_both(main, engine)
    listener.close()
    resets.close()
    assert ours == theirs


def test_who_writes_while_told_to_wait_is_told_to_go_on(engine: str) -> None:
    """Several tasks that write and drain do so: one writes when the output has just fallen."""

    class Waits(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.set_write_buffer_limits(high=1_000_000, low=500_000)
            while "pause" not in self.log:
                self.transport.write(bytes(100_000))

    async def main() -> None:
        log: list[Any] = []
        made: list[Waits] = []
        loop = asyncio.get_running_loop()

        def make() -> Waits:
            made.append(Waits(log))
            return made[-1]

        server = await loop.create_server(make, "127.0.0.1", 0)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(server.sockets[0].getsockname())
        client.setblocking(False)
        await until(lambda: "pause" in log)
        transport = made[0].transport
        has_written = False

        def read_and_write() -> bool:
            nonlocal has_written
            try:
                while client.recv(65_536):
                    pass
            except BlockingIOError:
                pass
            if not has_written and transport.get_write_buffer_size() <= 520_000:
                transport.write(bytes(450_000))
                has_written = True
            loop.call_soon(lambda: None)  # the next batch waits for its turn
            return has_written and not transport.get_write_buffer_size()

        while not read_and_write():
            await asyncio.sleep(0)
        await until(lambda: log[-1] == "resume")
        transport.abort()
        client.close()
        server.close()

    on_both(main, engine)


def test_data_that_a_buffered_protocol_leaves_to_a_plain_one_is_not_overtaken(engine: str) -> None:
    class Changes(asyncio.BufferedProtocol):
        def __init__(self, log: list[Any]) -> None:
            self.log = log

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray(1)

        def buffer_updated(self, nbytes: int) -> None:
            self.transport.set_protocol(Recorder(self.log))

    async def main() -> bytes:
        log: list[Any] = []
        made: list[Changes] = []

        def make() -> Changes:
            made.append(Changes(log))
            return made[-1]

        server, client = await served(make)  # type: ignore[arg-type]
        await until(lambda: made)
        transport = made[0].transport
        transport._keep_or_take(b"12")  # as of a batch that has two pieces of it
        assert not transport._is_plain, "the second would go before what is kept"
        transport._keep_or_take(b"3")
        await until(lambda: b"".join(log) == b"23")
        transport.abort()
        client.close()
        server.close()
        return b"".join(log)

    with asyncio.Runner(loop_factory=lambda: c1m.new_event_loop(engine)) as runner:
        assert runner.run(main()) == b"23"


def test_the_end_of_a_unix_stream_behind_much_data_arrives(engine: str, tmp_path: Path) -> None:
    """A multishot receive that the last data and the end wake together has missed the end."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        sizes = []
        for way in ("accepted", "connected"):
            listener = listens_at(tmp_path / str(len([*tmp_path.iterdir()])))
            path = listener.getsockname()
            ends: list[int] = []

            async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                ends.append(len(await reader.read()))  # noqa: B023
                writer.close()

            if way == "accepted":
                server = await asyncio.start_unix_server(reads, sock=listener)
                client = socket.socket(socket.AF_UNIX)
                client.connect(path)
            else:
                streams = await asyncio.open_unix_connection(path)
                client, _ = listener.accept()
                task = asyncio.ensure_future(reads(*streams))
            client.setblocking(False)
            await loop.sock_sendall(client, bytes(70_000))
            client.shutdown(socket.SHUT_WR)
            await until(lambda: ends)  # noqa: B023
            client.close()
            if way == "accepted":
                server.close()
            else:
                await task
            listener.close()
            sizes += ends
        return sizes

    theirs, ours = on_both(main, engine)
    assert ours == theirs == [70_000, 70_000]


def test_a_protocol_that_closes_the_server_ends_those_that_come_behind_it(engine: str) -> None:
    """They come as one batch, and a server that is closed takes no more."""

    class Closes(asyncio.Protocol):
        made: list[Any]
        server: asyncio.Server

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.made.append(transport)
            self.server.close()

    async def main() -> int:
        Closes.made = []
        loop = asyncio.get_running_loop()
        Closes.server = server = await loop.create_server(Closes, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(20)]
        await until(lambda: Closes.made)
        await asyncio.sleep(0.05)
        kept = len(Closes.made)
        for transport in Closes.made:
            transport.close()
        await asyncio.sleep(0.05)
        for client in clients:
            client.close()
        return kept

    with asyncio.Runner(loop_factory=lambda: c1m.new_event_loop(engine)) as runner:
        assert runner.run(main()) == 1
