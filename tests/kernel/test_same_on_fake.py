"""What goes wrong in a ring goes wrong, and is made good, the same way on the real and fake kernel.

Each test provokes one case by small sizes, proves by what was seen that it did happen, and checks
that nothing was lost, doubled or left behind. `oldest` has no more features than Linux 6.1.
"""

from __future__ import annotations

import errno

import numpy as np
import pytest

from c1m.addresses import AF_INET, Endpoint, SockAddrs, pack_many
from c1m.engine.ragged import Ragged
from c1m.engine.uring.rings import Tuning
from contract.peers import Peer
from contract.sample import noise
from contract.world import World, echo
from kernel.conftest import Make
from kernel.watched import Seen, counts

FEW_BUFFERS = Tuning(
    capacity=64, files_per_ring=64, sq_entries=64, cq_entries=64,
    buffer_size=256, buffers_first=4, buffers_each=2, buffers_max=4,
)  # fmt: skip
SHORT_QUEUES = Tuning(
    capacity=256, files_per_ring=128, sq_entries=8, cq_entries=16,
    buffer_size=256, buffers_first=64, buffers_each=64, buffers_max=256,
)  # fmt: skip
TWO_SMALL_TABLES = Tuning(
    capacity=64, files_per_ring=32, sq_entries=8, cq_entries=16,
    buffer_size=256, buffers_first=8, buffers_each=8, buffers_max=64,
)  # fmt: skip


def to(endpoint: Endpoint, count: int) -> SockAddrs:
    return pack_many(AF_INET, [endpoint.host] * count, [endpoint.port] * count)


def fill(world: World, count: int) -> list[Peer]:
    """Connections that do not read, so small that a send to each is short."""
    pairs = [world.open(buffers=4096) for _ in range(count)]
    for peer, _ in pairs:
        peer.is_reading = False
    return [peer for peer, _ in pairs]


def test_a_receive_that_runs_out_of_buffers_loses_nothing(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=FEW_BUFFERS)
    pairs = world.open_many(8)
    for index, (peer, _) in enumerate(pairs):
        peer.send(noise(20_000, index))
    world.pump(lambda: all(len(conn.data) == 20_000 for _, conn in pairs))
    assert all(conn.data == noise(20_000, index) for index, (_, conn) in enumerate(pairs))
    assert seen["RECEIVE ENOBUFS"] > 0


def test_a_reset_while_buffers_are_short(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=FEW_BUFFERS)
    pairs = world.open_many(8)
    for index, (peer, _) in enumerate(pairs):
        peer.send(noise(5000, index))
        if index % 2:
            peer.reset()
    world.pump(lambda: sum(conn.errno is not None for _, conn in pairs) == 4)
    world.pump(lambda: all(len(conn.data) == 5000 for _, conn in pairs[::2]))
    for index, (_, conn) in enumerate(pairs):
        assert noise(5000, index).startswith(conn.data)
        assert conn.errno == (errno.ECONNRESET if index % 2 else None)
    assert seen["RECEIVE ENOBUFS"] > 0
    assert seen["RECEIVE ECONNRESET"] + seen["READ ECONNRESET"] == 4


def test_a_multishot_that_a_full_completion_queue_ends(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=SHORT_QUEUES)
    pairs = world.open_many(8)
    for index, (peer, _) in enumerate(pairs):
        peer.send(noise(8000, index))  # 32 pieces, twice what the queue takes
    world.pump(lambda: all(len(conn.data) == 8000 for _, conn in pairs))
    assert all(conn.data == noise(8000, index) for index, (_, conn) in enumerate(pairs))
    assert seen["RECEIVE DATA-END"] > 0
    for index, (peer, _) in enumerate(pairs):
        peer.send(noise(8000, index))
        if index % 2:
            peer.reset()
    world.pump(lambda: all(conn.errno is not None for _, conn in pairs[1::2]))
    world.pump(lambda: all(len(conn.data) == 16_000 for _, conn in pairs[::2]))


