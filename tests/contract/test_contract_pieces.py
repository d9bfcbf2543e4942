"""The contract: `wait` with `pieces`, data as Python's objects, and what is answered to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from c1m.engine.contract import EventBatch, Pieces
from contract.log import Conn
from contract.peers import Peer
from contract.sample import noise
from contract.uring_harnesses import FakeHarness
from contract.world import World

BUSY_PIECES = 60  # so many messages make a connection a busy one, received from by other means
LONG_NS = 60_000_000_000

Reply = Callable[[int, bytes], bytes | None]


class Taking:
    """A world whose engine may give data as Python's objects; `reply` is called with each piece."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reply: Reply = lambda slot, piece: None
        self._pieces: Pieces = []
        self._wait = world.engine.wait
        engine: Any = world.engine
        engine.wait = self.wait
        world.app = self.take

    def wait(self, timeout_ns: int) -> EventBatch:
        self._pieces = []
        batch = self._wait(timeout_ns, self._pieces)
        for slot, piece in self._pieces:
            conn = self.world.log.at[slot]
            assert piece
            conn.data += piece
            conn.pieces += 1
        return batch

    def take(self, batch: EventBatch) -> None:
        """Answer it all."""
        others = zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True)
        for slot, piece in [*self._pieces, *others]:
            answer = self.reply(slot, piece) if slot in self.world.log.at else None
            if answer:
                self.world.send_each([slot], [answer])


@pytest.fixture
def taking(world: World) -> Taking:
    """An engine that gives pieces."""
    return Taking(world)


def busy(world: World, buffers: int | None = None) -> tuple[Peer, Conn]:
    """A connection that so much came by that only data is expected of it."""
    peer, conn = world.open(buffers=buffers)
    for index in range(BUSY_PIECES):
        peer.send(b".")
        world.pump(lambda index=index: len(conn.data) == index + 1)
    conn.data.clear()
    return peer, conn


def test_replies_go_out_whole_and_in_order(taking: Taking) -> None:
    world = taking.world
    pairs = [busy(world) for _ in range(3)]
    taking.reply = lambda slot, piece: piece
    sent = [b"" for _ in pairs]
    for round_ in range(100):
        for index, (peer, _) in enumerate(pairs):
            piece = noise(10 + round_ * (index + 1), round_)
            sent[index] += piece
            peer.send(piece)
        world.turn()
    for (peer, conn), whole in zip(pairs, sent, strict=True):
        world.pump(lambda conn=conn, whole=whole: len(conn.data) == len(whole))
        world.pump(lambda peer=peer, whole=whole: len(peer.received) >= len(whole))
        assert peer.received == conn.data == whole


def test_replies_behind_what_is_sent_meanwhile(taking: Taking) -> None:
    world = taking.world
    peer, _ = busy(world)

    def reply(slot: int, piece: bytes) -> bytes:
        world.send_each([slot], [b"first "])
        return b"second "

    taking.reply = reply
    for count in range(1, 20):
        peer.send(b"?")
        world.pump(lambda count=count: len(peer.received) == 13 * count)
    assert peer.received == b"first second " * 19


def test_a_reply_that_the_peer_does_not_read(taking: Taking) -> None:
    world = taking.world
    peer, conn = busy(world, buffers=16384)
    peer.is_reading = False
    big = noise(4 << 20)
    taking.reply = lambda slot, piece: big
    peer.send(b"?")
    world.pump(lambda: conn.blocked == 1)
    peer.is_reading = True
    world.pump(lambda: len(peer.received) == len(big) * conn.pieces - len(big) * BUSY_PIECES)
    assert peer.received[: len(big)] == big
    world.pump(lambda: conn.drained == conn.blocked)


def test_what_passes_behind_what_has_drained_leaves_it_blocked(taking: Taking) -> None:
    """In one batch: whoever pauses by `blocked` and resumes by `drained` is left paused."""
    world = taking.world
    peer, conn = busy(world, buffers=16384)
    sent = 0

    def reply(slot: int, piece: bytes) -> bytes:
        nonlocal sent
        sent += 1 << 20
        return noise(1 << 20)

    taking.reply = reply
    for _ in range(6):
        peer.send(b"more!")
        peer.is_reading = True
        for _ in range(10):
            world.turn()
        peer.is_reading = False
        world.settle()
        pending, is_paused = world.engine.unsent(conn.slot), conn.blocked > conn.drained
        assert is_paused if pending > 1 << 16 else pending or not is_paused
    peer.is_reading = True
    world.pump(lambda: len(peer.received) == sent)


