"""The benchmark's arithmetic at a million connections: turns, bare sockets, plans, figures."""

from __future__ import annotations

import os
import sys
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.kernel.procfs import Slab

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
try:
    import render
    from harness import results, targets
    from harness.accounts import account, growth
    from million import bare, figures, lives
    from million.turns import Turns
finally:
    sys.path.remove(str(BENCH))

N = figures.MILLION


# --- turns ------------------------------------------------------------------------------------


@given(st.integers(0, 12), st.lists(st.tuples(st.booleans(), st.integers(0, 15)), max_size=40))
def test_turns_are_a_queue(size: int, steps: list[tuple[bool, int]]) -> None:
    turns, slow = Turns(np.arange(size) + 100), deque(range(100, 100 + size))
    out: list[int] = []
    for is_take, count in steps:
        if is_take:
            took = turns.take(count).tolist()
            assert took == [slow.popleft() for _ in range(min(count, len(slow)))]
            out += took
        else:
            back, out = out[:count], out[count:]
            turns.put(np.array(back, np.int64))
            slow.extend(back)
        assert len(turns) == len(slow)


# --- bare sockets -----------------------------------------------------------------------------


def test_bare_sockets_are_whole_objects_whatever_others_do_a_little_of() -> None:
    before = {"TCP": Slab(2_368, 1_000), "dentry": Slab(192, 50_000), "vm_area": Slab(200, 0)}
    after = {
        "TCP": Slab(2_368, 9_300), "dentry": Slab(192, 57_400), "vm_area": Slab(200, 9_000),
        "filp": Slab(192, 1_900),
    }  # fmt: skip
    objects = bare.objects_a_connection(before, after, 4_000)
    assert objects == {"TCP": 2, "dentry": 2}  # filp: less than half of one a connection
    assert bare.bytes_a_connection(objects, after) == 2 * 2_368 + 2 * 192


# --- what is done -----------------------------------------------------------------------------


def test_as_much_is_measured_on_the_way_up_as_on_the_way_down() -> None:
    assert lives.visits(N, 4) == [
        (10_000, 2), (100_000, 2), (N, 4), (100_000, 2), (10_000, 2),
    ]  # fmt: skip
    assert lives.visits(20_000, 1) == [(10_000, 1), (20_000, 1)]


@given(st.integers(1, 3_000_000), st.integers(1, 9))
def test_every_number_is_measured_so_many_times(most: int, pairs: int) -> None:
    visits = lives.visits(most, pairs)
    for count in lives.levels(most):
        assert sum(runs for each, runs in visits if each == count) == pairs
    assert max(count for count, _ in visits) == most


def test_no_more_are_in_flight_than_are_open() -> None:
    assert {n for n, _ in lives.loops(N)} == {1_000, 20_000}
    assert {n for n, _ in lives.loops(10_000)} == {1_000}
    assert {n for n, _ in lives.loops(5)} == {1}


@given(st.integers(1, 5_000_000))
def test_a_stride_is_whole_thousands_and_at_most_50_000(count: int) -> None:
    stride = lives.stride(count)
    assert 1_000 <= stride <= 50_000 and stride % 1_000 == 0
    assert count < 20_000 or count // stride >= 3


# --- figures ----------------------------------------------------------------------------------


def a_ramp(**changes: Any) -> dict[str, Any]:
    """1,000,000 opened in 20 strides of 1 s, the last of 1.1 s; 40 MB more of memory."""
    sockets = {"tcp_sockets": 1, "tcp_everywhere": 5}
    held = {"tcp_sockets": 1 + 2 * N, "tcp_everywhere": 5 + 2 * N}
    return {
        "kind": "ramp", "life": "ramp", "connections": N, "opened": N, "echoed": N,
        "seconds": 20.1, "stopped": "", "errors": 0, "mismatches": 0, "stride": 50_000,
        "stride_seconds": [1.0] * 19 + [1.1], "close_seconds": 9.0, "kernel_bytes": 7_900 * N,
        "object_bytes": 7_900, "bare_bytes": 7_400,
        "empty": {"rss_bytes": 30 * 10**6, "available_bytes": 20 * 10**9, **sockets},
        "held": {"rss_bytes": 70 * 10**6, "available_bytes": 12 * 10**9, **held},
        "closed": {"rss_bytes": 33 * 10**6, "available_bytes": 20 * 10**9, **sockets},
        **changes,
    }  # fmt: skip


