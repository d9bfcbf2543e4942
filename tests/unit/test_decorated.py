"""What the base of decorators sees to, around an engine that brings what a test says."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest

from c1m.engine.contract import NOTHING, EventBatch, Pieces
from c1m.engine.decorated import HELD, OWN, PLAIN, Decorated
from c1m.engine.ragged import Ragged
from unit.scripted_engine import ScriptedEngine

REASON = 1 << 20


class Greeted(Decorated):
    """Holds those of listener 1 back until they say "hello"; "mine" keeps them, "bad" ends them."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.forgotten: list[int] = []

    def _holds(self, listener: int) -> bool:
        return listener == 1

    def _take(self, pieces: Pieces) -> None:
        for slot, piece in pieces:
            kind = self._kind_bytes[slot]
            if piece == b"bad":
                self._end(slot, REASON, b"bye")
            elif kind == HELD and piece in (b"hello", b"mine"):
                self._open(slot, PLAIN if piece == b"hello" else OWN)
            elif kind >= PLAIN:
                self._told.data.append((slot, piece.upper() if kind == OWN else piece))

    def _end_of_input(self, slot: int) -> None:
        self._end(slot, REASON + 1)

    def _forget(self, slot: int) -> None:
        self.forgotten.append(slot)


@pytest.fixture
def inner() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def engine(inner: ScriptedEngine) -> Greeted:
    return Greeted(inner)


def data_of(batch: EventBatch) -> list[tuple[int, bytes]]:
    return list(zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True))


def check_law(engine: Greeted) -> None:
    now = engine.statistics()
    assert now.accepted + now.connected == now.live + now.lingering + now.closed


def held(engine: Greeted, inner: ScriptedEngine, *slots: int) -> None:
    inner.brings(opened=slots, opened_listeners=[1] * len(slots))
    assert len(engine.wait(0)) == 0


def test_what_is_not_held_passes_as_it_is(engine: Greeted, inner: ScriptedEngine) -> None:
    inner.brings(opened=[3, 4], opened_listeners=[0, 2])
    batch = engine.wait(-1)
    assert batch.opened.tolist() == [3, 4]
    assert batch.opened_listeners.tolist() == [0, 2]
    inner.brings(data=[(3, b"x"), (4, b"y")])
    plain = inner.batches[0]
    assert engine.wait(-1) is plain
    assert inner.timeouts == [-1, -1]
    check_law(engine)


def test_one_that_is_held_is_in_no_event_until_it_is_opened(
    engine: Greeted, inner: ScriptedEngine
) -> None:
    held(engine, inner, 5)
    assert (engine.statistics().opening, engine.statistics().live) == (1, 0)
    inner.brings(data=[(5, b"hello"), (5, b"rest")])
    batch = engine.wait(0)
    assert batch.opened.tolist() == [5]
    assert batch.opened_listeners.tolist() == [1]
    assert data_of(batch) == [(5, b"rest")]
    assert (engine.statistics().opening, engine.statistics().live) == (0, 1)
    check_law(engine)


def test_data_of_one_that_is_opened_is_not_among_the_pieces(
    engine: Greeted, inner: ScriptedEngine
) -> None:
    held(engine, inner, 5)
    inner.brings(opened=[6], opened_listeners=[0])
    engine.wait(0)
    pieces: Pieces = []
    inner.brings(data=[(5, b"hello"), (6, b"plain"), (5, b"rest")])
    batch = engine.wait(0, pieces)
    assert pieces == [(6, b"plain")]
    assert data_of(batch) == [(5, b"rest")]
    inner.brings(data=[(5, b"more")])
    pieces = []
    assert len(engine.wait(0, pieces)) == 0
    assert pieces == [(5, b"more")]


def test_plain_data_stays_in_arrays_and_in_order(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5, 7)
    inner.brings(opened=[6], opened_listeners=[0], data=[(6, b"1"), (5, b"mine"), (6, b"2")])
    batch = engine.wait(0)
    assert data_of(batch) == [(6, b"1"), (6, b"2")]
    inner.brings(data=[(5, b"a"), (6, b"3"), (7, b"unheard"), (5, b"b")])
    batch = engine.wait(0)
    assert batch.is_plain
    assert [row for row in data_of(batch) if row[0] == 5] == [(5, b"A"), (5, b"B")]
    assert [row for row in data_of(batch) if row[0] == 6] == [(6, b"3")]


