"""The contract: `watch`, a descriptor whose readiness ends a wait too. No engine polls for it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from c1m.engine.uring.rings import Tuning
from contract.conftest import MakeWorld
from contract.harness import Signal
from contract.sample import noise
from contract.uring_harnesses import FakeHarness
from contract.world import World

LONG_NS = 60_000_000_000


@pytest.fixture
def watching(world: World) -> tuple[World, Signal]:
    """An engine that listens and watches."""
    signal = world.harness.signal()
    world.engine.watch(signal.fd)
    return world, signal


def wait(world: World, timeout_ns: int = LONG_NS) -> bool:
    """One wait; whether the descriptor was readable."""
    world.log.add(world.engine.wait(timeout_ns))
    return world.engine.watched_is_ready


def until_ready(world: World, timeout_ns: int = LONG_NS) -> None:
    """Waits until it says so."""
    for _ in range(20):
        if wait(world, timeout_ns):
            return
    raise AssertionError("the descriptor is readable, and the engine does not say so")


def until_quiet(world: World) -> None:
    """Waits until it says that it is not, and stays so."""
    quiet = 0
    for _ in range(20):
        quiet = 0 if wait(world, 1_000_000) else quiet + 1
        if quiet == 3:
            return
    raise AssertionError("the descriptor is not readable, and the engine says so")


def test_what_is_not_readable_ends_no_wait(watching: tuple[World, Signal]) -> None:
    world, _ = watching
    assert not wait(world, 0)
    assert not wait(world, 2_000_000)


def test_a_wait_ends_when_it_becomes_readable(watching: tuple[World, Signal]) -> None:
    world, signal = watching
    for _ in range(5):
        signal.set()
        until_ready(world)
        signal.clear()
        until_quiet(world)


def test_a_wait_of_0_says_so_too(watching: tuple[World, Signal]) -> None:
    world, signal = watching
    signal.set()
    until_ready(world, 0)


def test_what_was_readable_before_it_was_watched(world: World) -> None:
    signal = world.harness.signal()
    signal.set()
    world.engine.watch(signal.fd)
    until_ready(world)


def test_what_is_left_unread_is_reported_again(watching: tuple[World, Signal]) -> None:
    world, signal = watching
    signal.set()
    for _ in range(5):
        until_ready(world)
    signal.clear()
    until_quiet(world)


def test_it_becomes_readable_from_another_thread(watching: tuple[World, Signal]) -> None:
    world, signal = watching
    if isinstance(world.harness, FakeHarness):
        pytest.skip("in memory nothing happens in other threads but `wake`")
    for _ in range(3):
        until_quiet(world)
        thread = threading.Timer(0.02, signal.set)
        thread.start()
        until_ready(world)
        thread.join()
        signal.clear()


def test_an_epoll_set_can_be_watched(world: World) -> None:
    """As an event loop's selector is: one descriptor of many that come and go."""
    if isinstance(world.harness, FakeHarness):
        pytest.skip("there is no epoll in memory")
    with selected() as (inner, signals):
        world.engine.watch(inner.fileno())
        for _ in range(3):
            for signal in signals:
                until_quiet(world)
                os.eventfd_write(signal, 1)
                until_ready(world)
                until_ready(world)
                os.eventfd_read(signal)
        until_quiet(world)
        os.eventfd_write(signals[0], 1)
        os.eventfd_write(signals[1], 1)
        until_ready(world)
        os.eventfd_read(signals[0])  # the other is still there
        until_ready(world)
        os.eventfd_read(signals[1])
        until_quiet(world)
        peer, conn = world.open()
        peer.send(b"beside it")
        world.pump(lambda: conn.data == b"beside it")


