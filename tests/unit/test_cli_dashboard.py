"""The dashboard's picture: it says what the snapshot says, and fits every terminal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.results.record import Requests
from c1m.results.snapshot import Snapshot, WorkerNow, worst
from c1m.units import format_short_count
from snapshot_samples import busy, of_a_cluster, run

pytest.importorskip("rich")

from c1m.cli.live.dashboard import POINTS_MAX, Dashboard, History
from c1m.cli.live.plots import bar, chart, joined_octaves, percent, short_time


def picture(
    snapshot: Snapshot, width: int = 80, height: int = 24, is_ascii: bool = False
) -> list[str]:
    dashboard = Dashboard(is_ascii)
    dashboard.add(snapshot)
    return [line.plain for line in dashboard.lines(width, height)]


def row(lines: list[str], name: str) -> str:
    (found,) = [line for line in lines if line.startswith(f" {name} ")]
    return found


def test_all_of_it_fits_a_terminal_of_80_by_24() -> None:
    lines = picture(busy())
    assert len(lines) == 24
    assert "tcp://127.0.0.1:8001-8008  echo" in lines[0] and "52.4 s" in lines[0]
    assert "stage 2 of 4  hold 1M for 60s at 50k/s" in lines[1] and "28.0 s left" in lines[1]
    told = {"attempted": "1,000,000", "connected": "999,987", "ready": "999,950",
            "open now": "999,940", "failed": "13", "lost": "47"}  # fmt: skip
    for name, count in told.items():
        assert count in row(lines, name).split()
    whole = "\n".join(lines)
    for said in (
        "50,000/s asked", "49,990/s", "1,649,000", "1,648,100", "61 ms", "1.40 s", "45.3 ms",
        "47 x ECONNRESET", "9 x ECONNREFUSED", "server 70.5 MiB", "slab 6.17 GiB",
        "machine 7.60 GiB", "at most 310 us behind schedule", "open over time",
    ):  # fmt: skip
        assert said in whole


@settings(max_examples=60)
@given(st.integers(1, 250), st.integers(0, 80), st.booleans())
def test_it_fits_every_terminal(width: int, height: int, is_ascii: bool) -> None:
    for snapshot in (busy(), Snapshot(), busy(octaves=[1] * 53, is_last=True), of_a_cluster()):
        lines = picture(snapshot, width, height, is_ascii)
        assert len(lines) <= height
        assert {len(line) for line in lines} <= {width}
        if is_ascii:
            assert set("".join(lines)) <= {chr(c) for c in range(32, 127)}


def test_the_most_important_rows_stay_longest() -> None:
    assert "stage" in picture(busy(), 80, 2)[1]
    small = "\n".join(picture(busy(), 80, 12))
    assert all(name in small for name in ("open now", "right", "errors", "generator"))
    assert "open over time" not in small


def test_it_survives_the_whole_run_and_odd_figures() -> None:
    dashboard = Dashboard()
    for snapshot in run():
        dashboard.add(snapshot)
        dashboard.lines(100, 30)
    nan = busy(right_per_s=math.nan, sent_per_s=math.inf, rate_asked_per_s=math.nan,
               connects_per_s=math.nan, stage_left_s=0.0, elapsed_s=0.0, asked=0)  # fmt: skip
    dashboard.add(nan)
    assert len(dashboard.lines(100, 30)) > 20


def test_a_late_generator_is_told_in_words() -> None:
    late = "\n".join(picture(busy(lag_max_ns=35_000_000)))
    assert "at most 35 ms behind schedule in the last second: too slow" in late
    assert "too slow" not in "\n".join(picture(busy()))


def test_only_a_closed_loop_asks_as_fast_as_replies_come() -> None:
    for is_closed in (True, False):
        lines = picture(busy(rate_asked_per_s=None, is_closed_loop=is_closed))
        assert ("as fast as replies come" in "".join(lines)) == is_closed


def test_no_errors_are_told_too() -> None:
    assert row(
        picture(busy(errnos={}, requests=Requests(faults={"late": 0}))), "errors"
    ).split() == ["errors", "none"]


def test_many_errors_take_two_rows() -> None:
    many = {f"E{i:010}": i for i in range(1, 19)}
    lines = picture(busy(errnos=many, requests=Requests()), 80, 40)
    at = lines.index(row(lines, "errors"))
    assert "18 x E0000000018" in lines[at] and lines[at + 1].startswith(" " * 11)
    assert "…" in lines[at + 1]


def test_what_a_user_wrote_cannot_move_the_cursor() -> None:
    lines = picture(busy(target="a\x1b[2Jb", stage="c\x07\nd"))
    assert "a?[2Jb" in lines[0] and "c??d" in lines[1]


def test_the_end_of_a_run_is_done() -> None:
    assert "done" in picture(busy(is_last=True))[1]
    assert "until it is done" in picture(busy(stage_left_s=None))[1]


def test_monochrome_says_the_same() -> None:
    """Every bar has its percentage, and what is bad its own row: nothing by colour alone."""
    for name in ("attempted", "failed", "lost"):
        assert "%" in row(picture(busy()), name)


@given(st.floats(0, 1), st.integers(0, 60), st.booleans())
def test_bars(share: float, width: int, is_ascii: bool) -> None:
    drawn = bar(share, width, is_ascii)
    assert len(drawn) == width
    if width:
        empty, full = bar(0, width, is_ascii), bar(1, width, is_ascii)
        assert (drawn == empty) == (share == 0) or width * (1 if is_ascii else 8) == 1
        assert (drawn == full) == (share == 1) or width * (1 if is_ascii else 8) == 1


def test_bars_of_no_number() -> None:
    assert bar(math.nan, 4) == bar(-1, 4) == "    "
    assert bar(7, 4) == "████"
    assert bar(0.5, 4) == "██  " and bar(0.53125, 4) == "██▏ "
    assert bar(0.5, 4, is_ascii=True) == "##.."


def test_charts() -> None:
    assert chart([0, 1, 4, 8, None], 1, 8) == [" ▁▄█ "]
    assert chart([0, 8, 12, 16], 2, 16) == ["  ▄█", " ███"]
    assert chart([0, 5, 10], 2, 10, is_ascii=True) == ["  #", " ##"]
    assert chart([1, 2], 2, 0) == ["  ", "  "]


@given(st.lists(st.integers(0, 1000), max_size=53), st.integers(1, 20))
def test_octaves_are_joined_without_loss(octaves: list[int], rows: int) -> None:
    joined = joined_octaves(octaves, rows)
    assert len(joined) <= rows
    assert sum(count for _, count in joined) == sum(octaves)
    seen = 0
    for end_ns, count in joined:
        seen += count
        assert seen == sum(c for i, c in enumerate(octaves) if 1 << (i + 1) <= end_ns)


def test_a_history_is_bounded_and_keeps_its_shape() -> None:
    history = History()
    for i in range(5 * POINTS_MAX):
        history.add(Snapshot(elapsed_s=i * 0.5, open=i, right_per_s=100.0))
    assert len(history.t_s) == len(history.open) == len(history.right_per_s) <= POINTS_MAX
    columns = history.columns(history.open, 50)
    last = history.t_s[-1] / history.span_s() * 50
    told = [c for c in columns if c is not None]
    assert len(told) == math.ceil(last)
    assert told == sorted(told) and abs(told[20] - 20.5 / 50 * history.span_s() / 0.5) < 20
    assert set(history.columns(history.right_per_s, 50)) == {100.0, None}


def test_a_history_without_points_is_empty() -> None:
    assert History().columns([], 3) == [None, None, None]
    assert History().span_s() == 10


def test_a_snapshot_of_the_same_moment_replaces_the_last() -> None:
    history = History()
    history.add(Snapshot(elapsed_s=1.0, open=5))
    history.add(Snapshot(elapsed_s=1.0, open=7))
    assert (history.t_s, history.open) == ([1.0], [7])


def test_the_share_of_a_stage() -> None:
    history = History()
    for t, left in ((10.0, 30.0), (20.0, 20.0)):
        history.add(busy(elapsed_s=t, stage_left_s=left))
    assert history.stage_share(busy(elapsed_s=20.0, stage_left_s=20.0)) == pytest.approx(1 / 3)
    assert history.stage_share(busy(stage_left_s=None)) is None
    assert history.stage_share(busy(is_last=True)) == 1.0


def test_numbers_for_people() -> None:
    assert [percent(x) for x in (0, 0.0001, 0.12345, 0.99999, 1)] == [
        "0 %", "<0.1 %", "12.3 %", "99.9 %", "100 %",
    ]  # fmt: skip
    assert [format_short_count(x, 3) for x in (5, 50_000, 1_234_567, 2e9)] == [
        "5",
        "50k",
        "1.23M",
        "2G",
    ]
    assert [short_time(x) for x in (60, 300, 7200)] == ["60 s", "5 min", "2 h"]


# --- the workers of a cluster ---------------------------------------------------------------------


def test_the_workers_of_a_cluster_and_what_was_lost() -> None:
    lines = picture(of_a_cluster(), 100, 60)
    assert lines[2].strip() == "DEGRADED: lost 10.0.0.4:40001 at 31.2 s: it was silent for 8 s"
    (at,) = [i for i, line in enumerate(lines) if line.startswith(" workers  1 lost, 3 running")]
    assert lines[at + 1].split()[:6] == ["10.0.0.1:40001", "running", "249,999", "16,601/s", "17",
                                         "ms"]  # fmt: skip
    assert lines[at + 2].split()[:3] == ["10.0.0.4:40001", "lost", "-"]
    assert not any("workers" in line or "DEGRADED" in line for line in picture(busy(), 100, 60))
    assert len(picture(of_a_cluster())) == 24


def test_of_many_workers_the_worst_are_shown_in_their_order() -> None:
    workers = [WorkerNow(f"w{n}", "running", 10, 5.0, 1000 + n % 7) for n in range(1000)]
    workers[700] = WorkerNow("w700", "silent", 10)
    workers[800] = WorkerNow("w800", "lost", why="it died")
    shown = worst(workers, 5)
    assert [one.name for one in shown] == ["w6", "w13", "w20", "w700", "w800"]
    states = {"running": 998, "silent": 1, "lost": 1}
    lines = picture(busy(workers=worst(workers, 32), worker_states=states), 80, 60)
    (at,) = [i for i, line in enumerate(lines) if line.startswith(" workers  1 lost, 1 silent")]
    assert [line.split()[0] for line in lines[at + 11 : at + 13]] == ["w700", "w800"]
    assert lines[at + 13].split()[0] == "errors"


def test_before_the_start_it_says_who_is_waited_for() -> None:
    waiting = Snapshot(stage="waiting for 3 of 4 workers", stages=2)
    assert picture(waiting)[1].strip() == "waiting for 3 of 4 workers"
