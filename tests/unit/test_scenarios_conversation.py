"""The plain form of a scenario: talks, what they find wrong, and where their mistakes are."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError, UsageError
from c1m.results.outcomes import Check
from c1m.scenarios.asks import Get, Hear, Pause, Post, Say, Session
from c1m.scenarios.base import Exchange
from c1m.scenarios.commands import Command
from c1m.scenarios.conversation import Conversation, Talking
from c1m.scenarios.feeders import Row
from c1m.scenarios.ledger import OUTCOMES
from c1m.scenarios.loader import own_scenario

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
        (_yields_bytes, r"test_scenarios_conversation.py:\d+: talk yielded b'LIST', which is no"),
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


# --- over messages, and what comes unasked --------------------------------------------------------


class Chat(Conversation):
    """Hears its own words back, and those of others."""

    def __init__(self) -> None:
        self.others: list[tuple[int, Any]] = []

    def talk(self, n: int) -> Any:
        mine = f"hello of {n}"
        reply = yield Say(mine, when=lambda message: message == mine)
        self.check("mine", reply == mine, reply)

    def heard(self, n: int, message: Any) -> bool:
        self.others.append((n, message))
        return isinstance(message, str) and message.startswith("hello of ")


def spoken(conversation: Any, scheme: str, count: int = 3) -> tuple[Talking, Exchange]:
    scenario = Talking(conversation)
    scenario.session, scenario.hears_messages = Session(scheme, "host"), scheme in ("ws", "http")
    scenario.begin(count, 0)
    return scenario, scenario.exchange(count, 1)


def test_which_message_is_the_reply_and_which_was_due() -> None:
    chat = Chat()
    scenario, exchange = spoken(chat, "ws")
    assert say(exchange, 0, 1) == [b"hello of 0", b"hello of 1"]
    pieces = (0, b"hello of 1"), (2, b"hello of 0"), (0, b"hello of 0"), (0, b"bye"), (1, b"\xff")
    assert hear(exchange, *pieces) == [(0, 0, "right")]
    assert chat.others == [(0, "hello of 1"), (2, "hello of 0"), (0, "bye"), (1, b"\xff")]
    assert exchange.ledger.extras == {"unasked": 2}
    assert [one.received for one in exchange.ledger.faults] == [b"bye", b"\xff"]
    assert scenario.checks() == [Check("mine", 1, 0)]


def test_a_status_with_which_nothing_can_be_compared_is_a_mistake() -> None:
    def talk(n: int) -> Any:
        yield Get("/", expect="200")  # type: ignore[arg-type]

    _, exchange = spoken(talk, "http")
    say(exchange, 0)
    with pytest.raises(ScenarioError, match="cannot be judged"):
        hear(exchange, (0, b"HTTP/1.1 200 OK\r\n\r\n"))


def test_a_message_that_when_cannot_make_anything_of_is_no_reply() -> None:
    def talk(n: int) -> Any:
        yield Say("?", when=lambda message: json.loads(message)["id"] == n)

    _, exchange = spoken(talk, "ws")
    say(exchange, 1)
    pieces = [(1, piece) for piece in (b"no json", b'{"other": 1}', b'{"id": 0}', b'{"id": 1}')]
    assert hear(exchange, *pieces) == [(1, 0, "right")]
    assert exchange.ledger.extras == {"unasked": 3}


def test_pushes_come_between_the_replies_of_redis() -> None:
    class Cached(Chat):
        def talk(self, n: int) -> Any:
            value = yield Command("GET", "k")
            self.check("value", value == b"1", value)

        def heard(self, n: int, message: Any) -> bool:
            self.others.append((n, message))
            return bool(message[0] == b"invalidate")

    cached = Cached()
    _, exchange = spoken(cached, "redis")
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
    assert hear(exchange, (0, push[:9])) == []
    assert say(exchange, 0) == [b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"]
    assert hear(exchange, (0, push[9:] + push + b"$1\r\n1\r\n" + push)) == [(0, 0, "right")]
    assert cached.others == [(0, [b"invalidate", [b"k"]])] * 3
    assert not exchange.ledger.extras


def test_a_request_that_only_waits() -> None:
    def talk(n: int) -> Any:
        greeting = yield Hear(until="\n")
        assert greeting == b"220 ready\n", "no greeting"
        yield Say(b"HELO\n", until="\n")

    _, exchange = spoken(talk, "tcp")
    assert exchange.says_nothing_at_times
    assert say(exchange, 0, 1) == [b"", b""]
    assert hear(exchange, (0, b"220 re"), (1, b"500 no\n")) == [(1, 0, "garbled")]
    assert hear(exchange, (0, b"ady\n")) == [(0, 0, "right")]
    assert say(exchange, 0, 1) == [b"HELO\n", b""]


def test_pauses_are_of_the_request_behind_them() -> None:
    def talk(n: int) -> Any:
        yield Say(b"a", size=1)
        if n:
            yield Pause("2s")
            yield Pause(n)
        yield Say(b"b", size=1)
        yield Pause(5)

    _, exchange = spoken(talk, "tcp")
    every = np.arange(3)
    say(exchange, 0, 1, 2)
    hear(exchange, (0, b"x"), (1, b"x"), (2, b"x"))
    pauses = exchange.pauses(every)
    assert pauses is not None and (pauses / 1e9).tolist() == [0, 3, 4]
    assert exchange.pauses(every) is None
    assert say(exchange, 0, 1, 2) == [b"b"] * 3
    hear(exchange, (0, b"x"), (1, b"x"))
    exchange.gone(np.array([1]))
    pauses = exchange.pauses(every)
    assert pauses is not None and (pauses / 1e9).tolist() == [5, 0, 0]
    hear(exchange, (2, b"x"))
    assert say(exchange, 2) == [b"a"]  # by a schedule: it does not wait
    assert exchange.pauses(every) is None


def test_values_go_from_a_reply_into_the_next_request() -> None:
    def talk(n: int) -> Any:
        reply = yield Get("/cart")
        yield Post(f"/cart/{reply.json()['id']}", data=reply.json(), expect=201)

    _, exchange = spoken(talk, "http")
    say(exchange, 0, 1)
    ok = b'HTTP/1.1 200 OK\r\n\r\n{"id": 7}'
    assert sorted(hear(exchange, (0, ok), (1, b"HTTP/1.1 200 OK\r\n\r\n{}"))) == [
        (0, 0, "right"), (1, 0, "garbled"),
    ]  # fmt: skip
    assert "KeyError: 'id'" in exchange.ledger.faults[0].note
    assert say(exchange, 0)[0].startswith(b"POST /cart/7 HTTP/1.1\r\nHost: host\r\n")
    assert hear(exchange, (0, ok)) == [(0, 1, "garbled")]
    assert exchange.ledger.faults[1].note == "status 200"


def test_a_shared_object_is_begun_set_up_asked_at_the_end_and_torn_down() -> None:
    class Bank(Conversation):
        def __init__(self) -> None:
            self.done: list[str] = []

        def set_up(self) -> None:
            self.check("set up", True)
            self.done.append("set up")

        def at_end(self) -> None:
            self.check("sum is kept", self.done == ["set up"])
            raise ZeroDivisionError

        def tear_down(self) -> None:
            self.done.append("torn down")

    bank = Bank()
    scenario = own_scenario(bank)
    scenario.begin(1, 0)
    scenario.set_up()
    with pytest.raises(ScenarioError, match="ZeroDivisionError"):
        scenario.tear_down()
    assert bank.done == ["set up", "torn down"]
    assert scenario.checks() == [Check("set up", 1, 0), Check("sum is kept", 1, 0)]


def _forgets(self: Any, n: int, message: Any) -> Any:
    return None


def _stumbles(self: Any, n: int, message: Any) -> Any:
    return message["id"]


def _asks_badly(n: int) -> Any:
    yield Say("?", when=lambda message: message.id)


def _pauses_first(n: int) -> Any:
    yield Pause(1)
    yield Say("?")


def _says_http(n: int) -> Any:
    yield Get("/")


def _misses_a_column(n: int) -> Any:
    yield Say(Row({"name": "Ann"}, "users.csv")["nmae"])


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (type("", (Chat,), {"heard": _forgets})(), r"heard\(1, ...\) returned None"),
        (type("", (Chat,), {"heard": _stumbles})(), r"py:\d+: TypeError: .*\(heard raised\)"),
        (_asks_badly, r"py:\d+: AttributeError: .*\(when raised\)"),
        (_pauses_first, "begins with a Pause"),
        (_says_http, r"Request cannot be said over ws://. It is for targets as http://"),
        (_misses_a_column, r"users.csv has no column 'nmae'; did you mean 'name'"),
    ],
)
def test_further_mistakes(talk: Any, told: str) -> None:
    _, exchange = spoken(talk, "ws")
    with pytest.raises(ScenarioError, match=told):
        say(exchange, 0, 1)
        hear(exchange, (1, b"hello of 0"))


def test_nothing_is_kept_of_connections_that_have_ended() -> None:
    def talk(n: int) -> Any:
        yield Say(b"a", size=2)
        yield Pause(1)
        yield Say(b"b", size=2)

    _, exchange = spoken(talk, "tcp", 5)
    say(exchange, 0, 1, 2, 3)
    hear(exchange, (0, b"xx"), (1, b"x"), (2, b"xx"))
    say(exchange, 2)
    exchange.gone(np.arange(5))
    kept = [one for one in vars(exchange).values() if isinstance(one, dict)]
    assert len(kept) >= 4 and not any(kept) and not len(vars(exchange)["_inbox"])
