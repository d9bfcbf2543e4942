"""Servers of our load client: nginx, redis-server, `websockets`, and Node's https with events."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.server import ServerConnection, serve

from ..kv_servers import free_port
from ..obtaining import CannotBeHad
from .cases import SERVER, Case
from .openssl_client import BY_13
from .piped import Piped, listens
from .programs import NODE
from .stage import Failed, Stage, all_right, rounds

STREAM = """
daemon off;
pid {where}/nginx.pid;
error_log stderr;
{user}
events {{ worker_connections 1024; }}
stream {{
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        {more}
        proxy_pass 127.0.0.1:{behind};
    }}
}}
"""
ONLY = "ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {};"


def version() -> str:
    """Of those that are here."""
    found = []
    for command in (["nginx", "-v"], ["redis-server", "--version"]):
        if _path(command[0]):
            done = subprocess.run([_path(command[0]), *command[1:]], capture_output=True, text=True)
            found.append(" ".join((done.stdout + done.stderr).split()[:3]))
    return ", ".join(found)


def _path(name: str) -> str:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or ""


@contextmanager
def _running(stage: Stage, command: list[object], port: int) -> Iterator[None]:
    if not _path(str(command[0])):
        raise CannotBeHad(f"{command[0]} is not installed")
    with Piped([_path(str(command[0])), *command[1:]], stage.where) as process:
        listens(port, process.process)
        yield


# --- nginx ----------------------------------------------------------------------------------------


def nginx(stage: Stage, *ours: object, more: str = "") -> str:
    """Its stream module, with an echo of ours behind it that speaks no TLS."""
    port = free_port()
    leaf = stage.leaf()
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"
    load = f"load_module {module};" if os.path.exists(module) else ""
    text = load + STREAM.format(
        where=stage.where, port=port, behind=stage.serve_plain(), cert=leaf.cert, key=leaf.key,
        user="user root;" if os.geteuid() == 0 else "", more=more,
    )  # fmt: skip
    path = stage.where / "nginx.conf"
    path.write_text(text)
    command = ["nginx", "-p", stage.where, "-c", path, "-e", "stderr"]
    with _running(stage, command, port):
        return stage.echoes(port, *ours, connections=20)


def nginx_shown(stage: Stage) -> str:
    """It asks for a client's certificate."""
    more = f"ssl_protocols TLSv1.3; ssl_verify_client on; ssl_client_certificate {stage.ca};"
    return nginx(stage, "--cert", stage.client.cert, "--key", stage.client.key, more=more)


# --- others ---------------------------------------------------------------------------------------


def redis(stage: Stage, *options: object, shows: bool = False) -> str:
    """redis-server with TLS, by rediss://."""
    port, leaf = free_port(), stage.leaf()
    command = ["redis-server", "--port", 0, "--tls-port", port, "--save", "", "--dir", stage.where]
    command += ["--tls-cert-file", leaf.cert, "--tls-key-file", leaf.key]
    command += ["--tls-ca-cert-file", stage.ca, "--tls-auth-clients", "yes" if shows else "no"]
    ours = ("--cert", stage.client.cert, "--key", stage.client.key) if shows else ()
    with _running(stage, [*command, *options], port):
        url = f"rediss://127.0.0.1:{port}"
        return all_right(stage.load(url, "--connections", "20", "--hold", "1s", *ours))


def websocket(stage: Stage) -> str:
    """An echo by `websockets`, by wss://."""
    leaf = stage.leaf()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"wss://127.0.0.1:{server.socket.getsockname()[1]}/"
            ours = ("--connections", "10", *rounds(5))
            return all_right(stage.load(url, *ours))
        finally:
            server.shutdown()
            thread.join()


def events(stage: Stage) -> str:
    """A stream of events by Node's https, by sses://: they are held, and none is lost."""
    leaf = stage.leaf()
    options = {"version": "1.3", "ca": stage.ca, "cert": leaf.cert, "key": leaf.key}
    with Piped(NODE.command("events", **options), stage.where) as process:
        port = int(process.until(b"\n"))
        url = f"sses://127.0.0.1:{port}/events"
        record = stage.load(url, "--connections", "20", "--hold", "1s")
    connections = record["connections"]
    if connections["open_at_end"] != 20 or connections["lost"]:
        raise Failed(f"{connections}")
    return "20 held"


def cases() -> list[Case]:
    """All of them."""

    def case(peer: str, what: str, function: Callable[..., str], **more: Any) -> Case:
        return Case(peer, SERVER, what, lambda stage: function(stage, **more))

    found = [case("nginx stream", name, nginx, more=ONLY.format(name)) for name in BY_13]
    return [
        *found,
        case("nginx stream", "TLS 1.2", nginx, more="ssl_protocols TLSv1.2;"),
        case("nginx stream", "a client certificate", nginx_shown),
        case("redis-server", "TLS 1.3", redis),
        case("redis-server", "a client certificate", redis, shows=True),
        case("websockets", "wss://", websocket),
        case("Node.js https", "sses://", events),
    ]