def a_loop(rps: float, connections: int = N, in_flight: int = 1_000, **more: Any) -> dict[str, Any]:
    return {
        "kind": "turns", "life": "work", "order": "opened", "connections": connections,
        "in_flight": in_flight, "requests": int(rps), "seconds": 1.0, "rps": rps, "p50_us": 50.0,
        "p99_us": 99.0, "errors": 0, "mismatches": 0, "unanswered": 0,
        "server_cpu_ns": int(rps) * 5_000, "own_cpu_ns": 10**9, "server_waited_ns": 0,
        "own_waited_ns": 0, **more,
    }  # fmt: skip


def a_largest(asked: int, echoed: int, **more: Any) -> dict[str, Any]:
    return {
        **a_ramp(kind="largest", life="largest", connections=asked, opened=echoed),
        "total_echoed": echoed, "total_seconds": 99.0, **more,
    }  # fmt: skip


def a_publication(seconds: float, deaf: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "kind": "published", "life": "subscribers", "connections": N, "deaf": deaf, "payload": 64,
        "round_seconds": [seconds], "requests": N, "seconds": seconds, "rps": N / seconds,
        "p50_us": 1.0, "p99_us": 2.0, "server_cpu_ns": 1, "own_cpu_ns": 1, "server_user_ticks": 0,
        "server_system_ticks": 0, "server_waited_ns": 0, "own_waited_ns": 0,
        "errors": 0, "mismatches": 0, "unanswered": 0, **more,
    }  # fmt: skip


def a_document(*million: dict[str, Any]) -> results.Results:
    return results.Results("t", "2026-11-23T12:00:00Z", {}, {}, {}, million=list(million))


def test_a_ramp_counts_only_when_all_of_it_is_there_and_right() -> None:
    assert figures.ramp_seconds(a_ramp()) == pytest.approx(20.1)
    for changes in ({"opened": N - 1}, {"echoed": N - 1}, {"errors": 1}, {"mismatches": 1}):
        assert figures.ramp_seconds(a_ramp(**changes)) is None
    assert figures.flatness(a_ramp()) == pytest.approx(1.1)
    assert figures.flatness(a_ramp(stride_seconds=[1.0, 1.0])) is None


def test_memory_is_told_a_connection_and_the_kernels_an_end() -> None:
    assert figures.user_bytes(a_ramp()) == pytest.approx(40)
    assert figures.over_bare(a_ramp()) == pytest.approx(250)
    assert figures.over_bare(a_ramp(bare_bytes=None)) is None
    assert figures.over_bare(a_ramp(object_bytes=0)) is None  # slabinfo cannot be read
    assert figures.given_back(a_ramp()) == pytest.approx(1.1)
    assert figures.foreign_part(a_ramp()) == 0


def test_pairs_are_of_one_life_and_in_the_order_they_were_made() -> None:
    loops = [a_loop(100, 10_000), a_loop(90), a_loop(95), a_loop(110, 10_000)]
    other = [a_loop(1, 10_000, life="other"), a_loop(2, life="other", order="random")]
    pairs = figures.quiet_pairs([*other, *loops], N, 10_000, 1_000, "opened")
    assert [(a["rps"], b["rps"]) for a, b in pairs] == [(100, 90), (110, 95)]


def verdicts(document: results.Results) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in targets.table(document).rows}


def test_the_targets_at_a_million_are_judged() -> None:
    document = a_document(
        a_ramp(), a_loop(100_000, 10_000), a_loop(95_000), a_loop(120_000, in_flight=20_000),
        {**a_loop(250_000), "kind": "broadcast", "round_seconds": [4.0] * 3},
        a_largest(2_500_000, 2_500_000), a_largest(3_000_000, 2_700_000, stopped="memory"),
    )  # fmt: skip
    found = verdicts(document)
    assert [figure[1:] for name, figure in found.items() if "order of opening" in name] == [
        ["0.95 (0.95..0.95)", "reached"],
        ["120,000", "reached"],
    ]
    assert all(f[2] == "not measured" for name, f in found.items() if "random order" in name)
    assert found["1,000,000 connections opened"][2] == "reached"
    assert found["their last 50,000 / their second 50,000"][2] == "reached"
    assert found["user memory an idle connection at 1,000,000"][2] == "reached"
    kernel = found["kernel memory an idle connection over the bare socket, at 1,000,000"]
    assert kernel[2] == "reached"
    memory = found["server's memory after all 1,000,000 have closed / empty server's"]
    assert memory[2] == "reached"
    assert found["broadcast of 64 B to 1,000,000: deliveries/s"] == [
        ">= 300,000", "250,000", "NOT reached",
    ]  # fmt: skip
    largest = found["the largest run: connections open at once, each echoed once"]
    assert largest == [">= 2,500,000", "2,700,000", "reached"]


