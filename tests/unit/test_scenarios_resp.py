"""Scenario resp against a model of the server, and the counter's values against a slow form."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.protocols.resp.replies import INTEGER_MAX, integers, line_sizes, reply_size
from c1m.scenarios import resp as resp_module
from c1m.scenarios.base import Exchange
from c1m.scenarios.ledger import OUTCOMES, Resolved
from c1m.scenarios.matching import Matching, exchange_of
from c1m.scenarios.resp import GET, INCR, CountedValues, Resp


class Store:
    """SET, GET and INCR as a server has them; knows what a request looks like."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def answer(self, request: bytes) -> bytes:
        words = re.findall(rb"\$\d+\r\n(.*?)\r\n", request)
        sizes = [int(size) for size in re.findall(rb"\$(\d+)\r\n", request)]
        assert sizes == [len(word) for word in words]
        assert request.startswith(b"*%d\r\n" % len(words))
        if words[0] == b"SET":
            self.values[words[1]] = words[2]
            return b"+OK\r\n"
        if words[0] == b"GET":
            value = self.values.get(words[1])
            return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        self.values[words[1]] = b"%d" % (int(self.values.get(words[1], b"0")) + 1)
        return b":%s\r\n" % self.values[words[1]]


def begun(count: int, depth: int = 1, seed: int = 1) -> tuple[Resp, Exchange]:
    scenario = Resp()
    scenario.begin(count, seed)
    return scenario, exchange_of(scenario, count, depth)


def answered(exchange: Exchange, store: Store, numbers: np.ndarray) -> list[bytes]:
    return [store.answer(request) for request in exchange.requests(numbers)[0].pieces()]


def outcomes(resolved: Resolved) -> list[str]:
    if resolved.outcomes is None:
        return ["right"] * len(resolved)
    return [OUTCOMES[o] for o in resolved.outcomes]


@pytest.mark.parametrize("count", [1, 3, 30])
def test_rounds_of_all_connections(count: int) -> None:
    scenario, exchange = begun(count)
    store, everyone = Store(), np.arange(count)
    for turn in range(12):
        if turn % 5 == 4:  # so that a batch is of all kinds
            exchange.take(everyone[:1], Ragged.of(answered(exchange, store, everyone[:1])))
        replies = answered(exchange, store, everyone)
        assert outcomes(exchange.take(everyone, Ragged.of(replies))) == ["right"] * count
    assert scenario.notes() == [] and not exchange.ledger.faults and not exchange.ledger.extras
    assert scenario.counters[0].count == scenario.counters[0].highest


def test_connections_in_different_parts_of_the_round_and_replies_in_parts() -> None:
    scenario, exchange = begun(20, depth=4)
    store, dice = Store(), np.random.default_rng(3)
    streams = [b""] * 20
    for _ in range(60):
        numbers = np.flatnonzero(dice.random(20) < 0.5)
        numbers = numbers[exchange.is_free(numbers)]
        for number, reply in zip(numbers, answered(exchange, store, numbers), strict=True):
            streams[number] += reply
        batch = []
        for n in np.flatnonzero([len(s) > 0 for s in streams]).tolist():
            at = int(dice.integers(1, len(streams[n]) + 1))
            batch.append((n, streams[n][:at]))
            streams[n] = streams[n][at:]
        came = exchange.take(np.array([n for n, _ in batch], int), Ragged.of([p for _, p in batch]))
        assert set(outcomes(came)) <= {"right"}
    assert not exchange.ledger.faults and not exchange.ledger.extras and scenario.notes() == []


def test_pipelines_of_whole_replies_are_taken_by_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_by_one(self: Matching, number: int, piece: bytes) -> None:
        raise AssertionError(f"{piece!r} is taken by itself")

    scenario, exchange = begun(20, depth=7)
    store, dice = Store(), np.random.default_rng(5)
    monkeypatch.setattr(Matching, "_take_piece", one_by_one)
    right = 0
    for _ in range(40):
        streams = [b""] * 20
        for _ in range(7):
            numbers = np.flatnonzero(dice.random(20) < 0.7)
            numbers = numbers[exchange.is_free(numbers)]
            for number, reply in zip(numbers, answered(exchange, store, numbers), strict=True):
                streams[number] += reply
        some = np.array([n for n in range(20) if streams[n]])
        came = exchange.take(some, Ragged.of([streams[n] for n in some]))
        assert set(outcomes(came)) == {"right"}
        right += len(came)
    assert right == int(exchange.ledger.sent.sum()) > 2_000 and scenario.notes() == []


