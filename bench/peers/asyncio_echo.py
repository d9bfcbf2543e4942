"""asyncio's echo as a Protocol, on any loop. Usage: asyncio_echo.py PORT [echo|broadcast]."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Any

BACKLOG = 65535  # the kernel cuts it to net.core.somaxconn


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


def main(new_event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Serve on the port of the command line, for ever."""
    protocol = Broadcast if sys.argv[2:] == ["broadcast"] else Echo
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    serving = loop.create_server(protocol, "127.0.0.1", int(sys.argv[1]), backlog=BACKLOG)
    loop.run_until_complete(serving)
    gc.collect()
    gc.freeze()  # as c1m does
    loop.run_forever()


if __name__ == "__main__":
    main(asyncio.new_event_loop)
