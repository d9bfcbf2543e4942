"""A server that stops answers what was on its way, whatever shortens its ticks meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

import c1m
from c1m.addresses import AF_INET, Endpoint
from c1m.bounds import QUIET_NS
from c1m.engine.contract import EventBatch
from c1m.engine.uring.engine import UringEngine
from c1m.testing.fake_kernel import FakeKernel

MS = 1_000_000


class Echo(c1m.App):
    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)


def test_timers_within_a_drain_do_not_end_it() -> None:
    kernel = FakeKernel()
    engine = UringEngine(kernel=kernel, clock=kernel.clock)
    server = c1m.Server(Echo(), "tcp://127.0.0.1:8001", engine=engine, clock=kernel.clock)
    peer = kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001))
    while not server.statistics.live:
        server.tick()
    now = kernel.clock.now_ns()
    server.loop.call_every(MS, lambda _: None, now)  # as reports do
    server.loop.call_at(now + QUIET_NS // 2, lambda _: peer.send(b"late"))
    server.drain()
    server.shutdown()
    assert peer.recv(10) == b"late"


def held(kernel: FakeKernel, app: c1m.App, count: int, **options: Any) -> c1m.Server:
    """A server that so many peers of the fake kernel are connected to."""
    engine = UringEngine(kernel=kernel, clock=kernel.clock)
    server = c1m.Server(app, "tcp://127.0.0.1:8001", engine=engine, clock=kernel.clock, **options)
    app.peers = [  # type: ignore[attr-defined]
        kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001)) for _ in range(count)
    ]
    while server.statistics.live < count:
        server.tick()
    return server


class Ends(Echo):
    """When how many were closed."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, int]] = []

    def on_close(self, batch: c1m.CloseBatch, server: c1m.Server) -> None:
        assert set(batch.reasons.tolist()) == {c1m.CloseReason.DRAIN}
        self.ends.append((server.clock.now_ns() // MS, len(batch)))


def test_closes_are_spread_over_time() -> None:
    kernel, app = FakeKernel(), Ends()
    server = held(kernel, app, 300, drain_spread_ns=1000 * MS, drain_ns=500 * MS)
    start = kernel.clock.now_ns() // MS
    server.drain()
    server.shutdown()
    assert sum(count for _, count in app.ends) == 300
    assert server.statistics.closed[c1m.CloseReason.DRAIN] == 300
    assert max(count for _, count in app.ends) <= 6, "300 in 100 passes, and what one was late"
    half = sum(count for at, count in app.ends if at - start <= 500)
    assert 130 <= half <= 170
    assert app.ends[-1][0] - start <= 1010


def test_who_has_just_sent_something_is_closed_later() -> None:
    kernel, app = FakeKernel(), Ends()
    server = held(kernel, app, 2, drain_spread_ns=1000 * MS, drain_ns=500 * MS)
    busy = app.peers[0]  # type: ignore[attr-defined]
    said = 0

    def ask(now_ns: int) -> None:
        nonlocal said
        if len(app.ends) == 0:
            said += 1
            busy.send(b"x")

    server.every(20 * MS, ask)
    server.drain()
    server.shutdown()
    assert busy.recv(1000) == b"x" * said, "what it asked was answered"
    assert [count for _, count in app.ends] == [1, 1]


def test_nobody_is_waited_for_who_never_stops_sending() -> None:
    """The last quarter of the time is for the output of those who are closed then."""
    kernel, app = FakeKernel(), Ends()
    server = held(kernel, app, 1, drain_ns=1000 * MS)
    start = kernel.clock.now_ns() // MS
    busy = app.peers[0]  # type: ignore[attr-defined]
    server.every(2 * MS, lambda _: busy.send(b"x") if not app.ends else None)
    server.drain()
    server.shutdown()
    assert [count for _, count in app.ends] == [1]
    assert 750 <= app.ends[0][0] - start <= 800


def test_an_application_may_close_by_itself() -> None:
    class Itself(Ends):
        closes_at_stop = True

        def on_stop(self, server: c1m.Server) -> None:
            server.close(server.live_slots()[:2])

    kernel, app = FakeKernel(), Itself()
    server = held(kernel, app, 3, drain_spread_ns=1000 * MS, drain_ns=500 * MS)
    server.drain()
    server.shutdown()
    assert [count for _, count in app.ends] == [1]
    closed = server.statistics.closed
    assert (closed[c1m.CloseReason.LOCAL], closed[c1m.CloseReason.DRAIN]) == (2, 1)


def test_a_tick_that_brings_nothing_does_not_end_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine may take 200 ms to note that 100,000 connections have something to be read."""
    kernel, app = FakeKernel(), Echo()
    server = held(kernel, app, 1)
    [peer] = app.peers  # type: ignore[attr-defined]
    wait, ticks = server.engine.wait, 0

    def busy_first(*told: Any) -> EventBatch:
        nonlocal ticks
        ticks += 1
        if ticks > 2:
            return wait(*told)
        kernel.clock.advance(20 * QUIET_NS)
        return EventBatch.nothing()

    monkeypatch.setattr(server.engine, "wait", busy_first)
    peer.send(b"there already")
    server.drain()
    server.shutdown()
    assert peer.recv(1000) == b"there already"


def test_who_has_just_connected_is_given_time_to_ask() -> None:
    """Where another process serves meanwhile (a take-over), a stop has the time."""
    kernel, app = FakeKernel(), Ends()
    server = held(kernel, app, 1)
    [peer] = app.peers  # type: ignore[attr-defined]
    start = kernel.clock.now_ns()
    server.loop.call_at(start + 900 * MS, lambda _: peer.send(b"at last"))
    server.drain_grace_ns = 1000 * MS
    server.drain()
    server.shutdown()
    assert peer.recv(100) == b"at last"
    assert 1000 <= (kernel.clock.now_ns() - start) // MS <= 1100
