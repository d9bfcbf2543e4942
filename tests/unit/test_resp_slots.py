"""Hash slots: a key's, a connection's, and which node has which."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.protocols.resp.replies import array, bulk, error, integer
from c1m.protocols.resp.slots import (
    SLOTS,
    Shards,
    shards_of,
    slot_of,
    slots_at,
    tag_at,
    tags,
)
from c1m.protocols.resp.values import value_of


def row(first: int, last: int, host: bytes | None, port: int, *replicas: bytes) -> bytes:
    """A row of CLUSTER SLOTS."""
    name = b"$-1\r\n" if host is None else bulk(host)
    node = array([name, integer(port), bulk(b"id"), array([])])
    others = [array([bulk(each), integer(1), bulk(b"id")]) for each in replicas]
    return array([integer(first), integer(last), node, *others])


def test_every_slot_has_a_tag_of_its_own() -> None:
    for slot, tag in enumerate(tags()):
        assert slot_of(bytes(tag)) == slot_of(b"before" + bytes(tag) + b"{behind}") == slot


def test_connections_have_all_slots_in_turn_and_tags_of_theirs() -> None:
    slots = slots_at(np.arange(2 * SLOTS))
    assert sorted(slots[:SLOTS].tolist()) == list(range(SLOTS))
    assert slots[:SLOTS].tolist() == slots[SLOTS:].tolist()
    for place in (0, 1, SLOTS - 1, 10**7):
        assert slot_of(tag_at(place)) == slots_at(np.array([place]))[0]


@pytest.mark.parametrize("share", [0.5, 0.2, 1 / 3])
@pytest.mark.parametrize("first", [0, 5, 999_983])
def test_any_neighbours_are_spread_by_the_nodes_slots(share: float, first: int) -> None:
    mine = round(SLOTS * share)
    shards = Shards(2, np.repeat([0, 1], [mine, SLOTS - mine]))
    for count in (10, 100, 1000):
        found = int((shards.nodes_at(first + np.arange(count)) == 0).sum())
        assert abs(found - count * share) <= 3


def test_what_a_cluster_says() -> None:
    reply = array([
        row(8192, 16383, b"10.0.0.2", 7001, b"10.0.0.9"),
        row(0, 99, None, 7000),
        row(100, 199, b"node-3", 7000),
        row(200, 8191, b"", 7000),
    ])  # fmt: skip
    shards, places = shards_of(value_of(reply), "10.0.0.1")
    assert places == [("10.0.0.1", 7000), ("node-3", 7000), ("10.0.0.2", 7001)]
    assert shards.count == 3
    assert np.bincount(shards.owners).tolist() == [100 + 7992, 100, 8192]
    assert shards.owners[shards.first_slots()].tolist() == [0, 1, 2]


def test_slots_of_nobody_are_marked() -> None:
    shards, _ = shards_of(value_of(array([row(10, SLOTS - 1, b"a", 1)])), "b")
    assert (shards.owners < 0).sum() == 10
    assert shards_of([], "b")[1] == []


@pytest.mark.parametrize("reply", [
    error(b"ERR This instance has cluster support disabled"), error(b"ERR unknown command"),
    b"+OK\r\n", b"$-1\r\n", integer(7), bulk(b"what"), array([integer(1)]), array([bulk(b"x")]),
    array([array([integer(0), integer(1)])]), array([row(5, 4, b"a", 1)]),
    array([row(0, SLOTS, b"a", 1)]), array([row(-1, 4, b"a", 1)]), array([row(0, 4, b"a", 0)]),
    array([row(0, 4, b"a", 1 << 16)]), array([row(0, 4, b"\xff", 1)]), array([array([])]),
    array([array([bulk(b"0"), integer(4), array([bulk(b"a"), integer(1)])])]),
    array([array([integer(0), integer(4), array([integer(3), integer(1)])])]),
    array([array([integer(0), integer(4), bulk(b"abc")])]),
])  # fmt: skip
def test_what_is_no_reply_of_a_cluster(reply: bytes) -> None:
    with pytest.raises(ValueError):
        shards_of(value_of(reply), "host")
