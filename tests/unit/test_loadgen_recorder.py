"""What is counted by stage and by second: groups that never mix, rows that add up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.loadgen.recorder import LATE_NS, Recorder, SeriesMaker
from c1m.results.record import Requests
from c1m.scenarios.ledger import CROSSED, GARBLED, MISSING, REORDERED, RIGHT

MS = 1_000_000

COUNTS = ("opened", "secured", "failed", "lost", "closed", "due", "sent", "right", "bad")
totals = st.lists(st.tuples(*[st.integers(0, 100)] * 9), max_size=25)


def test_each_group_has_its_own_counts_and_latencies() -> None:
    recorder = Recorder()
    one, two = recorder.first, recorder.group(is_load=True)
    groups = np.array([0, 1, 1, 1, 1, 1], np.uint8)
    outcomes = np.array([RIGHT, RIGHT, GARBLED, CROSSED, REORDERED, MISSING], np.uint8)
    intended, sent = np.arange(6) * MS, np.arange(6) * MS + 500_000
    recorder.resolved(groups, outcomes, intended, sent, 10 * MS)
    assert recorder.groups == [one, two]
    assert one.requests == Requests(right=1)
    faults = {"garbled": 1, "crossed": 1, "reordered": 1}
    assert two.requests == Requests(right=1, wrong=3, missing=1, faults=faults)
    assert one.corrected.count == two.corrected.count == 1, "latencies of right replies only"
    assert (one.corrected.max, one.uncorrected.max) == (10 * MS, 10 * MS - 500_000)
    assert (two.corrected.max, two.uncorrected.max) == (9 * MS, 9 * MS - 500_000)
    assert recorder.overall.count == 1 and recorder.overall.max == 9 * MS
    assert [group.is_load for group in recorder.groups] == [False, True]
    assert recorder.together() == Requests(right=2, wrong=3, missing=1, faults=faults)
    assert recorder.after_first() == two.requests


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 10**9)),
                max_size=20))  # fmt: skip
def test_by_batches_is_as_one_by_one(rows: list[tuple[int, int, int]]) -> None:
    batched, single = Recorder(), Recorder()
    for recorder in (batched, single):
        for _ in range(1, 4):
            recorder.group(is_load=True)
    groups = np.array([p for p, _, _ in rows], np.uint8)
    outcomes = np.array([o for _, o, _ in rows], np.uint8)
    intended = np.array([i for _, _, i in rows], np.int64)
    batched.resolved(groups, outcomes, intended, intended, 10**9)
    for i in range(len(rows)):
        one = slice(i, i + 1)
        single.resolved(groups[one], outcomes[one], intended[one], intended[one], 10**9)
    for fast, slow in zip(batched.groups, single.groups, strict=True):
        assert fast.requests == slow.requests
        assert fast.corrected.to_json() == slow.corrected.to_json()
    assert batched.overall.to_json() == single.overall.to_json()
    assert batched.together().in_flight == -len(rows), "none was sent here"


def test_all_right_needs_no_outcomes() -> None:
    recorder = Recorder()
    hold = recorder.group(is_load=True)
    recorder.resolved(np.full(3, hold.number, np.uint8), None, np.arange(3), np.arange(3), 100)
    assert hold.requests == Requests(right=3)


def test_late_is_what_the_generator_was_behind_with() -> None:
    recorder = Recorder()
    hold = recorder.group(is_load=True)
    recorder.behind(hold, np.array([1, LATE_NS, LATE_NS + 1]), np.array([LATE_NS + 1, 5]))
    assert hold.requests.late == 1
    assert recorder.lag.count == 3 and recorder.series.lag_max_ns == LATE_NS + 1
    recorder.behind(hold, np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert recorder.lag.count == 3


@pytest.mark.parametrize("rows_max", [2, 3, 4, 7, 10])
@settings(max_examples=20)
@given(steps=totals)
def test_rows_add_up_however_often_they_are_halved(
    rows_max: int, steps: list[tuple[int, ...]]
) -> None:
    maker = SeriesMaker(rows_max)
    running = list(
        itertools.accumulate(steps, lambda a, b: tuple(map(sum, zip(a, b, strict=True))))
    )
    for t_s, total in enumerate(running, 1):
        maker.recent.record(np.array([t_s]))
        maker.lag_max_ns = t_s
        gauges = {"t_s": float(t_s), "open": t_s * 2, "in_flight": t_s * 3}
        latest = maker.row(gauges | dict(zip(COUNTS, total, strict=True)))
        assert latest == {"p50": t_s, "p99": t_s, "max": t_s}
    series = maker.series()
    sums = tuple(sum(getattr(series, name)) for name in COUNTS)
    assert sums == (running[-1] if running else (0,) * 9)
    assert len(series.t_s) <= rows_max
    assert series.t_s == sorted(series.t_s)
    if running:
        assert series.t_s[-1] == len(running)
        assert (series.open[-1], series.in_flight[-1]) == (len(running) * 2, len(running) * 3)
        assert max(series.max_ns) == max(series.lag_max_ns) == len(running), "the worst is kept"
    assert series.interval_s == 2 ** _halvings(len(running), rows_max)


def _halvings(rows: int, rows_max: int) -> int:
    """One at a time."""
    count = halvings = 0
    for _ in range(rows):
        count += 1
        if count >= rows_max:
            count, halvings = (count + 1) // 2, halvings + 1
    return halvings


def test_a_row_without_replies_has_no_latencies() -> None:
    maker = SeriesMaker()
    assert maker.row(dict.fromkeys(("t_s", "open", "in_flight", *COUNTS), 0)) == {}
    assert maker.series().max_ns == [0]


def test_what_was_there_before_it_was_asked_for_took_no_time() -> None:
    """A server may say it beside what makes the client ask: both come in one tick."""
    recorder = Recorder()
    group = recorder.group(is_load=True)
    later = np.array([11 * MS])
    recorder.resolved(np.array([1], np.uint8), None, later, later, 10 * MS)
    assert group.requests.right == 1 and group.corrected.max == group.uncorrected.max == 0
