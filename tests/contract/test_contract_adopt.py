"""The contract: sockets that come from outside, and descriptors and names of those inside."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint, unpack
from c1m.engine.uring.rings import Tuning
from c1m.errors import LimitError
from contract.conftest import MakeWorld
from contract.sample import noise, to
from contract.uring_harnesses import FakeHarness
from contract.world import World


@pytest.fixture
def naming(world: World) -> World:
    """A world whose kernel tells names and makes descriptors."""
    if not world.harness.gives_descriptors:
        pytest.skip("this kernel makes no descriptors of connections")
    return world


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """RLIMIT_NOFILE so low that the kernel gives none."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# ---- adopt


def test_an_adopted_connection_is_like_any_other(world: World) -> None:
    world.report_ends()
    peer, conn = world.adopt()
    now = world.engine.statistics()
    assert (now.connected, now.live) == (1, 1)
    peer.send(noise(100_000))
    world.send(conn.slots, [noise(100_000, 2)])
    world.pump(lambda: len(conn.data) == 100_000)
    world.pump(lambda: len(peer.received) == 100_000)
    assert conn.data == noise(100_000)
    assert peer.received == noise(100_000, 2)
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    world.close(conn)
    world.pump(lambda: conn.ended == 0)
    world.pump(peer.has_ended)
    assert peer.is_eof


def test_what_had_come_before_is_read(world: World) -> None:
    fd, peer = world.harness.adoptable()
    peer.send(b"early words")
    peer.shutdown_write()
    conn = world.log.adopted(world.engine.adopt(fd))
    world.pump(lambda: conn.is_eof)
    assert conn.data == b"early words"


def test_a_busy_adopted_connection(world: World) -> None:
    """It is received from by other means then, and is not parked again by each lull."""
    peer, conn = world.adopt()
    for index in range(200):
        peer.send(b"x" * 10)
        world.pump(lambda index=index: len(conn.data) == 10 * (index + 1))
    promoted = world.engine.statistics().extra.get("promoted", 0)
    if type(world.harness) is not FakeHarness or world.harness.kernel.chance.faults.no_buffers == 0:
        assert promoted <= 3
    peer.reset()
    world.pump(lambda: conn.errno is not None)
    assert conn.errno == errno.ECONNRESET


def test_places_are_used_again_within_a_tick(world: World) -> None:
    """A place that was freed and whose close is not handed over yet takes the new socket."""
    peers = []
    for index in range(30):
        peer, conn = world.adopt()
        peers.append(peer)
        world.send(conn.slots, [bytes([index])])
        world.close(conn, abort=index % 3 == 2)
        if index % 4 == 0:
            world.engine.flush()
    kept_peer, kept = world.adopt()
    world.send(kept.slots, [b"kept"])
    world.pump(lambda: all(peer.has_ended() for peer in peers))
    world.pump(lambda: kept_peer.received == b"kept")
    kept_peer.send(b"still here")
    world.pump(lambda: kept.data == b"still here")
    now = world.engine.statistics()
    assert (now.connected, now.closed, now.live) == (31, 30, 1)


def test_adopted_and_connected_and_accepted_side_by_side(world: World) -> None:
    listener = world.harness.peer_listener()
    adopted = [world.adopt() for _ in range(5)]
    slots = world.connect(to(listener.endpoint, 5))
    world.pump(lambda: not world.log.connecting)
    accepted = world.open_many(5)
    assert len({conn.slot for _, conn in adopted + accepted} | {*slots}) == 15
    for index, (peer, conn) in enumerate(adopted + accepted):
        world.send(conn.slots, [bytes([index])])
        world.pump(lambda peer=peer: bool(peer.received))
        assert peer.received == bytes([index])


def test_a_full_table_closes_the_descriptor(inner_kind: str, make_world: MakeWorld) -> None:
    if inner_kind in ("epoll", "tiered"):
        pytest.skip("there the descriptor's number is the place")
    tuning = Tuning(capacity=16, files_per_ring=8, buffers_first=8, buffers_each=2)
    world = make_world(tuning=tuning)
    world.listen()
    world.open()
    pairs = [world.adopt() for _ in range(8)]
    before = world.harness.resources()
    fd, peer = world.harness.adoptable()
    there = world.harness.resources()
    with pytest.raises(LimitError):
        world.engine.adopt(fd)
    assert world.harness.resources() < there
    assert world.harness.resources() <= before + 1  # the peer's own
    world.pump(peer.has_ended)
    world.close(pairs[0][1])
    world.settle()
    world.adopt()


