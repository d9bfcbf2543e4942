"""The costly checks find what they are for: each breaks one invariant of an engine by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from c1m.addresses import AF_INET, pack_many
from c1m.engine import checks
from c1m.engine.contract import EventBatch
from c1m.engine.epoll import OUT, EpollEngine
from c1m.engine.ragged import Ragged
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.engine.uring.table import HAS_OUTBOX, IS_OPEN
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Network
from contract.harness import LOOPBACK, SocketHarness
from contract.world import World

ONE = np.zeros(1, np.int32)


@pytest.fixture
def uring() -> Iterator[UringEngine]:
    """An engine with one open connection, in slot 0, some of whose output is pending."""
    assert checks.COSTLY
    kernel = FakeKernel(network=Network(socket_buffer=1000))
    tuning = Tuning(capacity=64, files_per_ring=32)
    engine = UringEngine(kernel=kernel, clock=kernel.clock, tuning=tuning)
    (endpoint,) = engine.listen([LOOPBACK], 8)
    kernel.network.peer(endpoint)
    assert engine.wait(0).opened.tolist() == [0]
    engine.send(ONE, Ragged.of([bytes(5000)]))
    for _ in range(32):
        engine.wait(0)
    yield engine
    engine.shutdown()


def _flag(engine: UringEngine, flag: int) -> None:
    engine.table.flags[0] ^= flag


URING_FAULTS: dict[str, Callable[[UringEngine], object]] = {
    "live": lambda e: setattr(e._statistics, "live", 2),
    "closed": lambda e: setattr(e._statistics, "closed", 1),
    "open": lambda e: _flag(e, IS_OPEN),
    "outbox": lambda e: _flag(e, HAS_OUTBOX),
    "place": lambda e: setattr(e._rings.places[0], "free", 5),
    "buffer": lambda e: setattr(e._rings.places[0].buffers, "free", 1),
    "total": lambda e: setattr(e._output.outbox, "total", 1),
    "poll": lambda e: e._output._polled.clear(),
    "free and in use": lambda e: e.table.states.__setitem__(1, 2),
}


@pytest.mark.parametrize("fault", URING_FAULTS)
def test_uring(uring: UringEngine, fault: str) -> None:
    uring._check(EventBatch.nothing())
    URING_FAULTS[fault](uring)
    with pytest.raises(AssertionError):
        uring._check(EventBatch.nothing())


EPOLL_FAULTS: dict[str, Callable[[EpollEngine, int], object]] = {
    "live": lambda e, slot: setattr(e._counts, "live", 2),
    "released": lambda e, slot: e._released.append(slot),
    "interest": lambda e, slot: e._interests.__setitem__(slot, OUT),
    "total": lambda e, slot: setattr(e._outbox, "total", 1),
}


@pytest.mark.parametrize("fault", EPOLL_FAULTS)
def test_epoll(fault: str) -> None:
    world = World(SocketHarness(EpollEngine))
    world.listen()
    _, conn = world.open()
    engine = world.engine
    assert isinstance(engine, EpollEngine)
    engine._check(EventBatch.nothing())
    EPOLL_FAULTS[fault](engine, conn.slot)
    with pytest.raises(AssertionError):
        engine._check(EventBatch.nothing())
    engine._released.clear()
    engine.shutdown()
    world.harness.close()


def test_a_batch_that_reports_a_slot_twice() -> None:
    for batch in (
        EventBatch(opened=ONE, opened_listeners=ONE, closed=ONE, closed_errnos=ONE),
        EventBatch(eof=np.zeros(2, np.int32)),
        EventBatch(opened=ONE),
        EventBatch(connected=ONE + 8),
    ):
        with pytest.raises(AssertionError):
            batch.check(8)


def test_a_connect_that_was_given_up_leaves_its_errno_to_nobody() -> None:
    """Its preparation has failed; the next connect in the same slot is another one."""
    kernel = FakeKernel()
    listener = kernel.peer_listener()
    engine = UringEngine(kernel=kernel, clock=kernel.clock, tuning=Tuning(capacity=64))
    there = pack_many(AF_INET, ["127.0.0.1"], [listener.endpoint.port])
    nowhere = pack_many(AF_INET, ["192.0.2.1"], [0])
    given_up = engine.connect(nowhere, there)
    engine.close(given_up)
    (slot,) = engine.connect(None, there).tolist()
    connected: list[int] = []
    for _ in range(4):
        batch = engine.wait(0)
        assert not len(batch.failed)
        connected += batch.connected.tolist()
    assert connected == [slot] == given_up.tolist()
    engine.shutdown()
