"""ConnTable and the table of states: every pair of state and event."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from c1m.engine.states import ILLEGAL, NEXT, ConnEvent, ConnState
from c1m.engine.uring.table import HAS_OUTBOX, RECEIVE_WANTED, ConnTable
from c1m.errors import InternalError
from c1m.server.statistics import CloseReason, reason_of

LEGAL = {
    ("FREE", "ACCEPT"): "OPEN",
    ("FREE", "CONNECT"): "CONNECTING",
    ("CONNECTING", "CONNECTED"): "OPEN",
    ("CONNECTING", "FREE"): "FREE",
    ("OPEN", "EOF"): "HALF_CLOSED",
    ("OPEN", "LINGER"): "LINGERING",
    ("OPEN", "FREE"): "FREE",
    ("HALF_CLOSED", "LINGER"): "LINGERING",
    ("HALF_CLOSED", "FREE"): "FREE",
    ("LINGERING", "FREE"): "FREE",
}


def slots(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@pytest.mark.parametrize(("state", "event"), [*itertools.product(ConnState, ConnEvent)])
def test_every_pair_moves_as_the_table_says_or_raises(state: ConnState, event: ConnEvent) -> None:
    following = LEGAL.get((state.name, event.name))
    table = ConnTable(4)
    table.states[2] = state
    if following is None:
        assert NEXT[state, event] == ILLEGAL
        with pytest.raises(InternalError, match=f"{event.name} is illegal for slot 2"):
            table.advance(slots(2), event)
        assert table.states[2] == state
    else:
        table.advance(slots(2), event)
        assert table.describe(2).startswith(f"slot 2 ({following},")


def test_the_table_of_states_cannot_be_changed() -> None:
    with pytest.raises(ValueError):
        NEXT[0, 0] = 0


def test_every_state_but_free_leads_back_to_free() -> None:
    for state in ConnState:
        if state is not ConnState.FREE:
            assert NEXT[state, ConnEvent.FREE] == ConnState.FREE


def test_an_illegal_event_for_one_moves_none() -> None:
    table = ConnTable(4)
    table.open(slots(0, 1), ConnEvent.ACCEPT)
    with pytest.raises(InternalError):
        table.advance(slots(0, 3), ConnEvent.EOF)
    assert table.states[0] == ConnState.OPEN


def test_a_life() -> None:
    table = ConnTable(8)
    assert table.describe(3) == "slot 3 (FREE, generation 0, flags 0)"
    table.open(slots(3, 5), ConnEvent.CONNECT)
    assert table.describe(3) == f"slot 3 (CONNECTING, generation 0, flags {RECEIVE_WANTED})"
    assert not table.is_open(slots(3, 5)).any()
    table.connected(slots(3))
    assert table.is_open(slots(3, 5, 0)).tolist() == [True, False, False]
    table.flags[3] |= HAS_OUTBOX
    table.advance(slots(3), ConnEvent.EOF)
    assert table.is_open(slots(3)).all()
    table.linger(slots(3))
    assert not table.is_open(slots(3)).any()
    assert table.slots_in(table.capacity, ConnState.LINGERING, ConnState.CONNECTING).tolist() == [
        3,
        5,
    ]
    table.free(slots(3))
    assert table.describe(3) == "slot 3 (FREE, generation 1, flags 0)"
    assert table.slots_in(table.capacity, ConnState.FREE).dtype == np.int32


def test_who_may_be_sent_to_is_those_open_or_half_closed() -> None:
    table = ConnTable(8)
    table.open(slots(0, 1, 2), ConnEvent.ACCEPT)
    table.open(slots(3, 4), ConnEvent.CONNECT)
    table.connected(slots(4))
    table.advance(slots(1, 4), ConnEvent.EOF)
    table.linger(slots(2))
    every = np.arange(8, dtype=np.int32)
    usable = table.slots_in(table.capacity, ConnState.OPEN, ConnState.HALF_CLOSED)
    assert every[table.is_open(every)].tolist() == usable.tolist() == [0, 1, 4]
    table.free(slots(0, 4))
    assert every[table.is_open(every)].tolist() == [1]


def test_nothing_at_all_is_fine() -> None:
    table = ConnTable(2)
    table.open(slots(), ConnEvent.ACCEPT)
    table.free(slots())
    assert table.slots_in(table.capacity, ConnState.OPEN).tolist() == []


def test_a_generation_wraps_around() -> None:
    table = ConnTable(2)
    table.generations[1] = 65535
    table.open(slots(1), ConnEvent.ACCEPT)
    table.free(slots(1))
    assert table.generations[1] == 0


def test_a_row_takes_few_bytes() -> None:
    table = ConnTable(1000)
    columns = (table.states, table.flags, table.generations, table.marks)
    assert sum(column.nbytes for column in columns) <= 32 * 1000


def test_close_reasons_have_a_text_and_errnos_a_reason() -> None:
    assert all(reason.text for reason in CloseReason)
    assert reason_of(104) is CloseReason.RESET
    assert reason_of(32) is CloseReason.RESET
    assert reason_of(110) is CloseReason.TIMED_OUT
    assert reason_of(12345) is CloseReason.ERROR
