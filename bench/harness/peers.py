"""The servers that are compared: how each is started, and why one is not there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from harness import build

PEERS = build.BENCH / "peers"
ECHO, BROADCAST, HOLD = "echo", "broadcast", "hold"  # what a server can be asked to do


@dataclass(frozen=True, slots=True)
class Peer:
    """A server. `command(port, task)` is its command line; it raises build.BuildFailed."""

    name: str
    what: str
    command: Callable[[int, str], Sequence[str]]
    module: str = ""  # the Python package it needs
    tasks: tuple[str, ...] = (ECHO,)
    window: int = 256  # how many connections may be on their way at once while they are opened

    def why_missing(self) -> str:
        """Empty if it can be started here."""
        if self.module and find_spec(self.module) is None:
            return f"no package {self.module}: pip install {self.module}"
        try:
            self.command(0, self.tasks[0])
        except build.BuildFailed as failure:
            return str(failure)
        return ""


def _c(name: str) -> Callable[[int, str], Sequence[str]]:
    return lambda port, task: [str(build.c_program(name)), str(port)]


def _c1m(script: str, engine: str) -> Callable[[int, str], Sequence[str]]:
    return lambda port, task: [sys.executable, str(PEERS / script), str(port), engine]


ALL = (
    Peer("c", "hand-written epoll loop in C: recv, send", _c("echo_epoll")),
    Peer("c1m-uring", "c1m on io_uring, batch App", _c1m("c1m_echo.py", "uring")),
    Peer("c1m-epoll", "c1m on epoll, batch App", _c1m("c1m_echo.py", "epoll")),
)
BY_NAME = {peer.name: peer for peer in ALL}
