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
