"""The backlog by example; against deques in the property tests."""

from __future__ import annotations

import numpy as np

from c1m.loadgen.backlog import Backlog


def test_first_in_is_first_out_on_each_connection() -> None:
    backlog = Backlog(5)
    backlog.push(np.array([3, 1, 3, 3]), np.array([10, 11, 12, 13]))
    backlog.push(np.array([1]), np.array([14]))
    numbers, times = backlog.pop(np.array([0, 1, 3]))
    assert (numbers.tolist(), times.tolist()) == ([1, 3], [11, 10])
    numbers, times = backlog.pop(np.array([3, 1]))
    assert (numbers.tolist(), times.tolist()) == ([3, 1], [12, 14])
    assert len(backlog) == 1 and backlog.has(np.arange(5)).tolist() == [0, 0, 0, 1, 0]


def test_what_is_dropped_is_counted_and_its_room_used_again() -> None:
    backlog = Backlog(4)
    for _ in range(50):
        backlog.push(np.repeat([0, 2], 500), np.arange(1000))
        assert backlog.drop(np.array([2, 3])) == 500
        assert backlog.drop(np.array([0])) == 500
    assert len(backlog) == 0 and len(backlog._times) == 1024


def test_nothing_of_nothing() -> None:
    backlog = Backlog(2)
    none = np.zeros(0, np.int64)
    backlog.push(none, none)
    assert len(backlog.pop(none)[0]) == len(backlog.pop(np.array([1]))[0]) == 0
    assert backlog.drop(none) == backlog.clear() == 0
