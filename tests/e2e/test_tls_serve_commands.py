"""`c1m serve` over TLS: what it says, signals, mistakes; the key-value and the push server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.sync.client import connect as connect_websocket

import certificates
from e2e import tls_clients
from e2e.cli_helpers import COMMAND, PATIENCE_S, Server, finish, run
from e2e.tls_clients import LEAF, OURS, echoed, end

CERTIFIED = ("--tls-cert", LEAF.cert, "--tls-key", LEAF.key)


@pytest.fixture(params=[(), ("--tls-handoff",)], ids=["ssl", "handed"])
def how(request: pytest.FixtureRequest) -> tuple[Any, ...]:
    return (*CERTIFIED, *request.param)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def line_with(server: Server, text: str) -> str:
    """The next line of its standard output in which this is."""
    assert server.process.stdout is not None
    for line in server.process.stdout:
        if text in line:
            return line
    raise AssertionError(f"it ended before it said {text!r}: {finish(server.process)}")


def test_what_it_says(tmp_path: Path, how: tuple[Any, ...]) -> None:
    ca = ("--tls-client-ca", OURS.cert, "--tls-client-optional")
    listen = ["https://127.0.0.1:0", "tcp://127.0.0.1:0", "tls://127.0.0.1:0"]
    with Server(tmp_path, *how, *ca, "--quiet", listen=listen) as server:
        assert [url.partition("://")[0] for url in server.urls] == ["https", "tcp", "tls"]
        assert "localhost, 127.0.0.1 (ECDSA, until " in line_with(server, "certificate: ")
        facts = line_with(server, "TLS 1.2 and 1.3")
        assert "1 ticket" in facts and "certificates of clients asked for" in facts
        if "--tls-handoff" in how:
            line_with(server, "hand-off (experimental): ")
        assert "CN=c1m test authority" in line_with(server, "note: ")
        for place in (0, 2):
            sock = tls_clients.connect(port_of(server.urls[place]))
            assert echoed(sock, b"x") == b"x"
            end(sock)
        with pytest.raises(ssl.SSLError):
            tls_clients.connect(port_of(server.urls[0]), "example.org")
        # How it ended is known to the server when it stops at the latest.
        assert server.stop() == 0
        figures = server.figures()
        assert figures["tls"]["done"] + sum(figures["tls"]["failed"].values()) >= 2
        assert figures["tls"]["under_way"] == 0
        assert "TLS handshakes: " in server.output


def test_certificates_are_read_anew_at_hangup(tmp_path: Path, how: tuple[Any, ...]) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    first, second = (OURS.leaf("localhost", again=n) for n in ("first", "second"))

    def put(leaf: certificates.Leaf) -> None:
        shutil.copy(leaf.cert, cert)
        shutil.copy(leaf.key, key)

    put(first)
    files = ("--tls-cert", cert, "--tls-key", key, *how[4:])
    with Server(tmp_path, *files, "--quiet", listen=["tls://127.0.0.1:0"]) as server:
        port = port_of(server.url)
        socks = [tls_clients.connect(port)]
        put(second)
        os.kill(server.pid, signal.SIGHUP)
        line_with(server, "were read anew")
        socks.append(tls_clients.connect(port))
        cert.write_text("nothing")
        os.kill(server.pid, signal.SIGHUP)
        assert "The certificates stay" in line_with(server, "is no PEM")
        socks.append(tls_clients.connect(port))
        found = [tls_clients.serial(sock) for sock in socks]
        assert found == [tls_clients.shown_serial(leaf) for leaf in (first, second, second)]
        for sock in socks:
            assert echoed(sock, b"here") == b"here"
            end(sock)
        assert server.stop(signal.SIGTERM) == 0
        assert server.figures()["opened"] == 3


IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "c1m", *sys.argv[1:]])
"""


