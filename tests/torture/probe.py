"""A client with plain sockets who looks how the server does: until it is stopped.

It connects to `connect_port` `connects` times a second, each time for one echo; and it asks on one
connection to `ping_port`, which it keeps, `pings` times a second. A line has what came since the
last one: when each began, and the milliseconds that it took (-1: it failed, or took TIMEOUT_S).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import numpy as np

from .child import Child, asked, say
from .verdict import Verdict

TIMEOUT_S = 10.0
EVERY_S = 0.5
QUESTION = b"are you there?  "

Answers = list[tuple[float, float]]


class Probe(Child):
    """It: `answers(kind)`, of "connects" or "pings", from a time until another."""

    def __init__(self, connect_port: int, ping_port: int, connects: float, pings: float) -> None:
        super().__init__(
            "probe", connect_port=connect_port, ping_port=ping_port, connects=connects, pings=pings
        )

    def answers(self, kind: str, since: float = 0, until: float = 1e18) -> Answers:
        """Of those that began then."""
        self.look()
        return [
            (t, ms) for line in self.lines for t, ms in line.get(kind, ()) if since <= t <= until
        ]


def note(verdict: Verdict, name: str, answers: Answers) -> int:
    """Figures of these: how many failed, and how long the others took. Returns the first."""
    took = [ms for _, ms in answers if ms >= 0]
    failed = len(answers) - len(took)
    said = f"{len(answers):,}, failed {failed:,}"
    if took:
        p50, p99, most = np.percentile(took, [50, 99, 100])
        said += f", ms: p50 {p50:.2f}, p99 {p99:.2f}, max {most:.1f}"
    verdict.figures[name] = said
    return failed


def _ask(sock: socket.socket) -> None:
    sock.sendall(QUESTION)
    got = b""
    while len(got) < len(QUESTION):
        piece = sock.recv(64)
        if not piece:
            raise ConnectionError("closed")
        got += piece
    if got != QUESTION:
        raise ConnectionError("another answer")


def _connect_and_ask(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as sock:
        _ask(sock)


class _Kept:
    """One connection, made again where it was lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def ask(self) -> None:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S)
        try:
            _ask(self._sock)
        except OSError:
            self._sock.close()
            self._sock = None
            raise


def _go_on(rate_per_s: float, once: Callable[[], None], found: Answers) -> None:
    due = time.monotonic()
    while True:
        due += 1 / rate_per_s
        time.sleep(max(due - time.monotonic(), 0))
        start, ms = time.monotonic(), -1.0
        with contextlib.suppress(OSError):
            once()
            ms = (time.monotonic() - start) * 1e3
        found.append((start, ms))
        due = max(due, start)  # who waits for an answer asks nothing meanwhile


def main() -> None:
    """Until SIGTERM."""
    told = asked()
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: is_over.set())
    found: dict[str, Answers] = {"connects": [], "pings": []}
    kept = _Kept(told["ping_port"])
    for kind, once in (
        ("connects", lambda: _connect_and_ask(told["connect_port"])), ("pings", kept.ask),
    ):  # fmt: skip
        if told[kind]:
            threading.Thread(
                target=_go_on, args=(told[kind], once, found[kind]), daemon=True
            ).start()
    while True:
        has_ended = is_over.wait(EVERY_S)
        line = {kind: answers[:] for kind, answers in found.items()}
        for kind, answers in line.items():
            del found[kind][: len(answers)]
        say(**line)
        if has_ended:  # one of each may be under way
            os._exit(0)


if __name__ == "__main__":
    main()