@contextmanager
def selected() -> Iterator[tuple[select.epoll, list[int]]]:
    """An epoll set with two eventfds."""
    inner, signals = select.epoll(), [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
    try:
        for signal in signals:
            inner.register(signal, select.EPOLLIN)
        yield inner, signals
    finally:
        for signal in signals:
            os.close(signal)
        inner.close()


def test_connections_go_on_beside_it(watching: tuple[World, Signal]) -> None:
    world, signal = watching
    pairs = world.open_many(10)
    signal.set()
    for index, (peer, conn) in enumerate(pairs):
        peer.send(noise(50_000, index))
        world.send(conn.slots, [noise(50_000, index)])
        world.turn()
    world.pump(lambda: all(len(conn.data) == 50_000 for _, conn in pairs))
    world.pump(lambda: all(len(peer.received) == 50_000 for peer, _ in pairs))
    until_ready(world)
    signal.clear()
    until_quiet(world)


def test_a_wake_is_not_taken_for_it(watching: tuple[World, Signal]) -> None:
    world, signal = watching
    until_quiet(world)
    world.engine.wake()
    assert not wait(world)
    world.engine.wake()
    signal.set()
    until_ready(world)
    signal.clear()
    until_quiet(world)


def test_a_flush_that_meets_it_does_not_lose_it(watching: tuple[World, Signal]) -> None:
    world, signal = watching
    _, conn = world.open()
    for _ in range(5):
        until_quiet(world)
        signal.set()
        world.send(conn.slots, [b"x"])
        world.engine.flush()
        world.send(conn.slots, [b"y"])
        world.engine.flush()
        until_ready(world)
        signal.clear()


def test_with_many_rings(inner_kind: str, make_world: MakeWorld) -> None:
    if inner_kind in ("epoll", "tiered"):
        pytest.skip("no rings, or not of a given size")
    tuning = Tuning(capacity=128, files_per_ring=16, buffers_first=16, buffers_each=4)
    world = make_world(tuning=tuning)
    world.listen()
    signal = world.harness.signal()
    world.engine.watch(signal.fd)
    pairs = world.open_many(40)
    assert world.engine.statistics().extra["rings"] > 2
    for _ in range(3):
        signal.set()
        until_ready(world)
        until_ready(world)
        signal.clear()
        until_quiet(world)
    for peer, _ in pairs:
        peer.send(b"all here")
    world.pump(lambda: all(conn.data == b"all here" for _, conn in pairs))


def test_after_all_rings_were_given_back(inner_kind: str, make_world: MakeWorld) -> None:
    if inner_kind not in ("uring-fake", "uring-arrays", "uring-faulty"):
        pytest.skip("needs a clock that can be moved on, and rings")
    world, signal = grown_and_left(make_world)
    after_a_while(world)
    assert world.engine.statistics().extra["rings"] == 1
    for _ in range(3):
        signal.set()
        until_ready(world)
        signal.clear()
        until_quiet(world)
    peer, conn = world.open()
    peer.send(b"again")
    world.pump(lambda: conn.data == b"again")


def test_when_no_ring_is_given_afterwards(inner_kind: str, make_world: MakeWorld) -> None:
    """Until there is one again the engine says now and then that it may be readable."""
    if inner_kind not in ("uring-fake", "uring-arrays"):
        pytest.skip("needs a kernel that refuses rings at a given time")
    world, signal = grown_and_left(make_world)
    assert isinstance(world.harness, FakeHarness)
    refusals = world.harness.kernel.refusals
    refusals.refuse("ring", 1, 1 << 30)
    after_a_while(world)
    assert world.engine.statistics().extra["rings"] == 0
    signal.set()
    until_ready(world)
    refusals.lift()
    signal.clear()
    for _ in range(20):
        wait(world, 2_000_000_000)
    assert world.engine.statistics().extra["rings"] == 1
    until_quiet(world)
    signal.set()
    until_ready(world)


def grown_and_left(make_world: MakeWorld) -> tuple[World, Signal]:
    """An engine that had several rings and has no connection any more."""
    world = make_world(tuning=Tuning(capacity=128, files_per_ring=16, buffers_first=16))
    world.listen()
    signal = world.harness.signal()
    world.engine.watch(signal.fd)
    pairs = world.open_many(40)
    for peer, _ in pairs:
        peer.close()
    world.pump(lambda: all(conn.is_eof for _, conn in pairs))
    world.close(*(conn for _, conn in pairs))
    world.settle()
    assert world.engine.statistics().extra["rings"] > 2
    return world, signal


def after_a_while(world: World) -> None:
    """Time enough to give back what nobody needs."""
    assert isinstance(world.harness, FakeHarness)
    for _ in range(4):
        world.harness.kernel.clock.advance(2_000_000_000)
        world.log.add(world.engine.wait(0))


def test_an_idle_engine_sleeps(inner_kind: str, watching: tuple[World, Signal]) -> None:
    """Next to no CPU time, and no wait returns, while nothing happens."""
    world, signal = watching
    if isinstance(world.harness, FakeHarness):
        pytest.skip("time in memory is made up")
    pairs = world.open_many(30)  # with one ring, with many, with both engines
    until_quiet(world)
    world.settle()
    before = time.thread_time_ns()
    world.log.add(world.engine.wait(400_000_000))
    used_ns = time.thread_time_ns() - before
    assert not world.engine.watched_is_ready
    assert used_ns < 40_000_000, f"{inner_kind} used {used_ns / 1e6:.1f} ms of 400 to do nothing"
    signal.set()
    until_ready(world)
    assert all(conn.errno is None for _, conn in pairs)