def test_full_tables_let_connections_wait_and_drop_none(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=TWO_SMALL_TABLES)
    world.app = echo(world)
    peers = [world.harness.peer(world.endpoint) for _ in range(150)]
    for index, peer in enumerate(peers):
        peer.send(noise(300, index))
    world.settle()
    assert len(world.log.at) == 64
    assert world.engine.statistics().extra["rings"] == 2
    while len(world.log.conns) < 150:
        known = len(world.log.conns)
        world.close(*world.log.live()[:5])
        world.pump(lambda known=known: len(world.log.conns) >= min(known + 5, 150))
        world.settle()
        assert len(world.log.at) <= 64
    world.pump(lambda: all(len(peer.received) == 300 for peer in peers))
    assert all(peer.received == noise(300, index) for index, peer in enumerate(peers))
    assert seen["ACCEPT ENFILE"] == 0
    assert not any(peer.error for peer in peers)
    tally = counts(world.harness)
    assert (tally["dropped_accepts"], tally["replaced_files"]) == (0, 0)


def test_full_tables_and_peers_that_are_gone_before_they_are_accepted(make_world: Make) -> None:
    world = make_world(tuning=TWO_SMALL_TABLES)
    peers = [world.harness.peer(world.endpoint) for _ in range(100)]
    world.settle()
    for index, peer in enumerate(peers):
        if index % 3 == 0:
            peer.reset()
        elif index % 3 == 1:
            peer.close()
    while len(world.log.conns) < 100 and world.log.at:
        world.close(*world.log.live())
        world.settle()
    now = world.engine.statistics()
    # A connection that was reset in the accept queue is accepted all the same.
    assert now.accepted == 100


def test_single_accepts_end_with_their_listener(make_world: Make, seen: Seen) -> None:
    """Near the bound, accepts are single ones: all of them must let go of the port."""
    world = make_world(tuning=SHORT_QUEUES, live_max=5)
    endpoint = world.endpoint
    world.settle()
    assert world.engine.listen([], 0) == []
    world.settle()
    assert seen["ACCEPT ECANCELED"] == 5
    other = make_world(tuning=SHORT_QUEUES)
    assert other.listen(endpoint) == [endpoint]
    other.open()


def test_a_full_submission_queue(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=SHORT_QUEUES)
    pairs = world.open_many(100)
    world.send([conn.slot for _, conn in pairs], [noise(500, i) for i in range(100)])
    world.pump(lambda: all(len(peer.received) == 500 for peer, _ in pairs))
    assert all(peer.received == noise(500, index) for index, (peer, _) in enumerate(pairs))
    assert seen["full"] > 0
    for peer, _ in pairs[::2]:
        peer.reset()
    world.send([conn.slot for _, conn in pairs], [noise(500, i) for i in range(100)])
    world.close(*(conn for _, conn in pairs[1::2]))
    world.pump(lambda: len(world.log.at) == 0)
    world.pump(lambda: all(peer.is_eof for peer, _ in pairs[1::2]))
    assert all(len(peer.received) == 1000 for peer, _ in pairs[1::2])


def test_an_overflowing_completion_queue(make_world: Make, seen: Seen) -> None:
    """More sends come back short in one tick than the completion queue takes."""
    world = make_world(tuning=SHORT_QUEUES, outbox_high=1 << 16)
    peers = fill(world, 50)
    conns = world.log.live()
    payload = noise(3 << 20, 7)
    memory = Ragged.of([payload])
    data = Ragged(
        memory.memory,
        np.zeros(50, np.int64) + memory.offsets[0],
        np.full(50, len(payload), np.int32),
        memory.address,
    )
    world.send([conn.slot for conn in conns], data)
    world.settle()
    assert seen["overflow"] > 0
    assert sum(conn.blocked for conn in conns) == 50
    for peer in peers[10:]:
        peer.reset()
    for peer in peers[:10]:
        peer.is_reading = True
    world.pump(lambda: all(len(peer.received) == len(payload) for peer in peers[:10]))
    assert all(peer.received == payload for peer in peers[:10])
    world.pump(lambda: len(world.log.at) == 10)


def test_short_and_refused_sends_keep_their_order(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=SHORT_QUEUES, outbox_high=1 << 30)
    peers = fill(world, 4)
    conns = world.log.live()
    sent = bytearray()
    while not any(seen[name] for name in ("SEND DATA-END", "SEND EAGAIN")) or len(sent) < 1 << 20:
        piece = noise(65_536, len(sent))
        sent += piece
        world.send([conn.slot for conn in conns], [piece] * 4)
        world.turn()
    peers[3].reset()
    for peer in peers[:3]:
        peer.is_reading = True
    world.pump(lambda: all(len(peer.received) == len(sent) for peer in peers[:3]))
    assert all(peer.received == sent for peer in peers[:3])
    world.pump(lambda: conns[3].errno is not None)
    assert conns[3].errno in (errno.ECONNRESET, errno.EPIPE)
    assert seen["OUTBOX END"] + seen["OUTBOX DATA-END"] > 0


