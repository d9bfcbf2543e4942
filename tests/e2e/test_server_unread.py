"""A server and peers that do not read: closes that end, bounds that hold, memory that goes back."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.apps.echo import Echo
from c1m.engine.outbox import Outbox
from e2e.library_runs import WAIT_S

MB = 1 << 20
PEERS = 5
OWED = 8 * MB


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Farewell(c1m.App):
    """Sends a lot to everybody and closes."""

    def __init__(self) -> None:
        self.slots: list[int] = []

    def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
        self.slots += batch.slots.tolist()
        server.send(batch.slots, bytes(OWED))
        server.close(batch.slots)


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    """Sockets, closed in the end."""
    made: list[socket.socket] = []
    yield made
    for sock in made:
        sock.close()


def connect(server: c1m.Server, peers: list[socket.socket]) -> None:
    """A peer with a small buffer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(WAIT_S)
    peers.append(sock)
    sock.connect(("127.0.0.1", server.endpoints[0].port))


def tick_until(server: c1m.Server, lingering: int, opened: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        server.tick(5_000_000)
        if server.statistics.opened == opened and server.engine.statistics().lingering == lingering:
            break
        assert time.monotonic() < deadline
    closed = server.statistics.closed.values()
    assert server.statistics.opened == server.statistics.live + sum(closed)


def test_who_does_not_read_is_reset_and_counted(engine: str, peers: list[socket.socket]) -> None:
    server = c1m.Server(
        Farewell(), "tcp://127.0.0.1:0", engine=engine, connections_max=PEERS, linger_ns=300_000_000
    )
    try:
        for _ in range(PEERS):
            connect(server, peers)
        tick_until(server, lingering=0, opened=PEERS)
        assert server.statistics.closed[c1m.CloseReason.NOT_READ] == PEERS
        assert server.statistics.closed[c1m.CloseReason.LOCAL] == 0
        assert server.engine.statistics().outbox_bytes == 0
        server.tick(0)  # an engine may close descriptors with the next tick
        for sock in peers:
            with pytest.raises(ConnectionResetError):
                while sock.recv(MB):
                    pass
        connect(server, peers)  # connections_max is not used up
        tick_until(server, lingering=1, opened=PEERS + 1)
    finally:
        server.shutdown()
    statistics = server.update_statistics()
    assert statistics.sent_bytes + statistics.unsent_bytes == (PEERS + 1) * OWED


def test_abort_after_close_ends_it(engine: str, peers: list[socket.socket]) -> None:
    app = Farewell()
    server = c1m.Server(app, "tcp://127.0.0.1:0", engine=engine, connections_max=PEERS)
    try:
        for _ in range(PEERS):
            connect(server, peers)
        tick_until(server, lingering=PEERS, opened=PEERS)
        server.close(np.array(app.slots, np.int32), abort=True)
        tick_until(server, lingering=0, opened=PEERS)
        assert server.engine.statistics().outbox_bytes == 0
        assert server.statistics.closed[c1m.CloseReason.LOCAL] == PEERS
        server.close(np.array(app.slots, np.int32), abort=True)  # nobody is there any more
        connect(server, peers)
        tick_until(server, lingering=1, opened=PEERS + 1)
    finally:
        server.shutdown()


BURST = """
import os, socket, sys
import c1m

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

class Sends(c1m.App):
    def on_open(self, batch, server):
        for _ in range(64):
            server.send(batch.slots, bytes(64 << 10))

server = c1m.Server(Sends(), "tcp://127.0.0.1:0", engine=sys.argv[1])
peers, kept = [], []
before = resident()
for _ in range(100):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.endpoints[0].port))
    peers.append(sock)
    server.tick(10_000_000)
    kept.append(bytes(1000))  # among the output on the heap, which so cannot shrink from its end
while server.statistics.opened < 100:
    server.tick(1_000_000)
high = resident()
for sock in peers:
    sock.close()
while server.statistics.live or resident() - before > (high - before) / 3:
    server.tick(10_000_000)
server.shutdown()
print(high - before)
"""


def test_memory_goes_back_when_those_who_did_not_read_have_gone(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BURST, engine], capture_output=True, text=True, timeout=WAIT_S
    )
    assert done.stderr == ""
    assert int(done.stdout) > 32 * MB


def test_the_bound_in_all_holds_but_for_a_piece_a_connection(
    engine: str, peers: list[socket.socket]
) -> None:
    """Everybody sends, nobody reads, and each may have more unsent than its share of the bound."""
    bound, count = 4 * MB, 100
    server = c1m.Server(Echo(), "tcp://127.0.0.1:0", engine=engine)
    outbox_of(server.engine).total_max = bound
    most = quiet = 0
    try:
        for _ in range(count):
            connect(server, peers)
            peers[-1].setblocking(False)
        while quiet < 20:
            quiet += 1
            for sock in peers:
                with contextlib.suppress(BlockingIOError):
                    sock.send(bytes(65536))
                    quiet = 0
            server.tick(1_000_000)
            most = max(most, server.engine.statistics().outbox_bytes)
        one_tick = 4 * MB  # what is read at once, by either engine
        assert bound < most < bound + count * 65536 + one_tick
    finally:
        server.shutdown()


def outbox_of(engine: Any) -> Outbox:
    found = engine._output.outbox if engine.name == "uring" else engine._outbox
    assert isinstance(found, Outbox)
    return found
