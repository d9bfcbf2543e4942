"""The contract under random schedules, against a plain model.

The model of a connection is two byte strings: what its peer has sent and what the engine was asked
to send to it. Whatever the order of sends, pauses, waits and ends, each side gets a prefix of what
the other one sent, and all of it where the connection ended in good order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from contract.conftest import NEVER_NS, MakeWorld
from contract.log import Conn
from contract.peers import Peer
from contract.sample import noise
from contract.world import World

STEPS = 400
SIZES = [1, 7, 100, 4096, 70_000, 300_000]


@dataclass
class Model:
    """What one connection should have seen."""

    peer: Peer
    conn: Conn
    from_peer: bytearray = field(default_factory=bytearray)
    to_peer: bytearray = field(default_factory=bytearray)
    is_abortive: bool = False  # somebody has reset it: bytes may be missing at the end
    is_shut: bool = False  # the peer has sent its FIN
    has_unread: bool = False  # we closed with input unread: the kernel may reset

    def check(self) -> None:
        """Prefixes, and no loss in good order."""
        assert self.from_peer.startswith(self.conn.data)
        assert self.to_peer.startswith(self.peer.received)
        if self.peer.is_eof and not self.has_unread:
            assert self.peer.received == self.to_peer
        if not (self.is_abortive or self.conn.is_closed_by_us):
            assert self.conn.errno is None


class Schedule:
    """Draws one step after the other; all randomness comes from the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = np.random.default_rng(seed)
        self.open: list[Model] = []
        self.all: list[Model] = []

    def bytes(self) -> bytes:
        return noise(int(self.random.choice(SIZES)), int(self.random.integers(1 << 30)))

    def step(self) -> None:
        self.open = [m for m in self.open if self.world.log.at.get(m.conn.slot) is m.conn]
        if len(self.open) < 2 or (len(self.open) < 6 and self.random.random() < 0.1):
            buffers = int(self.random.choice([0, 1 << 15]))
            self.open.append(Model(*self.world.open(buffers=buffers or None)))
            self.all.append(self.open[-1])
        steps = [
            self.peer_sends, self.peer_sends, self.engine_sends, self.engine_sends,
            self.engine_sends_several, self.turn, self.turn, self.turn, self.peer_pauses,
            self.engine_pauses, self.peer_ends, self.engine_closes, self.somebody_resets,
            self.engine_aborts_a_closed_one,
        ]  # fmt: skip
        weights = np.array([4, 4, 4, 4, 3, 6, 6, 6, 4, 4, 1, 0.7, 0.5, 0.5])
        chosen = steps[self.random.choice(len(steps), p=weights / weights.sum())]
        chosen(self.open[self.random.integers(len(self.open))])

    def peer_sends(self, model: Model) -> None:
        if not model.is_shut:
            data = self.bytes()
            model.from_peer += data
            model.peer.send(data)

    def engine_sends(self, model: Model) -> None:
        data = self.bytes()
        model.to_peer += data
        self.world.send(model.conn.slots, [data])

    def engine_sends_several(self, _: Model) -> None:
        models = [self.open[i] for i in self.random.integers(len(self.open), size=8)]
        pieces = [self.bytes()[:5000] for _ in models]
        for model, piece in zip(models, pieces, strict=True):
            model.to_peer += piece
        self.world.send([model.conn.slot for model in models], pieces)

    def turn(self, _: Model) -> None:
        self.world.turn()

    def peer_pauses(self, model: Model) -> None:
        model.peer.is_reading = not model.peer.is_reading

    def engine_pauses(self, model: Model) -> None:
        self.world.receive(model.conn, on=bool(self.random.integers(2)))

    def peer_ends(self, model: Model) -> None:
        model.is_shut = True
        model.peer.shutdown_write()

    def engine_closes(self, model: Model) -> None:
        model.has_unread = not model.conn.is_eof
        self.world.close(model.conn)

    def somebody_resets(self, model: Model) -> None:
        model.is_abortive = True
        if self.random.integers(2):
            model.peer.reset()
        else:
            self.world.close(model.conn, abort=True)

    def engine_aborts_a_closed_one(self, _: Model) -> None:
        """Lingering, ended long ago, or whatever it is doing; but not its successor's slot."""
        at = self.world.log.at
        closed = [m for m in self.all if m.conn.is_closed_by_us and m.conn.slot not in at]
        if closed:
            self.world.engine.close(closed[-1].conn.slots, abort=True)

    def finish(self) -> None:
        """Let everything that is owed arrive."""
        live = [m for m in self.all if self.world.log.at.get(m.conn.slot) is m.conn]
        for model in self.all:
            model.peer.is_reading = True
        for model in live:
            self.world.receive(model.conn, on=True)
        whole = [model for model in live if not model.is_abortive]
        self.world.pump(lambda: all(len(m.conn.data) == len(m.from_peer) for m in whole))
        self.world.pump(lambda: all(len(m.peer.received) == len(m.to_peer) for m in whole))
        # small kernel buffers: a window probe may be under way, so `settle` alone is not enough
        self.world.pump(lambda: self.world.engine.statistics().lingering == 0)
        self.world.settle()


@pytest.mark.parametrize("seed", range(8))
def test_random_schedules(make_world: MakeWorld, seed: int) -> None:
    linger_ns = NEVER_NS if seed < 6 else 5_000_000  # of these some expire
    world = make_world(outbox_high=1 << 16, linger_ns=linger_ns)
    world.listen()
    schedule = Schedule(world, seed)
    for _ in range(STEPS):
        schedule.step()
        for model in schedule.all:
            model.check()
    schedule.finish()
    for model in schedule.all:
        model.check()