def test_a_terminal_that_closes_stops_it(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = ["serve", "echo", "--listen", "tls://127.0.0.1:0", *CERTIFIED, "--json", figures]
    master, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *map(str, words)],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    ) as server:  # fmt: skip
        os.close(terminal)
        said = b""
        while b"note: " not in said:  # it has its signal handlers before it says anything
            said += os.read(master, 1 << 16)
        os.close(master)
        # 1: nothing could be said any more.
        assert server.wait(PATIENCE_S) in (0, 1)
    assert json.loads(figures.read_text())["live"] == 0


def test_plain_spoken_to_tls_and_the_reverse_are_said_once(tmp_path: Path) -> None:
    listen = ["https://127.0.0.1:0", "http://127.0.0.1:0"]
    with Server(tmp_path, *CERTIFIED, "--quiet", app="push", listen=listen) as server:
        secured, plain = map(port_of, server.urls)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", secured), PATIENCE_S) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")
        line_with(server, f"plain HTTP on https://127.0.0.1:{secured}, which speaks TLS")
        for _ in range(3):
            with pytest.raises(ssl.SSLError):
                tls_clients.connect(plain)
        line_with(server, f"TLS on http://127.0.0.1:{plain}, which has none")
        assert server.stop() == 0
        assert "which " not in server.output.partition("\n")[2]  # once each
        figures = server.figures()
        assert figures["never_opened"] == {"The client spoke plain HTTP": 3}
        assert figures["spoke_tls"] == 3


def test_a_client_that_does_not_trust_us_is_counted_in_words(
    tmp_path: Path, how: tuple[Any, ...]
) -> None:
    with Server(tmp_path, *how, "--quiet", listen=["tls://127.0.0.1:0"]) as server:
        place = ("127.0.0.1", port_of(server.url))
        other = certificates.authority("another").cert
        by = ssl.create_default_context(cafile=str(other))
        came, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = by.wrap_bio(came, to_server, server_hostname="localhost")
        with socket.create_connection(place, PATIENCE_S) as sock:
            with pytest.raises(ssl.SSLCertVerificationError):
                while True:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        client.do_handshake()
                    sock.sendall(to_server.read())
                    came.write(sock.recv(1 << 16))
            sock.sendall(to_server.read())  # the alert
            while sock.recv(1 << 16):  # a reset could come before it
                pass
        with socket.create_connection(place, PATIENCE_S) as sock:
            sock.sendall(b"hello, is this TLS?\r\n")
            while sock.recv(1 << 16):
                pass
        assert server.stop() == 0
        assert server.figures()["never_opened"] == {
            "The client does not know who issued the certificate (unknown_ca)": 1,
            "The client spoke something else than TLS": 1,
        }


# --- mistakes -------------------------------------------------------------------------------------


def _mistakes() -> Iterator[tuple[tuple[Any, ...], str]]:
    cert, key = LEAF.cert, LEAF.key
    tls = ("--listen", "tls://127.0.0.1:0")
    yield (*tls,), "and there is no certificate"
    yield (*tls, "--tls-key", key), "A key is given, and no certificate"
    yield ("--listen", "tcp://127.0.0.1:0", *CERTIFIED), "nothing is listened on with TLS"
    yield (*tls, "--tls-cert", key, "--tls-key", cert), "the other way round"
    yield (*tls, *CERTIFIED, "--tls-min-version", "1.1"), "1.1"
    yield (*tls, *CERTIFIED, "--tls-tickets", "100"), "--tls-tickets"


