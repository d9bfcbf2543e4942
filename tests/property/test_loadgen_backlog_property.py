"""The backlog against a deque for each connection."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from c1m.loadgen.backlog import Backlog

CONNECTIONS = 12

some = st.lists(st.integers(0, CONNECTIONS - 1), max_size=30)


class Queues(RuleBasedStateMachine):
    """Both forms, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog(CONNECTIONS)
        self.slow: dict[int, deque[int]] = defaultdict(deque)
        self.time = 0

    @rule(numbers=some, repeat=st.sampled_from((1, 1, 1, 100)))
    def push(self, numbers: list[int], repeat: int) -> None:
        numbers = numbers * repeat
        times = list(range(self.time, self.time + len(numbers)))
        self.time += len(numbers)
        self.backlog.push(np.array(numbers, np.int64), np.array(times, np.int64))
        for number, time in zip(numbers, times, strict=True):
            self.slow[number].append(time)

    @rule(numbers=some)
    def pop(self, numbers: list[int]) -> None:
        distinct = list(dict.fromkeys(numbers))
        got, times = self.backlog.pop(np.array(distinct, np.int64))
        expected = [(n, self.slow[n].popleft()) for n in distinct if self.slow[n]]
        assert list(zip(got.tolist(), times.tolist(), strict=True)) == expected

    @rule(numbers=some)
    def drop(self, numbers: list[int]) -> None:
        distinct = list(dict.fromkeys(numbers))
        expected = sum(len(self.slow.pop(number, ())) for number in distinct)
        assert self.backlog.drop(np.array(distinct, np.int64)) == expected

    @rule()
    def clear(self) -> None:
        expected = sum(map(len, self.slow.values()))
        self.slow.clear()
        assert self.backlog.clear() == expected

    @invariant()
    def the_same_waits(self) -> None:
        assert len(self.backlog) == sum(map(len, self.slow.values()))
        waits = self.backlog.has(np.arange(CONNECTIONS)).tolist()
        assert waits == [bool(self.slow[number]) for number in range(CONNECTIONS)]


Queues.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
test_it_is_a_queue_for_each_connection = Queues.TestCase


@given(st.integers(0, 5000), st.integers(0, 5000))
@settings(max_examples=20)
def test_many_on_one_connection_stay_in_order(first: int, second: int) -> None:
    backlog = Backlog(3)
    backlog.push(np.full(first, 1), np.arange(first))
    backlog.push(np.full(second, 1), np.arange(first, first + second))
    out = []
    while len(backlog):
        _, times = backlog.pop(np.array([1]))
        out += times.tolist()
    assert out == list(range(first + second))
