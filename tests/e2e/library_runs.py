"""Servers for the end-to-end tests of the library: in a thread here, or in a process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import c1m
from c1m.serving import AnyServer, server_of

WAIT_S = 30  # how long a test waits for what must come: a bound for failures, not a measurement


class ServerThread:
    """A server that runs in a thread. `host`, `port`: its first endpoint."""

    def __init__(self, server: AnyServer) -> None:
        self.server = server
        self.host = server.endpoints[0].host
        self.port = server.endpoints[0].port
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as error:
            self._error = error

    def stop(self) -> c1m.server.statistics.ServerStatistics:
        """Stop it; its final counters, which must add up. Raises what its thread raised."""
        self.server.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the server has not ended"
        if self._error is not None:
            raise self._error
        statistics = self.server.statistics
        assert statistics.live == 0
        assert statistics.opened == sum(statistics.closed.values())
        return statistics


@contextlib.contextmanager
def serving(app: Any, listen: Any = "tcp://127.0.0.1:0", **options: Any) -> Iterator[Any]:
    """A ServerThread for the time of a `with`."""
    run = ServerThread(server_of(app, listen, **options))
    try:
        yield run
    finally:
        run.stop()


def talk(run: ServerThread, size: int) -> socket.socket:
    """A connection that had so many bytes echoed."""
    sock = socket.create_connection((run.host, run.port), WAIT_S)
    sock.sendall(b"x" * size)
    left = size
    while left:
        left -= len(sock.recv(left))
    return sock


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition()`."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"this has not come about: {what}")


@contextlib.contextmanager
def process(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process with its output in pipes; killed if it is still there at the end."""
    child = subprocess.Popen(
        [sys.executable, "-u", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(WAIT_S)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
