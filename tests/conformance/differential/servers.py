"""The two servers, and connections to them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..obtaining import CannotBeHad

PATIENCE_S = 20
ARRIVAL_S = 2  # what is on its way arrives within

REDIS = "redis-server"
C1M = [sys.executable, "-m", "c1m", "serve", "kv"]


class Unanswered(Exception):
    """A server ended a connection, or let it wait for too long."""


class Connection:
    """A stream to a server: what is said goes at once, what comes is taken as bytes."""

    def __init__(self, path: Path) -> None:
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
            while piece := self._sock.recv(1 << 18):
                got += piece
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
def servers(where: Path) -> Iterator[tuple[Path, Path]]:
    """The sockets of a redis-server and of c1m's."""
    if shutil.which(REDIS) is None:
        raise CannotBeHad("redis-server is not installed; try: apt-get install redis-server")
    theirs, ours = where / "redis.sock", where / "c1m.sock"
    redis = [REDIS, "--port", "0", "--unixsocket", str(theirs), "--save", "", "--dir", str(where)]
    redis += ["--appendonly", "no", "--enable-debug-command", "yes"]
    with (
        _running(redis, theirs, where),
        _running([*C1M, "--listen", f"unix://{ours}"], ours, where),
    ):
        yield theirs, ours


@contextlib.contextmanager
def _running(command: Sequence[str], path: Path, where: Path) -> Iterator[None]:
    log = where / f"{path.stem}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotBeHad(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
