"""The two servers, and connections to them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..kv_servers import c1m, free_port, redis
from ..obtaining import CannotBeHad

PATIENCE_S = 20
ARRIVAL_S = 2  # what is on its way arrives within


class Unanswered(Exception):
    """A server ended a connection, or let it wait for too long."""


class Connection:
    """A stream to a server: what is said goes at once, what comes is taken as bytes."""

    def __init__(self, path: Path) -> None:
        self.has_ended = False  # as far as `now` has seen
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(PATIENCE_S)
        self._sock.connect(str(path))

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def until(self, end: bytes) -> bytes:
        """All that comes, up to these bytes."""
        got = bytearray()
        while not got.endswith(end):
            try:
                piece = self._sock.recv(1 << 18)
            except TimeoutError:
                raise Unanswered(
                    f"no reply within {PATIENCE_S} s; so far: {bytes(got)!r}"
                ) from None
            if not piece:
                raise Unanswered(f"the server ended the connection; so far: {bytes(got)!r}")
            got += piece
        return bytes(got[: len(got) - len(end)])

    def now(self) -> bytes:
        """What has come."""
        got = bytearray()
        self._sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            try:
                while piece := self._sock.recv(1 << 18):
                    got += piece
                self.has_ended = True
            except ConnectionResetError:
                self.has_ended = True
        self._sock.settimeout(PATIENCE_S)
        return bytes(got)

    def ask(self, *words: bytes) -> bytes:
        """One command on a connection that answers at once, and its reply."""
        self.send(encoded([words, (b"PING", b"!ask!")]))
        return self.until(b"$5\r\n!ask!\r\n")

    def close(self) -> None:
        self._sock.close()


def encoded(commands: Sequence[Sequence[bytes]]) -> bytes:
    """As a client sends them."""
    return b"".join(
        b"*%d\r\n%b"
        % (len(words), b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words]))
        for words in commands
    )


@contextlib.contextmanager
def nodes(where: Path, *options: str) -> Iterator[tuple[Path, Path]]:
    """The same of two nodes, each the first of a cluster of two whose other one is Redis's."""
    other = where / "other"
    other.mkdir()
    ports = [free_port() for _ in range(4)]
    place = f"127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
    with contextlib.ExitStack() as stack:
        for folder, port, bus in ((where, ports[0], ports[2]), (other, ports[1], ports[3])):
            words = f"--port {port} --cluster-enabled yes --cluster-port {bus}"
            stack.enter_context(redis(folder, *words.split()))
        ours = c1m(where, 0, "--cluster-nodes", place, "--cluster-node", "0", *options)
        stack.enter_context(ours)
        first, second = (
            stack.enter_context(contextlib.closing(Connection(folder / "redis.sock")))
            for folder in (where, other)
        )
        first.ask(b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"8191")
        second.ask(b"CLUSTER", b"ADDSLOTSRANGE", b"8192", b"16383")
        first.ask(b"CLUSTER", b"MEET", b"127.0.0.1", b"%d" % ports[1], b"%d" % ports[3])
        deadline = time.monotonic() + PATIENCE_S
        while b"cluster_state:ok" not in first.ask(b"CLUSTER", b"INFO"):
            if time.monotonic() > deadline:
                raise CannotBeHad("two redis-servers do not become a cluster")
            time.sleep(0.1)
        yield where / "redis.sock", where / "c1m.sock"


@contextlib.contextmanager
def servers(where: Path, *options: str) -> Iterator[tuple[Path, Path]]:
    """The sockets of a redis-server and of c1m's, which gets these options."""
    with redis(where, "--port", "0"), c1m(where, 0, *options):
        yield where / "redis.sock", where / "c1m.sock"
