"""HTTP that is not all right: what does a load generator say of it? Usage: http_faulty.py PORT.

Each GET has its path as its body, but one of 100 has that of another path, and one of 1,000 is not
answered at all. At the request FREEZE_AT nothing is done for FREEZE_S. At SIGTERM it writes what it
did to standard output, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

FREEZE_AT, FREEZE_S = 3_000, 3.0
WRONG_EVERY, SILENT_EVERY = 100, 1_000
OTHER = b"/of/another"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"


class Faulty(asyncio.Protocol):
    """One connection; the counts are all connections'."""

    requests = wrong = silent = connections = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pending = b""
        Faulty.connections += 1

    def data_received(self, data: bytes) -> None:
        *heads, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for head in heads:
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        Faulty.requests += 1
        if Faulty.requests == FREEZE_AT:
            time.sleep(FREEZE_S)
        if Faulty.requests % SILENT_EVERY == 0:
            Faulty.silent += 1
            return
        if Faulty.requests % WRONG_EVERY == WRONG_EVERY // 2:
            Faulty.wrong += 1
            path = OTHER
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)
        )


async def main() -> None:
    """Serve until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(Faulty, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await ended.wait()
    server.close()
    counts = {"requests": Faulty.requests, "wrong": Faulty.wrong, "silent": Faulty.silent,
              "connections": Faulty.connections, "froze": Faulty.requests >= FREEZE_AT}  # fmt: skip
    print(json.dumps(counts), flush=True)


asyncio.run(main())
