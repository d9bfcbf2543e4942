"""Nodes of a Redis Cluster as targets: what is refused, who goes where, whose keys are said."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import c1m
from c1m.addresses import AF_INET, Endpoint, unpack
from c1m.engine.ragged import Ragged
from c1m.errors import LimitError, UsageError
from c1m.loadgen.nodes import nodes_of
from c1m.loadgen.sources import plan_addresses
from c1m.protocols.resp.replies import array, bulk, error, integer
from c1m.protocols.resp.slots import SLOTS, Shards, slot_of
from c1m.results.record import Connections, Requests, RunRecord
from c1m.results.share import Share, Stretch
from c1m.results.verdict import MOVED, judge
from c1m.scenarios.ledger import OUTCOMES
from c1m.scenarios.loader import own_scenario, rehearse, tell
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.resp import Resp

OK = b"+OK\r\n"
ASKED = Endpoint(AF_INET, "127.0.0.1", 7000, scheme="tcp")
SHARDS = Shards(3, np.repeat([0, 1, 2], [8192, 4096, 4096]))


def slots(*rows: tuple[int, int, str, int]) -> bytes:
    """What CLUSTER SLOTS says."""
    return array([
        array([integer(first), integer(last), array([bulk(host.encode()), integer(port)])])
        for first, last, host, port in rows
    ])  # fmt: skip


WHOLE = slots((8000, SLOTS - 1, "127.0.0.3", 7001), (0, 7999, "", 7000))


def test_nodes_are_in_the_order_of_their_slots() -> None:
    nodes = nodes_of(ASKED, [[b"AUTH", b"x"]], [OK, WHOLE])
    assert nodes is not None
    assert [(one.host, one.port) for one in nodes.endpoints] == [
        ("127.0.0.1", 7000), ("127.0.0.3", 7001),
    ]  # fmt: skip
    assert nodes.names_by_turn(None)[0] == "127.0.0.1"  # place 0 has slot 0
    assert set(nodes.names_by_turn("redis.example")) == {"redis.example"}
    assert np.bincount(nodes.turns).tolist() == [8000, SLOTS - 8000]


def test_nodes_of_one_place_are_one_target() -> None:
    nodes = nodes_of(ASKED, [], [slots((0, 99, "127.0.0.1", 7000), (100, SLOTS - 1, "", 7000))])
    assert nodes is not None
    assert (len(nodes.endpoints), nodes.shards.count, nodes.turns.max()) == (1, 1, 0)


def test_who_is_no_node_is_loaded_as_it_is_named() -> None:
    refused = error(b"ERR This instance has cluster support disabled")
    assert nodes_of(ASKED, [], [refused]) is None
    assert nodes_of(ASKED, [], [b"what\r\n"]) is None


@pytest.mark.parametrize(("rows", "missing"), [([], "16,384"), ([(10, SLOTS - 1, "a", 1)], "10")])
def test_slots_of_nobody_are_refused(rows: list[tuple[int, int, str, int]], missing: str) -> None:
    with pytest.raises(UsageError, match=f"127.0.0.1:7000 .* {missing} of 16,384 hash slots"):
        nodes_of(ASKED, [], [slots(*rows)])


def test_a_database_that_a_cluster_has_not_is_refused() -> None:
    said = error(b"ERR SELECT is not allowed in cluster mode")
    commands = [[b"AUTH", b"secret"], [b"SELECT", b"3"]]
    with pytest.raises(UsageError, match=r"no database 3 \(ERR SELECT is not") as refused:
        nodes_of(ASKED, commands, [OK, said, WHOLE])
    assert "secret" not in str(refused.value)
    assert nodes_of(ASKED, commands, [OK, OK, WHOLE]) is not None  # some have several


def test_connections_go_to_the_node_that_has_their_slot() -> None:
    targets = [Endpoint(AF_INET, "10.0.0.1", 7000 + node) for node in range(3)]
    turns = SHARDS.nodes_at(np.arange(SLOTS))
    for first in (0, 7, 20_000):
        stretch = Stretch(first, 1000, 10**6, Share(1, 2))
        plan = plan_addresses(1000, targets, [], 10_000, stretch, turns)
        rows = plan.rows(np.arange(1000))[1]
        ports = [unpack(AF_INET, bytes(row)).port - 7000 for row in rows.rows]
        assert ports == SHARDS.nodes_at(first + np.arange(1000)).tolist()


def test_the_node_with_the_most_slots_says_how_many_sources_are_needed() -> None:
    targets = [Endpoint(AF_INET, "127.0.0.1", 7000 + node) for node in range(3)]
    turns = SHARDS.nodes_at(np.arange(SLOTS))  # half of them are the first's
    plan = plan_addresses(100_000, targets, [], 10_000, turns=turns)
    sources, destinations = plan.rows(np.arange(100_000))
    assert sources is not None
    triples = np.concatenate([sources.rows, destinations.rows], axis=1)
    assert np.unique(triples, axis=0, return_counts=True)[1].max() <= 10_000
    elsewhere = [replace(target, host="10.0.0.1") for target in targets]
    plan_addresses(20_000, elsewhere, [], 10_000, turns=turns)
    with pytest.raises(LimitError, match="carry 20,000"):
        plan_addresses(20_001, elsewhere, [], 10_000, turns=turns)


class Node:
    """A node that has some slots, with SET, GET and INCR."""

    def __init__(self, own: int) -> None:
        self.own, self.values = own, dict[bytes, bytes]()

    def answer(self, request: bytes) -> bytes:
        name, key, *rest = re.findall(rb"\$\d+\r\n(.*?)\r\n", request)
        assert request == b"*%d\r\n" % (2 + len(rest)) + b"".join(map(bulk, (name, key, *rest)))
        if (owner := int(SHARDS.owners[slot_of(key)])) != self.own:
            return b"-MOVED %d 10.0.0.1:%d\r\n" % (slot_of(key), 7000 + owner)
        if name == b"SET":
            self.values[key] = rest[0]
            return OK
        if name == b"GET":
            return bulk(self.values[key])
        self.values[key] = b"%d" % (int(self.values.get(key, b"0")) + 1)
        return b":%s\r\n" % self.values[key]


@pytest.mark.parametrize("first", [0, 50])
def test_resp_says_to_each_node_what_is_its_own(first: int) -> None:
    """Connections in different parts of their rounds, one by one and all together."""
    count, nodes = 40, [Node(own) for own in range(3)]
    scenario = Resp()
    tell(scenario, SHARDS)
    rehearse(scenario, count, 7, 1, Stretch(first, count, 100, Share(int(first > 0), 2)))
    exchange, dice = exchange_of(scenario, count, 1), np.random.default_rng(5)
    own = SHARDS.nodes_at(first + np.arange(count))
    for _ in range(60):
        numbers = np.flatnonzero(dice.random(count) < dice.random())
        said = exchange.requests(numbers)[0].pieces()
        replies = [nodes[own[n]].answer(one) for n, one in zip(numbers, said, strict=True)]
        assert exchange.take(numbers, Ragged.of(replies)).outcomes is None
    assert not exchange.ledger.faults and scenario.notes() == []
    keys = [key for node in nodes for key in node.values if b"counter" not in key]
    assert len(keys) == count and len({slot_of(key) for key in keys}) == count
    counters = [(key, node) for node in nodes for key in node.values if b"counter" in key]
    assert len(counters) == 3
    assert sorted(int(node.values[key]) for key, node in counters) == sorted(
        one.count for one in scenario.counters
    )
    key, node = counters[1]
    node.values[key] = b"1000000"
    numbers = np.arange(count)
    for _ in range(3):
        said = exchange.requests(numbers)[0].pieces()
        replies = [nodes[own[n]].answer(one) for n, one in zip(numbers, said, strict=True)]
        exchange.take(numbers, Ragged.of(replies))
    (note,) = scenario.notes()
    assert "numbers were not said to anybody" in note


def test_the_same_scenario_without_a_cluster_has_no_tags() -> None:
    scenario = Resp()
    rehearse(scenario, 2, 7, 1, Stretch(0, 2, 2))
    assert b"{" not in b"".join(scenario.requests(np.arange(2), np.arange(2)).pieces())


@pytest.mark.parametrize("reply", [b"-MOVED 5 10.0.0.1:7001\r\n", b"-ASK 5 10.0.0.1:7001\r\n"])
def test_a_key_of_another_node_is_moved(reply: bytes) -> None:
    def talk(n: int):  # type: ignore[no-untyped-def]
        yield c1m.Command("GET", f"cart{c1m.hash_tag(n)}")

    for scenario in (Resp(), own_scenario(talk)):
        scenario.session = replace(scenario.session, scheme="redis")
        scenario.begin(3, 1)
        exchange, numbers = exchange_of(scenario, 3, 1), np.arange(3)
        exchange.requests(numbers)
        resolved = exchange.take(numbers, Ragged.of([reply, b"-ERR no\r\n", reply]))
        assert resolved.outcomes is not None
        found = dict(zip(resolved.numbers.tolist(), resolved.outcomes.tolist(), strict=True))
        assert [OUTCOMES[found[n]] for n in range(3)] == ["moved", "garbled", "moved"]
        assert sorted(one.kind for one in exchange.ledger.faults) == ["garbled", "moved", "moved"]
        assert exchange.ledger.in_flight == 0


def test_what_to_do_is_said() -> None:
    requests = Requests(sent=3, due=3, right=1, wrong=2, faults={"moved": 2})
    record = RunRecord(connections=Connections(), requests=requests)
    assert MOVED in judge(record).shortfalls
    assert MOVED not in judge(replace(record, requests=Requests())).shortfalls


def test_a_tag_is_of_its_connection() -> None:
    assert re.fullmatch(r"\{[0-9a-z]{4}\}", c1m.hash_tag(0))
    assert slot_of(f"cart{c1m.hash_tag(3)}:9".encode()) == 3 * 10_131 % SLOTS
