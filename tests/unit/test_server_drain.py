"""A server that stops answers what was on its way, whatever shortens its ticks meanwhile."""

from __future__ import annotations

import c1m
from c1m.addresses import AF_INET, Endpoint
from c1m.bounds import QUIET_NS
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
