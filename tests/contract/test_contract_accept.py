"""The contract: listening and accepting."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint
from c1m.errors import UsageError
from contract.conftest import MakeWorld
from contract.harness import LOOPBACK
from contract.world import World


def test_a_connection_is_reported_once_with_its_listener(world: World) -> None:
    _, conn = world.open()
    world.settle()
    assert [(c.slot, c.listener) for c in world.log.conns] == [(conn.slot, 0)]
    assert 0 <= conn.slot < world.engine.capacity


def test_a_thousand_connections_are_accepted_each_once(world: World) -> None:
    peers = [world.harness.peer(world.endpoint) for _ in range(1000)]
    world.pump(lambda: len(world.log.conns) == 1000)
    assert len(world.log.at) == 1000
    assert world.engine.statistics().accepted == 1000
    assert not any(peer.has_ended() for peer in peers)


def test_port_0_is_replaced_by_the_port_the_kernel_chose(world: World) -> None:
    first, second = world.listen(LOOPBACK, LOOPBACK)
    assert first.port > 0
    assert second.port > 0
    assert first.port != second.port
    assert first.host == LOOPBACK.host


def test_each_connection_tells_which_listener_it_came_by(world: World) -> None:
    bound = world.listen(LOOPBACK, LOOPBACK, LOOPBACK)
    for index in (2, 0, 1, 1):
        _, conn = world.open(endpoint=bound[index])
        assert conn.listener == index


def test_ipv6(world: World) -> None:
    world.listen(Endpoint(AF_INET6, "::1", 0))
    assert world.endpoint.family == AF_INET6
    peer, conn = world.open()
    world.send(conn.slots, [b"six"])
    world.pump(lambda: peer.received == b"six")


def test_unix(world: World, tmp_path: Path) -> None:
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    assert world.listen(endpoint) == [endpoint]
    peer, conn = world.open()
    peer.send(b"ping")
    world.pump(lambda: conn.data == b"ping")
    world.send(conn.slots, [b"pong"])
    world.pump(lambda: peer.received == b"pong")
    peer.shutdown_write()
    world.pump(lambda: conn.is_eof)
    world.close(conn)
    world.pump(peer.has_ended)
    assert peer.is_eof


def test_a_unix_peer_that_is_gone_ends_the_connection_at_the_next_send(
    world: World, tmp_path: Path
) -> None:
    world.listen(Endpoint(AF_UNIX, path=str(tmp_path / "socket")))
    peer, conn = world.open()
    world.receive(conn, on=False)
    peer.send(b"last words")
    peer.close()
    world.settle()
    world.receive(conn, on=True)
    world.pump(lambda: conn.is_eof)
    assert conn.data == b"last words"
    world.settle()
    world.send(conn.slots, [b"hello?"])
    world.pump(lambda: conn.errno is not None)
    assert conn.errno in (errno.EPIPE, errno.ECONNRESET)


def test_the_file_of_a_unix_listener_goes_with_it(world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    world.listen(Endpoint(AF_UNIX, path=path))
    assert os.path.exists(path)
    world.engine.listen([], 0)
    assert not os.path.exists(path)


def test_above_live_max_connections_wait_and_none_is_dropped(make_world: MakeWorld) -> None:
    world = make_world(live_max=4)
    world.listen()
    peers = [world.harness.peer(world.endpoint) for _ in range(10)]
    for index, peer in enumerate(peers):
        peer.send(bytes([index]))
    world.settle()
    assert len(world.log.conns) == 4
    while len(world.log.conns) < 10:
        seen = len(world.log.conns)
        world.pump(lambda: all(conn.data for conn in world.log.live()))
        world.close(world.log.live()[0])
        world.pump(lambda seen=seen: len(world.log.conns) == seen + 1)
        assert len(world.log.at) == 4
    world.pump(lambda: all(conn.data for conn in world.log.live()))
    assert sorted(bytes(conn.data) for conn in world.log.conns) == [bytes([i]) for i in range(10)]
    assert not any(peer.error for peer in peers)


def test_raising_live_max_lets_the_waiting_in(make_world: MakeWorld) -> None:
    world = make_world(live_max=2)
    world.listen()
    for _ in range(6):
        world.harness.peer(world.endpoint)
    world.settle()
    assert len(world.log.conns) == 2
    world.engine.live_max = 5
    world.pump(lambda: len(world.log.conns) == 5)
    world.settle()
    assert len(world.log.conns) == 5


def test_listening_on_nothing_stops_accepting_and_keeps_what_is_open(world: World) -> None:
    peer, conn = world.open()
    assert world.engine.listen([], 0) == []
    world.settle()
    late = world.harness.peer(world.endpoint)
    world.pump(late.has_ended)
    assert late.error == errno.ECONNREFUSED
    world.settle()
    assert len(world.log.conns) == 1
    world.send(conn.slots, [b"still here"])
    world.pump(lambda: peer.received == b"still here")


def test_a_port_is_free_at_once_though_somebody_waits(world: World) -> None:
    world.settle()
    world.harness.peer(world.endpoint)
    assert world.engine.listen([], 0) == []
    late = world.harness.peer(world.endpoint)
    world.pump(late.has_ended)
    assert late.error == errno.ECONNREFUSED


def test_listening_again_after_stopping(world: World) -> None:
    world.engine.listen([], 0)
    world.listen(world.endpoint)
    world.open()


def test_a_listener_asked_for_again_stays(world: World) -> None:
    first = world.endpoint
    waiting = world.harness.peer(first)
    bound = world.listen(LOOPBACK, first)
    assert bound[1] == first
    world.pump(lambda: len(world.log.conns) == 1)
    assert not waiting.has_ended()
    assert world.open(endpoint=first)[1].listener == 1
    assert world.open(endpoint=bound[0])[1].listener == 0


def test_a_port_in_use_is_a_usage_error_and_leaves_nothing_half_done(
    make_world: MakeWorld, world: World
) -> None:
    other = make_world()
    taken = other.listen()[0]
    before = world.harness.resources()
    with pytest.raises(UsageError, match=f":{taken.port} "):
        world.engine.listen([world.endpoint, LOOPBACK, taken], 128)
    assert world.harness.resources() == before
    assert world.open()[1].listener == 0
    assert other.open()[1].listener == 0


def test_an_address_of_another_host_is_a_usage_error(world: World) -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.77"):
        world.engine.listen([Endpoint(AF_INET, "192.0.2.77", 0)], 128)


def test_a_renewed_listener_accepts_whoever_is_connected(world: World) -> None:
    """Also where the first connections, which another engine of a pair had, have gone."""
    conns = [conn for _, conn in world.open_many(4)]
    for conn in conns[:2]:
        world.close(conn, abort=True)
    world.settle()
    world.engine.listen([], 0)
    world.listen(world.endpoint)
    for _ in range(3):
        world.open()