def test_a_descriptor_that_cannot_be_adopted_is_closed(
    inner_kind: str, make_world: MakeWorld
) -> None:
    if inner_kind in ("uring-fake", "uring-arrays", "uring-faulty"):
        pytest.skip("a file that is no socket does not exist in memory")
    world = make_world()
    before = world.harness.resources()
    if inner_kind in ("epoll", "tiered"):
        fd = os.open("/dev/null", os.O_RDONLY)  # which epoll refuses
        os.set_inheritable(fd, False)
        with pytest.raises(OSError):
            world.engine.adopt(fd)
    else:
        fd = os.eventfd(0)
        os.close(fd)
        with pytest.raises(OSError):
            world.engine.adopt(fd)
        world.adopt()
        before = world.harness.resources()
    assert world.harness.resources() == before


# ---- descriptors and names


def test_a_descriptor_of_a_connection(naming: World) -> None:
    world = naming
    before = world.harness.resources()
    peer, conn = world.open()
    fd = world.engine.descriptor(conn.slot)
    assert world.harness.peer_of(fd) == peer.source()
    if isinstance(world.harness, FakeHarness) is False:
        assert not os.get_inheritable(fd)
    world.harness.close_fd(fd)
    peer.send(b"unharmed")
    world.pump(lambda: conn.data == b"unharmed")
    assert world.harness.resources() >= before


def test_no_descriptor_of_a_connection_that_is_gone(naming: World) -> None:
    world = naming
    _, conn = world.open()
    world.close(conn, abort=True)
    world.settle()
    with pytest.raises(OSError) as raised:
        world.engine.descriptor(conn.slot)
    assert raised.value.errno == errno.EBADF


def test_a_descriptor_within_a_tick_loses_nothing(naming: World) -> None:
    world = naming
    pairs = world.open_many(20)
    for index, (peer, conn) in enumerate(pairs):
        peer.send(noise(3000, index))
        world.send(conn.slots, [noise(3000, index)[:1000]])
        world.harness.close_fd(world.engine.descriptor(conn.slot))
        world.send(conn.slots, [noise(3000, index)[1000:]])
    world.pump(lambda: all(len(conn.data) == 3000 for _, conn in pairs))
    world.pump(lambda: all(len(peer.received) == 3000 for peer, _ in pairs))
    for index, (peer, conn) in enumerate(pairs):
        assert conn.data == peer.received == noise(3000, index)


def test_names_of_peers(naming: World) -> None:
    world = naming
    pairs = world.open_many(30)
    slots = np.array([conn.slot for _, conn in pairs], np.int32)
    names = world.engine.peers(slots, AF_INET)
    assert [len(name) for name in names] == [16] * 30
    assert [unpack(AF_INET, name) for name in names] == [peer.source() for peer, _ in pairs]
    assert world.engine.peers(slots[:0], AF_INET) == []
    assert world.engine.peers(slots[:2], AF_UNIX) == [b"", b""]


def test_names_of_ipv6_peers(naming: World) -> None:
    world = naming
    (bound,) = world.listen(Endpoint(AF_INET6, "::1", 0))
    peer, conn = world.open(endpoint=bound)
    (name,) = world.engine.peers(conn.slots, AF_INET6)
    assert len(name) == 28
    assert unpack(AF_INET6, name).port == peer.source().port


def test_names_of_peers_that_are_gone(naming: World) -> None:
    """None of another connection's, whatever became of the slot."""
    world = naming
    pairs = world.open_many(6)
    sources = [peer.source() for peer, _ in pairs]
    pairs[0][0].reset()
    world.pump(lambda: pairs[0][1].errno is not None)
    world.close(pairs[1][1], abort=True)
    pairs[2][0].reset()  # not reported yet
    slots = np.array([conn.slot for _, conn in pairs], np.int32)
    names = world.engine.peers(slots, AF_INET)
    assert names[:2] == [b"", b""]
    assert names[2] == b"" or unpack(AF_INET, names[2]) == sources[2]
    assert [unpack(AF_INET, name) for name in names[3:]] == sources[3:]