def test_publications_are_compared_with_the_one_before_of_the_same_life() -> None:
    runs = [a_publication(4.0), a_publication(4.2, 10_000), a_publication(5.0)]
    runs += [a_publication(5.0, 10_000, life="another"), a_publication(5.5, 10_000)]
    assert figures.deaf_pairs(runs) == [(runs[0], runs[1])]
    what = "PUBLISH to 1,000,000 until the last has it, 1 % do not read / all read"
    assert verdicts(a_document(*runs))[what][1:] == ["1.05 (1.05..1.05)", "reached"]
    assert verdicts(a_document(*(run | {"connections": 20_000} for run in runs)))[what][1] == "-"
    [table] = figures.tables(runs)
    assert [row[:2] for row in table.rows] == [
        ["64 B to 1,000,000, all read", "4.50 s"],
        ["64 B to 1,000,000, 10,000 do not read", "5.00 s"],
    ]


def test_what_went_wrong_is_no_figure() -> None:
    broken = {**a_loop(900_000, errors=1), "kind": "broadcast", "round_seconds": [1.0]}
    document = a_document(a_ramp(errors=1), broken, a_largest(3_000_000, 3_000_000, errors=2))
    assert {row[-1] for row in targets.table(document, targets.MILLIONS).rows} >= {"not measured"}
    found = verdicts(document)
    assert found["1,000,000 connections opened"][2] == "not measured"
    assert found["broadcast of 64 B to 1,000,000: deliveries/s"][2] == "not measured"
    largest = found["the largest run: connections open at once, each echoed once"]
    assert largest[2] == "not measured"


def test_there_is_a_table_for_all_that_was_measured_and_none_for_the_rest() -> None:
    assert figures.tables([]) == []
    worked = {**a_ramp(), "kind": "worked"}
    failed = {"kind": "failed", "life": "work", "error": "the server ended"}
    broadcast = {**a_loop(9), "kind": "broadcast", "round_seconds": [1.0]}
    stopped = a_ramp(opened=900, stopped="memory", held=a_ramp()["held"])
    made = figures.tables([
        a_ramp(), stopped, worked, a_loop(90, 10_000), a_loop(80), broadcast,
        a_largest(5, 5), failed,
    ])  # fmt: skip
    assert len(made) == 6
    for table in made:
        assert all(len(row) == len(table.names) for row in table.rows)
        assert table.text() and table.markdown()
    text = "\n".join(table.text() for table in made)
    for said in ("stopped by memory", "kernel B is rough", "0.89 (0.89..0.89)", "the server ended"):
        assert said in text


def test_later_lives_replace_earlier_ones() -> None:
    old = [a_ramp(seconds=1.0), a_ramp(seconds=2.0), a_loop(1), a_loop(2)]
    new = [a_ramp(seconds=3.0)]
    merged = render.merge_million([old, new])
    assert [each.get("rps", each["seconds"]) for each in merged] == [3.0, 1, 2]


def test_a_million_comes_back_as_it_was_written(tmp_path: Path) -> None:
    document = a_document(a_ramp(), a_loop(1))
    document.write(tmp_path / "r.json")
    assert results.read(tmp_path / "r.json") == document


# --- accounts ---------------------------------------------------------------------------------


def test_processor_time_only_grows() -> None:
    before = account(os.getpid())
    spent = growth(os.getpid(), before)
    assert set(spent) == {"cpu_ns", "waited_ns", "user_ticks", "system_ticks"}
    assert all(value >= 0 for value in spent.values())
    assert not any(account(2**22 + 1).values())  # no such process
