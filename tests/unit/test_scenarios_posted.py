"""Publications by POST: who hears them, what their answers are for."""

from __future__ import annotations

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.scenarios.ledger import GARBLED, MISSING, RIGHT, Resolved
from c1m.scenarios.posted import Posted, PostedExchange

COUNT = 12
SUBSCRIBERS = np.arange(2, COUNT)
FIRST = np.array([0])


def begun() -> tuple[Posted, PostedExchange]:
    """Two publishers and ten subscribers, all open; the first has published."""
    scenario = Posted("{n} says {seq}", publishers=2)
    scenario.hears_messages = True
    scenario.begin(COUNT, 0)
    exchange = scenario.exchange(COUNT, 1)
    assert isinstance(exchange, PostedExchange)
    exchange.opened(np.arange(COUNT))
    said, seqs = exchange.requests(FIRST)
    assert (said.pieces(), seqs.tolist()) == ([b"0 says 0"], [0])
    return scenario, exchange


def outcomes(resolved: Resolved) -> list[tuple[int, int, int]]:
    assert resolved.outcomes is not None
    columns = resolved.numbers, resolved.seqs, resolved.outcomes
    return list(zip(*(column.tolist() for column in columns), strict=True))


def copies(exchange: PostedExchange, numbers: np.ndarray) -> Resolved:
    return exchange.take(numbers, Ragged.repeat(b"0 says 0", len(numbers)))


def test_all_but_the_publishers_hear_it() -> None:
    scenario, exchange = begun()
    assert exchange.expected == 10
    assert outcomes(copies(exchange, SUBSCRIBERS[:9])) == []
    assert outcomes(exchange.take(FIRST, Ragged.of([b"200 10"]))) == []
    assert exchange.awaited == 1
    assert outcomes(copies(exchange, SUBSCRIBERS[9:])) == [(0, 0, RIGHT)]
    assert (exchange.received, exchange.awaited, scenario.notes()) == (10, 0, [])


def test_an_answer_may_come_behind_all_copies() -> None:
    scenario, exchange = begun()
    assert outcomes(copies(exchange, SUBSCRIBERS)) == [(0, 0, RIGHT)]
    assert exchange.awaited == 1 and exchange.is_free(FIRST).all()
    assert scenario.notes() == ["1 publications had no answer."]
    exchange.take(FIRST, Ragged.of([b"202 "]))
    assert exchange.awaited == 0 and scenario.notes() == []


def test_a_publication_that_is_refused() -> None:
    _, exchange = begun()
    assert outcomes(exchange.take(FIRST, Ragged.of([b"403 no"]))) == [(0, 0, GARBLED)]
    (fault,) = exchange.ledger.faults
    assert (fault.received, fault.expected) == (b"403 no", b"200")
    assert (exchange.expected, exchange.ledger.in_flight) == (0, 0)


def test_a_publisher_that_ends_before_it_is_answered() -> None:
    _, exchange = begun()
    copies(exchange, SUBSCRIBERS[:4])
    assert outcomes(exchange.gone(FIRST, by_peer=True)) == [(0, 0, MISSING)]
    assert exchange.awaited == 0


def test_a_publisher_that_ends_when_it_is_answered() -> None:
    _, exchange = begun()
    exchange.take(FIRST, Ragged.of([b"200 10"]))
    assert outcomes(exchange.gone(FIRST, by_peer=True)) == []
    assert outcomes(copies(exchange, SUBSCRIBERS)) == [(0, 0, RIGHT)]


def test_a_copy_that_is_another_message() -> None:
    _, exchange = begun()
    exchange.take(SUBSCRIBERS[:1], Ragged.of([b"0 says"]))
    assert exchange.garbled == 1 and exchange.ledger.faults[0].kind == "garbled"
    exchange.take(FIRST, Ragged.of([b"200 10"]))
    assert outcomes(copies(exchange, SUBSCRIBERS[1:])) == [(0, 0, GARBLED)]


def test_an_answer_that_nobody_waits_for() -> None:
    _, exchange = begun()
    exchange.take(np.array([1]), Ragged.of([b"200 10"]))
    assert exchange.ledger.extras == {"unasked": 1}
