"""The contract: `reports_ends`, each connection that the caller has closed, once, with an errno.

The log fails where one is reported twice, unasked, or when its slot is another's already.
"""

from __future__ import annotations

import errno

import numpy as np
import pytest

from contract.conftest import MakeWorld
from contract.log import Conn
from contract.peers import Peer
from contract.sample import noise, to
from contract.world import World

SIZE = 8 << 20
LINGER_NS = 1_000_000_000
GONE = (errno.ECONNRESET, errno.EPIPE)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """An engine that listens and reports ends."""
    world = make_world(outbox_high=1 << 16)
    world.listen()
    world.report_ends()
    return world


def stuck(world: World) -> tuple[Peer, Conn]:
    """A connection with output that its peer does not read."""
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.send(conn.slots, [noise(SIZE)])
    world.settle()
    return peer, conn


def end(world: World, conn: Conn) -> int | None:
    """The errno that its end is reported with."""
    world.pump(lambda: conn.ended is not None)
    world.settle()
    return conn.ended


def test_a_close_with_nothing_pending_ends_with_0(world: World) -> None:
    peer, conn = world.open()
    world.close(conn)
    assert end(world, conn) == 0
    world.pump(peer.has_ended)
    assert peer.is_eof


def test_the_end_comes_without_sleep(world: World) -> None:
    _, conn = world.open()
    world.settle()
    world.close(conn)
    for _ in range(3):
        world.log.add(world.engine.wait(60_000_000_000))
        if conn.ended is not None:
            break
    assert conn.ended == 0


def test_a_close_with_output_pending_ends_when_it_has_gone(world: World) -> None:
    peer, conn = stuck(world)
    world.close(conn)
    world.settle()
    assert conn.ended is None
    peer.is_reading = True
    assert end(world, conn) == 0
    world.pump(peer.has_ended)
    assert peer.is_eof
    assert len(peer.received) == SIZE


def test_a_drop_ends_at_once_in_good_order(world: World) -> None:
    peer, conn = stuck(world)
    world.close(conn, drop=True)
    assert end(world, conn) == 0
    now = world.engine.statistics()
    assert (now.lingering, now.closed, now.outbox_bytes) == (0, 1, 0)
    assert now.unsent_bytes > 0
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.is_eof
    assert noise(SIZE).startswith(peer.received)
    assert now.sent_bytes == world.on_wire(len(peer.received))


def test_a_drop_of_one_that_lingers(world: World) -> None:
    peer, conn = stuck(world)
    peer.send(b"unread")
    world.close(conn)
    world.settle()
    peer.send(b"unread, too")
    world.settle()
    world.engine.close(conn.slots, drop=True)
    assert end(world, conn) == 0
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.is_eof
    assert world.engine.statistics().sent_bytes == world.on_wire(len(peer.received))


def test_a_drop_sends_what_the_kernel_takes(world: World) -> None:
    peer, conn = world.open()
    world.send(conn.slots, [b"hello and goodbye"])
    world.close(conn, drop=True)
    assert end(world, conn) == 0
    world.pump(peer.has_ended)
    assert peer.received[:17] == b"hello and goodbye"[: len(peer.received)]


def test_an_abort_is_not_reported(world: World) -> None:
    peer, conn = world.open()
    world.close(conn, abort=True)
    world.pump(peer.has_ended)
    world.settle()
    assert conn.ended is None


def test_an_abort_behind_a_close_is(world: World) -> None:
    peer, conn = stuck(world)
    world.close(conn)
    world.settle()
    world.engine.close(conn.slots, abort=True)
    assert end(world, conn) == errno.ECONNABORTED
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.error == errno.ECONNRESET


def test_an_abort_in_the_tick_of_the_close(world: World) -> None:
    _, conn = world.open()
    world.close(conn)
    world.engine.close(conn.slots, abort=True)
    world.engine.close(conn.slots, abort=True)
    assert end(world, conn) in (0, errno.ECONNABORTED)


