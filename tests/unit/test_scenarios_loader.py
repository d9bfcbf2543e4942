"""Scenarios by name and by file: what each is, and what is told of those that cannot be."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError, UsageError
from c1m.scenarios.base import Scenario
from c1m.scenarios.ledger import OUTCOMES
from c1m.scenarios.loader import SCENARIOS, options_of, own_scenario, rehearse
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.templates import Echo, LengthPrefixed, Ping, Templates
from made_scenarios import make_scenario


def first(scenario: Scenario, number: int = 3, seq: int = 2) -> tuple[bytes, bytes]:
    where = np.array([number]), np.array([seq])
    return scenario.requests(*where).piece(0), scenario.reply(*(int(w[0]) for w in where))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_name_is_a_scenario(name: str) -> None:
    scenario = make_scenario(name, connections=10)
    assert scenario.name == name
    exchange = exchange_of(scenario, 10, 1)
    exchange.opened(np.arange(10))
    if name not in ("hold", "half-open"):
        assert exchange.is_free(np.array([0]))[0]


def test_the_reference_lists_what_the_classes_say() -> None:
    reference = Path(__file__).parents[2] / "docs" / "reference" / "scenarios.md"
    for name, kind in SCENARIOS.items():
        options = ", ".join(f"`--{option}`" for option in options_of(kind))
        row = f"| `{name}` | {kind.help} | {options} |"
        assert row in reference.read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "options", "request_", "reply"),
    [
        ("echo", {}, b"client 3 message 2\n", b"client 3 message 2\n"),
        ("echo", {"message": b"\0{n}"}, b"\0{n}", b"\0{n}"),
        ("ping", {}, b"PING\r\n", b"+PONG\r\n"),
        ("ping", {"message": "a{n}", "expect": "b{seq}"}, b"a3", b"b2"),
        ("lines", {"message": "x{n}"}, b"x3\n", b"x3\n"),
        ("lines", {"message": b"x\r\n", "expect": "y"}, b"x\r\n", b"y\n"),
        ("length-prefixed", {"message": "x{n}"}, b"\0\0\0\2x3", b"\0\0\0\2x3"),
        ("length-prefixed", {"message": "x", "expect": "{n}yy"}, b"\0\0\0\1x", b"\0\0\0\0033yy"),
        ("slow-reader", {"message": "s{n}"}, b"s3", b"s3"),
        ("publish", {"message": "p{n}/{seq}", "expect": "got {seq}"}, b"p3/2", b"got 2"),
        ("half-open", {"message": "0123{n}6"}, b"012", b""),
    ],
)
def test_what_they_say_and_expect(
    name: str, options: dict[str, Any], request_: bytes, reply: bytes
) -> None:
    assert first(make_scenario(name, connections=10, **options)) == (request_, reply)


def test_flags() -> None:
    assert make_scenario("hold").is_silent
    assert not make_scenario("slow-reader").reads
    assert len(first(make_scenario("slow-reader", connections=10))[0]) > 1000
    assert make_scenario("half-open").wants_end
    assert make_scenario("publish", connections=5, publishers=3).speakers == 3


def test_half_open_connections_say_what_they_expected() -> None:
    exchange, here = exchange_of(make_scenario("half-open", connections=2), 2, 1), np.array([1])
    _, seqs = exchange.requests(here)
    exchange.give_up(here, seqs)
    (fault,) = exchange.ledger.faults
    assert (fault.expected, fault.note) == (b"", "the server should have ended the connection")


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("ehco", {}, "no scenario 'ehco'; did you mean 'echo'"),
        ("zzz", {}, "There is no scenario 'zzz'. There are: echo, ping"),
        ("hold", {"message": "x"}, "no use for --message. Leave it out, or use .*echo, ping"),
        ("resp", {"message": "x"}, "no use for --message"),
        ("echo", {"expect": "x"}, "no use for --expect. .*use one that takes it: ping, lines"),
        ("half-open", {"expect": "x"}, "no use for --expect"),
        ("ping", {"message": "x"}, "--message without --expect"),
        ("ping", {"expect": "x"}, "--expect without --message"),
        ("echo", {"message": "{x}"}, "'{x}', which stands for nothing"),
        ("echo", {"message": ""}, "empty"),
        ("echo", {"message": "{any:3}"}, "only what is expected"),
        ("lines", {"message": "a\nb"}, "several lines"),
        ("half-open", {"pipeline": 2}, "at most one request"),
        ("echo", {"publishers": 2}, "no use for --publishers. .*: publish"),
    ],
)
def test_what_cannot_be_is_told(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_scenario(name, connections=10, **options)


OWN = """
import c1m