MISTAKES = list(_mistakes())


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_a_mistake_is_one_sentence_and_nothing_is_started(
    arguments: tuple[Any, ...], said: str
) -> None:
    done = run("serve", "echo", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_without_cryptography_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')")
    command = [*COMMAND, "serve", "echo", "--listen", "tls://127.0.0.1:0", *map(str, CERTIFIED)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'c1m[tls]'" in done.stderr
    assert "Traceback" not in done.stderr


# --- servers over TLS -----------------------------------------------------------------------------


def test_redis_clients_over_tls(tmp_path: Path, how: tuple[Any, ...]) -> None:
    listen = ["rediss://127.0.0.1:0", "tcp://127.0.0.1:0"]
    with Server(tmp_path, *how, "--quiet", app="kv", listen=listen) as server:
        port, plain = map(port_of, server.urls)
        with redis.Redis(
            port=port, host="localhost", ssl=True, ssl_ca_certs=str(OURS.cert)
        ) as client:
            assert client.set("a", "b" * 100_000)
            assert client.get("a") == b"b" * 100_000
            pipe = client.pipeline()
            for number in range(100):
                pipe.incrby("n", number)
            assert pipe.execute()[-1] == sum(range(100))
            heard = client.pubsub()
            heard.subscribe("news")
            assert heard.get_message(timeout=PATIENCE_S) is not None
            with redis.Redis(port=plain) as other:
                assert other.publish("news", "hello") == 1
            message = heard.get_message(timeout=PATIENCE_S)
            assert message is not None and message["data"] == b"hello"
            heard.close()
        with pytest.raises(redis.ConnectionError):
            redis.Redis(port=plain, ssl=True, ssl_ca_certs=str(OURS.cert)).ping()
        line_with(server, "which has none")


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not here")
def test_redis_cli(tmp_path: Path, how: tuple[Any, ...]) -> None:
    with Server(tmp_path, *how, "--quiet", app="kv", listen=["rediss://127.0.0.1:0"]) as server:
        command = [
            "redis-cli", "--tls", "--cacert", str(OURS.cert), "-p", str(port_of(server.url)),
        ]  # fmt: skip
        for words, reply in ((["set", "a", "1"], "OK"), (["incr", "a"], "2")):
            done = subprocess.run(
                [*command, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=True
            )
            assert done.stdout.strip() == reply


def test_the_push_server_and_its_other_listeners(tmp_path: Path, how: tuple[Any, ...]) -> None:
    others = ("--admin", "https://127.0.0.1:0", "--resp", "rediss://127.0.0.1:0")
    listen = ["https://127.0.0.1:0"]
    with Server(tmp_path, *how, *others, "--quiet", app="push", listen=listen) as server:
        port, resp = map(port_of, server.urls)
        operators = line_with(server, "operators: ").split()[1]
        admin = port_of(operators)
        assert f"wss://127.0.0.1:{port}/connect" in line_with(server, "subscribe: ")
        assert operators == f"https://127.0.0.1:{admin}"
        by = tls_clients.context()
        url = f"wss://localhost:{port}/connect?channel=news"
        with connect_websocket(url, ssl=by, open_timeout=PATIENCE_S) as sock:
            request = urllib.request.Request(
                f"https://localhost:{port}/publish?channel=news", b"by HTTP",
                {"Content-Type": "text/plain"},
            )  # fmt: skip
            with urllib.request.urlopen(request, timeout=PATIENCE_S, context=by) as response:
                assert json.load(response)["subscribers"] == 1
            assert sock.recv(PATIENCE_S) == "by HTTP"
            with redis.Redis(
                port=resp, host="localhost", ssl=True, ssl_ca_certs=str(OURS.cert)
            ) as client:
                assert client.publish("news", "by Redis") == 1
            assert sock.recv(PATIENCE_S) == "by Redis"
            stats = f"https://localhost:{admin}/stats"
            with urllib.request.urlopen(stats, timeout=PATIENCE_S, context=by) as response:
                found = json.load(response)
            assert found["connections"]["live"]["websocket"] == 1
            assert found["tls"]["done"] == 3  # the operators' are the thread's
            metrics = f"https://localhost:{admin}/metrics"
            with urllib.request.urlopen(metrics, timeout=PATIENCE_S, context=by) as response:
                assert b'c1m_tls_handshakes_total{state="done"} ' in response.read()
