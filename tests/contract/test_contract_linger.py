"""The contract: connections that are closed while output is pending, and peers that do not read."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest

from contract.conftest import MakeWorld
from contract.log import Conn
from contract.peers import Peer
from contract.sample import noise
from contract.world import World

LINGER_NS = 1_000_000_000
SIZE = 8 << 20


@pytest.fixture
def make_held(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> MakeWorld:
    """Makes worlds that listen, and in which time goes on when the test says so."""

    def make(**options: Any) -> World:
        world = make_world(outbox_high=1 << 16, linger_ns=LINGER_NS, **options)
        world.hold_time(monkeypatch)
        world.listen()
        return world

    return make


def until_expired(world: World, count: int = 1) -> None:
    """The linger time passes; twice, as one that has just sent something gets as long again."""
    world.pass_time(LINGER_NS)
    world.pass_time(LINGER_NS)
    world.pump(lambda: len(world.log.expired) == count)


def lingering(world: World) -> tuple[Peer, Conn]:
    """A connection that was closed and whose peer does not read what it is owed."""
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.send(conn.slots, [noise(SIZE)])
    world.close(conn)
    world.settle()
    assert world.engine.statistics().lingering == 1
    return peer, conn


def test_abort_wins_over_a_close_before_it(world: World) -> None:
    peer, conn = lingering(world)
    world.engine.close(conn.slots, abort=True)
    world.settle()
    now = world.engine.statistics()
    assert (now.lingering, now.closed, now.outbox_bytes) == (0, 1, 0)
    assert now.sent_bytes + now.unsent_bytes == world.on_wire(SIZE)
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.error == errno.ECONNRESET
    assert len(peer.received) < SIZE


def test_abort_wins_in_the_tick_of_the_close(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    other, still = world.open()
    peer.is_reading = False
    world.send(conn.slots, [noise(SIZE)])
    world.close(conn)
    world.engine.close(np.array([conn.slot, conn.slot], np.int32), abort=True)
    world.settle()
    assert world.engine.statistics().closed == 1
    assert world.engine.statistics().lingering == 0
    other.send(b"still here?")
    world.pump(lambda: still.data == b"still here?")


def test_a_peer_that_takes_nothing_is_reset_after_the_linger_time(make_held: MakeWorld) -> None:
    world = make_held()
    peer, conn = lingering(world)
    assert world.log.expired == []
    until_expired(world)
    assert world.log.expired == [conn.slot]
    now = world.engine.statistics()
    assert (now.lingering, now.closed, now.outbox_bytes) == (0, 1, 0)
    assert now.sent_bytes + now.unsent_bytes == world.on_wire(SIZE)
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.error == errno.ECONNRESET
    assert len(peer.received) < SIZE


def test_a_peer_that_takes_something_each_time_gets_everything(make_held: MakeWorld) -> None:
    world = make_held()
    peer, _ = lingering(world)
    while not peer.has_ended():
        # What the engine sees of a peer's reading comes in steps: each step has its own time.
        owed = world.engine.statistics().outbox_bytes
        peer.is_reading = True
        world.pump(
            lambda owed=owed: world.engine.statistics().outbox_bytes < owed or peer.has_ended()
        )
        peer.is_reading = False
        world.settle()
        world.pass_time(LINGER_NS * 3 // 4)
        peer.is_reading = peer.is_reading or world.engine.statistics().lingering == 0
    assert peer.is_eof
    assert peer.received == noise(SIZE)
    assert world.log.expired == []


def test_several_expire_each_once_and_the_living_stay(make_held: MakeWorld) -> None:
    world = make_held()
    ended = []
    for index in range(5):
        peer, conn = world.open(buffers=16384)
        peer.is_reading = False
        world.send(conn.slots, [noise(4 << 20)])
        if index != 2:
            world.close(conn)
            ended.append(conn.slot)
    world.settle()
    until_expired(world, 4)
    world.settle()
    assert sorted(world.log.expired) == sorted(ended)
    assert (world.engine.statistics().live, world.engine.statistics().closed) == (1, 4)


def test_those_that_linger_count_until_they_expire(make_held: MakeWorld) -> None:
    world = make_held(live_max=1)
    lingering(world)
    waiting = world.harness.peer(world.endpoint)
    waiting.send(b"let me in")
    world.settle()
    assert world.log.live() == []
    until_expired(world)
    world.pump(lambda: bool(world.log.live()))
    world.pump(lambda: world.log.live()[0].data == b"let me in")


def test_a_slot_used_again_is_not_taken_for_one_that_lingers(make_held: MakeWorld) -> None:
    world = make_held()
    for _ in range(6):
        peer, conn = lingering(world)
        world.engine.close(conn.slots, abort=True)
        again, fresh = world.open(buffers=16384)
        again.is_reading = False
        world.send(fresh.slots, [noise(1 << 20)])
        world.settle()
        peer.close()
    for _ in range(3):
        world.pass_time(LINGER_NS)
    world.settle()
    assert world.log.expired == []
    assert all(conn.errno is None for conn in world.log.live())
    assert errno.ECONNRESET not in [conn.errno for conn in world.log.conns]
