"""c1m.Server as a library, with real sockets, on both engines."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.apps.echo import Echo
from c1m.engine.ragged import Ragged
from e2e.cli_helpers import free_ports
from e2e.library_runs import WAIT_S, ServerThread, eventually, process

MB = 1 << 20
Serve = Callable[..., ServerThread]


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve(engine: str) -> Iterator[Serve]:
    """Makes a server that runs in a thread; it must end in good order, its counts adding up."""
    runs: list[ServerThread] = []

    def make(app: c1m.App, listen: Any = "tcp://127.0.0.1:0", **options: Any) -> ServerThread:
        runs.append(ServerThread(c1m.Server(app, listen, engine=engine, **options)))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


def connect(endpoint: Any) -> socket.socket:
    """A client's socket for a listener's endpoint."""
    if endpoint.path:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(WAIT_S)
            sock.connect(endpoint.path)
        except OSError:
            sock.close()
            raise
        return sock
    return socket.create_connection((endpoint.host, endpoint.port), WAIT_S)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = sock.recv(min(count - len(received), 1 << 18))
        assert piece, f"the end after {len(received)} of {count} bytes"
        received += piece
    return bytes(received)


def read_all(sock: socket.socket) -> bytes:
    received = bytearray()
    while piece := sock.recv(1 << 18):
        received += piece
    return bytes(received)


# --- where it listens -----------------------------------------------------------------------------


def test_ranges_ipv6_and_unix_at_once(serve: Serve, tmp_path: Path) -> None:
    class Which(c1m.App):
        """Says by which listener a connection came."""

        def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
            server.send(batch.slots, Ragged.of(b"%d" % i for i in batch.listeners.tolist()))
            server.close(batch.slots)

    first = free_ports(5)
    listen = [
        f"tcp://127.0.0.1:{first}-{first + 4}",
        "tcp://[::1]:0",
        f"unix://{tmp_path}/c1m.sock",
        "tcp://127.0.0.2:0",
    ]
    run = serve(Which(), listen)
    endpoints = run.server.endpoints
    assert [e.port for e in endpoints[:5]] == list(range(first, first + 5))
    assert endpoints[5].port != 0
    assert str(endpoints[6]) == listen[2]
    for index, endpoint in enumerate(endpoints):
        for _ in range(3):
            with connect(endpoint) as sock:
                assert read_all(sock) == b"%d" % index
    statistics = run.stop()
    assert statistics.closed[c1m.CloseReason.LOCAL] == 3 * len(endpoints)
    assert not (tmp_path / "c1m.sock").exists()
    for endpoint in endpoints:
        with pytest.raises(OSError):
            connect(endpoint)


def test_bad_endpoints_are_refused_and_nothing_is_left(engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        before = set(os.listdir("/proc/self/fd"))
        for listen, words in (
            (["tcp://127.0.0.1:0", f"tcp://127.0.0.1:{taken}"], f"{taken}.*in use"),
            ([], "nothing to listen on"),
            ("udp://127.0.0.1:1", "scheme"),
            ("tcp://203.0.113.7:8001", "not an address"),
        ):
            with pytest.raises(c1m.UsageError, match=words):
                c1m.Server(Echo(), listen, engine=engine)
        assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(c1m.UsageError, match="holds nothing"):
        c1m.Server(Echo(), "tcp://127.0.0.1:0", engine=engine, connections_max=0)


def test_who_is_too_many_waits(serve: Serve) -> None:
    run = serve(Echo(), connections_max=10)
    endpoint = run.server.endpoints[0]
    socks = [connect(endpoint) for _ in range(20)]
    for number, sock in enumerate(socks):
        sock.sendall(bytes([number]))
    for number, sock in enumerate(socks):  # the later ones get in as the first ones leave
        assert read_exactly(sock, 1) == bytes([number])
        sock.close()
    statistics = run.stop()
    assert statistics.opened == 20
    assert statistics.peak == 10


# --- bytes ----------------------------------------------------------------------------------------


def test_echo_of_all_sizes_and_paces(serve: Serve) -> None:
    run = serve(Echo())
    endpoint = run.server.endpoints[0]
    rng = random.Random(3)

    def client(seed: int, sizes: list[int], chunk: int, failures: list[str]) -> None:
        stream = random.Random(seed).randbytes(sum(sizes))
        with connect(endpoint) as sock:
            at = 0
            for size in sizes:
                for start in range(at, at + size, chunk):
                    sock.sendall(stream[start : min(start + chunk, at + size)])
                if read_exactly(sock, size) != stream[at : at + size]:
                    failures.append(f"client {seed}: {size} bytes at {at} are not the same")
                at += size
            sock.shutdown(socket.SHUT_WR)
            if read_all(sock):
                failures.append(f"client {seed}: more than was sent")

    plans = [[1] * 300, [0xFFFF, 0x10000, 0x10001], [4095, 4096, 4097] * 10, [200_000, 1, 7] * 3]
    plans += [[rng.randrange(1, 50_000) for _ in range(10)] for _ in range(16)]
    chunks = [1, 1 << 20, 1000, 7777] + [rng.choice([100, 1460, 1 << 16]) for _ in range(16)]
    failures: list[str] = []
    threads = [
        threading.Thread(target=client, args=(seed, plan, chunk, failures))
        for seed, (plan, chunk) in enumerate(zip(plans, chunks, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert failures == []
    statistics = run.stop()
    total = sum(map(sum, plans))
    assert statistics.received_bytes == statistics.sent_bytes == total
    assert statistics.unsent_bytes == 0
    assert statistics.closed[c1m.CloseReason.PEER_EOF] == len(plans) == statistics.opened


class ServerProcess:
    """`c1m.serve` in a process of its own, so that its memory and its end can be looked at."""

    PROGRAM = (
        "import sys, c1m; from c1m.apps.echo import Echo\n"
        "class App(Echo):\n"
        "    def on_start(self, server):\n"
        "        print(server.endpoints[0].port, flush=True)\n"
        "total = c1m.serve(App(), 'tcp://127.0.0.1:0', engine=sys.argv[1],\n"
        "                  drain_ns=int(sys.argv[2]), outbox_high=int(sys.argv[3]))\n"
        "print(total.opened, total.live, sum(total.closed.values()), total.received_bytes,\n"
        "      total.sent_bytes, total.unsent_bytes)\n"
    )

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        self.child = child
        self.port = int(child.stdout.readline())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WAIT_S)

    def rss(self) -> int:
        """Bytes of memory the process has used at the most (VmHWM)."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/task"))

    def end(self, number: int) -> list[int]:
        """Signal it; its final figures (opened, live, closed, received, sent, unsent)."""
        self.child.send_signal(number)
        output, errors = self.child.communicate(timeout=WAIT_S)
        assert errors == ""
        assert self.child.returncode == 0
        return [int(word) for word in output.split()]


