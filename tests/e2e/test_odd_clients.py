"""Clients that do not behave, on real sockets: half of a request and then nothing, reading late."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

import c1m
from laws import broken_laws


class Server:
    """Takes what comes; ends a connection that has said no whole line for `patience` seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(self._patience)
        held = b""
        with connection:
            while True:
                try:
                    came = connection.recv(65536)
                except OSError:
                    return
                if not came:
                    return
                held += came
                lines, newline, held = held.rpartition(b"\n")
                connection.settimeout(None)
                if newline:
                    connection.sendall(lines + newline)
                connection.settimeout(self._patience)

    def close(self) -> None:
        # accept in another thread is not woken by close, but by shutdown
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server(0.3)
    yield one
    one.close()


@pytest.mark.parametrize("engine", ["uring", "epoll"])
def test_half_open_peers_are_ended_by_a_server_that_gives_them_up(
    server: Server, engine: str
) -> None:
    record = c1m.load(
        server.url, connections=20, hold=1.5, scenario="half-open", engine=engine,
        require=["ended.p50 > 200ms", "lost == 0"],
    )  # fmt: skip
    c = record.connections
    assert (c.opened, c.ended, c.lost, c.open_at_end, c.ready) == (20, 20, 0, 0, 0)
    assert record.latencies["ended"].count == 20
    assert record.verdict.complete, record.verdict.shortfalls
    assert all(one.holds for one in record.thresholds), record.thresholds
    assert broken_laws(record) == []


def test_half_open_peers_that_are_kept_are_told(server: Server) -> None:
    server._patience = 60
    record = c1m.load(server.url, connections=10, hold=0.3, scenario="half-open")
    assert (record.connections.ended, record.connections.open_at_end) == (0, 10)
    assert any("ended 0 of 10" in text for text in record.verdict.shortfalls)
    assert broken_laws(record) == []


@pytest.mark.parametrize("engine", ["uring", "epoll"])
def test_a_slow_reader_gets_everything_in_the_end(engine: str) -> None:
    server = Server(30)
    try:
        record = c1m.load(
            server.url, connections=5, hold=0.5, scenario="slow-reader", engine=engine, timeout=10
        )
    finally:
        server.close()
    # one when it opens, and as many behind it as may be in flight
    assert record.first.right == 5
    assert record.requests.sent == record.requests.right == 5 * 63
    assert record.verdict.complete, record.verdict.shortfalls
    assert broken_laws(record) == []
