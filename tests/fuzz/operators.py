"""Random requests to --admin: each is answered or closed, and the page of connections is still
there."""

from __future__ import annotations

import contextlib
import json
import socket
from functools import cache
from random import Random
from typing import Any

import c1m
from c1m.apps.echo import Echo
from c1m.server import admin

from .streams import mutated

PATIENCE_S = 60
HERE = "tcp://127.0.0.1:0"
PATHS = ("/healthz", "/readyz", "/metrics", "/stats", "/connections", "/", "/x", "*", "//", "/%00")
NAMES = ("sort", "limit", "format", "x", "", "%73ort")
VALUES = ("unsent", "age", "silent", "sent", "0", "1", "-1", "9" * 400, "json", "text", "%00", "é",
          "٣", "²", "1_0", "+5", "")  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "get", "", "CONNECT", "G" * 300)
TOKENS = (b"\r\n", b"\n", b"\r", b" ", b"\0", b"\xff", b"HTTP/9.9", b"HTTP/0.9", b"?", b"&", b"=",
          b"%", b"#", b"[", b"]", b"://", b"a" * 70_000, b"X: y\r\n" * 120)  # fmt: skip


class Direct(admin.Admin):
    """Asks its server, which does not run, at once, in this thread."""

    def ask(self, question: Any) -> Any:
        return question(self._server)


@cache
def made() -> Direct:
    """One, with a server that has had no connection, for all executions."""
    found = Direct.__new__(Direct)
    found._server = c1m.Server(Echo(), HERE, engine="epoll", admin=HERE)
    found._seen = admin._OfServer(found)
    found._pulse, found._pulse_ns = -1, 0
    return found


def run(random: Random) -> int:
    """One execution; the request's length."""
    request = mutated(random, _request(random), TOKENS, 0.4)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(PATIENCE_S)
        ours.settimeout(PATIENCE_S)
        with contextlib.suppress(BlockingIOError):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.sendall(request)
        ours.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            admin._Handler(theirs, ("127.0.0.1", 1), made())  # type: ignore[arg-type]
        theirs.shutdown(socket.SHUT_RDWR)
        said = b"".join(iter(lambda: _some(ours), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1."):  # HTTP/0.9 has no head: a line, or a page
        return len(request)
    assert b" 500 " not in head.split(b"\r\n")[0], (request, said)
    if b"application/json" in head and body:
        json.loads(body)
    return len(request)


def _some(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 16)
    except ConnectionResetError:  # it has not read all of the request
        return b""


def _request(random: Random) -> bytes:
    query = "&".join(
        f"{random.choice(NAMES)}={random.choice(VALUES)}" for _ in range(random.randrange(4))
    )
    path = random.choice(PATHS) + ("?" + query if query else "")
    version = random.choice(("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "", "HTTP/x"))
    fields = "Host: x\r\n" * random.randrange(3)
    return f"{random.choice(METHODS)} {path} {version}\r\n{fields}\r\n".encode()
