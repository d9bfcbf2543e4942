"""The contract: output by connection. `send_each`, `flush`, `unsent`, limits, half-close."""

from __future__ import annotations

import errno

from contract.conftest import MakeWorld
from contract.log import Conn
from contract.peers import Peer
from contract.sample import noise
from contract.world import World

SIZE = 8 << 20
GONE = (errno.ECONNRESET, errno.EPIPE)


def stuck(world: World, size: int = SIZE) -> tuple[Peer, Conn]:
    """A connection with output that its peer does not read."""
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.send(conn.slots, [noise(size)])
    world.settle()
    return peer, conn


def test_send_each_is_send(world: World) -> None:
    pairs = world.open_many(5)
    slots = [conn.slot for _, conn in pairs]
    world.send_each([], [])
    world.send_each([*slots, *slots], [noise(100, i) for i in range(10)])
    world.send_each([slots[0]], [b"more"])
    world.send(pairs[0][1].slots, [b" and more"])
    world.pump(lambda: len(pairs[0][0].received) == 213)
    world.pump(lambda: all(len(peer.received) >= 200 for peer, _ in pairs))
    for index, (peer, _) in enumerate(pairs):
        assert peer.received[:200] == noise(100, index) + noise(100, index + 5)
    assert pairs[0][0].received[200:] == b"more and more"


