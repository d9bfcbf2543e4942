"""The servers that are compared: how each is started, and why one is not there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from harness import build

PEERS = build.BENCH / "peers"
# What a server can be asked to do. Streams is the echo once more, by asyncio's streams.
ECHO, BROADCAST, HOLD, STREAMS, HTTP = "echo", "broadcast", "hold", "streams", "http"
REFERENCE = "c"
REFERENCE_LOOP = "uvloop"  # of what only asyncio's loops can do


@dataclass(frozen=True, slots=True)
class Peer:
    """A server. `command(port, task)` is its command line; it raises build.BuildFailed."""

    name: str
    what: str
    command: Callable[[int, str], Sequence[str]]
    module: str = ""  # the Python package it needs
    tasks: tuple[str, ...] = (ECHO, BROADCAST, HOLD)
    leaks: bool = False  # keeps ended connections: it is started anew for each pair
    window: int = 256  # how many connections may be on their way at once while they are opened

    def why_missing(self) -> str:
        """Empty if it can be started here."""
        if self.module and find_spec(self.module) is None:
            return f"the Python package {self.module} is not installed"
        try:
            for task in self.tasks:
                self.command(0, task)
        except build.BuildFailed as failure:
            return str(failure)
        return ""

    def version(self) -> str:
        """Of the package it needs; empty where there is none."""
        return metadata.version(self.module) if self.module else ""


def _c(**programs: str) -> Callable[[int, str], Sequence[str]]:
    """Programs by task."""
    return lambda port, task: [str(build.c_program(programs[task])), str(port)]


def _python(script: str) -> Callable[[int, str], Sequence[str]]:
    return lambda port, task: [
        sys.executable,
        str(PEERS / script),
        str(port),
        BROADCAST if task == BROADCAST else ECHO,
    ]


def _loop(name: str) -> Callable[[int, str], Sequence[str]]:
    """One source on all of asyncio's loops."""
    return lambda port, task: [
        sys.executable,
        str(PEERS / "asyncio_server.py"),
        str(port),
        ECHO if task == HOLD else task,
        name,
    ]


LOOPS_CAN = (ECHO, BROADCAST, HOLD, STREAMS, HTTP)


def _go(port: int, task: str) -> Sequence[str]:
    kind = BROADCAST if task == BROADCAST else ECHO
    return [str(build.go_program("echo")), str(port), kind]


def _c1m(engine: str, *more: str) -> Callable[[int, str], Sequence[str]]:
    return lambda port, task: [
        sys.executable,
        str(PEERS / ("c1m_broadcast.py" if task == BROADCAST else "c1m_echo.py")),
        str(port),
        engine,
        *more,
    ]


def _callback(engine: str) -> Callable[[int, str], Sequence[str]]:
    return lambda port, task: [sys.executable, str(PEERS / "c1m_callback.py"), str(port), engine]


ALL = (
    Peer(
        REFERENCE,
        "hand-written epoll loop in C: recv, send",
        _c(echo="echo_epoll", hold="echo_epoll", broadcast="broadcast_epoll"),
    ),
    Peer("bare", "C, holds the socket and waits for nothing", _c(hold="hold_bare"), tasks=(HOLD,)),
    Peer(
        "c-reactor",
        "textbook reactor in C: EPOLLOUT and EPOLLIN re-armed for each message, backlog 10",
        _c(echo="echo_reactor", hold="echo_reactor"),
        tasks=(ECHO, HOLD),
        window=8,
    ),
    Peer("asyncio", "asyncio Protocol", _loop("asyncio"), tasks=LOOPS_CAN),
    Peer("uvloop", "the same Protocol on uvloop", _loop("uvloop"), "uvloop", LOOPS_CAN),
    Peer("rloop", "the same Protocol on rloop", _loop("rloop"), "rloop", leaks=True),
    Peer("gevent", "StreamServer, a greenlet a connection", _python("gevent_echo.py"), "gevent"),
    Peer("go", "net package, a goroutine a connection", _go),
    Peer("c1m-uring", "c1m on io_uring, batch App", _c1m("uring")),
    Peer("c1m-epoll", "c1m on epoll, batch App", _c1m("epoll")),
    Peer(
        "c1m-uring-sleepy",
        "c1m-uring that sleeps at once (--busy-poll 0)",
        _c1m("uring", "0"),
        tasks=(ECHO,),
    ),
    Peer(
        "c1m-uring-callback",
        "the same Protocol as asyncio's on c1m, io_uring",
        _callback("uring"),
        tasks=(ECHO, HOLD),
    ),
    Peer(
        "c1m-epoll-callback",
        "the same Protocol as asyncio's on c1m, epoll",
        _callback("epoll"),
        tasks=(ECHO, HOLD),
    ),
    Peer("c1m", "c1m as it chooses itself, batch App", _c1m("auto")),
    Peer(
        "c1m-loop",
        "the same Protocol as asyncio's on c1m's event loop as it chooses itself",
        _loop("c1m"),
        tasks=LOOPS_CAN,
    ),
    Peer(
        "c1m-uring-loop",
        "the same Protocol as asyncio's on c1m's event loop, io_uring",
        _loop("c1m-uring"),
        tasks=LOOPS_CAN,
    ),
    Peer(
        "c1m-epoll-loop",
        "the same Protocol as asyncio's on c1m's event loop, epoll",
        _loop("c1m-epoll"),
        tasks=LOOPS_CAN,
    ),
)
BY_NAME = {peer.name: peer for peer in ALL}