def test_a_refusal_is_never_opened(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5, 6, 7)
    inner.brings(data=[(5, b"bad"), (5, b"hello")], closed=[6], closed_errnos=[errno.ECONNRESET],
                 eof=[7])  # fmt: skip
    batch = engine.wait(0)
    assert len(batch) == 0
    assert inner.sent == [(5, b"bye")]
    assert inner.closed == [(5, False), (7, False)]
    never = engine.statistics().never_opened
    assert never == {REASON: 1, REASON + 1: 1, errno.ECONNRESET: 1}
    assert sorted(engine.forgotten) == [5, 6, 7]
    engine.reports_ends = True
    inner.brings(ended=[5, 7], ended_errnos=[0, 0], opened=[5], opened_listeners=[0])
    batch = engine.wait(0)
    assert batch.ended.tolist() == []
    assert batch.opened.tolist() == [5]
    check_law(engine)


def test_one_that_is_opened_ends_in_the_next_batch(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5)
    inner.brings(data=[(5, b"mine"), (5, b"bad")])
    batch = engine.wait(0)
    batch.check(engine.capacity)
    assert batch.opened.tolist() == [5]
    assert len(batch.closed) == 0
    batch = engine.wait(-1)
    assert inner.timeouts[-1] == 0
    assert batch.closed.tolist() == [5]
    assert batch.closed_errnos.tolist() == [REASON]
    assert inner.closed == [(5, False)]
    check_law(engine)


def test_the_caller_may_be_quicker_than_that(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5)
    inner.brings(data=[(5, b"mine"), (5, b"bad")])
    engine.wait(0)
    engine.close(np.array([5], np.int32))
    assert len(engine.wait(0)) == 0
    assert inner.closed == [(5, False)]


def test_one_that_is_reset_before_it_is_opened_is_not(
    engine: Greeted, inner: ScriptedEngine
) -> None:
    held(engine, inner, 5)
    inner.brings(data=[(5, b"hello")], closed=[5], closed_errnos=[errno.ECONNRESET])
    assert len(engine.wait(0)) == 0
    assert engine.statistics().never_opened == {errno.ECONNRESET: 1}


def test_an_end_by_us_and_by_the_peer_in_one_batch_is_one(
    engine: Greeted, inner: ScriptedEngine
) -> None:
    held(engine, inner, 5)
    inner.brings(data=[(5, b"mine")])
    engine.wait(0)
    inner.brings(data=[(5, b"bad")], closed=[5], closed_errnos=[errno.ECONNRESET])
    batch = engine.wait(0)
    assert batch.closed.tolist() == [5]
    assert inner.closed == []  # it is gone there already, and the slot may be another's


def test_what_the_caller_closes_ends_for_him(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 1)
    inner.brings(opened=[5, 6], opened_listeners=[0, 0])
    engine.wait(0)
    engine.close(np.array([5, 5, 6], np.int32))
    inner.brings(ended=[5, 6], ended_errnos=[0, errno.ETIMEDOUT])
    batch = engine.wait(0)
    assert batch.ended.tolist() == []
    assert batch.expired.tolist() == [6]


def test_a_stale_slot_touches_nobody_who_is_held(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5)
    engine.close(np.array([5], np.int32), abort=True)
    engine.send(np.array([5, 6], np.int32), Ragged.of([b"late", b"on time"]))
    engine.send_each([5], [b"late"])
    assert inner.closed == []
    assert inner.sent == [(6, b"on time")]
    assert engine.statistics().unsent_bytes == 8
    assert engine.statistics().opening == 1


def test_a_watermark_is_told_when_it_is_opened(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5, 6)
    inner.brings(blocked=[5, 6])
    assert len(engine.wait(0)) == 0
    inner.brings(drained=[6])
    assert len(engine.wait(0)) == 0
    inner.brings(data=[(5, b"hello"), (6, b"hello")])
    assert engine.wait(0).blocked.tolist() == [5]
    inner.brings(drained=[5])
    assert engine.wait(0).drained.tolist() == [5]


def test_two_of_them_stack(inner: ScriptedEngine) -> None:
    lower = Greeted(inner)
    upper = Greeted(lower)
    inner.brings(opened=[5], opened_listeners=[1])
    assert len(upper.wait(0)) == 0
    inner.brings(data=[(5, b"hello"), (5, b"mine"), (5, b"text")])
    batch = upper.wait(0)
    assert batch.opened.tolist() == [5]
    assert data_of(batch) == [(5, b"TEXT")]
    upper.close(np.array([5], np.int32))
    upper.reports_ends = True
    inner.brings(ended=[5], ended_errnos=[0])
    assert upper.wait(0).ended.tolist() == [5]


def test_those_held_at_the_end_were_never_opened(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5, 6)
    engine.shutdown()
    engine.shutdown()
    now = engine.statistics()
    assert (now.opening, now.live, now.accepted, now.closed) == (0, 0, 0, 0)
    assert now.never_opened == {errno.ECANCELED: 2}


def test_nothing_is_nothing(engine: Greeted, inner: ScriptedEngine) -> None:
    held(engine, inner, 5)
    assert engine.wait(0) is NOTHING
