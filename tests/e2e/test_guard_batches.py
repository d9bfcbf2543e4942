"""A guard ends a connection once, whatever batches the engine inside it returns."""

from __future__ import annotations

import socket
import time

import pytest

import c1m
from c1m.engine.choose import choose
from c1m.guard.engine import GuardEngine
from c1m.kernel.sockets import resolve
from c1m.testing.manual_clock import ManualClock

WAIT_S = 60.0
MS = 1_000_000


@pytest.mark.parametrize("name", ["uring", "epoll", "auto"])
def test_an_end_by_a_limit_is_told_once(name: str) -> None:
    """An engine may return one object for many batches (epoll does): it is not written to."""
    clock = ManualClock(1_000_000_000)
    engine = GuardEngine(choose(name, few_first=8), c1m.Limits(first_byte_timeout=2), clock)
    [endpoint] = engine.listen(resolve("tcp://127.0.0.1:0"), 8)
    opened: list[int] = []
    closed: list[int] = []
    place = ("127.0.0.1", endpoint.port)
    deadline = time.monotonic() + WAIT_S
    try:
        with (
            socket.create_connection(place, WAIT_S) as talks,
            socket.create_connection(place, WAIT_S),  # silent
        ):
            talks.sendall(b"a")
            rounds = 0
            while rounds < 20:  # behind the end
                assert time.monotonic() < deadline
                batch = engine.wait(MS)
                opened += batch.opened.tolist()
                closed += batch.closed.tolist()
                if len(batch.data_slots):
                    talks.sendall(b"a")
                    rounds += len(closed) > 0
                if len(opened) == 2:
                    clock.advance(500 * MS)
        assert len(closed) == 1 and closed[0] in opened
        assert engine.statistics().live == 1
    finally:
        engine.shutdown()
