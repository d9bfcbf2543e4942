"""When all connections have ended, an engine that has grown is as small as before."""

from __future__ import annotations

from typing import Any

import pytest

from c1m.addresses import AF_INET, Endpoint, pack_many
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket

SECOND = 1_000_000_000
MS = 1_000_000
PEERS = 150


class Bench:
    """An engine of many small rings that echoes to its peers."""

    def __init__(self, **faults: Any) -> None:
        self.kernel = FakeKernel(seed=3, **faults)
        tuning = Tuning(capacity=1024, files_per_ring=64, cq_entries=16, sq_entries=16)
        self.engine = UringEngine(kernel=self.kernel, clock=self.kernel.clock, tuning=tuning)
        (self.endpoint,) = self.engine.listen([Endpoint(AF_INET, "127.0.0.1", 0)], 4096)

    def connect(self, count: int) -> list[Socket]:
        peers = [self.kernel.network.peer(self.endpoint) for _ in range(count)]
        self.settle()
        return peers

    def settle(self) -> None:
        for _ in range(100):
            self.kernel.clock.advance(
                MS
            )  # an accept that was refused is tried again a little later
            batch = self.engine.wait(0)
            if len(batch.data_slots):
                self.engine.send(batch.data_slots, batch.data)
            if len(batch.eof):
                self.engine.close(batch.eof)

    def second(self) -> None:
        self.kernel.clock.advance(SECOND)
        self.settle()

    def rings(self) -> int:
        return self.engine.statistics().extra["rings"]

    def check_echo(self, peers: list[Socket]) -> None:
        for number, peer in enumerate(peers):
            peer.send(b"%d" % number)
        self.settle()
        assert [peer.recv(100) for peer in peers] == [b"%d" % n for n in range(len(peers))]


def close_all(peers: list[Socket]) -> None:
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("faults", [{}, {"accept_error": 0.1, "sticky_taskrun": 0.2}])
def test_rings_and_rows_are_given_back_and_new_connections_are_served(
    faults: dict[str, float],
) -> None:
    bench = Bench(**faults)
    for _ in range(3):
        peers = bench.connect(PEERS)
        bench.check_echo(peers)
        assert bench.rings() > 2
        close_all(peers)
        bench.settle()
        for _ in range(3):
            bench.second()
        assert bench.rings() == 1
        table = bench.engine.table
        assert not table.generations.any() and not table.flags.any() and not table.states.any()
    few = bench.connect(3)
    bench.check_echo(few)
    statistics = bench.engine.statistics()
    assert (statistics.accepted, statistics.closed) == (3 * PEERS + 3, 3 * PEERS)
    assert statistics.live == 3


def test_one_connection_that_is_left_keeps_everything() -> None:
    bench = Bench()
    first, *others = bench.connect(PEERS)
    rings = bench.rings()
    close_all(others)
    bench.second()
    bench.second()
    assert bench.rings() == rings
    bench.check_echo([first])


def test_who_connects_in_that_moment_is_not_lost() -> None:
    bench = Bench()
    close_all(bench.connect(PEERS))
    bench.settle()
    bench.kernel.clock.advance(SECOND)
    late = [bench.kernel.network.peer(bench.endpoint) for _ in range(20)]
    bench.settle()
    bench.check_echo(late)


def test_who_connects_in_that_moment_is_told_of_at_once() -> None:
    bench = Bench()
    close_all(bench.connect(PEERS))
    bench.settle()
    bench.kernel.clock.advance(SECOND)
    bench.kernel.network.peer(bench.endpoint)
    before = bench.kernel.clock.now_ns()
    batch = bench.engine.wait(SECOND)
    assert (len(batch.opened), bench.kernel.clock.now_ns()) == (1, before)


def test_rings_that_connect_are_given_back_too() -> None:
    bench = Bench()
    kernel = FakeKernel(seed=4, network=bench.kernel.network)
    tuning = Tuning(capacity=1024, files_per_ring=64)
    client = UringEngine(kernel=kernel, clock=kernel.clock, tuning=tuning)
    destinations = pack_many(AF_INET, ["127.0.0.1"] * PEERS, [bench.endpoint.port] * PEERS)
    for times in (1, 2):
        slots = client.connect(None, destinations)
        for _ in range(20):
            client.wait(0)
            bench.settle()
        assert client.statistics().connected == times * PEERS
        client.close(slots)
        client.wait(0)
        kernel.clock.advance(SECOND)
        client.wait(0)
        assert client.statistics().extra["rings"] == 0
