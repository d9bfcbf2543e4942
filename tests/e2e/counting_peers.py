"""Servers of other people's packages that count what they do, each in its own way.

Every one is a context manager: what it speaks, by URL, and its own count of connections and
requests. They are asked after a run, which must come to the same.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import certificates
from e2e.cli_helpers import PATIENCE_S
from e2e.debian_servers import free_port, program, running
from e2e.npm import installed
from e2e.test_redis import Client
from e2e.test_websocket_peers import PACKAGES

NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
worker_processes 1;
{user}
events {{ worker_connections 2000; }}
http {{
    log_format statuses $status;
    server_tokens off;
    keepalive_requests {keepalive_requests};
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    ssl_certificate {leaf.cert};
    ssl_certificate_key {leaf.key};
    server {{
        listen 127.0.0.1:{http} backlog=1024;
        access_log http.log statuses;
        location / {{ return 200 "hello\\n"; }}
        location /status {{ stub_status; access_log off; }}
    }}
    server {{
        listen 127.0.0.1:{https} ssl backlog=1024;
        access_log https.log statuses;
        location / {{ return 200 "hello\\n"; }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 4000
    stats socket ipv4@127.0.0.1:{stats}
defaults
    mode http
    option http-ignore-probes
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend tls
    bind 127.0.0.1:{port} ssl crt {leaf.both}
    default_backend behind
backend behind
    server one {behind}
"""

MOSQUITTO = """
{user}
allow_anonymous true
log_dest stderr
log_type all
set_tcp_nodelay true
listener {mqtt} 127.0.0.1
listener {mqtts} 127.0.0.1
certfile {leaf.cert}
keyfile {leaf.key}
"""


class Counts(NamedTuple):
    """What a server has seen since it was started."""

    connections: int
    requests: int
    events: int = 0

    def since(self, earlier: Counts) -> Counts:
        """What came after that."""
        return Counts(*(now - then for now, then in zip(self, earlier, strict=True)))


@dataclass(frozen=True)
class Peer:
    """Where it is, and how it is asked for its counts."""

    place: str  # HOST:PORT
    counts: Callable[[], Counts]


@contextmanager
def nginx(directory: Path, keepalive_requests: int = 1_000_000) -> Iterator[dict[str, Peer]]:
    """Two, one over TLS: connections as stub_status has them, a line in a log for each request."""
    ports = {"http": free_port(), "https": free_port()}
    path = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    leaf = certificates.authority().leaf("localhost", "127.0.0.1")
    text = NGINX.format(leaf=leaf, user=user, keepalive_requests=keepalive_requests, **ports)
    path.write_text(text)
    asked = itertools.count(1)

    def counts(log: Path) -> Counts:
        status = _got(ports["http"], "/status").split()
        accepted = int(status[status.index(b"requests") + 1]) - next(asked)  # but by this question
        return Counts(accepted, log.read_bytes().count(b"200\n"))

    found = program("nginx", "nginx-light")
    command: list[str | Path] = [found, "-p", directory, "-c", path, "-e", "stderr"]
    with running(command, ports["http"], directory / "nginx.out"):
        yield {
            name: Peer(f"127.0.0.1:{port}", lambda log=directory / f"{name}.log": counts(log))
            for name, port in ports.items()
        }


@contextmanager
def haproxy(directory: Path, behind: Peer, *, sees_requests: bool = False) -> Iterator[Peer]:
    """TLS in front of another, which counts what HAProxy does not see: messages, events."""
    port, stats, path = free_port(), free_port(), directory / "haproxy.cfg"
    leaf = certificates.authority().leaf("localhost", "127.0.0.1")
    text = HAPROXY.format(port=port, stats=stats, leaf=leaf, behind=behind.place)
    path.write_text(text)

    def counts() -> Counts:
        with socket.create_connection(("127.0.0.1", stats), PATIENCE_S) as asked:
            asked.sendall(b"show stat -1 1 -1\n")
            head, row, *_ = asked.makefile().read().splitlines()
        figures = dict(zip(head.split(","), row.split(","), strict=True))
        seen = behind.counts()._replace(connections=int(figures["stot"]))
        return seen._replace(requests=int(figures["req_tot"])) if sees_requests else seen

    command: list[str | Path] = [program("haproxy", "haproxy"), "-f", path]
    with running(command, stats, directory / "haproxy.out"):
        yield Peer(f"127.0.0.1:{port}", counts)


@contextmanager
def redis(directory: Path) -> Iterator[Peer]:
    """INFO: connections, and calls of each command."""
    port = free_port()
    command: list[str | Path] = [
        program("redis-server", "redis-server"), "--save", "", "--port", str(port),
        "--dir", directory, "--protected-mode", "no",
    ]  # fmt: skip
    with running(command, port, directory / "redis.out"), Client(port) as client:

        def told(section: str) -> list[str]:
            return client("INFO", section).decode().split()

        def counts() -> Counts:
            calls = [
                int(line.partition("calls=")[2].partition(",")[0])
                for line in told("commandstats")
                if "calls=" in line and not line.startswith("cmdstat_info:")
            ]
            (connections,) = (line for line in told("stats") if "connections_received" in line)
            return Counts(int(connections.partition(":")[2]), sum(calls))

        yield Peer(f"127.0.0.1:{port}", counts)


@contextmanager
def mosquitto(directory: Path) -> Iterator[dict[str, Peer]]:
    """Two, one over TLS: a line in the log for each client, and each message in and out."""
    ports = {"mqtt": free_port(), "mqtts": free_port()}
    path, log = directory / "mosquitto.conf", directory / "mosquitto.out"
    user = "user root" if os.geteuid() == 0 else ""
    leaf = certificates.authority().leaf("localhost", "127.0.0.1")
    path.write_text(MOSQUITTO.format(user=user, leaf=leaf, **ports))

    def counts() -> Counts:
        said = log.read_bytes()
        words = b": New client connected ", b": Received PUBLISH ", b": Sending PUBLISH "
        return Counts(*map(said.count, words))

    command: list[str | Path] = [program("mosquitto", "mosquitto"), "-c", path]
    with running(command, ports["mqtt"], log):
        yield {name: Peer(f"127.0.0.1:{port}", counts) for name, port in ports.items()}


@contextmanager
def uvicorn(directory: Path) -> Iterator[Peer]:
    """See counting_asgi.py."""
    port = free_port()
    app = Path(__file__).with_name("counting_asgi.py")
    command: list[str | Path] = [sys.executable, app, str(port)]
    with running(command, port, directory / "uvicorn.out"):
        yield Peer(f"127.0.0.1:{port}", lambda: _told(port, "/counts"))


@contextmanager
def ws(directory: Path) -> Iterator[Peer]:
    """See node/counting_ws.mjs."""
    port = free_port()
    where = installed("npm-ws", PACKAGES)
    with running(["node", where / "counting_ws.mjs", str(port)], port, directory / "ws.out"):
        yield Peer(f"127.0.0.1:{port}", lambda: _told(port, "/"))


def _told(port: int, path: str) -> Counts:
    return Counts(**json.loads(_got(port, path)))


def _got(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as response:
        body: bytes = response.read()
    return body
