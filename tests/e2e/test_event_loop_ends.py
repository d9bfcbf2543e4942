"""How connections begin and end on the event loop: in the iterations in which they do on asyncio's.

What foreign suites found (`make conformance`), as small as it can be said.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from typing import Any

import pytest

import c1m
from e2e.test_event_loop import Recorder, on_both, served, until

BLOCK = b"x" * 65_536


def test_who_closes_and_gives_way_once_learns_of_the_end(engine: str) -> None:
    """So drain() after close() raises, whether the end was asked for here or in a callback."""

    async def main() -> list[Any]:
        log: list[Any] = []
        server, client = await served(lambda: Recorder(log))
        host, port = client.getpeername()
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        writer.write(b"behind the end")
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        _, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await writer.drain()

        server.close()
        client.close()
        log = []
        server, client = await served(lambda: Recorder(log))
        await until(lambda: log)
        client.close()
        await until(lambda: "eof" in log)  # its callback came in this iteration or the last one
        for _ in range(2):
            await asyncio.sleep(0)
        log.append("two iterations")
        server.close()
        return log

    theirs, ours = on_both(main, engine)
    assert ours == theirs == ["made", "eof", ("lost", "NoneType"), "two iterations"]


def test_who_awaits_a_connection_has_it_before_its_first_data(engine: str) -> None:
    async def main() -> list[Any]:
        log: list[Any] = []
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)

            async def talks_first() -> None:
                peer, _ = await loop.sock_accept(listener)
                peer.sendall(b"welcome")
                peer.close()

            talking = asyncio.ensure_future(talks_first())
            await loop.create_connection(lambda: Recorder(log), *listener.getsockname())
            log.append("awaited")
            await talking
            await until(lambda: ("lost", "NoneType") in log)
        return log

    theirs, ours = on_both(main, engine)
    assert ours == theirs == ["made", "awaited", b"welcome", "eof", ("lost", "NoneType")]


def test_what_was_held_back_is_written_behind_close(engine: str) -> None:
    """TLS does so: a protocol that was told to wait goes on when it may, though it has closed."""

    class HoldsBack(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            while "pause" not in self.log:
                self.transport.write(BLOCK)
            self.transport.close()

        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.write(b"the rest")

    async def main() -> list[Any]:
        log: list[Any] = []
        server, client = await served(lambda: HoldsBack(log))
        await until(lambda: "pause" in log)
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        end = b""
        while data := await loop.sock_recv(client, 1 << 20):
            end = (end + data)[-8:]
        await until(lambda: ("lost", "NoneType") in log)
        client.close()
        server.close()
        return [*log, end]

    theirs, ours = on_both(main, engine)
    assert ours == theirs == ["made", "pause", "resume", ("lost", "NoneType"), b"the rest"]


def test_a_connection_that_has_failed_is_in_no_cycle(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised holds the frames that it went through, and they hold the transport."""
    monkeypatch.setenv("C1M_ENGINE", engine)

    class Raises(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.get_extra_info("socket").getsockname()
            raise ValueError("not understood")

        def connection_lost(self, exc: Exception | None) -> None:
            del self.transport

    async def main() -> None:
        made: list[weakref.ref[Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)

        class Notes(Raises):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                made.append(weakref.ref(transport))

        server, client = await served(lambda: Notes([]))
        await until(lambda: made)
        gc.disable()
        try:
            client.sendall(b"data")
            await until(lambda: made[0]() is None)
        finally:
            gc.enable()
            client.close()
            server.close()

    c1m.run(main())


def test_asyncios_calls_refuse_a_connections_descriptor(engine: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        log: list[Any] = []
        server, client = await served(lambda: Recorder(log))
        host, port = client.getpeername()
        transport, _ = await loop.create_connection(lambda: Recorder(log), host, port)
        sock = transport.get_extra_info("socket")
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(sock.fileno(), print)
        transport.abort()
        client.close()
        server.close()

    on_both(main, engine)


@pytest.mark.parametrize(
    "odd",
    [{"server_hostname": "name"}, {"ssl": True}, {"ssl_handshake_timeout": 1}],
    ids=lambda odd: next(iter(odd)),
)
def test_odd_arguments_are_refused_before_anything_is_connected(
    engine: str, odd: dict[str, Any]
) -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="ssl") as refused:
            await loop.create_unix_connection(asyncio.Protocol, "/nowhere", **odd)
        return str(refused.value)

    theirs, ours = on_both(main, engine)
    assert ours == theirs
