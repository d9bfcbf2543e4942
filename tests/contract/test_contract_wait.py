"""The contract: when `wait` returns, and the end of an engine."""

from __future__ import annotations

import signal
import threading

from contract.conftest import MakeWorld
from contract.sample import noise, to
from contract.world import World

LONG_NS = 60_000_000_000


def test_wait_0_returns_at_once_with_an_empty_batch(world: World) -> None:
    batch = world.engine.wait(0)
    assert len(batch) == 0
    assert world.engine.statistics().ticks >= 1


def test_a_time_out_ends_a_wait(world: World) -> None:
    assert len(world.engine.wait(2_000_000)) == 0


def test_time_outs_that_are_no_whole_milliseconds(world: World) -> None:
    peer, conn = world.open()
    for timeout_ns in (1, 999, 1_000, 400_000, 999_999, 1_000_001, 2_700_000):
        assert len(world.engine.wait(timeout_ns)) == 0
    peer.send(b"here")
    world.pump(lambda: conn.data == b"here")


def test_a_wake_before_the_wait_ends_it(world: World) -> None:
    world.engine.wake()
    world.engine.wake()
    assert len(world.engine.wait(LONG_NS)) == 0
    assert len(world.engine.wait(0)) == 0


def test_a_wake_from_another_thread(world: World) -> None:
    for _ in range(5):
        thread = threading.Timer(0.02, world.engine.wake)
        thread.start()
        assert len(world.engine.wait(LONG_NS)) == 0
        thread.join()


def test_a_wake_from_a_signal_handler(world: World) -> None:
    previous = signal.signal(signal.SIGALRM, lambda *_: world.engine.wake())
    try:
        for _ in range(5):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            assert len(world.engine.wait(LONG_NS)) == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_signal_without_a_wake_does_no_harm(world: World) -> None:
    peer, conn = world.open()
    previous = signal.signal(signal.SIGALRM, lambda *_: peer.send(b"from the handler"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        world.pump(lambda: conn.data == b"from the handler")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_data_stays_as_it_is_until_the_next_wait(world: World) -> None:
    pairs = world.open_many(10)
    for index, (peer, _) in enumerate(pairs):
        peer.send(noise(3000, index))
    batches = 0
    while any(len(conn.data) < 3000 for _, conn in pairs):
        world.harness.step()
        batch = world.engine.wait(LONG_NS)
        before = batch.data.pieces()
        for peer, _ in pairs:
            peer.send(b"more")
        world.engine.send(batch.data_slots, batch.data)
        world.handed_bytes += batch.data.nbytes()
        assert batch.data.pieces() == before
        world.log.add(batch)
        batches += 1
        assert batches < 1000
    for index, (_, conn) in enumerate(pairs):
        assert conn.data[:3000] == noise(3000, index)


def test_a_failed_send_does_not_let_the_next_wait_sleep(world: World) -> None:
    peer, conn = world.open()
    peer.reset()
    world.send(conn.slots, [b"hello?"])
    batches = 0
    while conn.errno is None:
        world.log.add(world.engine.wait(LONG_NS))
        batches += 1
        assert batches < 100


def test_shutdown_ends_everything(make_world: MakeWorld) -> None:
    world = make_world()
    world.listen()
    pairs = world.open_many(10)
    listener = world.harness.peer_listener()
    world.connect(to(listener.endpoint, 3))
    pairs[0][0].is_reading = False
    world.send(pairs[0][1].slots, [noise(16 << 20)])
    world.turn()
    world.close(pairs[0][1])
    world.close(pairs[1][1], abort=True)
    world.end()  # checks the statistics, and that a second shutdown is allowed
    pairs[0][0].is_reading = True
    for _ in range(10_000):
        if all(peer.has_ended() for peer, _ in pairs):
            break
        world.harness.step()
    assert all(peer.has_ended() for peer, _ in pairs)


def test_shutdown_of_an_engine_that_never_ran(make_world: MakeWorld) -> None:
    make_world()


def test_wake_after_shutdown_does_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.engine.shutdown()
    world.engine.wake()


def test_an_engine_says_who_it_is(world: World, engine_kind: str) -> None:
    name = world.harness.uses or engine_kind
    assert name.startswith(world.engine.name) or engine_kind == "tiered"
    assert world.engine.reason
    assert world.engine.capacity > 0