class Order(c1m.Scenario):
    def begin(self, connections, seed):
        self.message = c1m.Message("order {n} {seq};", connections, seed)

    def requests(self, numbers, seqs):
        return self.message.pieces(numbers, seqs)

    def replies(self, numbers, seqs):
        pairs = zip(numbers.tolist(), seqs.tolist())
        return c1m.Ragged.of([b"%d:%d\\n" % pair for pair in pairs])

class Shop(c1m.Conversation):
    def __init__(self, message="LIST\\n"):
        self.message = message.encode()

    def talk(self, n):
        yield c1m.Say(self.message, until=b"\\n")

def talk(n):
    yield c1m.Say(b"hello\\n", until=b"\\n")

made = Order()
number = 5
"""


def own(tmp_path: Path, text: str = OWN) -> str:
    path = tmp_path / "my_test.py"
    path.write_text(text)
    return str(path)


def test_a_batch_form_out_of_a_file(tmp_path: Path) -> None:
    for name in ("Order", "made"):
        scenario = make_scenario(own(tmp_path) + ":" + name, connections=10)
        assert first(scenario) == (b"order 3 2;", b"3:2\n")
        exchange = exchange_of(scenario, 10, 1)
        exchange.requests(np.arange(10))
        data = Ragged.of([b"%d:0\n" % n for n in range(10)])
        assert exchange.take(np.arange(10), data).outcomes is None


@pytest.mark.parametrize(("name", "says"), [("Shop", b"LIST\n"), ("talk", b"hello\n")])
def test_a_plain_form_out_of_a_file(tmp_path: Path, name: str, says: bytes) -> None:
    scenario = make_scenario(own(tmp_path) + ":" + name, connections=10)
    exchange = exchange_of(scenario, 10, 1)
    assert exchange.requests(np.array([4, 2]))[0].pieces() == [says, says]
    resolved = exchange.take(np.array([2, 4]), Ragged.of([b"a\n", b"b\n"]))
    assert resolved.outcomes is not None
    assert [OUTCOMES[o] for o in resolved.outcomes] == ["right", "right"]
    assert rehearse(scenario, 10, 0) == len(says)  # how long its messages are
    with pytest.raises(ScenarioError, match="has no requests"):  # but in a conversation
        scenario.requests(np.array([0]), np.array([0]))


def test_options_go_to_those_that_name_them(tmp_path: Path) -> None:
    scenario = make_scenario(own(tmp_path) + ":Shop", message="X\n", connections=1)
    assert exchange_of(scenario, 1, 1).requests(np.array([0]))[0].pieces() == [b"X\n"]
    with pytest.raises(UsageError, match="Order has no use for --message"):
        make_scenario(own(tmp_path) + ":Order", message="X")


def test_the_only_scenario_needs_no_name(tmp_path: Path) -> None:
    path = own(tmp_path, "import c1m\ndef one(n):\n    yield c1m.Say(b'x', size=1)\n")
    assert make_scenario(path).name == path


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("def f(:\n", ":f", r"my_test.py:1: SyntaxError"),
        ("x = 1\n\nx = 1 / 0\n", ":f", r"my_test.py:3: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", ":f", r"my_test.py:1: SystemExit"),
        ("import no_such_module\n", ":f", r"my_test.py:1: ModuleNotFoundError"),
        (OWN, ":Oder", "has no 'Oder'; did you mean 'Order'"),
        (OWN, ":number", "number in .*my_test.py is no scenario"),
        (OWN, "", "has 4 scenarios: Order, Shop, talk, made"),
        ("x = 1\n", "", "has no scenarios"),
        (OWN, "Order", "no place of a scenario"),
        ("import c1m\nclass A(c1m.Scenario):\n    pass\n", ":A", "A has no requests"),
        (
            "import c1m\nclass A(c1m.Scenario):\n    def requests(self, n, s):\n"
            "        return [b'x']\n", ":A", "requests returned list, no c1m.Ragged",
        ),
        (
            "import c1m\nclass A(c1m.Scenario):\n    def requests(self, n, s):\n"
            "        return c1m.Ragged.of([b'x'])\n", ":A", "1 pieces for 2 connections",
        ),
        (
            "import c1m\nclass A(c1m.Scenario):\n    def requests(self, n, s):\n"
            "        return c1m.Ragged.repeat(b'x', len(n))\n", ":A", "which replies are right",
        ),
        (
            "import c1m\nclass A(c1m.Scenario):\n    def requests(self, n, s):\n"
            "        return c1m.Ragged.repeat(b'', len(n))\n", ":A", "without a byte",
        ),
        (
            "import c1m\nclass A(c1m.Scenario):\n    def requests(self, n, s):\n"
            "        return c1m.Ragged(b'abc', [0, 1], [2, 3])\n", ":A",
            "A: Piece 1 of what requests returned .* not inside its memory of 3 bytes",
        ),
        (
            "import c1m\nclass A(c1m.Scenario):\n    def requests(self, n, s):\n"
            "        return self.nothing\n", ":A", r"my_test.py:4: AttributeError.*requests raised",
        ),
        (
            "import c1m\nclass A(c1m.Conversation):\n    def __init__(self, x):\n"
            "        pass\n", ":A", "TypeError.*when A was made",
        ),
        ("def talk(n):\n    yield b'x'\n", ":talk", r"my_test.py:2: talk yielded b'x'"),
        ("def talk(n, m):\n    yield b'x'\n", ":talk", r"TypeError.*missing 1 required"),
        ("import c1m\nclass A(c1m.Conversation):\n    pass\n", ":A", r"A has no talk\(self, n\)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_in_a_sentence(
    tmp_path: Path, text: str, name: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        make_scenario(own(tmp_path, text) + name, connections=10)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        make_scenario(str(tmp_path / "none.py") + ":A")


def test_a_conversation_takes_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most one request"):
        make_scenario(own(tmp_path) + ":Shop", pipeline=4)


def test_a_mistake_in_the_middle_of_a_run_is_told_with_its_place(tmp_path: Path) -> None:
    returns = "        return c1m.Ragged.of("
    text = OWN.replace(returns, "        assert seqs[0] < 1\n" + returns)
    scenario = make_scenario(own(tmp_path, text) + ":Order", connections=1)
    exchange = exchange_of(scenario, 1, 1)
    one = np.array([0])
    exchange.requests(one)
    exchange.take(one, Ragged.of([b"0:0\n"]))
    exchange.requests(one)
    with pytest.raises(ScenarioError, match=r"my_test.py:1\d: AssertionError .* raised"):
        exchange.take(one, Ragged.of([b"0:1\n"]))


def test_a_piece_beyond_its_memory_is_not_sent_in_the_middle_of_a_run() -> None:
    class Growing(c1m.Scenario):
        def requests(self, numbers: np.ndarray, seqs: np.ndarray) -> Ragged:
            return Ragged(b"abcd", np.zeros(len(seqs), np.int64), seqs * 4 + 4)  # type: ignore[arg-type]

        replies = requests

    exchange = exchange_of(own_scenario(Growing()), 1, 1)
    one = np.array([0])
    exchange.requests(one)
    exchange.take(one, Ragged.of([b"abcd"]))
    with pytest.raises(ScenarioError, match=r"what requests returned .* length 8"):
        exchange.requests(one)


def lists(numbers: np.ndarray, seqs: np.ndarray) -> Any:
    return [b"x"] * len(numbers)


class Decorated(c1m.Scenario):
    @functools.wraps(lists)
    def requests(self, numbers: np.ndarray, seqs: np.ndarray) -> Any:  # type: ignore[override]
        return lists(numbers, seqs)


class SetLater(c1m.Scenario):
    def __init__(self) -> None:
        self.requests = lists  # type: ignore[method-assign]


class LikeOneThatIsGuarded(c1m.Scenario):
    def __init__(self) -> None:
        guarded = own_scenario(SetLater()).requests
        self.requests = functools.wraps(guarded)(lists)  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", [Decorated, SetLater, LikeOneThatIsGuarded])
def test_however_a_method_is_made_its_mistakes_are_told(kind: type[Scenario]) -> None:
    scenario = own_scenario(kind())
    with pytest.raises(ScenarioError, match=r"requests returned list") as told:
        rehearse(scenario, 2, 0)
    assert "Ragged.of" in told.value.remedy


def test_a_scenario_is_guarded_once() -> None:
    scenario = own_scenario(Decorated())
    before = scenario.requests
    assert own_scenario(scenario).requests is before


def test_half_open_is_right_when_the_server_ends_it() -> None:
    exchange = exchange_of(make_scenario("half-open", connections=4), 4, 8)
    everyone = np.arange(4)
    assert exchange.is_free(everyone).all()
    exchange.requests(everyone)
    assert not exchange.is_free(everyone).any()
    assert len(exchange.take(everyone[:1], Ragged.of([b"408\n"]))) == 0
    ended = exchange.gone(everyone[:2], by_peer=True)
    assert ended.outcomes is not None and ended.outcomes.tolist() == [0, 0]
    closed = exchange.gone(everyone[2:3])
    given_up = exchange.give_up(everyone[3:], np.array([0]))
    for resolved in (closed, given_up):
        assert resolved.outcomes is not None
        assert [OUTCOMES[o] for o in resolved.outcomes] == ["missing"]
    assert exchange.ledger.in_flight == 0
    assert exchange.is_free(everyone).tolist() == [True, True, True, False]  # opened anew


@pytest.mark.parametrize(
    ("template", "stream", "frame"),
    [
        ("a{n}z", b"a3z", 3),
        ("a{n}z", b"a3", 0),
        ("a{n}z", b"a12za3z", 4),
        ("a{n}z", b"a1", 0),
        ("a{n}z", b"qqa3z", 2),
        ("a{n}z", b"aqz", 3),
        ("a{n}z", b"qq", 0),
        ("a{n}z", b"qqq", 3),
        ("-{any:2}-", b"-1", 0),
        ("-{any:2}-", b"----", 4),
        ("-{any:2}-", b"-12x", 4),
        ("{n}", b"3", 1),
    ],
)
def test_where_a_templates_reply_ends(template: str, stream: bytes, frame: int) -> None:
    scenario = Ping("x", template)
    scenario.begin(100, 0)
    assert scenario.frame(3, 0, stream) == frame


@pytest.mark.parametrize(
    ("stream", "frame"),
    [(b"\0\0\0", 0), (b"\0\0\0\2a", 0), (b"\0\0\0\2ab", 6), (b"HTTP/1.1", 8), (b"\0\0\0\1abc", 5)],
)
def test_where_a_prefixed_reply_ends(stream: bytes, frame: int) -> None:
    scenario = LengthPrefixed("x", "ab")
    scenario.begin(100, 0)
    assert scenario.frame(3, 0, stream) == frame


def test_objects_in_the_place_of_names() -> None:
    def talk(n: int) -> Any:
        yield c1m.Say(b"%d\n" % n, until=b"\n")

    scenario = own_scenario(talk)
    rehearse(scenario, 3, 0)
    assert exchange_of(scenario, 3, 1).requests(np.array([2]))[0].pieces() == [b"2\n"]
    assert own_scenario(scenario) is scenario
    echo = Echo("x")
    rehearse(own_scenario(echo), 3, 0)
    for thing in (Templates, 5, lambda n: n):
        with pytest.raises(UsageError, match="is no scenario"):
            own_scenario(thing)  # type: ignore[arg-type]
