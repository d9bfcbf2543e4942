"""Servers out of Debian's packages: started on a free port, with no file of the system's.

Where the program is not there, root has it installed, once, without it being started as a service;
others, and machines without a package mirror, skip the test and say so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from e2e.cli_helpers import PATIENCE_S, free_ports
from e2e.library_runs import eventually

# Maintainer scripts start no service in runlevel 1.
_QUIETLY = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}


@cache
def program(name: str, package: str, module: Path | None = None) -> str:
    """Where the program is; installed if it has to be (from one package or several), as its module.
    Skips the test where that cannot be."""
    found = _found(name, module)
    if found is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"{name} is not installed; as root: apt-get install {package}")
    packages = package.split()
    for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["apt-get", "-qq", *words],
                env={**os.environ, **_QUIETLY},
                capture_output=True,
                timeout=PATIENCE_S,
            )
    found = _found(name, module)
    if found is None:
        pytest.skip(f"{name} is not installed, and apt-get could not install {package}")
    return found


def _found(name: str, module: Path | None) -> str | None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    return shutil.which(name, path=path) if module is None or module.exists() else None


@contextlib.contextmanager
def running(command: Sequence[str | Path], port: int, log: Path) -> Iterator[int]:
    """A server for the time of a `with`, from when it takes connections on: its process id."""
    with log.open("wb") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)

    def takes_connections() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
            return True
        return False

    try:
        eventually(takes_connections, f"{command[0]} listens on port {port}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port below the ephemeral range that nobody listens on."""
    return free_ports(1)