def test_a_value_of_another_connection_is_crossed() -> None:
    _, exchange = begun(2)
    store, both = Store(), np.arange(2)
    exchange.take(both, Ragged.of(answered(exchange, store, both)))
    replies = answered(exchange, store, both)
    assert outcomes(exchange.take(both, Ragged.of(replies[::-1]))) == ["crossed"] * 2


def test_a_key_that_has_anothers_value_is_crossed_and_the_other_is_right() -> None:
    """Each request has had its reply, so nothing is missing, doubled or late."""
    _, exchange = begun(3)
    store, everyone = Store(), np.arange(3)
    exchange.take(everyone, Ragged.of(answered(exchange, store, everyone)))
    values = answered(exchange, store, everyone)
    for numbers, replies in (([2], [values[2]]), ([0, 1], [values[2], values[1]])):
        came = exchange.take(np.array(numbers), Ragged.of(replies))
        assert sorted(outcomes(came)) == sorted(["crossed"] * (numbers == [0, 1]) + ["right"])
    for turn in ("INCR", "SET", "GET"):
        replies = answered(exchange, store, everyone)
        assert outcomes(exchange.take(everyone, Ragged.of(replies))) == ["right"] * 3, turn
    ledger = exchange.ledger
    assert [fault.kind for fault in ledger.faults] == ["crossed"] and not ledger.extras
    assert ledger.faults[0].expected == values[0] and ledger.faults[0].received == values[2]


def test_a_value_of_before_is_stale_but_for_another_kind_of_request_a_double() -> None:
    _, exchange = begun(1)
    store, one = Store(), np.arange(1)
    said = []
    for _ in range(4):
        said += answered(exchange, store, one)
        assert outcomes(exchange.take(one, Ragged.of(said[-1:]))) == ["right"]
    answered(exchange, store, one)
    assert outcomes(exchange.take(one, Ragged.of([said[1]]))) == ["stale"]
    reply = answered(exchange, store, one)[0]
    assert outcomes(exchange.take(one, Ragged.of([said[1] + reply]))) == ["right"]
    assert exchange.ledger.extras == {"doubled": 1}
    made_up = b"$38\r\n0000000000-0000000000-" + b"x" * 16 + b"\r\n"
    for _ in range(2):
        reply = answered(exchange, store, one)[0]
        came = exchange.take(one, Ragged.of([made_up if reply[:1] == b"$" else reply]))
    assert outcomes(came) == ["garbled"]


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        (0, b"-ERR wrong\r\n"),
        (0, b":1\r\n"),
        (1, b"$-1\r\n"),
        (1, b"$5\r\nother\r\n"),
        (2, b"-ERR value is not an integer\r\n"),
        (2, b":-3\r\n"),
        (2, b":x\r\n"),
        (2, b"*1\r\n:1\r\n"),
    ],
)
def test_wrong_replies_are_garbled_and_kept(turn: int, reply: bytes) -> None:
    _, exchange = begun(1)
    store, one = Store(), np.arange(1)
    for _ in range(turn):
        exchange.take(one, Ragged.of(answered(exchange, store, one)))
    answered(exchange, store, one)
    assert outcomes(exchange.take(one, Ragged.of([reply]))) == ["garbled"]
    assert exchange.ledger.faults[0].received == reply
    assert exchange.ledger.in_flight == 0


def test_a_server_that_asks_for_a_password_is_named() -> None:
    scenario = Resp()
    scenario.begin(1, 0)
    assert not scenario.notes()
    assert not scenario.accepts(0, 0, b"-NOAUTH Authentication required.\r\n")
    assert "redis://:PASSWORD@HOST" in scenario.notes()[0]


def test_after_a_set_that_was_lost_the_old_value_is_right_too() -> None:
    one = np.arange(1)
    for is_done in (False, True):
        for has_round_before in (False, True):
            _, exchange = begun(1)
            store = Store()
            if has_round_before:  # one that is confirmed
                for _ in range(3):
                    exchange.take(one, Ragged.of(answered(exchange, store, one)))
            request = exchange.requests(one)[0].piece(0)
            if is_done:
                store.answer(request)
            exchange.gone(one)
            came = exchange.take(one, Ragged.of(answered(exchange, store, one)))
            assert outcomes(came) == ["right"]


def test_a_confirmed_set_must_be_there() -> None:
    _, exchange = begun(1)
    store, one = Store(), np.arange(1)
    for _ in range(4):
        exchange.take(one, Ragged.of(answered(exchange, store, one)))
    store.values.clear()
    came = exchange.take(one, Ragged.of(answered(exchange, store, one)))
    assert outcomes(came) == ["garbled"]


