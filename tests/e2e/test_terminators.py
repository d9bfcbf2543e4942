"""Servers behind HAProxy, nginx and stunnel, which speak TLS with the clients, as the how-to says.

Clients connect from 127.0.0.9 and the terminators from 127.0.0.1, so that both can be told apart.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

import c1m
import certificates
from c1m.apps import load_app
from c1m.engine.contract import Slots
from c1m.protocols.proxy import Wrong
from e2e.cli_helpers import load
from e2e.debian_servers import free_port, program, running
from e2e.library_runs import WAIT_S, eventually, serving
from e2e.test_docs import DOCS

PAGE = DOCS / "how-to" / "terminate-tls-in-front.md"
CLIENT = "127.0.0.9"
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
# By the name of the file on the page: the port there, how a unix socket is written, and what makes
# it send a header.
TERMINATORS = {
    "haproxy.cfg": (8011, "unix@{}", " send-proxy-v2"),
    "nginx.conf": (8012, "unix:{}", "proxy_protocol on;"),
    "stunnel.conf": (8013, "{}", "protocol = proxy"),
}

Terminate = Callable[..., int]


class WhoAmI(c1m.App):
    """Tells each client its address, and sends back what comes."""

    def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
        lines = [f"{host}:{port}\n".encode() for host, port in server.peers(batch.slots)]
        server.send(batch.slots, lines)

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)

    def on_eof(self, slots: Slots, server: c1m.Server) -> None:
        server.close(slots)


@pytest.fixture(params=TERMINATORS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def terminate(tmp_path: Path) -> Iterator[Terminate]:
    """Starts a terminator of the page's configuration in front of a place: its port."""
    leaf = certificates.authority().leaf("localhost", "127.0.0.1")
    files = {"cert.pem": leaf.cert, "key.pem": leaf.key, "site.pem": leaf.both}
    with ExitStack() as stack:

        def start(kind: str, place: str, *, header_as: str | None = None) -> int:
            command = command_of(kind, tmp_path)
            text = PAGE.read_text()
            (text,) = re.findall(rf"<!-- file: {kind} -->\n```\w+\n(.*?)```", text, re.DOTALL)
            port, (written, unix, header) = free_port(), TERMINATORS[kind]
            assert text.count(header) == 1
            text = text.replace(header, header if header_as is None else header_as)
            there = unix.format(place) if place.startswith("/") else place
            text = text.replace(str(written), str(port)).replace("127.0.0.1:8001", there)
            for name, path in files.items():
                text = text.replace(name, str(path))
            if os.geteuid() == 0:  # else nginx's workers cannot reach what is below tmp_path
                text = text.replace("pid nginx.pid;", "pid nginx.pid; user root;")
            (tmp_path / kind).write_text(text)
            stack.enter_context(running(command, port, tmp_path / f"{kind}.log"))
            return port

        yield start


def command_of(kind: str, directory: Path) -> list[str | Path]:
    """How the page starts it. Skips the test where it cannot be installed."""
    path = directory / kind
    if kind == "haproxy.cfg":
        return [program("haproxy", "haproxy"), "-f", path]
    if kind == "stunnel.conf":
        return [program("stunnel", "stunnel4"), path]
    nginx = program("nginx", "nginx-light libnginx-mod-stream", MODULE)
    return [nginx, "-e", "stderr", "-p", directory, "-c", path, "-g", "daemon off;"]


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.authority().cert))


def client(port: int) -> ssl.SSLSocket:
    """Over TLS, from the clients' address."""
    sock = socket.create_connection(("127.0.0.1", port), WAIT_S, (CLIENT, 0))
    return trusting().wrap_socket(sock, server_hostname="localhost")