def test_unsent_after_a_flush_is_exact(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    assert world.engine.unsent(conn.slot) == 0 and not len(world.engine.owed()[0])
    world.send(conn.slots, [noise(SIZE)])
    world.engine.flush()
    now = world.engine.statistics()
    assert world.engine.unsent(conn.slot) > 0
    assert world.engine.unsent(conn.slot) + now.sent_bytes == world.on_wire(SIZE)
    world.close(conn)
    world.settle()
    assert world.engine.unsent(conn.slot) == world.engine.statistics().outbox_bytes > 0
    assert [column.tolist() for column in world.engine.owed()] == [
        [conn.slot], [world.engine.unsent(conn.slot)],
    ]  # fmt: skip
    peer.is_reading = True
    world.pump(peer.has_ended)
    assert peer.received == noise(SIZE)
    world.settle()
    assert world.engine.unsent(conn.slot) == 0


def test_a_flush_hands_over_what_was_sent(world: World) -> None:
    peer, conn = world.open()
    world.settle()
    world.send(conn.slots, [b"now"])
    world.engine.flush()
    world.engine.flush()
    for _ in range(1000):
        world.harness.step()
        if peer.received == b"now":
            break
    assert peer.received == b"now"


def test_flushes_within_a_tick_lose_and_reorder_nothing(world: World) -> None:
    """Neither of what is sent nor of what comes: each completion of those is taken up later."""
    pairs = world.open_many(40)
    for _, conn in pairs[20:]:
        world.receive(conn, on=True)
    expected = {conn.slot: b"" for _, conn in pairs}
    for round_ in range(12):
        for index, (peer, conn) in enumerate(pairs):
            piece = noise(700, round_ * 100 + index)
            peer.send(piece)
            expected[conn.slot] += piece
            world.send(conn.slots, [piece[:300]])
            if index % 7 == 0:
                world.engine.flush()
            world.send(conn.slots, [piece[300:]])
        world.turn()
    world.pump(lambda: all(len(conn.data) == 8400 for _, conn in pairs))
    world.pump(lambda: all(len(peer.received) == 8400 for peer, _ in pairs))
    for peer, conn in pairs:
        assert conn.data == peer.received == expected[conn.slot]


def test_listening_within_a_tick_loses_nothing_of_a_short_send(world: World) -> None:
    """What that hands over may be short, and is settled by a flush all the same."""
    peer, conn = world.open(buffers=16384)
    peer.is_reading = False
    world.settle()
    bound = world.engine.listen([world.endpoint], 16)
    world.send(conn.slots, [noise(SIZE)])
    world.engine.listen([], 0)
    world.engine.flush()
    world.send(conn.slots, [b"the end"])
    peer.is_reading = True
    world.pump(lambda: len(peer.received) == SIZE + 7)
    assert peer.received == noise(SIZE) + b"the end"
    assert bound


def test_a_close_of_a_listener_frees_its_port_at_once(world: World) -> None:
    world.settle()
    for _ in range(3):
        world.engine.listen([], 0)
        world.listen(world.endpoint)
        world.turn()
    peer, conn = world.open()
    peer.send(b"here")
    world.pump(lambda: conn.data == b"here")


def test_the_watermarks_of_one_connection(make_world: MakeWorld) -> None:
    world = make_world(outbox_high=1 << 26)
    world.listen()
    peer, conn = world.open(buffers=16384)
    other_peer, other = world.open(buffers=16384)
    world.engine.limit_output(conn.slot, 1000, 100_000)
    peer.is_reading = other_peer.is_reading = False
    for each in (conn, other):
        world.send(each.slots, [noise(SIZE)])
    world.settle()
    assert (conn.blocked, other.blocked) == (1, 0)
    peer.is_reading = True
    world.pump(lambda: conn.drained == 1)
    assert world.engine.unsent(conn.slot) <= 1000
    world.pump(lambda: len(peer.received) == SIZE)
    assert (conn.blocked, conn.drained, other.drained) == (1, 1, 0)


def test_watermarks_of_0_report_every_byte(world: World) -> None:
    peer, conn = world.open(buffers=16384)
    world.engine.limit_output(conn.slot, 0, 0)
    world.send(conn.slots, [b"goes at once"])
    world.settle()
    assert conn.blocked == conn.drained  # 0, where nothing refused it
    before = conn.blocked
    peer.is_reading = False
    world.send(conn.slots, [noise(SIZE)])
    world.settle()
    assert (conn.blocked, conn.drained) == (before + 1, before)
    peer.is_reading = True
    world.pump(lambda: len(peer.received) == SIZE + 12)
    world.pump(lambda: conn.drained == before + 1)


def test_a_limit_below_what_is_pending(make_world: MakeWorld) -> None:
    """Nothing says so, as the contract has it; `drained` follows."""
    world = make_world(outbox_high=1 << 26)
    world.listen()
    peer, conn = stuck(world)
    assert conn.blocked == 0
    world.engine.limit_output(conn.slot, 10, 100)
    world.settle()
    assert conn.blocked == 0
    conn.blocked = 1  # as the caller has it now
    peer.is_reading = True
    world.pump(lambda: conn.drained == 1)
    assert world.engine.unsent(conn.slot) <= 10


def test_a_limit_raised_while_over(world: World) -> None:
    peer, conn = stuck(world)
    assert conn.blocked == 1
    world.engine.limit_output(conn.slot, SIZE, 2 * SIZE)
    world.settle()
    assert conn.drained == 0
    peer.is_reading = True
    world.pump(lambda: conn.drained == 1)
    world.pump(lambda: len(peer.received) == SIZE)
    assert (conn.blocked, conn.drained) == (1, 1)


def test_limits_do_not_outlive_their_connection(make_world: MakeWorld) -> None:
    world = make_world(outbox_high=1 << 26)
    world.listen()
    for _ in range(20):
        _, conn = world.open()
        world.engine.limit_output(conn.slot, 0, 0)
        world.close(conn)
        world.engine.limit_output(conn.slot, 0, 0)
        world.settle()
        world.engine.limit_output(conn.slot, 0, 0)  # of nobody
    stuck_ones = [stuck(world, 4 << 20)[1] for _ in range(3)]
    assert [conn.blocked for conn in stuck_ones] == [0, 0, 0]


def test_blocked_and_drained_in_one_batch_come_in_this_order(world: World) -> None:
    """A caller that pauses and resumes by them is left resumed."""
    peer, conn = world.open(buffers=16384)
    is_paused = False
    sent = b""
    for index in range(200):
        piece = noise(120_000, index)
        sent += piece
        world.send(conn.slots, [piece])
        world.harness.step()
        batch = world.engine.wait(0)
        world.log.add(batch)
        if len(batch.blocked):
            is_paused = True
        if len(batch.drained):
            is_paused = False
        assert is_paused == (conn.blocked > conn.drained)
    world.pump(lambda: len(peer.received) == len(sent))
    world.settle()
    assert conn.blocked == conn.drained


# ---- half-close


def test_a_half_close_of_an_idle_connection(world: World) -> None:
    peer, conn = world.open()
    world.engine.end_output(conn.slot)
    world.engine.end_output(conn.slot)
    world.pump(lambda: peer.is_eof)
    peer.send(b"still talking")
    world.pump(lambda: conn.data == b"still talking")
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    world.close(conn)
    world.settle()
    assert world.engine.statistics().closed == 1


def test_a_half_close_in_the_tick_of_the_send(world: World) -> None:
    peer, conn = world.open()
    world.send(conn.slots, [b"request"])
    world.engine.end_output(conn.slot)
    world.pump(lambda: peer.is_eof)
    assert peer.received == b"request"
    peer.send(b"reply")
    world.pump(lambda: conn.data == b"reply")


def test_a_half_close_behind_a_full_outbox(world: World) -> None:
    peer, conn = stuck(world)
    world.engine.end_output(conn.slot)
    world.settle()
    peer.is_reading = True
    world.pump(lambda: peer.is_eof)
    assert peer.received == noise(SIZE)
    peer.send(b"thanks")
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    assert conn.data == b"thanks"
    world.close(conn)
    world.settle()


def test_a_half_close_behind_a_full_outbox_that_the_peer_resets(world: World) -> None:
    peer, conn = stuck(world)
    world.engine.end_output(conn.slot)
    world.settle()
    peer.reset()
    world.pump(lambda: conn.errno is not None)
    assert conn.errno in GONE
    for _ in range(5):  # whoever comes next into that slot is not shut
        again, fresh = world.open(buffers=16384)
        again.is_reading = False
        world.send(fresh.slots, [noise(1 << 20)])
        world.settle()
        again.is_reading = True
        world.pump(lambda again=again: len(again.received) == 1 << 20)
        assert not again.is_eof


def test_a_close_or_abort_behind_a_half_close(world: World) -> None:
    world.report_ends()
    pairs = [stuck(world, 1 << 20) for _ in range(3)]
    for _, conn in pairs:
        world.engine.end_output(conn.slot)
    world.close(pairs[0][1])
    world.close(pairs[1][1], drop=True)
    world.close(pairs[2][1], abort=True)
    world.settle()
    for peer, _ in pairs:
        peer.is_reading = True
    world.pump(lambda: all(peer.has_ended() for peer, _ in pairs))
    assert [peer.is_eof for peer, _ in pairs] == [True, True, False]
    assert len(pairs[0][0].received) == 1 << 20
    world.pump(lambda: not world.log.ending)


def test_a_half_close_of_a_connection_that_is_gone(world: World) -> None:
    peer, conn = world.open()
    peer.reset()
    world.engine.end_output(conn.slot)
    world.settle()
    world.engine.end_output(conn.slot)
    assert conn.errno in GONE


def test_both_sides_half_close(world: World) -> None:
    peer, conn = world.open()
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    world.engine.end_output(conn.slot)
    world.pump(lambda: peer.is_eof)
    world.settle()
    assert conn.errno is None
    assert world.engine.statistics().live == 1
    world.close(conn)
    world.settle()
    assert world.engine.statistics().closed == 1


def test_an_abort_within_a_flush(world: World) -> None:
    pairs = world.open_many(6)
    for index, (_, conn) in enumerate(pairs):
        world.send(conn.slots, [noise(100_000, index)])
    world.engine.flush()
    world.close(*(conn for _, conn in pairs[:3]), abort=True)
    world.engine.flush()
    world.pump(lambda: all(peer.has_ended() for peer, _ in pairs[:3]))
    world.pump(lambda: all(len(peer.received) == 100_000 for peer, _ in pairs[3:]))
    world.settle()
    now = world.engine.statistics()
    assert (now.live, now.closed) == (3, 3)
    assert now.sent_bytes + now.unsent_bytes == world.on_wire(600_000)