def test_a_counter_that_stands_still_or_jumps_is_noted() -> None:
    scenario, exchange = begun(10)
    store, everyone = Store(), np.arange(10)
    for _ in range(3):
        replies = answered(exchange, store, everyone)
        replies = [b":7\r\n" if r == b":8\r\n" else b":30\r\n" if r == b":4\r\n" else r
                   for r in replies]  # fmt: skip
        assert set(outcomes(exchange.take(everyone, Ragged.of(replies)))) == {"right"}
    doubled, gaps = scenario.notes()
    assert "1 of 10 replies" in doubled and "(the first: 7)" in doubled
    assert "between 1 and 30 21 numbers" in gaps


def test_increments_without_a_reply_explain_gaps() -> None:
    scenario, exchange = begun(3)
    store, everyone = Store(), np.arange(3)
    for _ in range(2):
        exchange.take(everyone, Ragged.of(answered(exchange, store, everyone)))
    replies = answered(exchange, store, everyone)
    exchange.take(everyone[[0, 2]], Ragged.of([replies[0], replies[2]]))
    exchange.gone(everyone)
    assert scenario.counters[0].gaps == 1 and scenario.notes() == []


def test_runs_with_other_seeds_use_other_keys() -> None:
    requests = [begun(1, seed=seed)[0].requests(np.array([0]), np.array([INCR])).piece(0)
                for seed in (1, 2, -1, 2**40)]  # fmt: skip
    assert len(set(requests)) == 4


@pytest.mark.parametrize(
    "reply",
    [b"+OK\r\n", b"-ERR x\r\n", b":12\r\n", b"$3\r\na\nb\r\n", b"$0\r\n\r\n", b"$-1\r\n",
     b"*-1\r\n", b"*0\r\n", b"*2\r\n:1\r\n*1\r\n$1\r\n\r\r\n", b"*3\r\n$-1\r\n+\r\n:0\r\n",
     b"?\r\n", b"$x\r\n"],
)  # fmt: skip
def test_where_a_reply_ends(reply: bytes) -> None:
    for cut in range(len(reply)):
        assert reply_size(reply[:cut]) == 0
    assert reply_size(reply) == reply_size(reply + b":1\r\n") == len(reply)


@given(st.lists(st.sampled_from([b":1\r\n", b":007\r\n", b":%d\r\n" % (10**18 - 1), b":\r\n",
                                 b":-1\r\n", b":1\r\r", b"1:\r\n", b":1x2\r\n", b":1" + b"0" * 30,
                                 b"", b":" + b"9" * 19 + b"\r\n"])))  # fmt: skip
def test_integers_are_their_slow_form(pieces: list[bytes]) -> None:
    slow = [int(p[1:-2]) if re.fullmatch(rb":[0-9]{1,18}\r\n", p) else -1 for p in pieces]
    assert integers(Ragged.of(pieces)).tolist() == slow


@given(st.lists(st.text("1:-\r\n", max_size=30).map(str.encode)))
def test_sizes_of_lines_are_their_slow_form(streams: list[bytes]) -> None:
    slow = [stream[:INTEGER_MAX].find(b"\n") + 1 for stream in streams]
    assert line_sizes(Ragged.of(streams)).tolist() == slow


@given(st.lists(st.lists(st.integers(1, 40), max_size=8)), st.sampled_from([1, 5, 1000]))
def test_counted_values_are_their_slow_form(batches: list[list[int]], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resp_module, "VALUES_KEPT", kept)
        values = CountedValues()
        for batch in batches:
            values.add(np.array(batch, np.int64))
    slow = Counter(value for batch in batches for value in batch)
    assert values.count == slow.total()
    assert values.lowest == min(slow, default=None) and values.highest == max(slow, default=None)
    assert values.gaps == (max(slow) - min(slow) + 1 - len(slow) if slow else 0)
    assert values.doubled == slow.total() - len(slow)


def test_requests_are_right_to_the_byte() -> None:
    scenario, _ = begun(100, seed=255)
    key = b"$23\r\nc1m:000000ff:0000000042\r\n"
    got = scenario.requests(np.array([42]), np.array([GET])).piece(0)
    assert got == b"*2\r\n$3\r\nGET\r\n" + key
    put = scenario.requests(np.array([42]), np.array([9])).piece(0)
    assert put == b"*3\r\n$3\r\nSET\r\n" + key + scenario.reply(42, 10)
    assert scenario.reply(42, 10).startswith(b"$38\r\n0000000042-0000000003-")