def test_a_slot_closed_with_an_armed_receive_and_used_again(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=TWO_SMALL_TABLES)
    for round_ in range(30):
        pairs = world.open_many(10)
        for index, (peer, _) in enumerate(pairs):
            peer.send(noise(700, index + round_))
        world.close(*(conn for _, conn in pairs), abort=round_ % 2 == 0)
        world.pump(lambda pairs=pairs: all(peer.has_ended() for peer, _ in pairs))
    now = world.engine.statistics()
    assert (now.live, now.lingering, now.closed) == (0, 0, 300)
    tally = counts(world.harness)
    assert (tally["dropped_accepts"], tally["replaced_files"]) == (0, 0)


def test_what_is_not_told_of_a_connection_is_not_told_of_the_next(make_world: Make) -> None:
    """A slot is closed and taken again before the wait that would have said that it is blocked."""
    world = make_world(tuning=SHORT_QUEUES, outbox_high=1 << 10)
    fill(world, 1)
    conn = world.log.live()[0]
    payload = noise(8 << 20, 0)
    world.send([conn.slot], [payload])
    world.send([conn.slot], [b"and this behind it"])
    peer = world.harness.peer(world.endpoint)
    world.close(conn, abort=True)
    world.pump(lambda: len(world.log.conns) == 2)
    again = world.log.conns[1]
    assert again.slot == conn.slot
    peer.send(b"hello")
    world.pump(lambda: again.data == b"hello")
    assert (again.blocked, again.errno) == (0, None)


def test_connects_over_several_small_tables(make_world: Make, seen: Seen) -> None:
    world = make_world(tuning=SHORT_QUEUES)
    listener = world.harness.peer_listener()
    for _ in range(3):
        before = len(world.log.conns)
        slots = world.connect(to(listener.endpoint, 100))
        world.pump(lambda before=before: len(world.log.conns) == before + 100)
        assert sorted(slots) == sorted(world.log.at)
        world.send(slots, [noise(400, slot) for slot in slots])
        world.pump(lambda: all(len(p.received) == 400 for p in listener.accepted[-100:]))
        world.close(*world.log.live())
        world.settle()
        assert all(peer.is_eof for peer in listener.accepted)
    assert counts(world.harness)["replaced_files"] == 0


def test_a_connect_that_is_refused_leaves_its_place(make_world: Make) -> None:
    world = make_world(tuning=TWO_SMALL_TABLES)
    gone = world.harness.peer_listener()
    endpoint = gone.endpoint
    gone.close()
    world.harness.listeners.remove(gone)
    for _ in range(5):
        world.log.failed.clear()
        world.connect(to(endpoint, 32))
        world.pump(lambda: len(world.log.failed) == 32)
        assert {code for _, code in world.log.failed} == {errno.ECONNREFUSED}
    listener = world.harness.peer_listener()
    world.connect(to(listener.endpoint, 32))
    world.pump(lambda: len(world.log.conns) == 32)


def test_a_source_of_another_host_is_told(make_world: Make) -> None:
    world = make_world(tuning=TWO_SMALL_TABLES)
    listener = world.harness.peer_listener()
    sources = pack_many(AF_INET, ["127.0.0.9", "192.0.2.1"], [0, 0])
    world.connect(to(listener.endpoint, 2), sources)
    world.pump(lambda: len(world.log.failed) == 1 and len(world.log.conns) == 1)
    assert world.log.failed[0][1] == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_echo_through_everything_that_is_small(make_world: Make, size: int) -> None:
    world = make_world(tuning=TWO_SMALL_TABLES, outbox_high=1 << 12)
    world.app = echo(world)
    peers = [world.harness.peer(world.endpoint) for _ in range(60)]
    for index, peer in enumerate(peers):
        peer.send(noise(size, index))
        peer.shutdown_write()
    world.pump(lambda: all(peer.has_ended() for peer in peers))
    assert all(peer.received == noise(size, index) for index, peer in enumerate(peers))
    assert all(peer.is_eof for peer in peers)
