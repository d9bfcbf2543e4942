"""Peers that break off, on every server and a real kernel: at any byte, in any way.

tests/chaos does this by the thousand on the fake kernel. Here are the kernel's own ways: resets
with data on its way, halves that are closed, data behind a close, connects that are over at once,
peers that stay and say nothing. Then a good client is served as ever, and the counts add up.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from certificates import authority
from e2e.cli_helpers import PATIENCE_S, Server

EXAMPLES = Path(__file__).parents[2] / "examples"
FLOOD, SILENT = 100, 10
LEAF = authority().leaf("localhost")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets
UPGRADE = (
    b"GET /{} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FRAME = b"\x81\x85abcd" + bytes(a ^ b for a, b in zip(b"hello", b"abcda", strict=True))


def client_hello() -> bytes:
    """What a client of TLS says first."""
    said = ssl.MemoryBIO()
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost").do_handshake()
    return said.read()


@dataclass(frozen=True)
class Kind:
    """A server; what a client says in one go, and what comes back; what the server closes upon."""

    app: str
    says: bytes
    hears: bytes
    wrong: bytes = b""
    listen: str = "tcp://127.0.0.1:0"
    options: tuple[str, ...] = ()


KINDS: dict[str, Callable[[], Kind]] = {
    "echo": lambda: Kind("echo", b"hello", b"hello"),
    "protocols": lambda: Kind("asyncio_echo:Echo", b"hello", b"hello"),
    "kv": lambda: Kind(
        "kv", b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n", b"$5\r\nhello\r\n", b"*1\r\n$4\r\nQUIT\r\n"
    ),
    "push": lambda: Kind(
        "push", UPGRADE.replace(b"{}", b"connect?channel=a") + FRAME, b"HTTP/1.1 101",
        b"GET / HTTP/9\r\n\r\n",
    ),
    "websocket": lambda: Kind(
        "chat:Chat", UPGRADE.replace(b"{}", b"tea?name=Ada") + FRAME, b"HTTP/1.1 101",
        b"x y z\r\n\r\n",
    ),
    "proxy": lambda: Kind(
        "echo", b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nhello", b"hello", b"PROXIED\r\n",
        options=("--proxy-protocol",),
    ),
    "tls": lambda: Kind(
        "echo", client_hello(), b"\x16\x03\x03", b"\x16\x03\x01\x00\x05hello",
        listen="tls://127.0.0.1:0",
        options=("--tls-cert", str(LEAF.cert), "--tls-key", str(LEAF.key)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_who_breaks_off_harms_nobody_else(name: str, engine: str, tmp_path: Path) -> None:
    kind = KINDS[name]()
    with Server(
        tmp_path, "--engine", engine, "--quiet", *kind.options,
        app=kind.app, listen=[kind.listen], cwd=EXAMPLES,
    ) as server, contextlib.ExitStack() as stack:  # fmt: skip
        port = int(server.url.rpartition(":")[2])

        def connected() -> socket.socket:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

        for _ in range(SILENT):
            stack.enter_context(connected())
        good = stack.enter_context(connected())
        assert talk(good, kind)
        for size in range(0, len(kind.says) + 1, max(len(kind.says) // 12, 1)):
            break_off(connected(), kind.says[:size])
            close_half(connected(), kind.says[:size])
        for _ in range(5):
            with connected() as sock:  # it resets with the answer on its way
                sock.sendall(kind.says)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        for number in range(FLOOD):
            sock = connected()
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        if kind.wrong:
            speak_behind_the_end(connected(), kind.wrong)
        with connected() as sock:
            assert talk(sock, kind)
        if name in ("echo", "protocols", "kv"):  # the others' is a handshake, done by now
            assert talk(good, kind)
        stack.close()
        assert server.stop() == 0
    figures = server.figures()  # which add up
    never = sum(figures["never_opened"].values())
    assert figures["opened"] + never >= SILENT + FLOOD // 2


def talk(sock: socket.socket, kind: Kind) -> bool:
    """Whether a client is answered."""
    sock.sendall(kind.says)
    said = b""
    while len(said) < len(kind.hears) and (came := sock.recv(1 << 16)):
        said += came
    return said.startswith(kind.hears)


def break_off(sock: socket.socket, said: bytes) -> None:
    """Reset behind this."""
    with sock:
        sock.sendall(said)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def close_half(sock: socket.socket, said: bytes) -> None:
    """Say no more, and read to the end, which comes."""
    with sock, contextlib.suppress(ConnectionResetError):
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


def speak_behind_the_end(sock: socket.socket, wrong: bytes) -> None:
    """Go on when the server has ended it, until that is noticed."""
    with sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(wrong)
        while sock.recv(1 << 16):
            pass
        while True:
            sock.sendall(bytes(1 << 12))
            time.sleep(0.01)
