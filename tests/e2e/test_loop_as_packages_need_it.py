"""What other packages' own tests have found in the event loop, each in its smallest form."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import c1m


@pytest.fixture(autouse=True)
def on_engine(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C1M_ENGINE", engine)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of the same loop, which only reads."""

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(read, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
            if not writer.is_closing():
                writer.write_eof()
                await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


def test_the_socket_of_a_connection_that_has_ended_has_no_descriptor() -> None:
    """anyio: after aclose() its raw socket's fileno() is -1, as a closed socket's."""

    async def main() -> int:
        async with connected() as (_, writer):
            raw = writer.get_extra_info("socket")
        number: int = raw.fileno()
        return number

    assert c1m.run(main()) == -1


def test_a_connection_that_was_aborted_has_no_descriptor() -> None:
    """anyio: after aclose_forcefully(), which gives the loop two iterations."""

    async def main() -> int:
        async with connected() as (reader, writer):
            raw = writer.get_extra_info("socket")
            writer.transport.abort()
            for _ in range(2):
                await asyncio.sleep(0)
            number: int = raw.fileno()
            assert await reader.read() == b""
        return number

    assert c1m.run(main()) == -1


def test_the_descriptor_of_a_connection_can_be_polled() -> None:
    """httpx: a connection that is readable while nothing is asked has been closed by the server.

    Others take the slot, and the number of the descriptor, afterwards.
    """

    def is_readable(fd: int) -> bool:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(0))

    async def main() -> list[int]:
        numbers = []
        for _ in range(3):
            async with connected() as (_, writer):
                raw = writer.get_extra_info("socket")
                numbers.append(raw.fileno())
                assert raw.fileno() == numbers[-1]
                assert not is_readable(raw.fileno())
                with socket.socket(fileno=os.dup(raw.fileno())) as same:
                    assert same.getsockname() == writer.get_extra_info("sockname")
            assert raw.fileno() == -1
        return numbers

    numbers = c1m.run(main())
    for number in numbers:
        with pytest.raises(OSError):
            os.fstat(number)


def test_a_refused_connection_leaves_no_cycle() -> None:
    """anyio, CPython: no more refers to the error than with asyncio's own loop of this version."""

    async def main() -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        caught = None
        try:
            await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            caught = error
        assert caught is not None
        return len(gc.get_referrers(caught))

    assert c1m.run(main()) == asyncio.run(main())


def test_a_protocol_is_given_no_more_at_once_than_by_asyncio() -> None:
    """aiohttp: who pauses reading at a limit has at most one read of asyncio's beyond it."""
    most, size = 256 * 1024, 4 << 20

    class Pausing(asyncio.Protocol):
        """Pauses at each piece, and reads on in the next iteration."""

        def __init__(self) -> None:
            self.pieces: list[int] = []
            self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            assert self.transport.is_reading()
            self.pieces.append(len(data))
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)
            if sum(self.pieces) == size:
                self.transport.close()
                self.done.set_result(None)

    async def main() -> list[int]:
        made = Pausing()
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: made, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(bytes(size))
            await writer.drain()
            await made.done
            writer.close()
            await writer.wait_closed()
        return made.pieces

    pieces = c1m.run(main())
    assert sum(pieces) == size and max(pieces) <= most


def test_who_awaits_a_connection_has_it_before_its_data() -> None:
    """asyncssh: who awaits it tells its forwarder where to pass data on; any before is dropped."""

    class Greeting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"greeting")
            transport.close()

    class Greeted(asyncio.Protocol):
        def __init__(self) -> None:
            self.is_known = False
            self.heard: list[tuple[bool, bytes]] = []
            self.lost = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.heard.append((self.is_known, data))

        def connection_lost(self, error: BaseException | None) -> None:
            self.lost.set_result(None)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Greeting, "127.0.0.1", 0) as server:
            for _ in range(10):
                _, made = await loop.create_connection(Greeted, *server.sockets[0].getsockname())
                made.is_known = True
                await made.lost
                assert made.heard == [(True, b"greeting")]

    c1m.run(main())


def test_what_was_written_before_an_abort_goes_out_as_far_as_the_kernel_takes_it() -> None:
    """asyncssh: it says why it disconnects, and aborts."""

    class Refusing(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"because")
            transport.abort()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Refusing, "127.0.0.1", 0) as server:
            for _ in range(10):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                assert await reader.read() == b"because"
                writer.close()
                await writer.wait_closed()

    c1m.run(main())
