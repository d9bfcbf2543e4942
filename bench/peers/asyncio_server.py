"""One server for all of asyncio's loops. Usage: asyncio_server.py PORT TASK LOOP [CERT KEY].

TASK is echo, broadcast, streams or http; LOOP is asyncio, uvloop, rloop, c1m, or c1m-ENGINE. With
a certificate and its key echo and broadcast are over the loop's TLS.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import sys
from collections.abc import Coroutine
from contextlib import suppress
from importlib import import_module
from typing import Any

BACKLOG = 65535  # the kernel cuts it to net.core.somaxconn
HOST = "127.0.0.1"
BODY = b"x" * 64


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    __slots__ = ("transport",)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Broadcast(asyncio.Protocol):
    """Sends what comes to all connections."""

    members: set[Any] = set()  # noqa: RUF012  shared on purpose

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.members.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.members.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        for transport in self.members:
            transport.write(data)


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The echo by streams."""
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The least that ASGI allows: one answer, always the same."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def uvicorn_server(port: int) -> Coroutine[Any, Any, None]:
    """Uvicorn as it is installed, with what costs and is not the loop's turned off."""
    import uvicorn

    config = uvicorn.Config(
        application, host=HOST, port=port, http="httptools", ws="none", loop="none",
        lifespan="off", access_log=False, log_level="warning", backlog=BACKLOG,
    )  # fmt: skip
    return uvicorn.Server(config).serve()


async def listen(task: str, port: int) -> None:
    """Start the task's server; it serves for as long as the loop runs."""
    loop = asyncio.get_running_loop()
    if task == "streams":
        await asyncio.start_server(echo_stream, HOST, port, backlog=BACKLOG)
    else:
        protocol = Broadcast if task == "broadcast" else Echo
        context = None
        if len(sys.argv) > 4:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(sys.argv[4], sys.argv[5])
        await loop.create_server(protocol, HOST, port, backlog=BACKLOG, ssl=context)


def new_event_loop(name: str) -> asyncio.AbstractEventLoop:
    """The loop of that name."""
    package, _, engine = name.partition("-")
    options = {"engine": engine} if engine else {}
    loop: asyncio.AbstractEventLoop = import_module(package).new_event_loop(**options)
    return loop


def main() -> None:
    """Serve until a signal ends the process."""
    port, task = int(sys.argv[1]), sys.argv[2]
    loop = new_event_loop(sys.argv[3])
    asyncio.set_event_loop(loop)
    if task != "http":
        loop.run_until_complete(listen(task, port))
    serving = uvicorn_server(port) if task == "http" else None
    gc.collect()
    gc.freeze()  # as c1m does
    if serving is not None:
        loop.run_until_complete(serving)
    else:
        loop.run_forever()


if __name__ == "__main__":
    main()
