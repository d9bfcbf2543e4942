"""`c1m load` against servers that know nothing of c1m: of asyncio, of socketserver, of a thread."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.cli_helpers import PATIENCE_S, assert_complete, load

ASYNCIO_STREAMS = """
import asyncio
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=100)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

# Python's own defaults: a queue of five, a thread a connection.
SOCKETSERVER = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 5
with Server(("127.0.0.1", 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""

# Accepts slowly, in a loop that does nothing else for a while after each.
SLOW_ACCEPT = """
import selectors, socket, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(5)
print(listener.getsockname()[1], flush=True)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            selector.register(listener.accept()[0], selectors.EVENT_READ)
            time.sleep(0.002)
        elif data := key.fileobj.recv(65536):
            key.fileobj.sendall(data)
        else:
            selector.unregister(key.fileobj)
            key.fileobj.close()
"""

Serve = Callable[[str], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server from its source, which prints its port; its URL."""
    processes: list[subprocess.Popen[str]] = []

    def start(source: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert re.fullmatch("[0-9]+", port)
        return f"tcp://127.0.0.1:{port}"

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def test_asyncio_streams(tmp_path: Path, serve: Serve, engine: str) -> None:
    url = serve(ASYNCIO_STREAMS)
    status, record, _ = load(tmp_path, url, "--connections", 1_000, "--engine", engine)
    assert status == 0
    assert_complete(record, 1_000)
    assert record.samples.server is not None and record.samples.server.rss_bytes


@pytest.mark.parametrize(("source", "count"), [(SOCKETSERVER, 150), (SLOW_ACCEPT, 300)])
def test_a_short_accept_queue_loses_nothing(
    tmp_path: Path, serve: Serve, engine: str, source: str, count: int
) -> None:
    url = serve(source)
    status, record, _ = load(tmp_path, url, "--connections", count, "--engine", engine)
    assert status == 0
    assert_complete(record, count)
    # The window has asked the kernel: never more under way than the queue of five takes.
    assert 0 < record.first.in_flight_peak <= 5
    assert record.stampede.in_flight_peak == count
