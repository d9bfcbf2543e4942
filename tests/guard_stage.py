"""A server with limits on a fake kernel, whose time passes when a test says so, and its peers."""

from __future__ import annotations

from typing import Any

import c1m
from c1m.addresses import AF_INET, Endpoint
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.server.server import Server
from c1m.server.statistics import CloseReason
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_MS, NS_PER_S

SMALL = Tuning(capacity=512, files_per_ring=128)


class Keeps(c1m.App):
    """Keeps what it is told; sends back what comes, where it `echoes`."""

    def __init__(self, echoes: bool = True) -> None:
        self.echoes = echoes
        self.opened: list[int] = []
        self.ticks: list[dict[int, int]] = []  # what each tick with data brought: bytes by slot
        self.closed: list[tuple[int, str]] = []

    def on_open(self, batch: c1m.OpenBatch, server: Server) -> None:
        self.opened += batch.slots.tolist()

    def on_data(self, batch: c1m.DataBatch, server: Server) -> None:
        brought: dict[int, int] = {}
        for slot, size in zip(batch.slots.tolist(), batch.data.lengths.tolist(), strict=True):
            brought[slot] = brought.get(slot, 0) + size
        self.ticks.append(brought)
        if self.echoes:
            server.send(batch.slots, batch.data)

    def on_close(self, batch: c1m.CloseBatch, server: Server) -> None:
        reasons = (CloseReason(code).name for code in batch.reasons.tolist())
        self.closed += zip(batch.slots.tolist(), reasons, strict=True)


class Stage:
    """A server, and its peers."""

    def __init__(self, limits: c1m.Limits, *, app: Any = None, **options: Any) -> None:
        self.kernel = FakeKernel()
        engine = UringEngine(
            kernel=self.kernel, clock=self.kernel.clock, tuning=SMALL,
            outbox_high=options.pop("outbox_high", 1 << 16),
            linger_ns=options.pop("linger_ns", 30 * NS_PER_S),
        )  # fmt: skip
        self.app = Keeps() if app is None else app
        self.server = Server(
            self.app, "tcp://127.0.0.1:8001", engine=engine, clock=self.kernel.clock,
            limits=limits, **options,
        )  # fmt: skip
        self.app.on_start(self.server)

    def peer(self) -> Socket:
        peer = self.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001))
        self.ticks()
        return peer

    def ticks(self, count: int = 6) -> None:
        for _ in range(count):
            self.server.tick(0)

    def passes(self, ns: int) -> None:
        """So much time, a tenth of a second at a time."""
        for _ in range(ns // (100 * NS_PER_MS)):
            self.kernel.clock.advance(100 * NS_PER_MS)
            self.ticks(2)

    def closed(self) -> dict[str, int]:
        """By reason."""
        counts = self.server.update_statistics().closed
        return {reason.name: count for reason, count in counts.items() if count}

    def limited(self) -> dict[str, int]:
        """How often a limit acted, by its option."""
        return self.server.engine.statistics().limited

    def end(self) -> None:
        statistics = self.server.update_statistics()
        assert statistics.opened == statistics.live + sum(statistics.closed.values())
        self.server.shutdown()
