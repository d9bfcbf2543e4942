"""What a tick brings, taken at once, against the same pieces taken one after the other."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import c1m.kv.all_commands  # noqa: F401  (fills the table)
from c1m.engine.contract import Pieces
from c1m.kv.clients import Clients
from c1m.kv.cluster import Cluster, Node
from c1m.kv.execute import execute
from c1m.kv.intake import Intake
from c1m.kv.store import Store
from c1m.protocols.resp.replies import command
from c1m.protocols.resp.requests import Requests
from c1m.protocols.resp.slots import slot_of

CLIENTS = 12
KEYS = st.sampled_from([b"s", b"n", b"far", b"l", b"h", b"m", b"z", b"gone", b"none", b"w"])
WORDS = st.sampled_from([b"1", b"0", b"-2", b"x", b"", b"2.5", b"9223372036854775807", b"a\r\nb"])
NAMES = st.sampled_from([
    b"GET", b"SET", b"set", b"INCR", b"LPUSH", b"RPOP", b"HSET", b"HGET", b"SADD", b"SISMEMBER",
    b"ZADD", b"ZSCORE", b"ZRANGE", b"LRANGE", b"MSET", b"DEL", b"EXPIRE", b"TTL", b"PING", b"ECHO",
    b"MULTI", b"EXEC", b"WATCH", b"SELECT", b"APPEND", b"STRLEN", b"HGETALL", b"TYPE", b"NONE",
])  # fmt: skip
COMMANDS = st.lists(WORDS, max_size=2).flatmap(
    lambda words: st.tuples(NAMES, KEYS).map(lambda pair: command(*pair, *words))
)
INLINE = st.sampled_from([b"PING\r\n", b"GET s\r\n", b"*1\r\n$4\r\nPI", b"*x\r\n"])


def _same_kind() -> st.SearchStrategy[list[bytes]]:
    return st.tuples(NAMES, st.integers(0, 2)).flatmap(
        lambda kind: st.lists(
            st.tuples(KEYS, st.lists(WORDS, min_size=kind[1], max_size=kind[1])).map(
                lambda row: command(kind[0], row[0], *row[1])
            ),
            min_size=4, max_size=CLIENTS,
        )
    )  # fmt: skip


TICKS = st.lists(
    st.one_of(
        _same_kind(),
        st.lists(st.one_of(COMMANDS, INLINE), min_size=1, max_size=CLIENTS),
        st.lists(st.lists(COMMANDS, min_size=1, max_size=8).map(b"".join), min_size=1, max_size=5),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def _intake(resp3: Sequence[int]) -> Intake:
    store = Store(CLIENTS)
    store.now_ms = 1_700_000_000_000
    clients = Clients(store)
    clients.open(np.arange(CLIENTS, dtype=np.int32))
    intake = Intake(clients)
    first = clients.of(0)
    for words in (
        b"SET s x", b"SET n 41", b"SET far 5 PX 1000", b"RPUSH l a b c", b"HSET h 1 one",
        b"SADD m 1 x", b"ZADD z 1 x 2 y", b"SET gone 1 PX 1", b"RPUSH w 1",
    ):  # fmt: skip
        execute(first, words.split())
    clients.settle(first)
    for slot in resp3:
        clients.state[slot] = 1
    store.now_ms += 2
    return intake


def _said(intake: Intake) -> dict[int, bytes]:
    """What each client is sent."""
    out, said = intake.store.out, dict[int, bytes]()
    for slots, replies in out.batches:
        for slot, reply in zip(slots, replies, strict=True):
            said[slot] = said.get(slot, b"") + reply
    out.batches.clear()
    for slot, pieces in out.take().items():
        said[slot] = said.get(slot, b"") + b"".join(pieces)
    return {slot: text for slot, text in said.items() if text}


def _kept(intake: Intake) -> list[tuple[dict[bytes, object], dict[bytes, int]]]:
    """All data."""
    return [
        (
            {k: getattr(value, "scores", value) for k, value in db.data.items()},
            db.expires,
        )
        for db in intake.store.databases
    ]


def _one_by_one(intake: Intake, pieces: Pieces) -> None:
    """The slow form: the plain form of requests, and each command by itself."""
    for slot, piece in pieces:
        requests = intake.unfinished.pop(slot, None) or Requests()
        for args in requests.feed(piece):
            client = intake.clients.of(slot)
            reply = execute(client, args)
            intake.clients.settle(client)
            if reply:
                intake.store.out.say(slot, reply)
        if requests.error is not None:
            intake.store.out.say(slot, b"-%b\r\n" % requests.error)
        if not requests.is_idle:
            intake.unfinished[slot] = requests


@settings(deadline=None, max_examples=60)
@given(TICKS, st.lists(st.integers(0, CLIENTS - 1), max_size=3), st.randoms(use_true_random=False))
def test_at_once_and_one_by_one(
    ticks: list[list[bytes]], resp3: list[int], draw: random.Random
) -> None:
    _compare(_intake(resp3), _intake(resp3), ticks, draw)


@settings(deadline=None, max_examples=60)
@given(TICKS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_node_of_a_cluster_at_once_and_one_by_one(
    ticks: list[list[bytes]], nodes: int, draw: random.Random
) -> None:
    both = _intake([]), _intake([])
    cluster = Cluster([Node("h", port) for port in range(nodes)], draw.randrange(nodes))
    for store in (intake.store for intake in both):
        for key in [key for key in store.databases[0].data if not cluster.has(slot_of(key))]:
            store.databases[0].remove(key)
        store.join(cluster)
    both[1].store.is_barred = True  # each command is looked at with care
    _compare(*both, ticks, draw)


def _compare(quick: Intake, plain: Intake, ticks: list[list[bytes]], draw: random.Random) -> None:
    ended = set[int]()
    for pieces in ticks:
        slots = draw.sample(range(CLIENTS), len(pieces))
        tick = [(s, piece) for s, piece in zip(slots, pieces, strict=True) if s not in ended]
        if not tick:
            continue
        order = _order(tick, quick.clients.states)
        quick.take(tick)
        _one_by_one(plain, order)
        assert _said(quick) == _said(plain)
        ended |= {slot for slot, requests in plain.unfinished.items() if requests.error}
        assert _kept(quick) == _kept(plain)
        assert quick.store.changes == plain.store.changes
        calls = [dict(one.store.statistics.calls) for one in (quick, plain)]
        assert calls[0] == calls[1]


def _order(tick: Pieces, states: Sequence[int]) -> Pieces:
    """The order in which pieces are answered: by their clients' states and how they begin, where
    there are several kinds.

    What different connections say in one tick has no order of its own.
    """
    from c1m.kv.intake import ALIKE_MIN, LONG, _alike
    from c1m.protocols.resp.batch import uniform

    if len(tick) < ALIKE_MIN and len(tick[0][1]) < LONG:
        return tick
    is_one_kind = len({states[slot] for slot, _ in tick}) == 1
    if is_one_kind and uniform([piece for _, piece in tick]) is not None:
        return tick
    return [item for group in _alike(tick, states) or [tick] for item in group]


def test_many_who_name_no_channel() -> None:
    for piece in (b"SUBSCRIBE\r\n", b"*1\r\n$9\r\nSUBSCRIBE\r\n"):
        quick, plain = _intake([]), _intake([])
        tick = [(slot, piece) for slot in range(CLIENTS)]
        quick.take(tick)
        _one_by_one(plain, tick)
        assert _said(quick) == _said(plain)