def test_names_of_many_peers_while_data_comes(naming: World) -> None:
    """More commands than the queues have room for: what else completes meanwhile is kept."""
    world = naming
    pairs = world.open_many(100)
    slots = np.array([conn.slot for _, conn in pairs], np.int32)
    for index, (peer, conn) in enumerate(pairs):
        peer.send(noise(2000, index))
        world.send(conn.slots, [noise(500, index)])
    names = world.engine.peers(slots, AF_INET)
    assert [unpack(AF_INET, name) for name in names] == [peer.source() for peer, _ in pairs]
    world.pump(lambda: all(len(conn.data) == 2000 for _, conn in pairs))
    world.pump(lambda: all(len(peer.received) == 500 for peer, _ in pairs))
    for index, (peer, conn) in enumerate(pairs):
        assert conn.data == noise(2000, index)
        assert peer.received == noise(500, index)


def test_where_the_kernel_cannot_it_says_so(world: World) -> None:
    if world.harness.gives_descriptors:
        pytest.skip("this kernel can")
    _, conn = world.open()
    with pytest.raises(OSError, match=r"Linux 6\.8"):
        world.engine.descriptor(conn.slot)
    assert world.engine.peers(conn.slots, AF_INET) == [b""]


def test_no_descriptor_left(inner_kind: str, naming: World) -> None:
    """The descriptor is refused; a half-close works nevertheless."""
    world = naming
    peer, conn = world.open()
    other, still = world.open()
    world.settle()
    if isinstance(world.harness, FakeHarness):
        refusals = world.harness.kernel.refusals
        refusals.refuse("install", 1, 1 << 30, errno.EMFILE)
        with pytest.raises(OSError) as raised:
            world.engine.descriptor(conn.slot)
        world.engine.end_output(conn.slot)
        refusals.lift()
    else:
        with no_descriptor_left():
            with pytest.raises(OSError) as raised:
                world.engine.descriptor(conn.slot)
            world.engine.end_output(conn.slot)
    assert raised.value.errno == errno.EMFILE
    world.pump(lambda: peer.is_eof)
    other.send(b"unharmed")
    world.pump(lambda: still.data == b"unharmed")


# ---- listening sockets that are given


def test_a_listening_socket_that_is_given(world: World) -> None:
    given = world.harness.listening()
    bound = world.engine.listen([given.socket], 0)
    assert bound == [given.socket.endpoint]
    peer, conn = world.open(endpoint=given.socket.endpoint)
    assert conn.listener == 0
    peer.send(b"hello")
    world.pump(lambda: conn.data == b"hello")


def test_given_ones_among_others_keep_their_places(world: World) -> None:
    given = [world.harness.listening() for _ in range(2)]
    own = Endpoint(AF_INET, "127.0.0.1", 0)
    bound = world.engine.listen([given[1].socket, own, given[0].socket], 16)
    for index, endpoint in enumerate(bound):
        _, conn = world.open(endpoint=endpoint)
        assert conn.listener == index
    world.engine.listen([given[0].socket, given[1].socket], 16)
    for index, each in enumerate(given):
        _, conn = world.open(endpoint=each.socket.endpoint)
        assert conn.listener == index


def test_a_given_one_is_not_closed_with_the_engine(world: World) -> None:
    given = world.harness.listening()
    world.engine.listen([given.socket], 0)
    world.open(endpoint=given.socket.endpoint)
    world.engine.listen([], 0)
    world.settle()
    waiting = world.harness.peer(given.socket.endpoint)  # in its accept queue
    waiting.send(b"patient")
    world.settle()
    assert len(world.log.conns) == 1
    world.engine.listen([given.socket], 0)
    world.pump(lambda: len(world.log.conns) == 2)
    world.pump(lambda: world.log.conns[1].data == b"patient")
