"""The contract: bytes in both directions, their order, and backpressure."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from contract.conftest import MakeWorld
from contract.sample import noise
from contract.world import World, echo

SIZES = [1, 2, 3, 64, 1500, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_receive(world: World, size: int) -> None:
    peer, conn = world.open()
    peer.send(noise(size))
    world.pump(lambda: len(conn.data) >= size)
    assert conn.data == noise(size)
    assert world.engine.statistics().received_bytes == world.on_wire(size)


@pytest.mark.parametrize("size", SIZES)
def test_send(world: World, size: int) -> None:
    peer, conn = world.open()
    world.send(conn.slots, [noise(size)])
    world.pump(lambda: len(peer.received) >= size)
    assert peer.received == noise(size)
    world.settle()
    assert world.engine.statistics().sent_bytes == world.on_wire(size)
    assert world.engine.statistics().outbox_bytes == 0


def test_sending_nothing_is_no_event(world: World) -> None:
    peer, conn = world.open()
    world.send([], [])
    world.send(conn.slots, [b""])
    world.settle()
    world.send([conn.slot] * 3, [b"a", b"", b"b"])
    world.pump(lambda: peer.received == b"ab")
    assert not peer.has_ended()
    assert world.engine.statistics().sent_bytes == world.on_wire(2)


def test_many_pieces_to_one_slot_in_one_batch_keep_their_order(world: World) -> None:
    peer, conn = world.open()
    pieces = [noise(1 + index % 700, index) for index in range(300)]
    world.send([conn.slot] * 300, pieces)
    world.pump(lambda: len(peer.received) >= sum(map(len, pieces)))
    assert peer.received == b"".join(pieces)


def test_many_sends_in_one_tick_keep_their_order(world: World) -> None:
    peer, conn = world.open()
    pieces = [noise(1 + index % 700, index) for index in range(50)]
    for piece in pieces:
        world.send(conn.slots, [piece])
    world.pump(lambda: len(peer.received) >= sum(map(len, pieces)))
    assert peer.received == b"".join(pieces)


def test_sends_behind_a_full_kernel_buffer_keep_their_order(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    pieces = [noise(1 << 18, seed) for seed in range(40)]
    for start in range(0, 40, 4):
        world.send([conn.slot] * 4, pieces[start : start + 4])
        world.turn()
    peer.is_reading = True
    world.pump(lambda: len(peer.received) >= 40 << 18)
    assert peer.received == b"".join(pieces)


def test_pieces_for_several_slots_mixed_in_one_batch(world: World) -> None:
    pairs = world.open_many(5)
    order = [index % 5 for index in range(100)]
    pieces = [noise(1 + index * 7, index) for index in range(100)]
    world.send([pairs[index][1].slot for index in order], pieces)
    wanted = [b"".join(pieces[index::5]) for index in range(5)]
    total = sum(map(len, pieces))
    world.pump(lambda: sum(len(peer.received) for peer, _ in pairs) >= total)
    assert [bytes(peer.received) for peer, _ in pairs] == wanted


def test_broadcast_of_one_payload_to_all(world: World) -> None:
    pairs = world.open_many(50)
    payload = noise(10_000)
    world.send([conn.slot for _, conn in pairs], Ragged.repeat(payload, 50))
    world.pump(lambda: all(len(peer.received) >= len(payload) for peer, _ in pairs))
    assert all(peer.received == payload for peer, _ in pairs)


def test_pieces_that_lie_anywhere_in_their_memory(world: World) -> None:
    peer, conn = world.open()
    memory = np.frombuffer(noise(1000), np.uint8)
    offsets, lengths = np.array([900, 0, 450]), np.array([100, 10, 100], np.int32)
    world.send([conn.slot] * 3, Ragged(memory, offsets, lengths))
    wanted = noise(1000)[900:] + noise(1000)[:10] + noise(1000)[450:550]
    world.pump(lambda: peer.received == wanted)


def test_memory_handed_to_send_may_be_dropped_and_reused_after_the_next_wait(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    payload = noise(8 << 20)
    memory = np.frombuffer(payload, np.uint8).copy()
    lengths = np.array([len(payload)], np.int32)
    data = Ragged(memory, np.zeros(1, np.int64), lengths)
    world.send(conn.slots, data)
    del data
    gc.collect()
    world.turn()
    memory[:] = 0
    peer.is_reading = True
    world.pump(lambda: len(peer.received) >= len(payload))
    assert peer.received == payload


def test_a_batch_can_be_sent_back_as_it_is(world: World) -> None:
    world.app = echo(world)
    pairs = world.open_many(20)
    for index, (peer, _) in enumerate(pairs):
        peer.received.clear()
        peer.send(noise(50_000, index))
    world.pump(lambda: all(len(peer.received) >= 50_000 for peer, _ in pairs))
    for index, (peer, _) in enumerate(pairs):
        assert peer.received.endswith(noise(50_000, index)[-1000:])


def test_a_big_echo_through_small_buffers_with_backpressure(world: World) -> None:
    world.app = echo(world)
    peer, conn = world.open(buffers=1 << 16)
    payload = noise(16 << 20)
    peer.is_reading = False
    peer.send(payload)
    world.pump(lambda: conn.blocked == 1)
    world.settle()
    piled_up = world.engine.statistics().outbox_bytes
    assert conn.blocked == 1
    assert conn.drained == 0
    # high watermark, and what one batch may still bring after it
    assert 1 << 16 < piled_up < 8 << 20
    assert peer.unsent() > 0
    peer.is_reading = True
    world.pump(lambda: len(peer.received) >= len(payload))
    assert peer.received == payload
    assert conn.drained == conn.blocked


def test_blocked_once_and_drained_once(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    for _ in range(3):
        world.send(conn.slots, [noise(8 << 20)])
        world.settle()
    assert (conn.blocked, conn.drained) == (1, 0)
    peer.is_reading = True
    world.pump(lambda: len(peer.received) == 24 << 20)
    world.settle()
    assert (conn.blocked, conn.drained) == (1, 1)


def test_receiving_off_holds_data_back_and_on_brings_it(world: World) -> None:
    peer, conn = world.open()
    peer.send(b"one")
    world.pump(lambda: conn.data == b"one")
    world.receive(conn, on=False)
    world.settle()
    peer.send(b"two")
    world.settle()
    assert conn.data == b"one"
    world.receive(conn, on=True)
    world.pump(lambda: conn.data == b"onetwo")


def test_receiving_off_and_on_in_one_tick_loses_and_repeats_nothing(world: World) -> None:
    peer, conn = world.open()
    for index in range(50):
        peer.send(bytes([index]))
        world.receive(conn, on=False)
        world.receive(conn, on=True)
        world.turn()
    world.pump(lambda: len(conn.data) >= 50)
    assert conn.data == bytes(range(50))


def test_one_that_floods_does_not_starve_the_others(make_world: MakeWorld) -> None:
    world = make_world()
    world.listen()
    flooding, _ = world.open()
    quiet = world.open_many(10)
    flooding.send(noise(4 << 20))
    for peer, _ in quiet:
        peer.send(b"me too")
    turns = 0
    while any(conn.data != b"me too" for _, conn in quiet):
        world.turn()
        turns += 1
        assert turns < 20
