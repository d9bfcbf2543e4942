"""The two servers, and connections to them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..kv_servers import c1m, redis

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
def servers(where: Path, *options: str) -> Iterator[tuple[Path, Path]]:
    """The sockets of a redis-server and of c1m's, which gets these options."""
    with redis(where, "--port", "0"), c1m(where, 0, *options):
        yield where / "redis.sock", where / "c1m.sock"
