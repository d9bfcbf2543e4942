"""The contract: all the ways in which a connection ends."""

from __future__ import annotations

import errno

import numpy as np

from contract.sample import noise
from contract.world import World, echo

GONE = (errno.ECONNRESET, errno.EPIPE)


def test_eof_comes_after_the_data_before_it(world: World) -> None:
    peer, conn = world.open()
    peer.send(noise(100_000))
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    assert conn.data == noise(100_000)
    assert conn.slot in world.log.at
    world.settle()
    assert conn.errno is None


def test_a_peer_that_closed_reading_too_is_eof_first(world: World) -> None:
    peer, conn = world.open()
    peer.send(b"bye")
    peer.close()
    world.pump(lambda: conn.is_eof)
    assert conn.data == b"bye"
    world.close(conn)
    world.settle()
    assert world.engine.statistics().closed == 1


def test_a_half_closed_peer_still_gets_everything(world: World) -> None:
    peer, conn = world.open(buffers=1 << 16)
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    payload = noise(4 << 20)
    world.send(conn.slots, [payload])
    world.settle()
    world.send(conn.slots, [b"the end"])
    world.close(conn)
    world.pump(peer.has_ended)
    assert peer.is_eof
    assert peer.received == payload + b"the end"


def test_close_sends_what_is_in_the_outbox(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    payload = noise(8 << 20)
    world.send(conn.slots, [payload])
    world.close(conn)
    world.settle()
    now = world.engine.statistics()
    assert (now.live, now.lingering) == (0, 1)
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.is_eof
    assert peer.received == payload
    world.settle()
    now = world.engine.statistics()
    assert (now.lingering, now.closed, now.unsent_bytes) == (0, 1, 0)


def test_close_right_after_send_in_one_tick(world: World) -> None:
    peer, conn = world.open()
    world.send(conn.slots, [b"hello and goodbye"])
    world.close(conn)
    world.pump(peer.has_ended)
    assert peer.received == b"hello and goodbye"
    assert peer.is_eof


def test_close_while_input_is_unread_still_sends_what_is_owed(world: World) -> None:
    peer, conn = world.open(buffers=1 << 16)
    world.receive(conn, on=False)
    world.settle()
    peer.is_reading = False
    peer.send(b"not wanted")
    payload = noise(1 << 20)
    world.send(conn.slots, [payload])
    world.settle()
    world.close(conn)
    world.settle()
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.received == payload


def test_input_that_comes_while_it_lingers_does_not_cost_what_is_owed(world: World) -> None:
    peer, conn = world.open(buffers=1 << 16)
    peer.is_reading = False
    payload = noise(4 << 20)
    world.send(conn.slots, [payload])
    world.settle()
    world.close(conn)
    world.settle()
    for _ in range(20):
        peer.send(noise(5000))
        world.settle()
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.is_eof
    assert peer.received == payload


def test_abort_resets_the_peer_and_drops_the_outbox(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.send(conn.slots, [noise(8 << 20)])
    world.settle()
    world.close(conn, abort=True)
    world.settle()
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.error == errno.ECONNRESET
    now = world.engine.statistics()
    assert (now.live, now.lingering, now.closed, now.outbox_bytes) == (0, 0, 1, 0)
    assert now.unsent_bytes > 0
    assert now.sent_bytes + now.unsent_bytes == world.on_wire(8 << 20)


def test_abort_of_an_idle_connection(world: World) -> None:
    peer, conn = world.open()
    world.close(conn, abort=True)
    world.pump(peer.has_ended)
    assert peer.error == errno.ECONNRESET


def test_no_event_follows_a_close(world: World) -> None:
    pairs = world.open_many(20)
    for index, (peer, _) in enumerate(pairs):
        peer.send(noise(100_000, index))
        if index % 3 == 0:
            peer.shutdown_write()
        if index % 3 == 1:
            peer.reset()
    world.close(*(conn for _, conn in pairs))  # the log fails when anything comes for them
    world.settle()
    assert world.engine.statistics().closed == 20


def test_a_reset_of_an_idle_connection(world: World) -> None:
    peer, conn = world.open()
    world.settle()
    peer.reset()
    world.pump(lambda: conn.errno is not None)
    assert conn.errno == errno.ECONNRESET
    assert world.engine.statistics().closed == 1


def test_a_reset_with_data_before_it(world: World) -> None:
    peer, conn = world.open()
    peer.send(noise(10_000))
    peer.reset()
    world.pump(lambda: conn.errno is not None)
    assert conn.errno == errno.ECONNRESET
    assert conn.data == noise(10_000)[: len(conn.data)]


def test_a_reset_after_eof(world: World) -> None:
    peer, conn = world.open()
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    peer.reset()
    world.settle()
    world.send(conn.slots, [b"anybody there?"])
    world.pump(lambda: conn.errno is not None)
    assert conn.errno in GONE


def test_a_reset_while_output_is_pending(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.send(conn.slots, [noise(8 << 20)])
    world.settle()
    pending = world.engine.statistics().outbox_bytes
    assert pending > 0
    peer.reset()
    world.pump(lambda: conn.errno is not None)
    assert conn.errno in GONE
    now = world.engine.statistics()
    assert now.outbox_bytes == 0
    assert now.unsent_bytes >= pending
    assert now.sent_bytes + now.unsent_bytes == world.on_wire(8 << 20)


def test_a_reset_while_output_is_pending_and_receiving_is_off(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.receive(conn, on=False)
    world.send(conn.slots, [noise(8 << 20)])
    world.settle()
    peer.reset()
    world.pump(lambda: conn.errno is not None)
    assert conn.errno in GONE
    assert world.engine.statistics().outbox_bytes == 0


def test_a_reset_of_a_lingering_connection_is_not_told(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.send(conn.slots, [noise(8 << 20)])
    world.settle()
    world.close(conn)
    world.settle()
    peer.reset()
    world.pump(lambda: world.engine.statistics().lingering == 0)
    now = world.engine.statistics()
    assert now.closed == 1
    assert now.sent_bytes + now.unsent_bytes == world.on_wire(8 << 20)


def test_a_reset_while_receiving_is_off_is_told_behind_the_data_before_it(world: World) -> None:
    peer, conn = world.open()
    world.settle()
    world.receive(conn, on=False)
    world.settle()
    peer.send(b"last words")
    world.settle()
    peer.reset()
    world.settle()
    assert conn.errno is None
    world.receive(conn, on=True)
    world.pump(lambda: conn.errno is not None)
    assert conn.data == b"last words"
    assert conn.errno == errno.ECONNRESET


def test_send_to_a_peer_that_is_gone(world: World) -> None:
    peer, conn = world.open()
    peer.close()
    world.pump(lambda: conn.is_eof)
    for _ in range(100):  # the first send provokes the RST, a later one meets it
        if conn.errno is None:
            world.send(conn.slots, [b"hello?"])
            world.turn(1_000_000)
    world.pump(lambda: conn.errno is not None)
    assert conn.errno in GONE


def test_what_a_peer_sent_before_it_went_away_arrives(world: World) -> None:
    peer, conn = world.open()
    world.settle()
    peer.send(b"last words")
    peer.close()
    for _ in range(10):
        world.send(conn.slots, [b"hello?"])
    world.pump(lambda: conn.is_eof or conn.errno is not None)
    assert conn.data == b"last words"


def test_sends_to_a_slot_that_is_not_open_go_nowhere(world: World) -> None:
    peer, conn = world.open()
    world.close(conn)
    world.send(conn.slots, [b"too late"])
    world.engine.receive(conn.slots, True)
    world.engine.close(conn.slots)
    world.pump(peer.has_ended)
    assert peer.received == b""
    world.settle()
    assert world.engine.statistics().unsent_bytes == len(b"too late")


def test_a_slot_that_is_used_again_gets_nothing_of_the_old(world: World) -> None:
    seen: set[int] = set()
    reused = 0
    for index in range(60):
        peer, conn = world.open(buffers=16384 if index % 3 == 0 else None)
        reused += conn.slot in seen
        seen.add(conn.slot)
        peer.send(bytes([index]))
        world.pump(lambda conn=conn: len(conn.data) >= 1)
        assert conn.data == bytes([index])
        world.send(conn.slots, [bytes([index, index])])
        world.pump(lambda peer=peer: len(peer.received) >= 2)
        assert peer.received == bytes([index, index])
        if index % 3 == 0:  # leave with much in the outbox
            peer.is_reading = False
            world.send(conn.slots, [b"x" * (8 << 20)])
            world.settle()
            world.close(conn, abort=True)
        elif index % 3 == 1:  # leave with input unread
            peer.send(b"y" * 1000)
            world.close(conn)
        else:
            peer.reset()
            world.pump(lambda conn=conn: conn.errno is not None)
        assert (conn.blocked, conn.drained) == (int(index % 3 == 0), 0)
    assert reused > 0


def test_our_close_and_the_peers_eof_cross(world: World) -> None:
    pairs = world.open_many(20)
    for peer, _ in pairs:
        peer.shutdown_write()
    world.close(*(conn for _, conn in pairs))
    world.pump(lambda: all(peer.has_ended() for peer, _ in pairs))
    world.settle()
    assert all(peer.is_eof for peer, _ in pairs)
    assert world.engine.statistics().closed == 20


def test_close_of_one_slot_named_twice(world: World) -> None:
    peer, conn = world.open()
    world.log.forget(conn.slot)
    world.engine.close(np.array([conn.slot, conn.slot], np.int32))
    world.pump(peer.has_ended)
    world.settle()
    assert world.engine.statistics().closed == 1


def test_echo_until_eof_many_at_once(world: World) -> None:
    world.app = echo(world)
    peers = [world.harness.peer(world.endpoint) for _ in range(200)]
    for index, peer in enumerate(peers):
        peer.send(noise(1000 + index, index))
        peer.shutdown_write()
    world.pump(lambda: all(peer.has_ended() for peer in peers))
    assert all(peer.is_eof for peer in peers)
    assert all(peer.received == noise(1000 + index, index) for index, peer in enumerate(peers))
    world.settle()
    now = world.engine.statistics()
    assert (now.accepted, now.closed, now.live) == (200, 200, 0)
