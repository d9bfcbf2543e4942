"""Several scenarios in one run: weights, whose connections are whose, and one ledger for all."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError, UsageError
from c1m.results.outcomes import Check, Share
from c1m.scenarios.asks import Say
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.checks import check
from c1m.scenarios.conversation import Conversation, Talk, Talking
from c1m.scenarios.feeders import rewind
from c1m.scenarios.ledger import OUTCOMES
from c1m.scenarios.loader import own_scenario, rehearse
from c1m.scenarios.mix import Mix, pattern, weighed
from c1m.scenarios.templates import Lines, Ping
from c1m.scenarios.unanswered import Hold


class Asking(Conversation):
    def talk(self, n: int) -> Talk:
        reply = yield Say(b"ask %d\n" % n, until=b"\n")
        check("answered", reply != b"no\n", reply)


def mixed(count: int = 8) -> tuple[Mix, Exchange]:
    """Three of `lines` to one that talks."""
    mix = Mix([Lines(), own_scenario(Asking())], [3, 1])
    mix.begin(count, 0)
    return mix, mix.exchange(count, 1)


def hear(exchange: Exchange, *pieces: tuple[int, bytes]) -> list[tuple[int, int, str]]:
    numbers = np.array([n for n, _ in pieces], np.int64)
    resolved = exchange.take(numbers, Ragged.of([p for _, p in pieces]))
    assert resolved.outcomes is not None
    rows = zip(resolved.numbers, resolved.seqs, resolved.outcomes, strict=True)
    return sorted((int(n), int(s), OUTCOMES[o]) for n, s, o in rows)


SHOP = object()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("echo", [("echo", 1)]),
        ("shop.py:Browse=3, shop.py:Buy", [("shop.py:Browse", 3), ("shop.py:Buy", 1)]),
        ("a=10,b = 2", [("a", 10), ("b", 2)]),
        ({"a": 3, "b": 1}, [("a", 3), ("b", 1)]),
        (["a=3", "b"], [("a", 3), ("b", 1)]),
        (SHOP, [(SHOP, 1)]),
        ({SHOP: 2, "a": 1}, [(SHOP, 2), ("a", 1)]),
    ],
)
def test_weights(given: Any, meant: list[tuple[Any, int]]) -> None:
    assert weighed(given) == meant


@pytest.mark.parametrize("given", ["a=0", "a=1001", "a=x", "a=1.5", {"a": True}, {}, ["a"] * 65])
def test_weights_that_are_none(given: Any) -> None:
    with pytest.raises(UsageError):
        weighed(given)


@pytest.mark.parametrize("weights", [[1], [3, 1], [6, 2], [1, 1, 1], [1, 10, 3], [1000, 999]])
def test_shares_are_even_however_many_are_open(weights: list[int]) -> None:
    owners = np.resize(pattern(weights), 5000)
    for count in (sum(weights), 500, 5000):
        have = Counter(owners[:count].tolist())
        for part, weight in enumerate(weights):
            assert abs(have[part] - count * weight / sum(weights)) <= 1


def test_each_says_and_hears_its_own() -> None:
    mix, exchange = mixed()
    every = np.arange(8)
    talkers = np.flatnonzero(mix.owners(8) == 1).tolist()
    assert len(talkers) == 2
    exchange.opened(every)
    said, seqs = exchange.requests(every[::-1])
    assert seqs.tolist() == [0] * 8
    assert said.pieces() == [
        b"ask %d\n" % n if n in talkers else b"client %d message 0\n" % n
        for n in reversed(range(8))
    ]
    again = exchange.again(every, np.zeros(8, np.int64))
    assert again.pieces() == said.pieces()[::-1]
    assert [exchange.unanswered(n) for n in range(8)] == [[0]] * 8
    one, other = talkers
    lines = [n for n in range(8) if n not in talkers]
    told = hear(
        exchange, (other, b"yes\n"), (lines[0], b"client %d message 0\n" % lines[0]),
        (one, b"no\n"), (lines[1], b"client\n"),
    )  # fmt: skip
    assert told == sorted([
        (other, 0, "right"), (one, 0, "right"), (lines[0], 0, "right"), (lines[1], 0, "garbled"),
    ])  # fmt: skip
    gone = exchange.gone(np.array([lines[2]]))
    assert gone.numbers.tolist() == [lines[2]]
    rest = np.array(lines[3:])
    given_up = exchange.give_up(rest, np.zeros(len(rest), np.int64))
    assert sorted(given_up.numbers.tolist()) == lines[3:]
    assert (exchange.ledger.in_flight, exchange.awaited) == (0, 0)
    assert mix.shares() == [Share("lines", 6, 6, 1, 1, 4), Share("own", 2, 2, 2, 0, 0)]
    assert mix.checks() == [Check("answered", 1, 1, "no")]


def test_one_alone_in_a_batch() -> None:
    mix, exchange = mixed()
    only = np.flatnonzero(mix.owners(8) == 0)[:2]
    assert exchange.requests(only)[0].pieces() == [b"client %d message 0\n" % n for n in only]
    assert exchange.take(only[:0], Ragged.empty()).numbers.tolist() == []
    assert mix.shares()[1].sent == 0


class Framed(Conversation):
    """Notes what is done with it."""

    def __init__(self, done: list[str], name: str, raises: str = "") -> None:
        self._done, self._name, self._raises = done, name, raises

    def _do(self, what: str) -> None:
        self._done.append(f"{what} {self._name}")
        if what == self._raises:
            raise RuntimeError(self._name)

    def set_up(self) -> None:
        self._do("up")

    def at_end(self) -> None:
        self._do("end")

    def tear_down(self) -> None:
        self._do("down")

    def notes(self) -> list[str]:
        return [f"note of {self._name}"]

    def talk(self, n: int) -> Talk:
        yield Say(b"?", size=1)


def framed(*raises: str) -> tuple[Mix, list[str]]:
    done: list[str] = []
    parts = [own_scenario(Framed(done, "ab"[i], each)) for i, each in enumerate(raises)]
    return Mix(parts, [1] * len(parts)), done


def test_all_are_set_up_and_torn_down() -> None:
    mix, done = framed("", "")
    mix.set_up()
    mix.tear_down()
    assert done == ["up a", "up b", "end a", "down a", "end b", "down b"]
    assert mix.notes() == ["note of a", "note of b"]


def test_what_was_set_up_is_torn_down_where_another_raises() -> None:
    mix, done = framed("", "up")
    with pytest.raises(ScenarioError, match=r"RuntimeError: b \(set_up raised\)"):
        mix.set_up()
    assert done == ["up a", "up b", "end a", "down a"]
    mix, done = framed("end", "down")
    with pytest.raises(ScenarioError, match="RuntimeError: a"):
        mix.tear_down()
    assert done == ["end a", "down a", "end b", "down b"]


def test_what_cannot_be_mixed() -> None:
    with pytest.raises(UsageError, match="'hold' cannot be mixed"):
        Mix([Lines(), Hold()], [1, 1])
    mix = Mix([Lines(), Ping()], [9, 1])
    with pytest.raises(UsageError, match="With 3 connections 'ping' has none"):
        mix.begin(3, 0)


def test_each_is_rehearsed() -> None:
    def misspelt(n: int) -> Talk:
        yield Say(b"?", size=1 // 0)

    parts: list[Scenario] = [Lines(), own_scenario(misspelt)]
    with pytest.raises(ScenarioError, match=r"test_scenarios_mix.py:\d+: ZeroDivisionError"):
        rehearse(Mix(parts, [1, 1]), 10, 0)
    assert rehearse(Mix([Lines(), Ping()], [1, 1]), 10, 0) == len(b"client 9 message 0\n")
    rewind(0)


def test_it_takes_turns_where_one_does() -> None:
    assert not Mix([Lines(), Ping()], [1, 1]).takes_turns
    assert Mix([Lines(), Talking(Asking())], [1, 1]).takes_turns
