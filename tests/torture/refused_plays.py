"""Servers whose system calls are refused, and what a client does with each.

A play opens connections, has them answered, and ends them in several ways: it returns how many of
them were lost, which is all that a refusal may ever do. What is answered wrongly raises.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60  # for an answer: one that never comes is a fault, how late one comes is none
BIG = 400_000  # bytes that a client sends before it reads
SMALL_BUFFER = 4096
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER

PROGRAM = """
import asyncio, sys, c1m

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
    def eof_received(self):
        self.transport.close()

async def main(port):
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    print("asyncio: listening", flush=True)
    async with server:
        try:
            await server.serve_forever()
        except asyncio.CancelledError:
            pass

with asyncio.Runner(loop_factory=lambda: c1m.EventLoop(engine=sys.argv[2])) as runner:
    try:
        runner.run(main(int(sys.argv[1])))
    except KeyboardInterrupt:
        pass
"""


class Wrong(Exception):
    """A server answered, and not as it should."""


class Lost:
    """Counts connections that ended before they should."""

    def __init__(self) -> None:
        self.count = 0
        self.why: list[str] = []

    @contextmanager
    def counted(self, what: str) -> Iterator[None]:
        """What is done with one connection."""
        try:
            yield
        except OSError as error:
            self.count += 1
            self.why.append(f"{what}: {error!r}")


def _connected(port: int, *, slow: bool = False) -> socket.socket:
    sock = socket.socket()
    if slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    sock.settimeout(PATIENCE_S)
    sock.connect(("127.0.0.1", port))
    return sock


def read(sock: socket.socket, count: int) -> bytes:
    """So many bytes. Raises ConnectionError where fewer come."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError(f"the end after {len(data)} of {count} bytes")
        data += piece
    return data


def _answered(sock: socket.socket, said: bytes, answer: bytes) -> None:
    sock.sendall(said)
    got = read(sock, len(answer))
    if got != answer:
        raise Wrong(f"{said[:40]!r} was answered {got[:40]!r}")


def echo(port: int, lost: Lost) -> None:
    """Six at once: small and big messages, a half-close, a reset; then one more."""
    socks: list[socket.socket] = []
    for index in range(6):
        with lost.counted("connect"):
            socks.append(_connected(port, slow=index == 0))
    for sock in socks:
        with lost.counted("first message"):
            _answered(sock, b"hello", b"hello")
    big = bytes(range(256)) * (BIG // 256)
    with lost.counted("big message"):
        socks[0].sendall(big)
        if read(socks[0], len(big)) != big:
            raise Wrong("a big message came back otherwise")
    with lost.counted("half-close"):
        socks[1].sendall(b"last")
        socks[1].shutdown(socket.SHUT_WR)
        if read(socks[1], 4) != b"last":
            raise Wrong("the last message came back otherwise")
        if socks[1].recv(1):
            raise Wrong("bytes behind the last")
    socks[2].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    socks[2].close()
    for sock in socks[3:]:
        with lost.counted("second message"):
            _answered(sock, b"again", b"again")
    for sock in socks:
        sock.close()
    with lost.counted("one more"), _connected(port) as sock:
        _answered(sock, b"late", b"late")


def kv(port: int, lost: Lost) -> None:
    """Commands that read and write; writes may be refused while the disk refuses them."""
    socks: list[socket.socket] = []
    for _ in range(3):
        with lost.counted("connect"):
            socks.append(_connected(port))
    for index, sock in enumerate(socks):
        with lost.counted("commands"):
            _answered(sock, b"PING\r\n", b"+PONG\r\n")
            for text in (b"SET k%d " % index + b"v" * 20_000, b"INCR n", b"RPUSH l a b c"):
                sock.sendall(text + b"\r\n")
                line = _line(sock)
                if not line.startswith((b"+OK", b":", b"-MISCONF")):
                    raise Wrong(f"{text[:20]!r} was answered {line!r}")
            _answered(sock, b"ECHO x\r\n", b"$1\r\nx\r\n")
    for sock in socks:
        sock.close()
    with lost.counted("one more"), _connected(port) as sock:
        _answered(sock, b"PING\r\n", b"+PONG\r\n")


def _line(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n"):
        data += read(sock, 1)
    return data


def push(port: int, lost: Lost) -> None:
    """Two subscribers by server-sent events, and a publisher."""
    subscribers: list[socket.socket] = []
    for _ in range(2):
        with lost.counted("subscriber"):
            sock = _connected(port)
            sock.sendall(b"GET /events?channel=a HTTP/1.1\r\nHost: x\r\n\r\n")
            head = _until(sock, b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise Wrong(f"a subscriber was told {head[:40]!r}")
            subscribers.append(sock)
    with lost.counted("publisher"), _connected(port) as sock:
        sock.sendall(
            b"POST /publish?channel=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 5\r\n\r\nhello"
        )
        head = _until(sock, b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            raise Wrong(f"a publisher was told {head[:40]!r}")
    for sock in subscribers:
        with lost.counted("message"):
            _until(sock, b"data: hello")
    for sock in subscribers:
        sock.close()


def _until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        data += read(sock, 1)
    return data


Play = Callable[[int, Lost], None]


def command_of(name: str, port: int, where: Path) -> tuple[list[str], Play]:
    """What is run for SERVER-ENGINE, and its play."""
    server, engine = name.split("-")
    if server == "asyncio":
        return [sys.executable, "-c", PROGRAM, str(port), engine], echo
    url = f"http://127.0.0.1:{port}" if server == "push" else f"tcp://127.0.0.1:{port}"
    is_logged = server == "logged"
    server = "echo" if is_logged else server
    command = [sys.executable, "-m", "c1m", "serve", server, "--listen", url, "--engine", engine]
    command += ["--quiet", "--json", str(where / "figures.json")]
    if is_logged:
        command += ["--access-log", str(where / "access.log")]
    if server == "kv":
        command += ["--data", str(where / "data"), "--durability", "always"]
    return command, {"echo": echo, "kv": kv, "push": push}[server]
