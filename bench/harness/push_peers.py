"""The servers of bench/push.py: how each is started, and why one is not there.

Packages of npm are installed into build/bench when they are first wanted; what comes with Debian
(nginx with nchan, Go with gorilla/websocket) or is a clone of one's own (uWebSockets) is used where
it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness import build
from harness.build import BENCH, BUILD, BuildFailed

PEERS = BENCH / "peers"
UPGRADES, ECHO, BROADCAST, EVENTS = "upgrades", "echo", "broadcast", "events"
GO_PACKAGES = Path("/usr/share/gocode")  # where Debian's are
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

NGINX = """
load_module {module};
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {directory};
    proxy_temp_path {directory};
    fastcgi_temp_path {directory};
    uwsgi_temp_path {directory};
    scgi_temp_path {directory};
    nchan_max_reserved_memory 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000;
        location = /events {{ nchan_subscriber eventsource; nchan_channel_id $arg_channel; }}
        location = /publish {{
            nchan_publisher; nchan_channel_id $arg_channel; nchan_message_buffer_length 1;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class PushPeer:
    """A server. `command(port, task)` is its command line; it raises BuildFailed."""

    name: str
    what: str
    tasks: tuple[str, ...]
    command: Callable[[int, str], Sequence[str]]

    def why_missing(self, task: str) -> str:
        """Empty if it can be started here."""
        try:
            self.command(0, task)
        except BuildFailed as failure:
            return str(failure)
        return ""


def _c1m(port: int, task: str) -> Sequence[str]:
    if task == ECHO:
        return [sys.executable, str(PEERS / "c1m_websocket.py"), str(port)]
    listen = f"http://127.0.0.1:{port}"
    return [sys.executable, "-m", "c1m", "serve", "push", "--quiet", "--listen", listen]


def _node(port: int, task: str) -> Sequence[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise BuildFailed("Node.js is not installed: apt-get install nodejs npm")
    directory = BUILD / "node"
    if not (directory / "node_modules" / "ws").exists():
        directory.mkdir(parents=True, exist_ok=True)
        _run([npm, "install", "--prefix", str(directory), "--no-audit", "--no-fund", "ws"])
    script = directory / "websocket.js"  # beside its packages, where Node.js looks for them
    shutil.copy(PEERS / "websocket.js", script)
    return [node, str(script), str(port), task]


def _uvicorn(implementation: str, package: str) -> Callable[[int, str], Sequence[str]]:
    def command(port: int, task: str) -> Sequence[str]:
        for name in ("uvicorn", "httptools", package):
            if find_spec(name) is None:
                raise BuildFailed(f"the Python package {name} is not installed")
        return [
            sys.executable, "-m", "uvicorn", "--app-dir", str(PEERS), "asgi_websocket:app",
            "--port", str(port), "--lifespan", "off", "--log-level", "error",
            "--ws", implementation, "--ws-per-message-deflate", "false", "--ws-ping-interval", "0",
            "--backlog", "4096",
        ]  # fmt: skip

    return command


def _go(port: int, task: str) -> Sequence[str]:
    source, target = PEERS / "go" / "websocket.go", BUILD / "go_websocket"
    if not (GO_PACKAGES / "src/github.com/gorilla/websocket").exists() or not shutil.which("go"):
        packages = "golang-go golang-github-gorilla-websocket-dev"
        raise BuildFailed(f"Go or gorilla/websocket is not installed: apt-get install {packages}")
    if not target.exists():
        places = ["env", "GO111MODULE=off", f"GOPATH={GO_PACKAGES}"]
        _run([*places, "go", "build", "-o", str(target), str(source)])
    return [str(target), str(port), task]


def uwebsockets(clone: Path | None) -> PushPeer:
    """Compiled from a clone with its submodule uSockets (C++20)."""

    def command(port: int, task: str) -> Sequence[str]:
        target = BUILD / "uwebsockets"
        if not target.exists():
            if clone is None:
                raise BuildFailed("no clone of uWebSockets was given: --uwebsockets DIRECTORY")
            _compile(clone, target)
        return [str(target), str(port), task]

    return PushPeer("uWebSockets", "uWebSockets, C++", (UPGRADES, ECHO, BROADCAST), command)


def _compile(clone: Path, target: Path) -> None:
    sockets, flags = clone / "uSockets" / "src", ["-DLIBUS_NO_SSL", "-DUWS_NO_ZLIB", "-O3"]
    if shutil.which("g++") is None:
        raise BuildFailed("there is no C++ compiler: apt-get install g++")
    objects = []
    for source in [*sockets.glob("*.c"), *sockets.glob("eventing/*.c")]:
        objects.append(str(target.with_name(f"{source.stem}.o")))
        _run(["gcc", *flags, f"-I{sockets}", "-c", str(source), "-o", objects[-1]])
    headers = [f"-I{clone / 'src'}", f"-I{sockets}"]
    program = str(PEERS / "websocket.cpp")
    _run(["g++", "-std=c++20", *flags, *headers, program, *objects, "-o", str(target)])


def _nchan(port: int, task: str) -> Sequence[str]:
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None or not NCHAN.exists():
        raise BuildFailed("nginx with nchan is not installed: apt-get install libnginx-mod-nchan")
    directory = BUILD / "nginx"
    directory.mkdir(parents=True, exist_ok=True)
    settings = directory / f"{port}.conf"
    settings.write_text(NGINX.format(module=NCHAN, directory=directory, port=port))
    return [nginx, "-p", str(directory), "-c", str(settings)]


def _run(command: Sequence[str]) -> None:
    build.BUILD.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")


def peers(clone: Path | None) -> list[PushPeer]:
    """All, ours first."""
    return [
        PushPeer("c1m", "c1m serve push; the echo: a WebSocketApp",
                 (UPGRADES, ECHO, BROADCAST, EVENTS), _c1m),
        PushPeer("ws", "Node.js with ws", (UPGRADES, ECHO, BROADCAST), _node),
        PushPeer("uvicorn-websockets", "uvicorn with websockets", (UPGRADES, ECHO),
                 _uvicorn("websockets-sansio", "websockets")),
        PushPeer("uvicorn-wsproto", "uvicorn with wsproto", (UPGRADES, ECHO),
                 _uvicorn("wsproto", "wsproto")),
        PushPeer("gorilla", "Go with gorilla/websocket", (UPGRADES, ECHO, BROADCAST), _go),
        uwebsockets(clone),
        PushPeer("nchan", "nginx with nchan", (EVENTS,), _nchan),
    ]  # fmt: skip
