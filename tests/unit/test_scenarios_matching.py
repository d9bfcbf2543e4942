"""An exchange: one case for each thing a server can do to a reply, with exact counts."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError
from c1m.protocols import inbox
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.ledger import (
    FAULT_BYTES_MAX,
    FAULTS_KEPT,
    MISSING,
    OUTCOMES,
    RIGHT,
    Resolved,
)
from c1m.scenarios.matching import Matching, exchange_of
from c1m.scenarios.messages import Numbers
from c1m.scenarios.templates import Echo, Lines
from c1m.scenarios.unanswered import Hold

ECHO = "no {n} seq {seq};"


def an_exchange(template: str = ECHO, count: int = 3, depth: int = 1, asked: int = 1) -> Exchange:
    """One in which every connection has been sent `asked` requests."""
    scenario = Echo(template)
    scenario.begin(count, 0)
    exchange = exchange_of(scenario, count, depth)
    for _ in range(asked):
        exchange.requests(np.arange(count))
    return exchange


def take(exchange: Exchange, *pieces: tuple[int, bytes]) -> list[tuple[int, int, str]]:
    """Number, seq and outcome of what the pieces resolve."""
    numbers = np.array([number for number, _ in pieces], np.int64)
    return rows(exchange.take(numbers, Ragged.of([piece for _, piece in pieces])))


def rows(resolved: Resolved) -> list[tuple[int, int, str]]:
    outcomes = resolved.outcomes
    if outcomes is None:
        outcomes = np.full(len(resolved), RIGHT, np.uint8)
    names = [OUTCOMES[o] for o in outcomes]
    return list(zip(resolved.numbers.tolist(), resolved.seqs.tolist(), names, strict=True))


RIGHT_1 = (1, 0, "right")


@pytest.mark.parametrize("is_one_batch", [True, False])
@pytest.mark.parametrize(
    ("pieces", "resolved", "extras"),
    [
        ([b"no 1 seq 0;"], [RIGHT_1], {}),
        ([b"no", b" 1 seq 0;"], [RIGHT_1], {}),
        ([b"%c" % byte for byte in b"no 1 seq 0;"], [RIGHT_1], {}),
        ([b"no 1 seq 0"], [], {}),
        ([b"no 2 seq 0;"], [(2, 0, "crossed")], {}),
        ([b"no 1 seq 0;no 1 seq 0;"], [RIGHT_1], {"doubled": 1}),
        ([b"no 1 seq 0;", b"no 1 seq 0;"], [RIGHT_1], {"doubled": 1}),
        ([b"no 1 seq 0;", b"no 1 ", b"seq 0;"], [RIGHT_1], {"doubled": 1}),
        ([b"no 1 seq 0;no 2 seq 0;"], [RIGHT_1, (2, 0, "crossed")], {}),
        ([b"NO 1 SEQ 0;"], [(1, 0, "garbled")], {}),
        ([b"NO 1 SEQ 0;no 1 seq 0;"], [(1, 0, "garbled")], {"late": 1}),
        ([b"x", b"no 1 seq 0;"], [RIGHT_1], {"unasked": 1}),
        ([b"no 1 s", b"no 1 seq 0;"], [RIGHT_1], {"unasked": 1}),
        ([b"no 1 seq 0;no 1 seq 1;"], [RIGHT_1], {"unasked": 1}),
        ([b"no 7 seq 0;"], [(1, 0, "garbled")], {}),
    ],
)
def test_a_reply(
    pieces: list[bytes],
    resolved: list[tuple[int, int, str]],
    extras: dict[str, int],
    is_one_batch: bool,
) -> None:
    exchange = an_exchange()
    if is_one_batch:
        came = take(exchange, *[(1, piece) for piece in pieces])
    else:
        came = [row for piece in pieces for row in take(exchange, (1, piece))]
    assert came == resolved
    assert exchange.ledger.extras == extras
    assert exchange.ledger.in_flight == 3 - len(resolved)


def test_two_replies_swapped_are_two_crossed_and_nothing_is_missing() -> None:
    exchange = an_exchange()
    swapped = take(exchange, (0, b"no 2 seq 0;"), (1, b"no 1 seq 0;"), (2, b"no 0 seq 0;"))
    assert sorted(swapped) == [(0, 0, "crossed"), RIGHT_1, (2, 0, "crossed")]
    assert exchange.ledger.in_flight == 0 and not exchange.ledger.extras
    assert [(f.kind, f.number, f.expected, f.received) for f in exchange.ledger.faults] == [
        ("crossed", 0, b"no 0 seq 0;", b"no 2 seq 0;"),
        ("crossed", 2, b"", b"no 0 seq 0;"),  # nothing was due there any more
    ]


def test_replies_in_another_order() -> None:
    exchange = an_exchange(depth=3, asked=3)
    assert take(exchange, (1, b"no 1 seq 1;no 1 seq 0;no 1 seq 2;")) == [
        (1, 1, "right"), (1, 0, "reordered"), (1, 2, "right"),
    ]  # fmt: skip


def test_a_later_request_that_was_given_up_overtakes_nothing() -> None:
    exchange = an_exchange(depth=2, asked=2)
    assert rows(exchange.give_up(np.array([1]), np.array([1]))) == [(1, 1, "missing")]
    assert take(exchange, (1, b"no 1 seq 0;")) == [RIGHT_1]
    assert exchange.ledger.oldest.tolist() == [0, 2, 0]


def test_several_replies_in_a_piece() -> None:
    exchange = an_exchange(depth=4, asked=4)
    all_four = [(0, seq, "right") for seq in range(4)]
    piece = b"".join(b"no 0 seq %d;" % seq for seq in range(4))
    assert take(exchange, (0, piece), (1, b"no 1 seq 0;no 1 s")) == [*all_four, RIGHT_1]
    assert take(exchange, (1, b"eq 1;")) == [(1, 1, "right")]
    assert not exchange.ledger.faults and exchange.ledger.in_flight == 6


def test_which_connections_may_send() -> None:
    exchange = an_exchange(depth=2, asked=1)
    exchange.requests(np.array([2]))
    assert exchange.is_free(np.array([2, 0])).tolist() == [False, True]
    take(exchange, (2, b"no 2 seq 0;"))
    assert exchange.is_free(np.array([2])).all()


def test_what_a_connection_had_in_flight_is_missing_when_it_ends() -> None:
    exchange = an_exchange(depth=2, asked=2)
    take(exchange, (0, b"no 0 seq 1;"), (1, b"no 1"))
    assert sorted(rows(exchange.gone(np.array([0, 1])))) == [
        (0, 0, "missing"), (1, 0, "missing"), (1, 1, "missing"),
    ]  # fmt: skip
    assert exchange.ledger.in_flight == 2
    _, seqs = exchange.requests(np.array([1]))  # opened anew
    assert seqs.tolist() == [2]
    assert take(exchange, (1, b"no 1 seq 2;")) == [(1, 2, "right")]


def test_a_reply_to_a_connection_that_is_gone_comes_late_on_another() -> None:
    exchange = an_exchange()
    exchange.gone(np.array([0]))
    assert take(exchange, (1, b"no 0 seq 0;")) == []
    assert exchange.ledger.extras == {"late": 1}


def test_a_reply_after_it_was_given_up_is_late_once() -> None:
    exchange = an_exchange()
    assert rows(exchange.give_up(np.array([1]), np.array([0]))) == [(1, 0, "missing")]
    assert rows(exchange.give_up(np.array([1]), np.array([0]))) == []
    take(exchange, (1, b"no 1 seq 0;"))
    take(exchange, (1, b"no 1 seq 0;"))
    assert exchange.ledger.extras == {"late": 1, "doubled": 1}


def test_a_slow_reply_that_is_given_up_half_way_is_late_when_it_is_whole() -> None:
    exchange = an_exchange()
    take(exchange, (1, b"no 1 s"))
    assert rows(exchange.give_up(np.array([1]), np.array([0]))) == [(1, 0, "missing")]
    exchange.requests(np.array([1]))
    assert take(exchange, (1, b"eq 0;no 1 seq 1;")) == [(1, 1, "right")]
    assert exchange.ledger.extras == {"late": 1}


@pytest.mark.parametrize("template", [ECHO, "pong;", "<{random:8}>", "{n}:{seq}", "no end {n}"])
@pytest.mark.parametrize("is_own", [False, True])
def test_a_truncated_reply_is_missing_and_nothing_else(template: str, is_own: bool) -> None:
    """The next one is right, however it is cut; what had come of the other is in its row."""
    exchange = an_exchange(template)
    if is_own:
        exchange = exchange_of(OwnEcho(exchange.scenario), 3, 1)
        exchange.requests(np.arange(3))
    whole = exchange.scenario.reply(1, 0)
    assert take(exchange, (1, whole[:2])) == []
    assert rows(exchange.give_up(np.array([1]), np.array([0]))) == [(1, 0, "missing")]
    assert exchange.ledger.faults[0].received == whole[:2]
    exchange.requests(np.array([1]))
    following = exchange.scenario.reply(1, 1)
    came = take(exchange, (1, following[:3])) + take(exchange, (1, following[3:]))
    assert came == [(1, 1, "right")]
    assert not exchange.ledger.extras and len(exchange.ledger.faults) == 1
    assert rows(exchange.gone(np.array([1]))) == [] and not exchange.ledger.extras


class OwnEcho(Scenario):
    """A scenario that says what is right, and nothing about ends."""

    def __init__(self, of: Scenario) -> None:
        self._of = of

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._of.requests(numbers, seqs)

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._of.replies(numbers, seqs)


def test_a_truncated_reply_of_the_last_request_is_told_once() -> None:
    exchange = an_exchange()
    take(exchange, (1, b"no 1 s"))
    exchange.give_up(np.array([1]), np.array([0]))
    assert rows(exchange.gone(np.array([1]), by_peer=True)) == [] and not exchange.ledger.extras


def test_a_reply_that_is_slow_over_two_time_outs_is_late_once() -> None:
    exchange = an_exchange()
    take(exchange, (1, b"no 1"))
    for seq in range(2):
        assert rows(exchange.give_up(np.array([1]), np.array([seq]))) == [(1, seq, "missing")]
        exchange.requests(np.array([1]))
        assert take(exchange, (1, b" seq"[2 * seq :][:2])) == []
    assert take(exchange, (1, b" 0;no 1 seq 2;")) == [(1, 2, "right")]
    assert exchange.ledger.extras == {"late": 1}


def test_with_several_in_flight_what_is_cut_off_stands_for_its_own_request() -> None:
    exchange = an_exchange(depth=3, asked=3)
    assert take(exchange, (1, b"no 1 sno 1 seq 1;no 1 seq 2;")) == [
        (1, 0, "garbled"), (1, 1, "right"), (1, 2, "right"),
    ]  # fmt: skip
    assert not exchange.ledger.extras


def test_a_number_at_the_end_may_be_a_longer_ones() -> None:
    exchange = an_exchange("no {n}", count=60)
    assert take(exchange, (5, b"no 50")) == [(50, 0, "crossed")]
    assert take(exchange, (7, b"no 7"), (8, b"no 8")) == [(7, 0, "right"), (8, 0, "right")]


def test_garbage_that_does_not_end_is_garbled_when_given_up() -> None:
    exchange = an_exchange()
    take(exchange, (1, b"yes"))
    assert rows(exchange.give_up(np.array([1]), np.array([0]))) == [(1, 0, "garbled")]
    assert exchange.ledger.faults[0].received == b"yes"


@pytest.mark.parametrize("template", ["pong;", "<{random:8}>"])
def test_replies_that_do_not_say_whose_they_are(template: str) -> None:
    exchange = an_exchange(template)
    reply = [exchange.scenario.reply(1, seq) for seq in range(3)]
    take(exchange, (1, reply[0]))
    take(exchange, (1, reply[0]))
    assert exchange.ledger.extras == {"doubled": 1}
    exchange.requests(np.array([1]))
    exchange.give_up(np.array([1]), np.array([1]))
    take(exchange, (1, reply[1]))
    assert exchange.ledger.extras == {"doubled": 1, "late": 1}


def test_a_doubled_reply_of_random_letters_is_not_garbage() -> None:
    exchange = an_exchange("<{random:8}>", depth=2, asked=2)
    first, second = (exchange.scenario.reply(1, seq) for seq in range(2))
    assert take(exchange, (1, first + first + second)) == [RIGHT_1, (1, 1, "right")]
    assert exchange.ledger.extras == {"doubled": 1}


def test_the_first_faults_of_each_kind_are_kept_and_cut() -> None:
    exchange = an_exchange(count=FAULTS_KEPT + 5)
    for n in range(FAULTS_KEPT + 5):
        assert take(exchange, (n, b"?" * 1000)) == [(n, 0, "garbled")]
    garbled = [fault for fault in exchange.ledger.faults if fault.kind == "garbled"]
    assert [fault.number for fault in garbled] == list(range(FAULTS_KEPT))
    assert garbled[3].expected == b"no 3 seq 0;"
    assert all(len(fault.received) <= FAULT_BYTES_MAX for fault in exchange.ledger.faults)


def test_a_long_reply_in_parts_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = an_exchange("{n}" + "x" * 100_000)
    framed = 0
    frame = exchange.scenario.frame

    def counted(number: int, seq: int, stream: bytes) -> int:
        nonlocal framed
        framed += 1
        return frame(number, seq, stream)

    monkeypatch.setattr(exchange.scenario, "frame", counted)
    reply = exchange.scenario.reply(1, 0)
    parts = [reply[at : at + 500] for at in range(0, len(reply), 500)]
    came = [row for part in parts for row in take(exchange, (1, part))]
    assert came == [RIGHT_1] and framed == 1


def test_endless_garbage_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "BEYOND_MAX", 1000)
    scenario = Lines("a")
    scenario.begin(1, 0)
    exchange = Matching(scenario, 1)
    exchange.requests(np.array([0]))
    came = [row for _ in range(30) for row in take(exchange, (0, b"x" * 100))]
    assert came == [(0, 0, "garbled")]
    assert exchange.ledger.extras["unasked"] >= 1


def test_a_part_that_nobody_asked_for_is_told_when_its_connection_ends() -> None:
    exchange = an_exchange(asked=0)
    take(exchange, (2, b"no"))
    assert rows(exchange.gone(np.array([2]), by_peer=True)) == []
    assert exchange.ledger.extras == {"unasked": 1}


def test_a_frame_that_says_nonsense_is_told() -> None:
    class Nonsense(Echo):
        def frame(self, number: int, seq: int, stream: bytes) -> int:
            return len(stream) + 1

    scenario = Nonsense(ECHO)
    scenario.begin(1, 0)
    exchange = Matching(scenario, 1)
    exchange.requests(np.array([0]))
    with pytest.raises(ScenarioError, match="3 bytes, of 2"):
        take(exchange, (0, b"no"))


def test_a_scenario_that_knows_a_right_reply_when_it_sees_one() -> None:
    class Even(Scenario):
        def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
            return Ragged.repeat(b"?", len(numbers))

        def accepts(self, number: int, seq: int, reply: bytes) -> bool:
            return int(reply) % 2 == 0

        def frame(self, number: int, seq: int, stream: bytes) -> int:
            return stream.find(b"\n") + 1

    exchange = exchange_of(Even(), 3, 1)
    exchange.requests(np.arange(3))
    assert take(exchange, (0, b"12\n"), (1, b"1")) == [(0, 0, "right")]
    assert take(exchange, (1, b"3\n"), (2, b"8\n")) == [(2, 0, "right"), (1, 0, "garbled")]


def test_holding_hears_nothing() -> None:
    exchange = exchange_of(Hold(), 3, 1)
    assert not exchange.is_free(np.arange(3)).any()
    assert take(exchange, (1, b"220 welcome\r\n")) == []
    assert rows(exchange.gone(np.arange(3))) == [] and not exchange.ledger.extras


def test_outcomes_are_counted_by_their_numbers() -> None:
    assert OUTCOMES[RIGHT] == "right" and OUTCOMES[MISSING] == "missing"