def test_no_place_is_given_again_before_its_end_is_reported(world: World) -> None:
    """Though it is over at once; the log fails where the next one has the slot already."""
    for _ in range(10):
        for abort in (True, False):
            _, conn = world.adopt()
            world.send(conn.slots, [noise(1000)])
            world.close(conn)
            world.engine.close(conn.slots, abort=abort, drop=not abort)
            _, following = world.adopt()
            world.turn()
            assert end(world, conn) in (0, errno.ECONNABORTED)
            world.close(following)
    world.pump(lambda: not world.log.ending)


def test_a_drop_and_an_abort_leave_nothing_to_the_slots_next_connection(world: World) -> None:
    for _ in range(20):
        _, conn = stuck(world)
        world.close(conn, drop=True)
        world.engine.close(conn.slots, abort=True)
        world.pump(lambda conn=conn: conn.ended is not None)
    peers = [stuck(world) for _ in range(3)]
    world.close(*(conn for _, conn in peers))
    world.settle()
    for peer, _ in peers:
        peer.is_reading = True
    world.pump(lambda: all(peer.has_ended() for peer, _ in peers))
    assert all(len(peer.received) == SIZE for peer, _ in peers)


def test_one_that_expires_ends_with_a_timeout(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(outbox_high=1 << 16, linger_ns=LINGER_NS)
    world.hold_time(monkeypatch)
    world.listen()
    world.report_ends()
    _, conn = stuck(world)
    world.close(conn)
    world.settle()
    assert conn.ended is None
    world.pass_time(LINGER_NS)
    world.pass_time(LINGER_NS)
    assert end(world, conn) == errno.ETIMEDOUT
    assert world.log.expired == []


def test_a_peer_that_resets_one_that_lingers(world: World) -> None:
    peer, conn = stuck(world)
    world.close(conn)
    world.settle()
    peer.reset()
    assert end(world, conn) in GONE
    assert world.engine.statistics().outbox_bytes == 0


def test_a_peer_that_resets_a_busy_one_that_lingers(world: World) -> None:
    """One that is received from by other means, because much came."""
    peer, conn = world.open(buffers=16384)
    for _ in range(40):
        peer.send(b"x")
        world.turn()
    peer.is_reading = False
    world.send(conn.slots, [noise(SIZE)])
    world.settle()
    world.close(conn)
    peer.send(b"y" * 1000)
    world.turn()
    peer.reset()
    assert end(world, conn) in GONE


def test_a_send_that_failed_before_the_close_is_said(world: World) -> None:
    peer, conn = stuck(world)
    world.receive(conn, on=True)
    peer.reset()
    world.harness.step()
    world.send(conn.slots, [b"late"])
    world.engine.flush()
    if conn.slot in world.log.at:
        world.close(conn)
        assert end(world, conn) in GONE


def test_a_connect_that_is_given_up_is_not_reported(world: World) -> None:
    listener = world.harness.peer_listener()
    slots = world.connect(to(listener.endpoint, 3))
    for slot in slots:
        world.log.forget(slot)
    world.engine.close(np.array(slots, np.int32))
    world.settle()
    assert not world.log.ending


def test_many_at_once(world: World) -> None:
    pairs = world.open_many(60)
    for index, (peer, conn) in enumerate(pairs):
        if index % 2:
            world.send(conn.slots, [noise(50_000, index)])
        if index % 3 == 0:
            peer.shutdown_write()
        if index % 5 == 0:
            peer.reset()
    world.close(*(conn for _, conn in pairs[:30]))
    world.close(*(conn for _, conn in pairs[30:]), drop=True)
    world.pump(lambda: not world.log.ending)
    world.settle()
    assert all(conn.ended == 0 for _, conn in pairs if pairs.index((_, conn)) % 5)
    assert world.engine.statistics().closed == 60


def test_a_slot_used_again_and_again(world: World) -> None:
    """The end of each is reported before, or with, the next one's beginning."""
    seen: set[int] = set()
    reused = 0
    for index in range(60):
        waiting = world.harness.peer(world.endpoint)
        world.pump(lambda: bool(world.log.at))
        (conn,) = world.log.live()
        reused += conn.slot in seen
        seen.add(conn.slot)
        if index % 2:
            world.send(conn.slots, [noise(1000, index)])
        world.close(conn, drop=index % 3 == 0)
        waiting.step()
    world.pump(lambda: not world.log.ending)
    assert reused
