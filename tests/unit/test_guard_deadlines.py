"""Deadlines of connections, which are found in slices."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.guard.deadlines import SLICE, Deadlines


def all_over(deadlines: Deadlines, second: int, slices: int = 4) -> list[int]:
    return [slot for _ in range(slices) for slot in deadlines.over(second).tolist()]


@pytest.mark.parametrize("now", [0, 5, 65_530, 65_535, 65_536, 1_000_000])
def test_each_is_found_once_when_its_time_has_come(now: int) -> None:
    deadlines = Deadlines(3 * SLICE)
    deadlines.set(np.array([1, SLICE + 2], np.int32), now + 10)
    deadlines.set_one(1, now + 20)
    deadlines.set(np.array([2 * SLICE + 5], np.int32), now + 30)
    deadlines.clear(np.array([2 * SLICE + 5], np.int32))
    assert all_over(deadlines, now) == all_over(deadlines, now + 9) == []
    assert all_over(deadlines, now + 11) == [SLICE + 2]
    assert all_over(deadlines, now + 21) == [1]
    assert all_over(deadlines, now + 1000) == []


def test_none_are_there_at_first() -> None:
    assert all_over(Deadlines(0), 7) == all_over(Deadlines(10), 7) == []
