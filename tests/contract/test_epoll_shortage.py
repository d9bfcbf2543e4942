"""What only the epoll engine has: its limit is the number of descriptors."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Iterator

import numpy as np
import pytest

from c1m.engine.epoll import RESERVE, EpollEngine
from c1m.engine.epoll_accept import ACCEPTS_MAX
from c1m.engine.epoll_batch import EVENTS_MAX
from c1m.engine.tiered import TieredEngine
from c1m.engine.uring.engine import UringEngine
from c1m.errors import LimitError
from c1m.kernel import libc
from contract.harness import SocketHarness
from contract.refusing import LONG, Refused
from contract.sample import to
from contract.uring_harnesses import real_kernel
from contract.world import IDLE_NS, World, echo


class Descriptors:
    """Descriptors that are held so that nobody else has them."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def take_all(self) -> None:
        """Until the kernel says EMFILE."""
        try:
            while True:
                self.fds.append(os.dup(0))
        except OSError:
            pass

    def give_back(self, count: int) -> None:
        """Close some of them."""
        for _ in range(count):
            os.close(self.fds.pop())


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """A soft limit of 200 descriptors for one test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    yield 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def spare(few_descriptors: int) -> Iterator[Descriptors]:
    """Takes all descriptors that are left when it is asked to; closes what the test leaves."""
    taken = Descriptors()
    yield taken
    taken.give_back(len(taken.fds))


@pytest.fixture
def world() -> Iterator[World]:
    """An epoll engine that listens; accepts and peers are of this process."""
    world = World(SocketHarness(EpollEngine))
    world.listen()
    yield world
    world.end()
    world.harness.close()


def test_the_limit_is_the_soft_limit_of_descriptors(few_descriptors: int) -> None:
    engine = EpollEngine()
    assert engine.capacity == few_descriptors
    assert engine.live_max == few_descriptors - RESERVE
    assert "200" in engine.reason
    engine.shutdown()


def test_without_descriptors_connections_wait_and_the_loop_does_not_spin(
    world: World, spare: Descriptors
) -> None:
    peers = [world.harness.peer(world.endpoint) for _ in range(20)]
    spare.take_all()
    spare.give_back(5)
    world.settle()
    assert len(world.log.conns) == 5
    assert world.engine.statistics().refused["connection"] >= 1
    # Out of the epoll set: these waits end by their time, or they would be over at once.
    begin_ns = time.monotonic_ns()
    for _ in range(4):
        assert not world.turn(IDLE_NS)
    assert time.monotonic_ns() - begin_ns >= 2 * IDLE_NS
    for _ in range(5):
        world.close(world.log.live()[0])
        world.settle()
    assert len(world.log.conns) == 10
    spare.give_back(len(spare.fds))
    world.pump(lambda: len(world.log.conns) == 20)
    assert not any(peer.error for peer in peers)


def test_connects_beyond_the_descriptors_start_none(world: World, few_descriptors: int) -> None:
    listener = world.harness.peer_listener()
    with pytest.raises(LimitError, match="250 connects"):
        world.engine.connect(None, to(listener.endpoint, 250))
    world.settle()
    assert listener.accepted == []


def test_more_events_than_one_tick_takes(world: World) -> None:
    count = EVENTS_MAX + 200
    peers = [world.harness.peer(world.endpoint) for _ in range(count)]
    world.pump(lambda: len(world.log.conns) == count)
    for peer in peers:
        peer.send(b"now")
    world.turn()
    assert sum(len(conn.data) for conn in world.log.conns) == 3 * EVENTS_MAX
    world.pump(lambda: all(conn.data == b"now" for conn in world.log.conns))


def test_one_listener_brings_a_bounded_number_in_a_tick(world: World) -> None:
    for _ in range(ACCEPTS_MAX + 50):
        world.harness.peer(world.endpoint)
    world.turn()
    assert len(world.log.conns) == ACCEPTS_MAX


def test_every_connection_gets_its_share_of_the_arena(world: World) -> None:
    pairs = world.open_many(100)
    for peer, _ in pairs:
        peer.send(bytes(1 << 17))
    world.turn()
    assert all(len(conn.data) > 0 for _, conn in pairs)


def test_a_slot_is_not_given_out_before_the_next_wait(world: World) -> None:
    _, conn = world.open()
    world.close(conn)
    listener = world.harness.peer_listener()
    (slot,) = world.connect(to(listener.endpoint))
    assert slot != conn.slot
    world.pump(lambda: len(world.log.conns) == 2)


def test_errors_that_concern_one_accepted_connection_only_are_skipped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [-errno.ECONNABORTED, -errno.EPROTO]
    accept = libc.accept
    monkeypatch.setattr(libc, "accept", lambda fd: answers.pop() if answers else accept(fd))
    world.open()
    assert answers == []


def test_calls_for_slots_that_are_free_do_nothing(world: World) -> None:
    free = np.array([world.engine.capacity - 1], np.int32)
    world.engine.receive(free, False)
    world.engine.close(free)
    world.engine.close(free, abort=True)
    world.send(free, [b"nobody"])
    assert world.engine.statistics().unsent_bytes == len(b"nobody")


IDLE_TURNS = 40


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.ENOMEM])
def test_a_send_that_the_kernel_has_no_memory_for_is_tried_again(
    world: World, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then, and nothing is lost or overtaken."""
    write, tries = os.write, [0]

    def no_memory(fd: int, data: bytes) -> int:
        tries[0] += 1
        raise OSError(code, os.strerror(code))

    world.app = echo(world)
    pairs = world.open_many(3)
    monkeypatch.setattr(os, "write", no_memory)
    for peer, _ in pairs:
        peer.send(b"first")
    world.pump(lambda: all(conn.data == b"first" for _, conn in pairs))
    tries[0] = 0
    for _ in range(IDLE_TURNS):
        world.turn(IDLE_NS)
    assert tries[0] <= 10 * len(pairs)
    assert world.engine.statistics().refused["send"] > 0
    for peer, _ in pairs:
        peer.send(b"second")
    monkeypatch.setattr(os, "write", write)
    world.pump(lambda: all(p.received[4:] == b"firstsecond" for p, _ in pairs))
    assert len(world.log.live()) == len(pairs)


