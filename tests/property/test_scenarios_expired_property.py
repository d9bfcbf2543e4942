"""Requests that were given up are known again, however they came: the same as a set of pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.scenarios import ledger as given_up
from c1m.scenarios.ledger import GivenUp

COUNT = 4
requests = st.tuples(st.integers(0, COUNT - 1), st.integers(0, 6))
steps = st.lists(st.one_of(st.lists(requests, unique=True, max_size=6), requests), max_size=20)


@given(steps)
def test_it_is_a_set(script: list[list[tuple[int, int]] | tuple[int, int]]) -> None:
    fast, slow = GivenUp(COUNT), set[tuple[int, int]]()
    for step in script:
        if isinstance(step, list):  # a request is given up once
            new = [one for one in step if one not in slow]
            rows = np.array(new, np.int64).reshape(-1, 2)
            fast.add(rows[:, 0], rows[:, 1])
            slow.update(new)
        else:
            fast.discard(step)
            slow.discard(step)
        everything = [(n, s) for n in range(COUNT) for s in range(7)]
        assert [one in fast for one in everything] == [one in slow for one in everything]


def test_beyond_the_bound_only_the_last_of_each_is_known() -> None:
    given_up.EARLIER_MAX, before = 2, given_up.EARLIER_MAX
    try:
        one = GivenUp(1)
        one.add(np.zeros(6, np.int64), np.arange(6))
    finally:
        given_up.EARLIER_MAX = before
    assert [s for s in range(6) if (0, s) in one] == [0, 1, 5]