@pytest.fixture
def serve_process(engine: str) -> Iterator[Callable[..., ServerProcess]]:
    """Makes a server in a process."""
    import contextlib

    with contextlib.ExitStack() as stack:

        def make(drain_ns: int = 10_000_000_000, outbox_high: int = MB) -> ServerProcess:
            command = ("-c", ServerProcess.PROGRAM, engine, str(drain_ns), str(outbox_high))
            return ServerProcess(stack.enter_context(process(*command)))

        yield make


def send_in_background(sock: socket.socket, block: bytes, count: int) -> threading.Thread:
    def send() -> None:
        for _ in range(count):
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_64_mb_to_a_slow_reader_in_bounded_memory(serve_process: Any) -> None:
    server = serve_process()
    block = random.Random(1).randbytes(MB)
    with server.connect() as sock:
        sock.sendall(b"warm")
        assert read_exactly(sock, 4) == b"warm"
        assert server.threads() == 1
        before = server.rss()
        sender = send_in_background(sock, block, 64)
        for i in range(64):
            if i % 8 == 0:  # so slow that the sender has to wait
                threading.Event().wait(0.02)
            assert read_exactly(sock, MB) == block
        sender.join(WAIT_S)
        assert read_all(sock) == b""
        assert server.rss() - before < 32 * MB
    opened, live, closed, received, sent, unsent = server.end(signal.SIGTERM)
    assert (opened, live, closed) == (1, 0, 1)
    assert received == sent == 64 * MB + 4
    assert unsent == 0