def test_one_that_closes_itself_and_others(taking: Taking) -> None:
    world = taking.world
    world.report_ends()
    pairs = [busy(world) for _ in range(6)]
    conns = [conn for _, conn in pairs]

    def reply(slot: int, piece: bytes) -> None:
        at = world.log.at
        mine = next(i for i, conn in enumerate(conns) if at.get(slot) is conn)
        for conn in (conns[mine], conns[(mine + 1) % 6]):
            if at.get(conn.slot) is conn:
                world.close(conn, drop=mine % 2 == 0)

    for peer, _ in pairs[3:]:  # whose ends may be known and not reported yet
        peer.shutdown_write()
    for peer, _ in pairs[4:]:
        peer.reset()
    taking.reply = reply
    for peer, _ in pairs[:5]:
        peer.send(b"bye") if not peer.has_ended() else None
    world.settle()
    for conn in world.log.live():
        world.close(conn)
    world.pump(lambda: not world.log.ending)
    world.settle()
    assert world.engine.statistics().closed == 6


def test_all_that_may_be_asked_for_within(taking: Taking) -> None:
    world = taking.world
    peer, conn = busy(world)
    adopted: list[tuple[Peer, Conn]] = []

    def reply(slot: int, piece: bytes) -> bytes:
        world.send(conn.slots, [b"a"])
        world.engine.flush()
        world.engine.limit_output(slot, 0, 1 << 20)
        world.engine.unsent(slot)
        adopted.append(world.adopt())
        world.engine.listen([], 0)
        world.listen(world.endpoint)
        world.send_each([slot, adopted[-1][1].slot], [b"b", b"hello"])
        return b"c"

    taking.reply = reply
    for count in range(1, 6):
        peer.send(b"?")
        world.pump(lambda count=count: len(adopted) == count)
        taking.world.pump(lambda count=count: len(peer.received) == 3 * count)
    assert peer.received == b"abc" * 5
    world.pump(lambda: all(each.received == b"hello" for each, _ in adopted))
    another, fresh = world.open()
    taking.reply = lambda slot, piece: piece
    another.send(b"echo")
    world.pump(lambda: another.received == b"echo")
    assert fresh.data == b"echo"


def test_a_connection_that_is_adopted_within_does_not_take_the_place_of_an_end(
    taking: Taking,
) -> None:
    world = taking.world
    world.report_ends()
    peer, _ = busy(world)

    def reply(slot: int, piece: bytes) -> None:
        for _ in range(3):
            world.adopt()

    taking.reply = reply
    for _ in range(10):
        for conn in world.log.live()[1:]:
            world.close(conn)
        peer.send(b"one more")
        world.turn()
    world.pump(lambda: not world.log.ending)


# ---- the short way of a tick, which is open behind plain data


def now_ns(world: World) -> int:
    """The time in memory; elsewhere time goes on whatever is done."""
    return world.harness.kernel.clock.now_ns() if isinstance(world.harness, FakeHarness) else 0


def test_a_flush_of_a_short_send_is_reported_without_sleep(world: World) -> None:
    peer, conn = busy(world, buffers=16384)
    peer.is_reading = False
    world.send(conn.slots, [noise(4 << 20)])
    world.engine.flush()
    before_ns = now_ns(world)
    for _ in range(3):
        world.log.add(world.engine.wait(LONG_NS))
        if conn.blocked:
            break
    assert conn.blocked == 1
    assert now_ns(world) == before_ns, "it slept"


def test_a_flush_of_a_failed_send_does_not_let_the_next_wait_sleep(world: World) -> None:
    peer, conn = busy(world)
    world.send(conn.slots, [b"ok"])
    world.turn()
    peer.reset()
    batches = 0
    while conn.errno is None:
        world.send(conn.slots, [b"hello?"])
        world.engine.flush()
        world.log.add(world.engine.wait(LONG_NS))
        batches += 1
        assert batches < 100


def test_flushes_between_plain_batches_reorder_nothing(world: World) -> None:
    pairs = [busy(world) for _ in range(4)]
    expected = [b"" for _ in pairs]
    for round_ in range(60):
        for index, (peer, conn) in enumerate(pairs):
            for part in range(6):
                piece = noise(50 + round_, round_ * 10 + part)
                expected[index] += piece
                peer.send(piece)
                world.send(conn.slots, [piece])
                world.engine.flush()
        world.turn()
    for (peer, conn), whole in zip(pairs, expected, strict=True):
        world.pump(lambda conn=conn, whole=whole: len(conn.data) == len(whole))
        world.pump(lambda peer=peer, whole=whole: len(peer.received) >= len(whole))
        assert conn.data == whole
        assert peer.received == whole
