"""Any sequence of what an event loop asks of an engine, against a slow form of each connection.

The slow form is the bytes that were handed over, in order, and what became of the connection. Of an
engine in memory also the kernel's side is seen, so `unsent` is checked to the byte. The log checks
that each end is reported once, and never when the slot is another's; the world that the statistics
add up (rule 9).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.harness import HARNESSES
from contract.log import Conn
from contract.peers import Peer
from contract.sample import noise
from contract.uring_harnesses import FakeHarness, MemoryPeer
from contract.world import World

HIGH = 5000
SOME = 4  # connections at the beginning
WHICH = st.integers(0, 7)
SIZES = st.sampled_from([1, 100, 3000, 20_000, 150_000, 500_000])
LIMITS = st.sampled_from([(0, 0), (0, 1), (10, 100), (1000, 50_000), (1 << 18, 1 << 20)])

STEP = st.one_of(
    st.tuples(st.just("send"), WHICH, SIZES),
    st.tuples(st.just("send each"), st.lists(WHICH, max_size=6), SIZES),
    st.tuples(st.just("flush")),
    st.tuples(st.just("limit"), WHICH, LIMITS),
    st.tuples(st.just("end output"), WHICH),
    st.tuples(st.just("close"), WHICH),
    st.tuples(st.just("drop"), WHICH),
    st.tuples(st.just("abort"), WHICH),
    st.tuples(st.just("give up a closed one"), WHICH, st.booleans()),
    st.tuples(st.just("adopt")),
    st.tuples(st.just("open")),
    st.tuples(st.just("listen")),
    st.tuples(st.just("peer reads"), WHICH, st.booleans()),
    st.tuples(st.just("peer sends"), WHICH, SIZES),
    st.tuples(st.just("peer shuts"), WHICH),
    st.tuples(st.just("peer resets"), WHICH),
    st.tuples(st.just("turn"), st.integers(1, 3)),
)
STEPS = st.one_of(st.lists(STEP, max_size=8), st.lists(STEP, min_size=20, max_size=50))


@dataclass(eq=False)
class Model:
    """One connection: what its peer is owed, and what may keep it from that."""

    peer: Peer
    conn: Conn
    owed: bytes = b""
    sent_by_peer: int = 0
    limits: tuple[int, int] = (HIGH // 4, HIGH)
    is_shut: bool = False  # by us: nothing may be sent any more
    peer_is_shut: bool = False
    is_rough: bool = False  # aborted, dropped or reset: the end of what is owed may be missing

    def is_over(self) -> bool:
        """Whether the caller has been told that its output piles up."""
        return self.conn.blocked > self.conn.drained


class Machine:
    """The engine and the models."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.models: list[Model] = []
        self.pieces = 0
        world.listen()
        world.report_ends()
        for _ in range(SOME):
            self.open()

    def open(self) -> None:
        peer, conn = self.world.open(buffers=1 << 14)
        self.models.append(Model(peer, conn))

    def live(self) -> list[Model]:
        return [m for m in self.models if self.world.log.at.get(m.conn.slot) is m.conn]

    def piece(self, size: int) -> bytes:
        self.pieces += 1
        return noise(size, self.pieces)

    def step(self, step: tuple[Any, ...]) -> None:
        world, live, kind = self.world, self.live(), step[0]
        if kind in ("flush", "adopt", "open", "listen", "turn", "give up a closed one"):
            self.step_of_all(step)
        elif kind == "send each":
            to = [live[i] for i in step[1] if i < len(live) and not live[i].is_shut]
            pieces = [self.piece(step[2] // 8 + 1) for _ in to]
            for model, piece in zip(to, pieces, strict=True):
                model.owed += piece
            world.send_each([model.conn.slot for model in to], pieces)
        elif step[1] < len(live):
            self.step_of(live[step[1]], kind, *step[2:])

    def step_of_all(self, step: tuple[Any, ...]) -> None:
        world = self.world
        match step:
            case ("flush",):
                world.engine.flush()
                self.check_unsent()
            case ("adopt",):
                self.models.append(Model(*world.adopt()))
            case ("open",):
                self.open()
            case ("listen",):
                world.engine.listen([], 0)
                world.listen(world.endpoint)
            case "turn", int() as count:
                for _ in range(count):
                    world.turn()
                    self.check_watermarks()
            case _, int() as which, bool() as is_drop:
                ending = [m for m in self.models if world.log.ending.get(m.conn.slot) is m.conn]
                if which < len(ending):
                    ending[which].is_rough = True
                    world.engine.close(ending[which].conn.slots, abort=not is_drop, drop=is_drop)

    def step_of(self, model: Model, kind: str, *rest: Any) -> None:
        world, conn, peer = self.world, model.conn, model.peer
        if kind == "send" and not model.is_shut:
            piece = self.piece(rest[0])
            model.owed += piece
            world.send(conn.slots, [piece])
        elif kind == "limit":
            self.limit(model, *rest[0])
        elif kind == "end output":
            model.is_shut = True
            world.engine.end_output(conn.slot)
        elif kind in ("close", "drop", "abort"):
            model.is_rough |= kind != "close" or model.sent_by_peer > len(conn.data)
            world.close(conn, abort=kind == "abort", drop=kind == "drop")
        elif kind == "peer reads":
            peer.is_reading = rest[0]
        elif kind == "peer sends" and not model.peer_is_shut:
            model.sent_by_peer += rest[0]
            peer.send(self.piece(rest[0]))
        elif kind == "peer shuts":
            model.peer_is_shut = True
            peer.shutdown_write()
        elif kind == "peer resets":
            model.is_rough = True
            peer.reset()

    def limit(self, model: Model, low: int, high: int) -> None:
        """As a caller does: whether it is over already is asked for."""
        engine, slot = self.world.engine, model.conn.slot
        engine.flush()
        while self.world.turn():  # what is to be reported is
            pass
        if slot not in self.world.log.at:
            return
        model.limits = low, high
        engine.limit_output(slot, low, high)
        if engine.unsent(slot) > high and not model.is_over():
            model.conn.blocked += 1

    # --- laws ---------------------------------------------------------------------------------

    def check(self) -> None:
        for model in self.models:
            assert model.owed.startswith(bytes(model.peer.received))
            assert model.conn.blocked - model.conn.drained in (0, 1)
        self.world.check_law()

    def check_unsent(self) -> None:
        engine = self.world.engine
        there = [m for m in self.models if self.is_held(m)]
        pending = {m.conn.slot: engine.unsent(m.conn.slot) for m in there}
        assert sum(pending.values()) == engine.statistics().outbox_bytes
        for model in there:
            if isinstance(model.peer, MemoryPeer) and not model.is_rough:
                taken = len(model.peer.received) + len(model.peer.end.inbox)
                assert pending[model.conn.slot] == len(model.owed) - taken

    def is_held(self, model: Model) -> bool:
        """Whether the engine still has it."""
        log, slot = self.world.log, model.conn.slot
        return log.at.get(slot) is model.conn or log.ending.get(slot) is model.conn

    def check_watermarks(self) -> None:
        for model in self.live():
            pending = self.world.engine.unsent(model.conn.slot)
            if model.is_rough:
                continue
            if pending > model.limits[1]:
                assert model.is_over(), f"{pending} bytes are pending, and nothing says so"
            if pending == 0:
                assert not model.is_over(), "all has gone, and nothing says so"

    def finish(self) -> None:
        """Let everything that is owed arrive, close, and see each end."""
        world = self.world
        for model in self.models:
            model.peer.is_reading = True
        for _ in range(2):
            world.engine.flush()
            world.settle()
        fine = [m for m in self.models if not m.is_rough]
        world.pump(lambda: all(len(m.peer.received) == len(m.owed) for m in fine))
        for model in self.live():
            assert model.conn.blocked == model.conn.drained or model.is_rough
            world.close(model.conn)
        world.pump(lambda: not world.log.ending)
        world.settle()
        now = world.engine.statistics()
        assert (now.live, now.lingering, now.outbox_bytes) == (0, 0, 0)
        for model in fine:
            assert bytes(model.peer.received) == model.owed
            assert model.conn.ended == 0


@contextmanager
def machine(kind: str) -> Iterator[Machine]:
    """One with an engine of this kind, and its end."""
    harness = HARNESSES[kind]()
    before = harness.resources()
    world = World(harness, outbox_high=HIGH)
    try:
        yield Machine(world)
        world.end()
    finally:
        world.engine.shutdown()
        harness.close()
    if not isinstance(harness, FakeHarness):
        assert harness.resources() == before


def run(kind: str, steps: list[tuple[Any, ...]]) -> None:
    with machine(kind) as one:
        for step in steps:
            one.step(step)
            one.check()
        one.finish()
        one.check()


@pytest.mark.parametrize("kind", ["uring-fake", "uring-arrays", "uring-faulty"])
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_rings_in_memory(kind: str, steps: list[tuple[Any, ...]]) -> None:
    run(kind, steps)


@pytest.mark.parametrize("kind", ["epoll", "tiered", "uring-small"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_kernels_own(kind: str, steps: list[tuple[Any, ...]]) -> None:
    run(kind, steps)
