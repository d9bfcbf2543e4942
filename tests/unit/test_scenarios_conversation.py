"""The plain form of a scenario: talks, what they find wrong, and where their mistakes are."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError, UsageError
from c1m.scenarios.asks import Say
from c1m.scenarios.base import Exchange
from c1m.scenarios.conversation import Conversation, Talking
from c1m.scenarios.ledger import OUTCOMES

Talk = Generator[Say, bytes, Any]


class Shop(Conversation):
    def talk(self, n: int) -> Talk:
        reply = yield Say(b"LIST\n", until=b"\n")
        assert reply.startswith(b"+"), "the list should be there"
        yield Say(b"BUY %d\n" % n, expect=b"+BOUGHT\n")
        count = int((yield Say(b"COUNT\n", size=4)))
        if count < 0:
            raise AssertionError


def talking(spoken: Any = None, count: int = 3) -> Exchange:
    scenario = Talking(Shop() if spoken is None else spoken)
    scenario.begin(count, 0)
    return scenario.exchange(count, 4)


def say(exchange: Exchange, *numbers: int) -> list[bytes]:
    assert exchange.is_free(np.array(numbers)).all()
    return exchange.requests(np.array(numbers))[0].pieces()


def hear(exchange: Exchange, *pieces: tuple[int, bytes]) -> list[tuple[int, int, str]]:
    numbers = np.array([n for n, _ in pieces], np.int64)
    resolved = exchange.take(numbers, Ragged.of([p for _, p in pieces]))
    assert resolved.outcomes is not None
    rows = zip(resolved.numbers, resolved.seqs, resolved.outcomes, strict=True)
    return [(int(n), int(s), OUTCOMES[o]) for n, s, o in rows]


def test_a_talk_goes_on_and_begins_anew() -> None:
    exchange = talking()
    for turn in range(3):
        assert say(exchange, 1, 2) == [b"LIST\n"] * 2
        assert hear(exchange, (1, b"+ a"), (2, b"+\n"), (1, b" b\n")) == [
            (2, 3 * turn, "right"), (1, 3 * turn, "right"),
        ]  # fmt: skip
        assert say(exchange, 2, 1) == [b"BUY 2\n", b"BUY 1\n"]
        hear(exchange, (1, b"+BOUGHT\n"), (2, b"+BOUGHT\n"))
        assert say(exchange, 2, 1) == [b"COUNT\n"] * 2
        assert len(hear(exchange, (1, b"0012"), (2, b"9"), (2, b"999"))) == 2
    assert exchange.ledger.in_flight == 0 and not exchange.ledger.faults
    assert exchange.ledger.sent.tolist() == exchange.ledger.oldest.tolist() == [0, 9, 9]


def test_a_connection_that_has_not_spoken_has_no_generator() -> None:
    begun = []

    def talk(n: int) -> Talk:
        begun.append(n)
        yield Say(b"?", size=1)

    exchange = talking(talk, 1_000_000)
    assert begun == []
    say(exchange, 7)
    assert begun == [7]


@pytest.mark.parametrize(
    ("turn", "reply", "note"),
    [
        (0, b"-ERR\n", "the list should be there ("),
        (1, b"+BROKE!\n", ""),
        (2, b"four", "invalid literal for int() with base 10: b'four' ("),
        (2, b"-007", "AssertionError"),
    ],
)
def test_a_reply_that_the_talk_does_not_like(turn: int, reply: bytes, note: str) -> None:
    exchange = talking()
    for good in [b"+\n", b"+BOUGHT\n"][:turn]:
        say(exchange, 1)
        hear(exchange, (1, good))
    say(exchange, 1)
    assert hear(exchange, (1, reply)) == [(1, turn, "garbled")]
    fault = exchange.ledger.faults[0]
    assert (fault.kind, fault.number, fault.seq, fault.received) == ("garbled", 1, turn, reply)
    assert note in fault.note and (not note or "test_scenarios_conversation.py:" in fault.note)
    assert fault.expected == (b"+BOUGHT\n" if turn == 1 else b"")
    assert say(exchange, 1) == [b"LIST\n"]  # anew


def test_bytes_that_nobody_asked_for() -> None:
    exchange = talking()
    hear(exchange, (0, b"220 hello\n"))
    say(exchange, 1)
    assert hear(exchange, (1, b"+\n+\n")) == [(1, 0, "right")]
    assert exchange.ledger.extras == {"unasked": 2}


def test_a_talk_ends_with_its_connection_and_when_it_is_given_up() -> None:
    ended = []

    def talk(n: int) -> Talk:
        try:
            while True:
                yield Say(b"?", size=2)
        finally:
            ended.append(n)

    exchange = talking(talk)
    say(exchange, 0, 1, 2)
    hear(exchange, (0, b"a"), (2, b"ab"))
    gone = exchange.gone(np.array([0, 2]))
    assert (gone.numbers.tolist(), ended) == ([0], [0, 2])
    given_up = exchange.give_up(np.array([1, 2]), np.array([0, 0]))
    assert (given_up.numbers.tolist(), ended) == ([1], [0, 2, 1])
    assert exchange.ledger.in_flight == 0
    say(exchange, 0, 1, 2)
    assert exchange.ledger.sent.tolist() == [2, 2, 2]


def _no_generator(n: int) -> Any:
    return [Say(b"?", size=1)]


def _raises(n: int) -> Talk:
    raise RuntimeError("no luck")
    yield


def _raises_at_once(n: int) -> Talk:
    int("x")
    yield Say(b"?", size=1)


def _says_nothing(n: int) -> Talk:
    return
    yield


def _yields_bytes(n: int) -> Talk:
    yield b"LIST"  # type: ignore[misc]


def _misspells(n: int) -> Talk:
    reply = yield Say(b"?", size=1)
    reply.startwith(b"?")  # type: ignore[attr-defined]


def _frames_badly(n: int) -> Talk:
    yield Say(b"?", frame=lambda stream: len(stream) + 1)


def _frame_raises(n: int) -> Talk:
    yield Say(b"?", frame=lambda stream: 1 // 0)


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (_no_generator, "returned list, no generator"),
        (_raises, r"test_scenarios_conversation.py:\d+: RuntimeError: no luck"),
        (_raises_at_once, r"test_scenarios_conversation.py:\d+: ValueError: .* before it had said"),
        (_says_nothing, "ended without saying anything"),
        (_yields_bytes, r"test_scenarios_conversation.py:\d+: talk yielded b'LIST', no c1m.Say"),
        (_misspells, r"test_scenarios_conversation.py:\d+: AttributeError: .*startwith"),
        (_frames_badly, "a reply has 2 bytes, of 1"),
        (_frame_raises, r"test_scenarios_conversation.py:\d+: ZeroDivisionError"),
    ],
)
def test_a_mistake_is_told_with_its_place(talk: Any, told: str) -> None:
    exchange = talking(talk)
    with pytest.raises(ScenarioError, match=told):
        say(exchange, 0)
        hear(exchange, (0, b"x"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"message": b""},
        {"message": 7, "size": 1},
        {"message": b"x", "size": -1},
        {"message": b"x", "size": 1, "until": b"\n"},
    ],
)
def test_a_say_that_means_nothing(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Say(**arguments)


def test_without_messages_a_reply_has_an_end() -> None:
    def talk(n: int) -> Talk:
        yield Say(b"?")

    with pytest.raises(ScenarioError, match="no end of its reply"):
        say(talking(talk), 0)


def test_where_replies_end() -> None:
    assert Say(b"?", until=b"\r\n").whole(b"a\r\nb") == 3
    assert Say(b"?", until=b"\r\n").whole(b"a\r") == 0
    assert Say(b"?", size=3).whole(b"abcd") == 3
    assert Say(b"?", expect=b"ab").whole(b"a") == 0
    assert Say(b"?", expect=b"ab").whole(b"abc") == 2
    assert Say(b"?", frame=lambda s: s[0], expect=b"\1").whole(b"\1") == 1
