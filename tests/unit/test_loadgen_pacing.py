"""How many connects may start: never more than the accept queues take, never ahead of the pace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.loadgen.connections import UNKNOWN_QUEUE, WINDOW_MAX, Window


@pytest.mark.parametrize(
    ("queue", "targets", "size"),
    [
        (5, 1, 5),
        (5, 3, 15),
        (0, 1, 1),  # listen(0) takes one connection
        (None, 1, UNKNOWN_QUEUE),
        (None, 2, 2 * UNKNOWN_QUEUE),
        (4096, 40, WINDOW_MAX),
    ],
)
def test_its_size(queue: int | None, targets: int, size: int) -> None:
    assert Window(queue, targets).size == size


def test_without_a_rate_the_room_may_be_filled() -> None:
    window = Window(10, 1)
    assert window.may_start(0, 0, 0) == 10
    assert window.may_start(100, 4, 0) == 6
    assert window.may_start(100, 10, 0) == 0


def test_with_a_rate_the_first_starts_at_once_and_the_others_when_they_are_due() -> None:
    window = Window(1000, 1)
    window.pace(10.0, 0, 0)
    assert window.may_start(0, 0, 0) == 1
    assert window.may_start(1, 0, 99_000_000) == 0
    assert window.may_start(1, 0, 100_000_000) == 1
    assert window.may_start(1, 0, 1_000_000_000) == 10


def test_a_pace_counts_from_when_it_was_set() -> None:
    window = Window(1000, 1)
    window.pace(10.0, 500, 60_000_000_000)
    assert window.may_start(500, 0, 60_000_000_000) == 1
    assert window.may_start(501, 0, 60_100_000_000) == 1
    window.pace(None, 501, 61_000_000_000)
    assert window.may_start(501, 0, 61_000_000_000) == 1000


def test_a_step_is_what_comes_due_in_ten_milliseconds_or_a_quarter_of_the_window() -> None:
    window = Window(1000, 1)
    assert window.step == 250
    window.pace(5_000.0, 0, 0)
    assert window.step == 50
    window.pace(10.0, 0, 0)
    assert window.step == 1


@given(
    st.one_of(st.none(), st.integers(0, 5000)),
    st.integers(1, 50),
    st.one_of(st.none(), st.floats(0.001, 1e6)),
    st.integers(0, 10**6),
    st.integers(0, 10_000),
    st.integers(0, 10**12),
    st.integers(0, 10**6),
    st.integers(0, 10**15),
)
def test_neither_the_room_nor_the_pace_is_passed(
    queue: int | None,
    targets: int,
    rate: float | None,
    started: int,
    under_way: int,
    elapsed_ns: int,
    before: int,
    begun_ns: int,
) -> None:
    window = Window(queue, targets)
    window.pace(rate, before, begun_ns)
    started += before
    more = window.may_start(started, under_way, begun_ns + elapsed_ns)
    assert 0 <= more <= WINDOW_MAX
    if more:
        assert under_way + more <= window.size
        if rate is not None:
            assert started - before + more <= rate * elapsed_ns / 1e9 + 1
