"""The closed loop over an engine that only notes what it is asked for."""

from __future__ import annotations

import numpy as np

from c1m.engine.base import EventBatch, Slots
from c1m.engine.ragged import Ragged
from c1m.loadgen.closed_loop import ClosedLoop
from c1m.loadgen.message import Message


class Engine:
    """Notes sends and closes."""

    capacity = 50

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.closed: list[int] = []

    def send(self, slots: Slots, data: Ragged) -> None:
        assert len(slots), "a send of nothing"
        self.sent += zip(slots.tolist(), data.pieces(), strict=True)

    def close(self, slots: Slots, *, abort: bool = False) -> None:
        self.closed += slots.tolist()

    def taken(self) -> list[tuple[int, bytes]]:
        """What was sent since the last look."""
        sent, self.sent = self.sent, []
        return sent


def slots_of(*slots: int) -> Slots:
    return np.array(slots, np.int32)


def came(*pieces: tuple[int, bytes]) -> EventBatch:
    return EventBatch(
        data_slots=slots_of(*[slot for slot, _ in pieces]),
        data=Ragged.of([piece for _, piece in pieces]),
    )


def a_loop() -> tuple[ClosedLoop, Engine]:
    """Connections 0, 1, 2 on slots 40, 7, 9, all asked."""
    engine = Engine()
    loop = ClosedLoop(engine, Message("no {n};", 3), 3)  # type: ignore[arg-type]
    loop.assign(slots_of(40, 7, 9), np.arange(3))
    loop.begin(slots_of())
    assert engine.taken() == []
    loop.begin(slots_of(7, 9, 40))
    assert engine.taken() == [(7, b"no 1;"), (9, b"no 2;"), (40, b"no 0;")]
    return loop, engine


def test_right_replies_are_answered_with_the_next_request() -> None:
    loop, engine = a_loop()
    for _ in range(3):
        loop.take(came((9, b"no 2;"), (7, b"no 1;")))
        assert engine.taken() == [(9, b"no 2;"), (7, b"no 1;")]
    loop.take(EventBatch())
    assert (loop.round.right, loop.round.sent, loop.round.in_flight) == (6, 9, 3)


def test_wrong_replies_and_parts_are_not() -> None:
    loop, engine = a_loop()
    loop.take(came((40, b"no 0;"), (7, b"no 2;"), (9, b"no")))
    assert engine.taken() == [(40, b"no 0;")]
    loop.take(came((7, b"no 1;"), (9, b" 2;")))
    assert engine.taken() == [(9, b"no 2;")]
    assert (loop.round.right, loop.round.wrong) == (2, 1)


def test_connections_that_end_are_given_up() -> None:
    loop, engine = a_loop()
    batch = came((40, b"no 0;"))
    batch.eof, batch.closed, batch.closed_errnos = slots_of(7), slots_of(9), slots_of(104)
    loop.take(batch)
    assert engine.taken() == [(40, b"no 0;")]
    assert engine.closed == [7]
    assert (loop.round.right, loop.round.gone, loop.round.in_flight) == (1, 2, 1)
