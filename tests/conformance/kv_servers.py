"""A redis-server and a `c1m serve kv` with nothing in them, for the time of a `with`."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .obtaining import CannotBeHad

PATIENCE_S = 60


@contextlib.contextmanager
def redis(where: Path, *options: str) -> Iterator[None]:
    """Debian's, by a unix socket in `where` or by `--port`."""
    program = shutil.which("redis-server")
    if program is None:
        raise CannotBeHad("redis-server is not installed; try: apt-get install redis-server")
    path = where / "redis.sock"
    command = [program, "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    # SORT ALPHA would go by the language's order.
    command = ["env", "LC_ALL=C", *command, "--dir", str(where), *options]
    with running(command, where, lambda: takes_connections(path)):
        yield


@contextlib.contextmanager
def redis_cluster(where: Path, ports: Sequence[int]) -> Iterator[None]:
    """Nodes of Debian's, which share all slots; no replicas."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            (where / str(port)).mkdir()
            words = ("--port", str(port), "--cluster-enabled", "yes")
            stack.enter_context(redis(where / str(port), *words))
        command = ["redis-cli", "--cluster", "create", "--cluster-yes"]
        command += [f"127.0.0.1:{port}" for port in ports]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S * 3)
        if done.returncode:
            raise CannotBeHad(f"redis-servers do not become a cluster:\n{done.stdout[-2000:]}")
        yield


@contextlib.contextmanager
def c1m(where: Path, port: int = 0, *options: str) -> Iterator[None]:
    """Ours, by a unix socket in `where`, or by a port."""
    path = where / "c1m.sock"
    endpoint = f"tcp://127.0.0.1:{port}" if port else f"unix://{path}"
    command = [sys.executable, "-m", "c1m", "serve", "kv", "--listen", endpoint, *options]
    with running(command, where, lambda: takes_connections(port or path)):
        yield


@contextlib.contextmanager
def running(
    command: Sequence[str], where: Path, is_there: Callable[[], bool], cwd: Path | None = None
) -> Iterator[None]:
    """A process that says in a log what goes wrong, once it is there; ended at the end."""
    log = where / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=cwd)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not is_there():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotBeHad(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
        process.wait()


def takes_connections(at: int | Path) -> bool:
    """Whether somebody listens at a port or at a path, whose file is there a little earlier."""
    family, address = (
        (socket.AF_UNIX, str(at)) if isinstance(at, Path) else (socket.AF_INET, ("127.0.0.1", at))
    )
    with (
        socket.socket(family) as probe,
        contextlib.suppress(ConnectionRefusedError, FileNotFoundError),
    ):
        probe.settimeout(PATIENCE_S)
        probe.connect(address)
        return True
    return False


def free_port(in_a_row: int = 1) -> int:
    """A port below the ephemeral range that nobody listens on, and rarely another one of these.

    Of several in a row it is the first.
    """
    while True:
        port = random.randrange(10_000, 20_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for each in range(port, port + in_a_row):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
            return port
