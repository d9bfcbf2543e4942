"""A second process takes the listening sockets over, and what may go wrong at that."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import c1m
from c1m.kernel.channel import Doorway
from certificates import authority
from e2e.cli_helpers import COMMAND, PATIENCE_S, Server, finish, free_ports, run, start


def ask(sock: socket.socket, text: bytes) -> bytes:
    sock.sendall(text)
    return sock.recv(100)


def to(server: Server) -> socket.socket:
    port = int(server.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def place(tmp_path: Path, name: str) -> Path:
    found = tmp_path / name
    found.mkdir()
    return found


def test_all_kinds_of_listeners_go_on(tmp_path: Path, engine: str) -> None:
    """A port that the kernel chose, a unix socket, TLS, and who is connected meanwhile."""
    issued = authority().leaf("localhost")
    path, way = tmp_path / "echo.sock", tmp_path / "next"
    listen = ["tcp://127.0.0.1:0", f"unix://{path}?mode=0600", "tls://127.0.0.1:0"]
    options = (
        "--engine", engine, "--takeover", way, "--tls-cert", issued.cert, "--tls-key", issued.key,
    )  # fmt: skip
    with Server(place(tmp_path, "a"), *options, listen=listen) as old:
        assert os.stat(path).st_mode & 0o777 == 0o600
        until(way.exists)
        assert os.stat(way).st_mode & 0o777 == 0o600
        with to(old) as early:
            assert ask(early, b"a") == b"a"
            with Server(place(tmp_path, "b"), *options, listen=listen) as new:
                assert new.urls == old.urls
                assert early.recv(1) == b""
                assert old.wait() == 0
                assert f"process {new.pid} takes over" in old.output
                with to(new) as late, socket.socket(socket.AF_UNIX) as local:
                    local.connect(str(path))
                    assert (ask(late, b"b"), ask(local, b"c")) == (b"b", b"c")
                until(way.exists)  # the next one may come
                assert new.stop() == 0
                assert f"takes over from process {old.pid}" in new.output
    assert old.figures()["closed"]["drain"] == 1
    assert new.figures()["opened"] == 2
    assert not path.exists()
    assert not way.exists()


PROTOCOL = """
import asyncio
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(data)
"""


@pytest.mark.parametrize("app", ["echo", "own:Echo"])
def test_the_listener_for_operators_goes_over_too(tmp_path: Path, app: str) -> None:
    (tmp_path / "own.py").write_text(PROTOCOL)
    way, admin = tmp_path / "next", f"127.0.0.1:{free_ports(1)}"
    options = ("--takeover", way, "--admin", admin)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{admin}/readyz", timeout=PATIENCE_S) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    with Server(place(tmp_path, "a"), *options, app=app, cwd=tmp_path) as old:
        until(way.exists)
        assert answers()
        with Server(place(tmp_path, "b"), *options, app=app, cwd=tmp_path) as new:
            assert old.wait() == 0
            until(answers)
            os.kill(new.pid, signal.SIGTERM)
            assert new.wait() == 0


def test_protocols_of_asyncio_and_other_listeners(tmp_path: Path) -> None:
    """One is there no more, one is new; the third is behind a proxy now."""
    (tmp_path / "own.py").write_text(PROTOCOL)
    way, gone = tmp_path / "next", tmp_path / "gone.sock"
    with Server(
        place(tmp_path, "a"), "--takeover", way, app="own:Echo", cwd=tmp_path,
        listen=["tcp://127.0.0.1:0", f"unix://{gone}"],
    ) as old:  # fmt: skip
        until(way.exists)
        same = old.url.replace("tcp:", "tcp+proxy:")
        with Server(
            place(tmp_path, "b"), "--takeover", way, app="own:Echo", cwd=tmp_path,
            listen=[same, f"unix://{tmp_path}/new.sock"],
        ) as new:  # fmt: skip
            assert old.wait() == 0
            with to(old) as sock:
                assert ask(sock, b"PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\nhello") == b"hello"
            until(lambda: not gone.exists())
            assert new.stop() == 0


def kv(tmp_path: Path, name: str, *options: object) -> Server:
    return Server(
        place(tmp_path, name), "--takeover", tmp_path / "next", "--data", tmp_path / "data",
        *options, app="kv",
    )  # fmt: skip


SET = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
GET = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"


def test_kept_data_goes_on_when_the_one_before_has_let_go(tmp_path: Path) -> None:
    with kv(tmp_path, "a") as old:
        with to(old) as sock:
            assert ask(sock, SET) == b"+OK\r\n"
        until((tmp_path / "next").exists)
        port = old.url.rpartition(":")[2]
        options = ("--takeover", tmp_path / "next", "--data", tmp_path / "data")
        new = start("serve", "kv", "--listen", old.url, *options)
        try:
            assert old.wait() == 0
            with socket.create_connection(("127.0.0.1", int(port)), PATIENCE_S) as sock:
                assert ask(sock, GET) == b"$1\r\n1\r\n"
        finally:
            new.terminate()
            said, errors = finish(new)
    assert (new.returncode, errors) == (0, "")
    assert f"waits until process {old.pid} has ended its connections" in said


def test_the_one_before_begins_anew_where_the_next_cannot_start(tmp_path: Path) -> None:
    with kv(tmp_path, "a") as old:
        with to(old) as sock:
            assert ask(sock, SET) == b"+OK\r\n"
        until((tmp_path / "next").exists)
        done = run(
            "serve", "kv", "--listen", old.url, "--takeover", tmp_path / "next", "--data",
            tmp_path / "data", "--max-memory", "1",
        )  # fmt: skip
        assert done.returncode == 2
        assert "takes 1" in done.stderr or "of memory" in done.stderr
        with to(old) as sock:
            assert ask(sock, GET) == b"$1\r\n1\r\n"
        assert old.stop() == 0
    assert old.figures()["opened"] == 1, "of the process that has begun anew"


def test_where_the_next_one_cannot_start_the_one_before_goes_on(tmp_path: Path) -> None:
    way = tmp_path / "next"
    with Server(place(tmp_path, "a"), "--takeover", way) as old, to(old) as sock:
        until(way.exists)
        for wrong in (["--listen", "tcp://192.0.2.1:1"], ["--tls-cert", tmp_path / "none"]):
            done = run("serve", "echo", "--listen", old.url, "--takeover", way, *wrong)
            assert done.returncode == 2
        assert ask(sock, b"still here") == b"still here"
        with to(old) as another:
            assert ask(another, b"and open") == b"and open"
        assert old.stop() == 0


def test_sentences(tmp_path: Path) -> None:
    way = tmp_path / "next"
    way.write_text("a file")
    done = run("serve", "echo", "--listen", "tcp://127.0.0.1:0", "--takeover", way)
    assert done.returncode == 2
    assert "that is no socket. Give --takeover another path." in done.stderr
    done = run("serve", "echo", "--listen", "tcp://127.0.0.1:0", "--takeover", tmp_path / "no/x")
    assert done.returncode == 2
    assert "Give --takeover a path in a directory that this user may write to." in done.stderr


def test_who_speaks_another_form_is_refused(tmp_path: Path) -> None:
    way = tmp_path / "next"
    with Server(tmp_path, "--takeover", way) as old:
        until(way.exists)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.settimeout(PATIENCE_S)
            stranger.connect(str(way))
            stranger.send(b'{"hello": 0}')
            assert b"whose take-over has form 1" in stranger.recv(1000)
            assert stranger.recv(1000) == b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.settimeout(PATIENCE_S)
            stranger.connect(str(way))
            stranger.send(b'{"say": "ready"}')  # without a hello
            stranger.recv(1000)
        assert old.stop() == 0


def test_an_old_process_that_does_not_answer_is_named(tmp_path: Path) -> None:
    doorway = Doorway(str(tmp_path / "next"))
    try:
        told = subprocess.Popen(
            [*COMMAND, "serve", "echo", "--listen", "tcp://127.0.0.1:0", "--takeover",
             str(tmp_path / "next")], stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        channel = None
        while channel is None:
            channel = doorway.next()
        channel.say(error="it has another idea")
        _, errors = told.communicate(timeout=PATIENCE_S)
        channel.close()
    finally:
        doorway.close()
    assert told.returncode == 2
    assert "cannot be taken over from: it has another idea. Try again" in errors


def test_a_server_that_has_failed_is_not_asked_by_the_next_one(tmp_path: Path) -> None:
    class Faulty(c1m.App):
        def on_tick(self, now_ns: int, server: c1m.Server) -> None:
            raise RuntimeError("on purpose")

    class Brief(c1m.App):
        def on_tick(self, now_ns: int, server: c1m.Server) -> None:
            server.stop()

    way, kept = tmp_path / "next", []
    for _ in range(2):
        with pytest.raises(RuntimeError, match="on purpose") as raised:
            c1m.serve(Faulty(), "tcp://127.0.0.1:0", takeover=str(way), on_error="stop")
        kept.append(raised)  # with its frames: nothing is closed by luck
        assert not way.exists()
    c1m.serve(Brief(), "tcp://127.0.0.1:0", takeover=str(way))
