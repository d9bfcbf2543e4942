"""The measurement of false alarms: which runs it makes, and how they are dealt to the sides."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
try:
    import false_alarms
finally:
    sys.path.remove(str(BENCH))


def test_runs_of_worse_builds_are_made_between_those_of_the_build() -> None:
    runs = list(false_alarms.wanted())
    counts = Counter(name for name, _ in runs)
    assert counts == {"same": false_alarms.PAIRS + 2 * 5 - 1, "work": 26, "delay": 26}
    assert len(set(runs)) == len(runs)
    before = {later: earlier for earlier, later in pairwise(runs)}
    for turn, name in enumerate(false_alarms.WORSE_BUILDS):
        first = (turn + 1) * false_alarms.EVERY - 1
        for number in range(26):
            run = before[name, number]
            assert run == ("same", first + 2 * false_alarms.EVERY * number)


def test_sides_take_turns_in_every_window() -> None:
    runs: Any = list(range(209))
    windows: Any = list(false_alarms.in_turns(runs, 5))
    assert len(windows) == 200
    assert windows[0] == ([0, 2, 4, 6, 8], [1, 3, 5, 7, 9])
    assert windows[-1][1][-1] == 208
    assert len(list(false_alarms.in_turns(runs, 1))) == 200


def test_runs_drawn_at_random_are_on_one_side_only() -> None:
    runs: Any = list(range(24))
    pairs = list(false_alarms.at_random(runs, 4))
    assert len(pairs) == false_alarms.DRAWS
    assert all(len({*a, *b}) == 8 and len(a) == 4 for a, b in pairs)


def test_a_worse_run_is_compared_with_the_one_before_it() -> None:
    runs: Any = list(range(100))
    worse: Any = ["w0", "w1", "w2"]
    pairs: Any = list(false_alarms.against(runs, worse, 3, 2))
    assert pairs == [
        ([3, 11], ["w0", "w1"]), ([11, 19], ["w1", "w2"]),
    ]  # fmt: skip
