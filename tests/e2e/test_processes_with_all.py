"""Several processes with what else there is: TLS, users, systemd, logs, push, keys, asyncio."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.sync.client import connect

from c1m.kernel.users import User
from c1m.server.private_broker import PrivateBroker
from certificates import authority
from e2e.cli_helpers import PATIENCE_S, finish, free_ports, run, start
from e2e.several_processes import Processes, connected, echoed, place
from e2e.test_supervised import end, hear, listening, started, told


def until_readable(path: Path, lines: int) -> list[str]:
    limit = time.monotonic() + PATIENCE_S
    while not path.exists() or len(found := path.read_text().splitlines()) < lines:
        assert time.monotonic() < limit
        time.sleep(0.05)
    return found


def test_push_reaches_the_subscribers_of_all_in_one_order(tmp_path: Path) -> None:
    with Processes(tmp_path, 2, app="push") as server, ExitStack() as stack:
        base = server.url.replace("tcp://", "http://")
        url = base.replace("http://", "ws://") + "/connect?channel=news"
        subscribers = [stack.enter_context(connect(url)) for _ in range(12)]
        held = server.until(lambda s: sum(s["processes"]["connections"].values()) == 12)
        assert min(held["processes"]["connections"].values()) > 0
        texts = [f"text {n}" for n in range(40)]
        for text in texts:  # each by a connection of its own: to any of the processes
            request = urllib.request.Request(f"{base}/publish?channel=news", text.encode())
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                assert json.loads(response.read())["id"]
        for one in subscribers:
            assert [one.recv(timeout=PATIENCE_S) for _ in texts] == texts
        broker = server.children()[-1]  # started last
        os.kill(broker, signal.SIGKILL)
        server.until(lambda s: s["relay"]["lost"] > 0 and s["relay"]["connected"] == 1)
        request = urllib.request.Request(f"{base}/publish?channel=news", b"after")
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()
        for one in subscribers:
            assert one.recv(timeout=PATIENCE_S) == "after"
        os.kill(server.pid, signal.SIGTERM)
        _, errors = finish(server.process)
        assert server.process.returncode == 0
        assert "The broker of the processes" in errors and "is started again" in errors


def test_keys_are_shared_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = free_ports(3)
    listen = [f"tcp://127.0.0.1:{first}"]
    with Processes(tmp_path, 2, "--data", data, app="kv", listen=listen) as server:
        client: Any = redis.RedisCluster(host="127.0.0.1", port=first)
        for n in range(200):
            assert client.set(f"key {n}", n)
        found = server.until(lambda s: s["kv"]["keys"] == 200)
        assert found["kv"]["commands"]["set"] >= 200
        assert {node.port for node in client.get_nodes()} == {first + 1, first + 2}
        client.close()
        assert server.stop() == 0
    assert sorted(path.name for path in data.iterdir()) == ["0", "1"]
    done = run("serve", "kv", "--processes", 3, "--data", data, "--listen", listen[0])
    assert done.returncode == 2 and "has the data of 2 processes" in done.stderr
    with Processes(tmp_path, 2, "--data", data, app="kv", listen=listen):
        client = redis.RedisCluster(host="127.0.0.1", port=first)
        assert [int(client.get(f"key {n}")) for n in range(200)] == list(range(200))
        client.close()


PROTOCOL = """
import asyncio, os
class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data if data != b"pid" else b"%d" % os.getpid())
"""


def test_protocols_of_asyncio(tmp_path: Path) -> None:
    (tmp_path / "protocols.py").write_text(PROTOCOL)
    with Processes(tmp_path, 2, app="protocols:Protocol", cwd=tmp_path) as server:
        with connected(server.url, 60) as socks:
            for sock in socks:
                sock.sendall(b"pid")
            assert {int(sock.recv(20)) for sock in socks} == set(server.children())
            server.until(lambda s: s["connections"]["live"] == 60)
        assert server.stop() == 0
        assert server.totals()["opened"] == 60


def tls_of(url: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(place(url)), server_hostname="localhost")


def test_certificates_are_read_anew_by_all(tmp_path: Path) -> None:
    trusted = authority()
    before, after = trusted.leaf("localhost"), trusted.leaf("localhost", "other.example")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, text in ((cert, before.cert), (key, before.key)):
        path.write_bytes(Path(text).read_bytes())
    key.chmod(0o600)
    context = ssl.create_default_context(cafile=str(trusted.cert))
    options = ("--tls-cert", cert, "--tls-key", key)
    with Processes(tmp_path, 2, *options, listen=["tls://127.0.0.1:0"]) as server:

        def names() -> list[int]:
            """How many names each of 12 handshakes has shown."""
            found = []
            for _ in range(12):
                with tls_of(server.url, context) as sock:
                    assert echoed(sock)
                    shown: Any = sock.getpeercert()
                    found.append(len(shown["subjectAltName"]))
            return found

        assert set(names()) == {1}
        for path, text in ((cert, after.cert), (key, after.key)):
            path.write_bytes(Path(text).read_bytes())
        os.kill(server.pid, signal.SIGHUP)
        limit = time.monotonic() + PATIENCE_S
        while set(names()) != {2}:
            assert time.monotonic() < limit
        server.until(lambda s: s["tls"]["done"] >= 24)
        assert server.stop() == 0
        assert server.totals()["tls"]["done"] >= 24


def test_one_access_log_and_whose_lines_of_the_log_are(tmp_path: Path) -> None:
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    port = free_ports(1)
    url = f"tcp://127.0.0.1:{port}"
    process = start(
        "serve", "echo", "--listen", url, "--processes", 2, "--access-log", log, "--log", "json"
    )
    assert process.stderr is not None
    first = [json.loads(process.stderr.readline()) for _ in range(4)]
    assert {line.get("number") for line in first} == {0, 1, None}
    with connected(url, 300) as socks:
        assert all(map(echoed, socks))
    lines = [json.loads(line) for line in until_readable(log, 300)]
    assert len(lines) == 300 and all(line["received"] == 5 for line in lines)
    log.rename(old)
    process.send_signal(signal.SIGUSR1)
    limit = time.monotonic() + PATIENCE_S
    while not log.exists() or log.stat().st_size == 0:  # each process goes on in the new one
        with connected(url, 20):
            time.sleep(0.05)
        assert time.monotonic() < limit
    process.send_signal(signal.SIGTERM)
    finish(process)
    assert process.returncode == 0


def test_sockets_of_systemd_and_what_it_is_told(tmp_path: Path) -> None:
    with listening() as tcp, told(tmp_path) as sock:
        port = tcp.getsockname()[1]
        with started(
            "echo", "--processes", "2", sock=sock, pass_fds=(tcp.fileno(),), WATCHDOG_USEC="400000"
        ) as it:
            hear(sock, "READY=1")
            hear(sock, "WATCHDOG=1")
            with connected(f"tcp://127.0.0.1:{port}", 30) as socks:
                assert all(map(echoed, socks))
            it.send_signal(signal.SIGTERM)
            hear(sock, "STOPPING=1")
            assert "30 connections opened" in end(it, is_told=True)


def test_the_processes_become_another_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    user, leaf = User.of("nobody"), authority().leaf("localhost")
    options = ("--tls-cert", leaf.cert, "--tls-key", leaf.key, "--user", "nobody")
    with Processes(tmp_path, 2, *options, listen=["tls://127.0.0.1:0"]) as server:
        os.kill(server.children()[0], signal.SIGKILL)  # the next one reads the key, too
        server.until(lambda s: sum(s["processes"]["restarts"].values()) == 1)
        server.until(lambda s: min(s["processes"]["weight"].values()) > 0)
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in server.children()}
        assert owners == {user.uid} and len(server.children()) == 2
        os.kill(server.pid, signal.SIGTERM)
        finish(server.process)
        assert server.process.returncode == 0
    broker = PrivateBroker(2, user)
    path = Path(broker.url.partition("://")[2])
    assert {each.stat().st_uid for each in (path, path.parent)} == {user.uid}
    broker.close()
    assert not path.parent.exists()
