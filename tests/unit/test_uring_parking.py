"""Quiet connections wait on a poll, busy ones on a multishot receive, and they move between."""

from __future__ import annotations

import pytest

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.receive import BUSY, BUSY_EARLY, EARLY_MAX
from c1m.engine.uring.rings import Tuning
from c1m.engine.uring.table import POLL_ARMED, RECEIVE_ARMED
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket

SECOND = 1_000_000_000


class Bench:
    """An engine on a fake kernel and one peer, which the engine has accepted."""

    def __init__(self) -> None:
        self.kernel = FakeKernel(seed=1)
        tuning = Tuning(capacity=1024, files_per_ring=1024)
        self.engine = UringEngine(kernel=self.kernel, clock=self.kernel.clock, tuning=tuning)
        (endpoint,) = self.engine.listen([Endpoint(AF_INET, "127.0.0.1", 0)], 8)
        self.peer: Socket = self.kernel.network.peer(endpoint)
        self.received = b""
        self.settle()

    def settle(self) -> None:
        for _ in range(10):
            batch = self.engine.wait(0)
            self.received += b"".join(batch.data.pieces())

    def say(self, data: bytes) -> None:
        self.peer.send(data)
        self.settle()

    def make_busy(self) -> None:
        for _ in range(BUSY):
            self.say(b"x")

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.kernel.clock.advance(SECOND)
            self.settle()

    def armed(self) -> int:
        return int(self.engine.table.flags[0]) & (POLL_ARMED | RECEIVE_ARMED)

    def moves(self) -> tuple[int, int]:
        extra = self.engine.statistics().extra
        return extra["promoted"], extra["parked"]


def test_a_connection_begins_parked_and_one_message_leaves_it_so() -> None:
    bench = Bench()
    assert bench.armed() == POLL_ARMED
    bench.say(b"one")
    assert bench.received == b"one"
    assert (bench.armed(), bench.moves()) == (POLL_ARMED, (0, 0))


@pytest.mark.parametrize(("armed", "enough"), [(0, BUSY_EARLY), (EARLY_MAX, BUSY)])
def test_many_messages_within_a_second_promote_it(armed: int, enough: int) -> None:
    """Fewer are enough while few others have been promoted."""
    bench = Bench()
    bench.engine._rings.places[0].receives = armed
    for _ in range(enough - 1):
        bench.say(b"x")
    assert (bench.armed(), bench.moves()) == (POLL_ARMED, (0, 0))
    bench.say(b"y")
    bench.say(b"z")
    assert bench.received == b"x" * (enough - 1) + b"yz"
    assert (bench.armed(), bench.moves()) == (RECEIVE_ARMED, (1, 0))


def test_messages_far_apart_do_not() -> None:
    bench = Bench()
    for _ in range(2 * BUSY):
        bench.say(b"x")
        bench.pass_time(1)
    assert bench.received == b"x" * 2 * BUSY
    assert (bench.armed(), bench.moves()) == (POLL_ARMED, (0, 0))


def test_a_busy_connection_that_becomes_quiet_is_parked_again_and_still_heard() -> None:
    bench = Bench()
    bench.make_busy()
    bench.pass_time(5)
    assert (bench.armed(), bench.moves()) == (POLL_ARMED, (1, 1))
    bench.say(b"more")
    assert bench.received == b"x" * BUSY + b"more"


def test_a_connection_that_stays_busy_stays_promoted() -> None:
    bench = Bench()
    bench.make_busy()
    for _ in range(10):
        bench.say(b"x")
        bench.pass_time(1)
    assert bench.received == b"x" * (BUSY + 10)
    assert (bench.armed(), bench.moves()) == (RECEIVE_ARMED, (1, 0))
