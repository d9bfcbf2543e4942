"""The contract: connections that the engine opens."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint, SockAddrs, pack, pack_many
from c1m.engine.ragged import Ragged
from c1m.errors import LimitError
from contract.sample import to
from contract.world import World


def nobody(world: World) -> Endpoint:
    """An endpoint that nobody listens on."""
    listener = world.harness.peer_listener()
    listener.close()
    world.harness.listeners.remove(listener)
    return listener.endpoint


def test_connect_and_talk(world: World) -> None:
    listener = world.harness.peer_listener()
    (slot,) = world.connect(to(listener.endpoint))
    world.pump(lambda: len(world.log.conns) == 1 and len(listener.accepted) == 1)
    (conn,), (peer,) = world.log.conns, listener.accepted
    assert conn.slot == slot
    assert conn.listener == -1
    world.send(conn.slots, [b"ping"])
    world.pump(lambda: peer.received == b"ping")
    peer.send(b"pong")
    world.pump(lambda: conn.data == b"pong")
    world.close(conn)
    world.pump(peer.has_ended)
    now = world.engine.statistics()
    assert (now.connected, now.connect_failed, now.closed) == (1, 0, 1)


def test_a_peer_that_speaks_first(world: World) -> None:
    listener = world.harness.peer_listener()
    world.connect(to(listener.endpoint))
    world.pump(lambda: len(listener.accepted) == 1)
    listener.accepted[0].send(b"welcome")
    listener.accepted[0].shutdown_write()
    world.pump(lambda: len(world.log.conns) == 1 and world.log.conns[0].is_eof)
    assert world.log.conns[0].data == b"welcome"


def test_refused(world: World) -> None:
    (slot,) = world.connect(to(nobody(world)))
    world.pump(lambda: len(world.log.failed) == 1)
    assert world.log.failed == [(slot, errno.ECONNREFUSED)]
    now = world.engine.statistics()
    assert (now.connected, now.connect_failed, now.connecting) == (0, 1, 0)


def test_refused_and_accepted_mixed(world: World) -> None:
    listener = world.harness.peer_listener()
    good, bad = listener.endpoint.port, nobody(world).port
    slots = world.connect(pack_many(AF_INET, ["127.0.0.1"] * 20, [good, bad] * 10))
    world.pump(lambda: len(world.log.conns) + len(world.log.failed) == 20)
    assert sorted(conn.slot for conn in world.log.conns) == sorted(slots[::2])
    assert sorted(world.log.failed) == [(s, errno.ECONNREFUSED) for s in sorted(slots[1::2])]


def test_from_given_source_addresses(world: World) -> None:
    listener = world.harness.peer_listener()
    hosts = [f"127.1.{index}.3" for index in range(8)]
    slots = world.connect(to(listener.endpoint, 8), pack_many(AF_INET, hosts, [0] * 8))
    world.pump(lambda: len(world.log.conns) == 8 and len(listener.accepted) == 8)
    world.send(slots, [host.encode() for host in hosts])
    peers = listener.accepted
    world.pump(lambda: all(peer.received for peer in peers))
    assert sorted(bytes(peer.received).decode() for peer in peers) == hosts


def test_a_source_that_is_not_ours_fails_that_connect_only(world: World) -> None:
    listener = world.harness.peer_listener()
    sources = pack_many(AF_INET, ["127.0.0.9", "192.0.2.77", "127.0.0.9"], [0, 0, 0])
    slots = world.connect(to(listener.endpoint, 3), sources)
    world.pump(lambda: len(world.log.conns) == 2 and len(world.log.failed) == 1)
    assert world.log.failed == [(slots[1], errno.EADDRNOTAVAIL)]


def test_many_at_once(world: World) -> None:
    listener = world.harness.peer_listener()
    slots = world.connect(to(listener.endpoint, 500))
    world.pump(lambda: len(world.log.conns) == 500 and len(listener.accepted) == 500)
    world.send(slots, Ragged.repeat(b"hello", 500))
    world.pump(lambda: all(peer.received == b"hello" for peer in listener.accepted))


def test_none_at_all(world: World) -> None:
    assert world.connect(to(world.endpoint, 0)) == []


def test_ipv6(world: World) -> None:
    listener = world.harness.peer_listener(Endpoint(AF_INET6, "::1", 0))
    world.connect(to(listener.endpoint))
    world.pump(lambda: len(world.log.conns) == 1 and len(listener.accepted) == 1)


def test_unix(world: World, tmp_path: Path) -> None:
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "peer"))
    listener = world.harness.peer_listener(endpoint)
    row = np.frombuffer(pack(endpoint), np.uint8)
    world.connect(SockAddrs(AF_UNIX, row.reshape(1, -1)))
    world.pump(lambda: len(world.log.conns) == 1 and len(listener.accepted) == 1)
    world.send(world.log.conns[0].slots, [b"ping"])
    world.pump(lambda: listener.accepted[0].received == b"ping")


def test_to_itself(world: World) -> None:
    (slot,) = world.connect(to(world.endpoint))
    world.pump(lambda: len(world.log.conns) == 2)
    ours, accepted = sorted(world.log.conns, key=lambda conn: conn.listener)
    assert ours.slot == slot
    world.send(ours.slots, [b"me"])
    world.pump(lambda: accepted.data == b"me")


def test_more_than_free_slots_starts_nothing(world: World) -> None:
    listener = world.harness.peer_listener()
    with pytest.raises(LimitError):
        world.engine.connect(None, to(listener.endpoint, world.engine.capacity + 1))
    world.settle()
    assert listener.accepted == []
    assert world.engine.statistics().connecting == 0
    world.connect(to(listener.endpoint))
    world.pump(lambda: len(world.log.conns) == 1)


def test_a_connect_given_up_is_not_told(world: World) -> None:
    listener = world.harness.peer_listener()
    slots = world.connect(to(listener.endpoint, 3)) + world.connect(to(nobody(world), 3))
    for slot in slots:
        world.log.forget(slot)
    world.engine.close(np.array(slots, np.int32))
    world.settle()
    now = world.engine.statistics()
    assert (now.connecting, now.live, now.connect_failed + now.closed) == (0, 0, 6)


def test_the_slot_of_a_failed_connect_is_free_again(world: World) -> None:
    refused = nobody(world)
    for _ in range(20):
        before = len(world.log.failed)
        world.connect(to(refused, 10))
        world.pump(lambda before=before: len(world.log.failed) == before + 10)
    listener = world.harness.peer_listener()
    world.connect(to(listener.endpoint))
    world.pump(lambda: len(world.log.conns) == 1)
    assert world.engine.statistics().connect_failed == 200
