"""A round of echoes: one case for each thing a server can do to a reply."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.loadgen.echo_round import FAILURE_BYTES_MAX, FAILURES_KEPT, EchoRound
from c1m.loadgen.message import Message


def a_round(count: int = 3, template: str = "no {n};") -> EchoRound:
    """A round in which every connection has been sent to."""
    made = EchoRound("first", Message(template, count), count)
    made.requests(np.arange(count))
    return made


def take(one: EchoRound, *pieces: tuple[int, bytes]) -> list[bool]:
    numbers = np.array([number for number, _ in pieces], np.int64)
    return one.take(numbers, Ragged.of([piece for _, piece in pieces])).tolist()


def counts(one: EchoRound) -> tuple[int, int, int]:
    """Right, wrong and missing; they add up to what was sent."""
    assert one.sent == one.right + one.wrong + one.missing()
    return one.right, one.wrong, one.missing()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"no 1;"], (1, 0, 2)),
        ([b"no", b" 1;"], (1, 0, 2)),
        ([b"n", b"o", b" ", b"1", b";"], (1, 0, 2)),
        ([b"no 1"], (0, 0, 3)),
        ([b"no 2;"], (0, 1, 2)),  # another connection's
        ([b"no 1;no 1;"], (0, 1, 2)),
        ([b"no 1;", b"no 1;"], (0, 1, 2)),
        ([b"no 1;", b"x"], (0, 1, 2)),
        ([b"no 1;x"], (0, 1, 2)),
        ([b"NO 1;"], (0, 1, 2)),
        ([b"x", b"no 1;"], (0, 1, 2)),
        ([b"no", b"no 1;"], (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_reply(pieces: list[bytes], expected: tuple[int, int, int], is_one_batch: bool) -> None:
    one = a_round()
    if is_one_batch:
        take(one, *[(1, piece) for piece in pieces])
    else:
        for piece in pieces:
            take(one, (1, piece))
    assert counts(one) == expected


def test_only_the_piece_that_completes_a_reply_counts_as_done() -> None:
    one = a_round()
    assert take(one, (0, b"no"), (1, b"no 1;"), (0, b" 0;"), (2, b"?")) == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_lost_connection_is_missing_unless_its_reply_had_come() -> None:
    one = a_round()
    take(one, (0, b"no 0;"), (1, b"no"))
    one.lost(np.array([0, 1]))
    assert counts(one) == (1, 0, 2)
    assert one.in_flight == 1


def test_in_flight_peak_is_the_most_at_once() -> None:
    one = EchoRound("first", Message("{n}", 4), 4)
    one.requests(np.array([0, 1]))
    take(one, (0, b"0"), (1, b"1"))
    one.requests(np.array([2, 3]))
    assert (one.sent, one.in_flight, one.in_flight_peak) == (4, 2, 2)


def again(one: EchoRound, *pieces: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    """Which messages go to which connections next, in a closed loop."""
    numbers = np.array([number for number, _ in pieces], np.int64)
    which, requests = one.again(numbers, Ragged.of([piece for _, piece in pieces]))
    return list(zip(numbers[which].tolist(), requests.pieces(), strict=True))


def test_a_closed_loop_begins_anew_where_a_reply_was_right() -> None:
    one = a_round()
    assert again(one, (2, b"no 2;"), (0, b"no 0;")) == [(2, b"no 2;"), (0, b"no 0;")]
    assert (one.sent, one.right, one.in_flight, one.in_flight_peak) == (5, 2, 3, 3)
    assert again(one, (1, b"no"), (0, b"no 0;")) == [(0, b"no 0;")]
    assert again(one, (1, b" 1"), (2, b"no 0;")) == []
    one.lost(np.array([0]))
    assert (one.sent, one.right, one.wrong, one.gone, one.in_flight) == (6, 3, 1, 1, 1)
    assert again(one, (0, b"no 0;"), (1, b";")) == [(1, b"no 1;")]
    assert (one.sent, one.right, one.wrong, one.gone, one.in_flight) == (7, 4, 1, 1, 1)


def test_two_replies_at_once_to_one_request_of_a_closed_loop() -> None:
    one = a_round()
    assert again(one, (1, b"no 1;"), (1, b"no 1;")) == []
    assert (one.sent, one.right, one.wrong) == (3, 0, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_connections_that_were_not_sent_to_have_no_reply(count: int) -> None:
    one = EchoRound("first", Message("no {n};", 3), 3)
    pieces = [(n, b"no %d;" % n) for n in range(count)]
    assert take(one, *pieces) == [False] * count
    assert [number for number, _, _ in one.failures] == list(range(count))
    assert one.completed(np.arange(count), Ragged.of([piece for _, piece in pieces])).size == 0


def test_all_that_completed_are_named() -> None:
    one = a_round()
    assert one.completed(np.array([2, 0]), Ragged.of([b"no 2;", b"no 0;"])).tolist() == [2, 0]
    assert one.completed(np.array([1]), Ragged.of([b"no"])).tolist() == []


def test_the_first_failures_are_kept_with_what_was_expected_and_what_came() -> None:
    one = a_round(FAILURES_KEPT + 5)
    for n in range(FAILURES_KEPT + 5):
        take(one, (n, b"no"))
        take(one, (n, b"!"))
    assert one.wrong == FAILURES_KEPT + 5
    assert one.failures == [(n, b"no %d;" % n, b"no!") for n in range(FAILURES_KEPT)]


def test_a_long_wrong_reply_is_cut() -> None:
    one = a_round()
    take(one, (0, b"x" * 10_000))
    assert one.failures == [(0, b"no 0;", b"x" * FAILURE_BYTES_MAX)]
