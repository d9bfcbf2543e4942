"""SIGINT, SIGTERM, SIGHUP to both ends: a good end at the first, an end at once at the second."""

from __future__ import annotations

import array
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from c1m.results.record import RunRecord
from e2e.cli_helpers import PATIENCE_S, Server, finish, start
from laws import broken_laws

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Its output up to the first line in which the pattern is found."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.search(pattern, line):
            return seen
    raise AssertionError(f"it ended before {pattern!r}: {seen}{finish(process)[1]}")


def wait_until_acknowledged(sock: socket.socket) -> None:
    """All that was sent has come to the other end's kernel."""
    unacknowledged = array.array("i", [1])
    while unacknowledged[0]:
        fcntl.ioctl(sock, termios.TIOCOUTQ, unacknowledged)
        time.sleep(0.01)


@SIGNALS
def test_a_server_with_connections_ends_in_good_order(
    tmp_path: Path, engine: str, number: signal.Signals
) -> None:
    host_and_port: tuple[str, int]
    with Server(tmp_path, "--engine", engine) as server:
        host_and_port = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        socks = [socket.create_connection(host_and_port) for _ in range(50)]
        for n, sock in enumerate(socks):
            sock.settimeout(PATIENCE_S)
            sock.sendall(b"hello %d" % n)
            assert sock.recv(100) == b"hello %d" % n
        assert server.stop(number) == 0
        for sock in socks:
            assert sock.recv(1) == b"", "an end of stream, not a reset"
            sock.close()
    figures = server.figures()
    assert (figures["opened"], figures["closed"]["drain"]) == (50, 50)
    assert "50 connections opened, at most 50 at once, 0 left open" in server.output
    assert "1 thread" in server.output
    with socket.socket() as probe:
        assert probe.connect_ex(host_and_port) != 0, "nobody listens any more"


def test_a_server_sends_what_it_owes_before_it_ends(tmp_path: Path, engine: str) -> None:
    payload = os.urandom(3_000_000)
    with Server(tmp_path, "--engine", engine, "--drain", "60s", "--outbox", "8M") as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(PATIENCE_S)
            sock.sendall(payload)
            wait_until_acknowledged(sock)
            os.kill(server.pid, signal.SIGTERM)
            came = b""
            while len(came) < len(payload):
                piece = sock.recv(1 << 16)
                assert piece, f"the server ended with {len(payload) - len(came):,} bytes owed"
                came += piece
            assert sock.recv(1) == b""
        assert server.wait() == 0
    assert came == payload
    assert server.figures()["unsent_bytes"] == 0


def test_a_second_signal_ends_a_server_at_once(tmp_path: Path, engine: str) -> None:
    with Server(tmp_path, "--engine", engine, "--drain", "1h", "--outbox", "64M") as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(PATIENCE_S)
            sock.sendall(bytes(20_000_000))  # and never reads: it is owed that for an hour
            os.kill(server.pid, signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(0.5)
            os.kill(server.pid, signal.SIGINT)
            assert server.process.wait(PATIENCE_S) == 128 + signal.SIGINT


@SIGNALS
def test_a_client_ends_with_the_results_so_far(
    tmp_path: Path, engine: str, number: signal.Signals
) -> None:
    path, report = tmp_path / "run.json", tmp_path / "run.html"
    with Server(tmp_path, "--engine", engine) as server:
        client = start("load", server.url, "--connections", 300, "--hold", "1h", "--engine",
                       engine, "--json", path, "--report", report)  # fmt: skip
        said = read_until(client, r"\bhold\b.* 300 open")
        os.kill(client.pid, number)
        more, errors = finish(client)
        assert server.stop() == 0
    assert (client.returncode, errors) == (1, "")
    assert "interrupted" in more and "300" in said
    record = RunRecord.read(path)
    assert broken_laws(record) == []
    assert (record.connections.opened, record.connections.open_at_end) == (300, 300)
    assert [p.name for p in record.phases] == ["ramp", "hold", "settle", "close"]
    assert (record.first.right, record.stampede.sent) == (300, 0)
    assert not record.verdict.complete
    assert report.stat().st_size > 100_000
    assert server.figures()["closed"]["peer_eof"] == 300


def test_a_client_that_is_still_opening_ends_with_the_results_so_far(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with Server(tmp_path) as server:
        client = start("load", server.url, "--connections", 100_000, "--connect-rate", "100/s",
                       "--json", path)  # fmt: skip
        read_until(client, r"\bramp\b.* [1-9][0-9,]* open")
        os.kill(client.pid, signal.SIGINT)
        _, errors = finish(client)
        assert server.stop() == 0
    assert (client.returncode, errors) == (1, "")
    record = RunRecord.read(path)
    assert broken_laws(record) == []
    assert 0 < record.connections.opened < 100_000
    assert any("interrupted" in sentence for sentence in record.verdict.shortfalls)


CLIENT_THAT_OWES = """
import sys, c1m
c1m.load(
    sys.argv[1], connections=1, message="x" * 1_000_000, timeout="1h", on_signals=True,
    on_progress=lambda p: print(p.stage, p.open, "open", flush=True),
)
"""


def test_a_second_signal_ends_a_client_at_once(tmp_path: Path) -> None:
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:  # never accepts, so it takes little
        listener.bind(str(path))
        listener.listen()
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT_THAT_OWES, f"unix://{path}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        read_until(client, "ramp 1 1 open")
        os.kill(client.pid, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.5)  # it would still like to send the rest
        os.kill(client.pid, signal.SIGTERM)
        finish(client)
    assert client.returncode == -signal.SIGTERM


def test_both_hang_ups_of_a_closed_terminal_are_one_request(tmp_path: Path) -> None:
    """The shell sends one and the kernel another."""
    path = tmp_path / "run.json"
    with Server(tmp_path) as server:
        client = start("load", server.url, "--connections", 20, "--hold", "1h", "--json", path)
        read_until(client, r"\bhold\b.* 20 open")
        for pid in (client.pid, server.pid):
            os.kill(pid, signal.SIGHUP)
            os.kill(pid, signal.SIGHUP)
        _, errors = finish(client)
        assert server.wait() == 0
    assert (client.returncode, errors) == (1, "")
    assert RunRecord.read(path).connections.opened == 20
    assert server.figures()["opened"] == 20


def test_nohup_stays(tmp_path: Path) -> None:
    with Server(tmp_path, before=["nohup"]) as server:
        os.kill(server.pid, signal.SIGHUP)
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as sock:
            sock.sendall(b"still there")
            assert sock.recv(100) == b"still there"
        assert server.stop() == 0


CLIENT_AT_ITS_END = """
import os, signal, sys, c1m
def end(record):
    os.kill(os.getpid(), signal.SIGINT)
    record.write(sys.argv[2])
c1m.load(sys.argv[1], connections=2, on_signals=True, on_end=end)
"""


def test_a_first_signal_at_the_end_costs_no_results(tmp_path: Path) -> None:
    """The run is over and its results are being written: there is nothing left to interrupt."""
    path = tmp_path / "run.json"
    with Server(tmp_path) as server:
        subprocess.run([sys.executable, "-c", CLIENT_AT_ITS_END, server.url, path], check=True)
    record = RunRecord.read(path)
    assert record.verdict.complete, record.verdict.shortfalls