def address(sock: ssl.SSLSocket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def read(sock: ssl.SSLSocket, size: int) -> bytes:
    """So many bytes."""
    came = b""
    while len(came) < size:
        piece = sock.recv(size - len(came))
        assert piece, f"ended after {len(came)} of {size} bytes"
        came += piece
    return came


@pytest.mark.parametrize("by_unix", [False, True], ids=["tcp", "unix"])
def test_the_application_sees_the_client(
    kind: str, by_unix: bool, terminate: Terminate, tmp_path: Path
) -> None:
    path = tmp_path / "c1m.sock"
    url = f"unix+proxy://{path}" if by_unix else "tcp+proxy://127.0.0.1:0"
    with serving(WhoAmI(), url, proxy_from="127.0.0.1") as run:
        port = terminate(kind, str(path) if by_unix else f"127.0.0.1:{run.port}")
        sent = os.urandom(300_000)
        with client(port) as first, client(port) as second:
            for sock in (first, second):
                line = f"{address(sock)}\n".encode()
                assert read(sock, len(line)) == line
            first.sendall(sent)
            assert read(first, len(sent)) == sent
            second.sendall(b"x")
            assert read(second, 1) == b"x"
        figures = run.server.statistics
        eventually(lambda: figures.opened == 2 and not figures.live, "both have ended")
        assert run.server.engine.statistics().never_opened == {}


def test_a_protocol_server_sees_the_client(kind: str, terminate: Terminate) -> None:
    """asyncio's peername."""

    class Named(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(repr(transport.get_extra_info("peername")).encode())
            transport.close()

    with (
        serving(Named, "tcp://127.0.0.1:0", proxy_protocol=True) as run,
        client(terminate(kind, f"127.0.0.1:{run.port}")) as sock,
    ):
        wanted = repr(sock.getsockname()).encode()
        assert read(sock, len(wanted)) == wanted


def test_the_key_value_server_lists_the_client(kind: str, terminate: Terminate) -> None:
    with (
        serving(load_app("kv"), "redis+proxy://127.0.0.1:0") as run,
        client(terminate(kind, f"127.0.0.1:{run.port}")) as sock,
    ):
        for command in (b"CLIENT INFO\r\n", b"CLIENT LIST\r\n"):
            sock.sendall(command)
            size = int(read(sock, 4)[1:])
            said = read(sock, size + 4).decode()
            assert f" addr={address(sock)} laddr=127.0.0.1:{run.port} " in said


def test_a_websocket_of_the_push_server(kind: str, terminate: Terminate) -> None:
    app = load_app("push", origin=["*"])
    with serving(app, "http+proxy://127.0.0.1:0") as run:
        port = terminate(kind, f"127.0.0.1:{run.port}")
        place = f"localhost:{port}"
        with connect(f"wss://{place}/connect?channel=news", ssl=trusting()) as sock:
            eventually(lambda: run.server.statistics.live == 1, "the subscriber is there")
            url = f"https://{place}/publish?channel=news"
            with urllib.request.urlopen(url, b"hello", WAIT_S, context=trusting()) as response:
                assert response.status == 200
            assert sock.recv(WAIT_S) == "hello"


def test_load_over_tls(kind: str, terminate: Terminate, tmp_path: Path) -> None:
    with serving(load_app("echo"), "tcp+proxy://127.0.0.1:0") as run:
        port = terminate(kind, f"127.0.0.1:{run.port}")
        status, record, said = load(
            tmp_path, f"tls://127.0.0.1:{port}", "--ca", certificates.authority().cert,
            "--connections", 200, "--hold", "1s", "--think", "0s",
        )  # fmt: skip
        assert status == 0, said
        assert record.verdict.complete and record.connections.open_at_end == 200
        assert run.server.engine.statistics().never_opened == {}


def test_a_terminator_that_sends_no_header(kind: str, terminate: Terminate) -> None:
    """What its clients say is none, and nobody is let in."""
    with serving(load_app("echo"), "tcp+proxy://127.0.0.1:0") as run:
        port = terminate(kind, f"127.0.0.1:{run.port}", header_as="")
        with client(port) as sock:
            sock.sendall(b"hello")
            engine = run.server.engine
            eventually(lambda: engine.statistics().never_opened, "it is refused")
        found = engine.statistics()
        assert found.never_opened == {Wrong.NO_HEADER.code: 1} and found.accepted == 0


@pytest.mark.parametrize("handoff", [False, True], ids=["ssl", "handed"])
def test_tls_behind_the_header_too(terminate: Terminate, handoff: bool) -> None:
    """HAProxy speaks TLS with the server as well: its header comes before the handshake."""
    ours = certificates.authority()
    leaf = ours.leaf("localhost", "127.0.0.1")
    tls = c1m.TLS(cert=str(leaf.cert), key=str(leaf.key), handoff=handoff)
    with serving(WhoAmI(), "tls+proxy://127.0.0.1:0", tls=tls) as run:
        secured = f" send-proxy-v2 ssl verify required verifyhost localhost ca-file {ours.cert}"
        port = terminate("haproxy.cfg", f"127.0.0.1:{run.port}", header_as=secured)
        with client(port) as sock:
            line = f"{address(sock)}\n".encode()
            assert read(sock, len(line)) == line
            sent = os.urandom(100_000)
            sock.sendall(sent)
            assert read(sock, len(sent)) == sent
        figures = run.server.statistics
        eventually(lambda: figures.opened == 1 and not figures.live, "it has ended")
        assert run.server.engine.statistics().never_opened == {}