def test_a_peer_that_sends_until_it_blocks_before_it_reads(serve_process: Any) -> None:
    server = serve_process()
    block = random.Random(2).randbytes(1 << 16)
    pushers = [server.connect() for _ in range(8)]
    before = server.rss()
    sent = []
    for sock in pushers:
        sock.setblocking(False)
    for sock in pushers:
        count = quiet = 0
        while quiet < 10:  # 10 times 10 ms without room: the server has stopped reading
            try:
                count += sock.send(block[count % len(block) :])
                quiet = 0
            except BlockingIOError:
                quiet += 1
                threading.Event().wait(0.01)
            assert count < 64 * MB, "a server that reads on has no backpressure"
        sent.append(count)
    assert server.rss() - before < 64 * MB
    for sock, count in zip(pushers, sent, strict=True):
        sock.settimeout(WAIT_S)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == (block * (count // len(block) + 1))[:count]
        sock.close()
    assert server.end(signal.SIGINT)[3:] == [sum(sent), sum(sent), 0]


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_flushes_what_is_owed(serve_process: Any, number: int) -> None:
    server = serve_process()
    payload = random.Random(4).randbytes(16 * MB)
    idle = [server.connect() for _ in range(10)]
    owed = server.connect()
    owed.setblocking(False)
    count = quiet = 0
    while quiet < 5 and count < len(payload):  # as much as it takes: more than the kernel holds
        try:
            count += owed.send(payload[count : count + MB])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            threading.Event().wait(0.01)
    owed.settimeout(WAIT_S)
    server.child.send_signal(number)
    received = read_all(owed)  # to the end: the server closes when all is flushed
    assert received == payload[: len(received)]
    owed.close()
    for sock in idle:
        assert sock.recv(1) == b""
        sock.close()
    output, errors = server.child.communicate(timeout=WAIT_S)
    assert (errors, server.child.returncode) == ("", 0)
    opened, live, closed, received_bytes, sent_bytes, unsent = map(int, output.split())
    assert (opened, live, closed) == (11, 0, 11)
    assert len(received) == received_bytes == sent_bytes
    assert unsent == 0


def test_the_deadline_ends_a_drain(serve_process: Any) -> None:
    server = serve_process(drain_ns=100_000_000)
    with server.connect() as sock:
        push_until_blocked(sock)
        opened, live, closed, received, sent, unsent = server.end(signal.SIGTERM)
        assert (opened, live, closed) == (1, 0, 1)
        assert unsent > 0
        assert received == sent + unsent


def push_until_blocked(sock: socket.socket) -> None:
    sock.setblocking(False)
    block = bytes(1 << 16)
    quiet = 0
    while quiet < 10:
        try:
            sock.send(block)
            quiet = 0
        except BlockingIOError:
            quiet += 1
            threading.Event().wait(0.01)


def test_a_second_signal_ends_at_once(serve_process: Any) -> None:
    server = serve_process(drain_ns=600_000_000_000)
    with server.connect() as sock:
        push_until_blocked(sock)  # never read: the drain would take its whole time
        server.child.send_signal(signal.SIGTERM)

        def is_draining() -> bool:
            try:
                server.connect().close()
            except OSError as error:
                assert error.errno in (errno.ECONNREFUSED, errno.ECONNRESET)
                return True
            return False

        eventually(is_draining, "the end of listening")
        server.child.send_signal(signal.SIGINT)
        assert server.child.wait(WAIT_S) == 128 + signal.SIGINT


# --- what applications rely on --------------------------------------------------------------------


def test_nothing_comes_after_a_close(serve: Serve) -> None:
    """An application that closes in on_data is not told of the end that came in the same tick."""

    class Closing(c1m.App):
        told: list[str]

        def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
            self.told.append("data")
            server.send(batch.slots, b"bye")
            server.close(batch.slots)

        def on_eof(self, slots: Any, server: c1m.Server) -> None:
            if len(slots):
                self.told.append("eof")
            super().on_eof(slots, server)

        def on_close(self, batch: c1m.CloseBatch, server: c1m.Server) -> None:
            self.told.append("close")

    app = Closing()
    app.told = []
    run = serve(app)
    for _ in range(50):
        with connect(run.server.endpoints[0]) as sock:
            sock.sendall(b"x")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"bye"
    statistics = run.stop()
    assert app.told == ["data"] * 50
    assert statistics.closed[c1m.CloseReason.LOCAL] == statistics.opened == 50


def test_an_applications_pause_outlasts_the_drain_of_its_output(serve: Serve) -> None:
    class Pausing(c1m.App):
        events: list[str]

        def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
            self.slots = batch.slots.copy()
            if not self.events:
                self.events.append("data")
                server.pause(batch.slots)
                server.send(batch.slots, bytes(16 * MB))
                return
            self.events.append("later data" if "drained" in self.events else "data while paused")

        def on_blocked(self, slots: Any, server: c1m.Server) -> None:
            self.events.append("blocked")

        def on_drained(self, slots: Any, server: c1m.Server) -> None:
            self.events.append("drained")

        def on_tick(self, now_ns: int, server: c1m.Server) -> None:
            if "resume" in self.events and "resumed" not in self.events:
                self.events.append("resumed")
                server.resume(self.slots)

    app = Pausing()
    app.events = []
    run = serve(app)
    with connect(run.server.endpoints[0]) as sock:
        sock.sendall(b"go")
        eventually(lambda: "blocked" in app.events, "blocked")
        sock.sendall(b"more")
        read_exactly(sock, 16 * MB)
        eventually(lambda: "drained" in app.events, "drained")
        ticks = run.server.statistics.ticks
        run.server.wake()
        eventually(lambda: run.server.statistics.ticks > ticks + 1, "two more ticks")
        assert app.events == ["data", "blocked", "drained"]
        app.events.append("resume")
        run.server.wake()
        eventually(lambda: "later data" in app.events, "the data after the pause")
    assert app.events == ["data", "blocked", "drained", "resume", "resumed", "later data"]


def test_a_broadcast_leaves_out_who_does_not_read(serve: Serve) -> None:
    class Pushing(c1m.App):
        reached = 0
        blocked = 0

        def on_tick(self, now_ns: int, server: c1m.Server) -> int:
            if server.statistics.live == 2:
                self.reached = server.broadcast(bytes(1 << 16))
            return now_ns + 1_000_000

        def on_blocked(self, slots: Any, server: c1m.Server) -> None:
            self.blocked += len(slots)

    app = Pushing()
    run = serve(app, outbox_high=1 << 18, drain_ns=0)
    endpoint = run.server.endpoints[0]
    with connect(endpoint), connect(endpoint) as reader:
        while app.blocked == 0:
            reader.recv(1 << 18)
        while app.reached != 1:
            reader.recv(1 << 18)
        before = run.server.engine.statistics().outbox_bytes
        for _ in range(20):
            read_exactly(reader, 1 << 16)
        assert before < 2 * MB


def test_the_stop_is_told_and_ends_every_connection_once(serve: Serve) -> None:
    class Told(c1m.App):
        def __init__(self) -> None:
            self.open = np.zeros(0, np.int32)
            self.closed = np.zeros(0, np.int32)
            self.reasons = np.zeros(0, np.uint8)

        def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
            self.open = np.concatenate((self.open, batch.slots))

        def on_stop(self, server: c1m.Server) -> None:
            assert sorted(self.open) == server.live_slots().tolist()
            server.broadcast(b"stopping")

        def on_close(self, batch: c1m.CloseBatch, server: c1m.Server) -> None:
            self.closed = np.concatenate((self.closed, batch.slots))
            self.reasons = np.concatenate((self.reasons, batch.reasons))

    app = Told()
    run = serve(app)
    socks = [connect(run.server.endpoints[0]) for _ in range(100)]
    eventually(lambda: len(app.open) == 100, "100 connections")
    statistics = run.stop()
    assert sorted(app.closed) == sorted(app.open)
    assert set(app.reasons.tolist()) == {c1m.CloseReason.DRAIN}
    assert statistics.closed[c1m.CloseReason.DRAIN] == 100
    for sock in socks:
        assert read_all(sock) == b"stopping"
        sock.close()


def test_an_applications_exception_ends_the_server_if_it_is_told_to(engine: str) -> None:
    class Faulty(c1m.App):
        def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
            raise RuntimeError("on purpose")

    run = ServerThread(c1m.Server(Faulty(), "tcp://127.0.0.1:0", engine=engine, on_error="stop"))
    with connect(run.server.endpoints[0]) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b""
    with pytest.raises(RuntimeError, match="on purpose"):
        run.stop()
    assert run.server.statistics.live == 0
    with pytest.raises(OSError):
        connect(run.server.endpoints[0])


def test_serve_leaves_the_signal_handlers_as_they_were(engine: str) -> None:
    class Brief(c1m.App):
        def on_tick(self, now_ns: int, server: c1m.Server) -> None:
            server.stop()

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    c1m.serve(Brief(), "tcp://127.0.0.1:0", engine=engine)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_half_closed_peers_that_do_not_read_stop_nobody_else(
    serve_process: Any, engine: str
) -> None:
    """Owed output, the peer's FIN, no reader: others with output pending must get theirs."""
    server = serve_process(drain_ns=100_000_000, outbox_high=16 * MB)
    owed = bytes(8 * MB)
    socks = []
    for _ in range(4):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        sock.settimeout(WAIT_S)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(owed)
        sock.shutdown(socket.SHUT_WR)
        socks.append(sock)
    try:
        socks[-1].settimeout(2)  # nothing for so long: stuck
        assert len(read_all(socks[-1])) == len(owed)
        assert server.threads() == 1
    finally:
        for sock in socks:
            sock.close()