@pytest.mark.parametrize("occurrence", range(1, 5))
def test_who_was_accepted_and_not_watched_is_served_when_the_rings_accept(
    occurrence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoll set, which is short, gives accepting over; whom it has accepted it keeps."""
    real_kernel().shutdown()
    refused = Refused(monkeypatch)
    few = EpollEngine(live_max=20)
    world = World(SocketHarness(lambda: TieredEngine(few, UringEngine())))
    world.listen()
    world.app = echo(world)
    refused.refuse("add", refused.calls["add"] + occurrence, 1, errno.ENOMEM)
    peers = [world.harness.peer(world.endpoint) for _ in range(6)]
    for peer in peers:
        peer.send(b"anybody?")
    world.pump(lambda: all(peer.received == b"anybody?" for peer in peers))
    assert refused.refused["add"] == 1
    world.end()
    world.harness.close()


def test_room_for_output_that_is_reported_and_no_longer_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Epoll did not take that it is not."""
    refused, write = Refused(monkeypatch), os.write
    world = World(SocketHarness(EpollEngine))
    world.listen()
    peer, conn = world.open()

    def is_full(fd: int, data: bytes) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "write", is_full)
    world.send([conn.slot], [b"in the outbox"])
    monkeypatch.setattr(os, "write", write)
    refused.refuse("modify", refused.calls["modify"] + 1, LONG, errno.ENOMEM)
    world.pump(lambda: peer.received == b"in the outbox")
    for _ in range(10):
        world.turn()
    world.send([conn.slot], [b", and more"])
    world.pump(lambda: peer.received == b"in the outbox, and more")
    refused.lift()
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    world.end()
    world.harness.close()


def test_what_epoll_refuses_to_change_it_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = Refused(monkeypatch)
    world = World(SocketHarness(EpollEngine))
    world.listen()
    world.app = echo(world)
    peer, conn = world.open()
    world.receive(conn, on=False)
    refused.refuse("modify", 1, LONG, errno.ENOMEM)
    world.receive(conn, on=True)
    peer.send(b"for later")
    for _ in range(IDLE_TURNS):
        world.turn(IDLE_NS)
    assert 0 < refused.refused["modify"] <= 10
    assert world.engine.statistics().refused["watch"] > 0
    assert peer.received == b""
    refused.lift()
    world.pump(lambda: peer.received == b"for later")
    peer.shutdown_write()
    world.pump(peer.has_ended)
    assert peer.is_eof and not world.log.at
    world.end()
    world.harness.close()
