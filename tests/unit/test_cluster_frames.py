"""Frames: as bytes, their numbers, their sum, the series that they make."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from c1m.cluster.frames import BEHIND_S, Frame, Whole, losses_of, sealed
from c1m.errors import C1mError
from c1m.limits.reasons import WORKER_LOST
from c1m.results.histogram import Delta, Histogram, Increments
from c1m.results.tally import StageSpan, Tally

SECOND = 1_000_000_000


def delta_of(*values: int) -> Delta:
    histogram = Histogram()
    increments = Increments(histogram)
    histogram.record(np.array(values, np.int64))
    delta = increments.take()
    assert delta is not None
    return delta


def frame(number: int, part: int = 0, t_s: float | None = None, **counts: int) -> Frame:
    tally = Tally(round((number + 1 if t_s is None else t_s) * SECOND))
    tally.counts = {name.replace("__", "."): count for name, count in counts.items()}
    return Frame("run", part, 0, number, tally)


def test_as_bytes_and_back() -> None:
    one = frame(7, open=-3, connections__opened=1 << 40)
    one.tally.histograms = {"lag": delta_of(5, 5, 10**9), "empty": delta_of(0)}
    one.tally.spans = [StageSpan(0, 5, 9, 3)]
    again = Frame.decode(one.encode())
    assert replace(again.tally, histograms={}) == replace(one.tally, histograms={})
    assert (again.run, again.part, again.attempt, again.number) == ("run", 0, 0, 7)
    for name, delta in one.tally.histograms.items():
        found = again.tally.histograms[name]
        assert found.buckets.tolist() == delta.buckets.tolist()
        assert found.counts.tolist() == delta.counts.tolist()
        assert (found.sum, found.min, found.max) == (delta.sum, delta.min, delta.max)


@pytest.mark.parametrize("counted", [1, 255, 256, 70_000, 1 << 33])
def test_counts_take_the_room_that_they_need(counted: int) -> None:
    one = frame(0)
    one.tally.histograms = {"lag": replace(delta_of(9), counts=np.array([counted]))}
    found = Frame.decode(one.encode()).tally.histograms["lag"]
    assert found.count == counted


def test_sums_are_exact_beyond_64_bits_and_all_spans_are_there() -> None:
    one = frame(0, open=1, status__200=2)
    many = {name: replace(delta_of(n, 7), sum=n << 60) for n, name in enumerate("abc")}
    one.tally.histograms = many | {"none": Delta(np.zeros(0, int), np.zeros(0, int))}
    one.tally.spans = [StageSpan(n, n, n + 1, n + 2) for n in range(-2, 5)]
    again = Frame.decode(one.encode())
    assert [each.sum for each in again.tally.histograms.values()] == [0, 1 << 60, 1 << 61, 0]
    assert again.tally.spans == one.tally.spans and again.tally.counts == one.tally.counts
    one.tally.histograms["a"].sum = (1 << 80) + 5
    assert Frame.decode(one.encode()).tally.histograms["a"].sum == (1 << 80) + 5


@pytest.mark.parametrize(
    "body", [b"", b"1", b"\x02\0\0\0{}", b'\x0d\0\0\0["r",3,[],[]]', b"\xff" * 200]
)
def test_what_is_sealed_and_no_frame_is_refused(body: bytes) -> None:
    with pytest.raises(C1mError, match="damaged"):
        Frame.decode(sealed(body))
    whole = frame(0, open=4).encode()[14:]
    with pytest.raises(C1mError, match="damaged"):
        Frame.decode(sealed(whole[:-1]))


def test_a_frame_that_is_not_what_was_written_is_refused() -> None:
    data = frame(3, open=4).encode()
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 0x20
        with pytest.raises(C1mError):
            Frame.decode(bytes(broken))
    for end in range(len(data)):
        with pytest.raises(C1mError, match="not whole"):
            Frame.decode(data[:end])
    with pytest.raises(C1mError, match="not whole"):
        Frame.decode(data + data)


def test_one_of_a_later_version_says_so() -> None:
    data = bytearray(frame(0).encode())
    data[4] = 9
    with pytest.raises(C1mError, match="version 9; this c1m reads 1"):
        Frame.decode(bytes(data))


def test_doubles_are_not_added_and_gaps_are_known() -> None:
    whole = Whole()
    assert [whole.add(frame(n, open=1)) for n in (0, 1, 1, 4, 0, 4)] == [
        True, True, False, True, False, False,
    ]  # fmt: skip
    frames = whole.parts[0, 0]
    assert (frames.got, frames.missing, whole.counts["open"]) == (3, {2, 3}, 3)
    assert whole.add(frame(3, open=1)) and not whole.add(frame(3, open=1))
    assert (frames.got, frames.missing) == (4, {2})


def test_nothing_is_taken_of_an_attempt_that_has_ended() -> None:
    whole = Whole()
    assert whole.add(frame(0, open=5))
    whole.end(0, 0, 2 * SECOND, "it was silent")
    assert not whole.add(frame(1, open=1))
    whole.end(0, 0, 3 * SECOND, "again")
    assert whole.parts[0, 0].lost == "it was silent"
    assert whole.counts["connections.lost"] == 5 and whole.counts["open"] == 0


def test_what_a_lost_one_had() -> None:
    counts = {
        "open": 50, "in_flight": 7, "rss": 9, "connections.opened": 60,
        "first.due": 60, "first.sent": 60, "first.right": 60,
        "stage.1.due": 120, "stage.1.sent": 100, "stage.1.right": 90, "stage.1.wrong": 3,
        "share.sent.a.b": 4, "share.right.a.b": 1,
    }  # fmt: skip
    assert losses_of(counts) == {
        "open": -50, "in_flight": -7, "rss": -9, "connections.lost": 50,
        f"failed.open.{WORKER_LOST}": 50, "stage.1.missing": 7, "stage.1.unsent": 20,
        "share.missing.a.b": 3,
    }  # fmt: skip
    assert "connections.lost" not in losses_of(counts | {"connections.open_at_end": 60})


def test_a_row_is_of_all_whose_second_it_is() -> None:
    frames = [
        frame(n, part, n + 1 + part / 100, open=10 if n == 0 else 0, stage__1__right=part + 1)
        for n in range(30)
        for part in range(4)
    ]
    for seed in range(5):
        chance = random.Random(seed)
        behind = [chance.random() * (BEHIND_S - 2) for _ in range(4)]  # what a part says, in order
        mixed = sorted(frames, key=lambda one: one.number + behind[one.part])
        whole = Whole(4)
        assert all(whole.add(one) for one in mixed)
        series = whole.series()
        assert series.t_s == [round(n + 1.03, 3) for n in range(30)]
        assert series.right == [10] * 30 and series.open == [40] * 30
        assert whole.rows.peak_open == 40


def test_what_comes_too_late_for_its_row_is_in_a_later_one() -> None:
    whole = Whole(2)
    for number in range(40):
        whole.add(frame(number, 0, stage__1__right=1))
    whole.add(frame(0, 1, stage__1__right=100))
    series = whole.series()
    assert sum(series.right) == 140 and series.right[0] == 1
    assert series.t_s == sorted(series.t_s)


def test_a_row_has_the_latencies_of_its_second_and_the_lag() -> None:
    whole = Whole(1)
    for number, ms in enumerate((1, 900, 2)):
        one = frame(number)
        one.tally.histograms = {
            "stage.0.corrected": delta_of(*[ms * 10**6] * 5), "lag": delta_of(ms * 10**5),
            "first": delta_of(10**10),
        }  # fmt: skip
        whole.add(one)
    series = whole.series()
    for column, values in (("p99_ns", (1, 900, 2)), ("lag_max_ns", (0.1, 90, 0.2))):
        found = np.array(getattr(series, column)) / 1e6
        assert np.allclose(found, values, rtol=1e-3)


def test_a_part_over_time_is_bounded() -> None:
    whole = Whole(1)
    for number in range(1_000):
        whole.add(frame(number, open=1, stage__0__sent=2, stage__0__right=1, cpu__user_us=250_000))
    series = whole.parts[0, 0].series()
    assert 50 < len(series.t_s) <= 120
    assert sum(series.sent) == 2_000 and sum(series.right) == 1_000 and series.open[-1] == 1_000
    assert set(series.cpu[1:]) == {0.25}


def test_increments_are_what_is_new() -> None:
    histogram, whole = Histogram(), Histogram()
    increments = Increments(histogram)
    assert increments.take() is None
    for values in ([1, 2, 3], [10**9] * 3, [0]):
        histogram.record(np.array(values))
        delta = increments.take()
        assert delta is not None and delta.count == len(values)
        assert delta.quantiles(np.array([0.5]))[0] == pytest.approx(
            sorted(values)[len(values) // 2], rel=1e-3
        )
        whole.add(delta)
        assert increments.take() is None
    assert whole.to_json() == histogram.to_json()
