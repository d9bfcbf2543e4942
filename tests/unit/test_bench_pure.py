"""The benchmark's arithmetic: ratios of pairs, tables, targets, charts, names, results and back."""

from __future__ import annotations

import itertools
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
try:
    import render
    import run
    from harness import chart, counting, loop_targets, peers, results, tables, targets, workloads
    from harness.measure import Comparison, Machine
    from harness.workloads import Workload
finally:
    sys.path.remove(str(BENCH))


def a_run(rps: float = 1_000, **changes: Any) -> dict[str, Any]:
    """A run of one second as the generator prints it: 5 us of server time a request."""
    return {
        "connections": 64, "requests": int(rps), "seconds": 1.0, "rps": float(rps), "p50_us": 50.0,
        "p99_us": 99.0, "p999_us": 999.0, "errors": 0, "mismatches": 0, "unanswered": 0,
        "server_cpu_ns": int(rps) * 5_000, "server_user_ticks": 20, "server_system_ticks": 80,
        "own_cpu_ns": 10**9, "server_waited_ns": 0, "own_waited_ns": 0, "step_seconds": [],
        **changes,
    }  # fmt: skip


def compared(
    workload: Workload, peer: str, against: str, *rates: tuple[float, float]
) -> Comparison:
    return Comparison(workload, peer, against, [(a_run(a), a_run(b)) for a, b in rates])


def a_document(*comparisons: Comparison) -> results.Results:
    return results.Results("t", "2026-11-23T12:00:00Z", {}, {}, {}, list(comparisons))


# --- counting ---------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_ratios_of_pairs_not_the_ratio_of_medians() -> None:
    pairs = [(a_run(100), a_run(110)), (a_run(200), a_run(180)), (a_run(50), a_run(100))]
    found = counting.ratio(pairs, counting.key("rps"))
    assert found == counting.Ratio(1.1, 0.9, 2.0)
    assert str(found) == "1.10 (0.90..2.00)"


def test_a_ratio_to_nothing_is_none() -> None:
    assert counting.ratio([(a_run(0), a_run(5))], counting.key("rps")) is None
    assert counting.ratio([], counting.key("rps")) is None


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), min_size=1))
def test_a_ratios_median_is_between_its_least_and_its_most(rates: list[tuple[int, int]]) -> None:
    found = counting.ratio([(a_run(a), a_run(b)) for a, b in rates], counting.key("rps"))
    assert found is not None
    assert found.least <= found.median <= found.most


def test_processor_time_an_operation_and_its_share_in_user_mode() -> None:
    assert counting.cpu_us(a_run(1_000)) == pytest.approx(5)
    assert counting.cpu_us(a_run(0, server_cpu_ns=3_000)) == pytest.approx(3)
    runs = [a_run(), a_run(server_user_ticks=60, server_system_ticks=40)]
    assert counting.user_share(runs) == pytest.approx(0.4)
    assert counting.user_share([a_run(server_user_ticks=0, server_system_ticks=0)]) == 0


def test_disturbed_is_the_longer_wait_as_a_part_of_the_window() -> None:
    run = a_run(seconds=2.0, server_waited_ns=10**8, own_waited_ns=5 * 10**8)
    assert counting.disturbed(run) == pytest.approx(0.25)


def test_everything_that_failed_counts() -> None:
    assert counting.failed(a_run(errors=1, mismatches=2, unanswered=4)) == 7


def test_kernel_bytes_are_the_growth_without_what_time_wait_holds() -> None:
    before = {"TCP": 1_000, "tw_sock_TCP": 50_000, "gone": 10}
    after = {"TCP": 4_000, "tw_sock_TCP": 90_000, "new": 7}
    assert counting.kernel_bytes(before, after) == 3_000 - 10 + 7


def test_the_steps_of_a_ramp_as_rates() -> None:
    runs = [a_run(step_seconds=[0.1, 0.2]), a_run(step_seconds=[0.1, 0.5]), a_run()]
    first, last = counting.step_figures(runs) or (0, 0)
    assert first == pytest.approx(10_000)
    assert last == pytest.approx((5_000 + 2_000) / 2)
    assert counting.step_figures([a_run()]) is None


# --- workloads and peers ----------------------------------------------------------------------


@pytest.mark.parametrize("workload", workloads.ALL, ids=lambda w: w.name)
def test_a_workloads_name_says_all_of_it(workload: Workload) -> None:
    assert workloads.from_name(workload.name) == workload
    assert workload.title and workload.unit


def test_workloads_are_chosen_by_kind_and_pattern() -> None:
    names = [w.name for w in workloads.chosen(["echo"], ["echo:64:1*"])]
    assert names == ["echo:64:1", "echo:64:1000", "echo:64:15000"]
    assert workloads.chosen([], []) == list(workloads.ALL)


def test_the_generator_is_told_what_the_workload_says() -> None:
    subset = Workload("subset", 15_000, in_flight=1_000).arguments(3, 256)
    assert subset[0] == "closed"
    assert subset[subset.index("--in-flight") + 1] == "1000"
    assert Workload("idle", 5).arguments(3, 256)[0] == "hold"
    assert "--rate" in Workload("open", 5, rate=7).arguments(3, 256)


def test_every_target_names_servers_and_workloads_that_there_are() -> None:
    assert set(targets.PEERS) <= set(peers.BY_NAME)
    known = {w.name for w in workloads.ALL}
    assert {w.name for w in targets.WORKLOADS} <= known


def test_the_event_loops_comparisons_are_those_of_its_targets_and_all_can_be_made() -> None:
    assert {w for w, *_ in loop_targets.COMPARISONS} <= set(workloads.ALL)
    for workload, *both in loop_targets.COMPARISONS:
        assert all(workload.task in peers.BY_NAME[name].tasks for name in both)
    done = [compared(w, a, b, (1_000, 1_500)) for w, a, b in loop_targets.COMPARISONS]
    rows = targets.table(a_document(*done), loop_targets.TARGETS).rows
    assert {row[3] for row in rows} == {"reached"}
    assert len({row[0] for row in rows}) == len(rows) == len(loop_targets.LINES)


@pytest.mark.parametrize("kind", ["http", "streams"])
def test_what_only_asyncios_loops_can_do_is_compared_with_uvloop(kind: str) -> None:
    pairings = run.pairings(Workload(kind, 64), list(peers.ALL))
    assert {against.name for _, against in pairings} == {"uvloop"}
    loops = {"asyncio", "c1m-loop", "c1m-uring-loop", "c1m-epoll-loop"}
    assert {peer.name for peer, _ in pairings} == loops


def test_runs_share_neither_ports_nor_source_addresses() -> None:
    machine = Machine(0, 1, 1.0, 1)
    assert len({machine.next_port() for _ in range(100)}) == 100
    seen: set[int] = set()
    for workload in (Workload("churn", 64), Workload("echo", 1), Workload("churn", 64)):
        _, first, _, count = machine.next_sources(workload)
        now = set(range(int(first), int(first) + int(count)))
        assert not now & seen
        seen |= now


# --- tables and targets -----------------------------------------------------------------------

ECHO = Workload("echo", 64)


def test_a_table_has_a_row_a_server_and_the_ratio_of_its_pairs() -> None:
    done = [
        compared(ECHO, "go", "c", (1_000, 500), (2_000, 1_000)),
        compared(ECHO, "c1m-uring", "c", (1_000, 1_200)),
        compared(ECHO, "c1m-uring", "uvloop", (800, 1_200)),
    ]
    table = tables.table_of(ECHO, done)
    assert [row[0] for row in table.rows] == ["c", "go", "c1m-uring"]
    assert table.rows[1][1:3] == ["750", "0.50 (0.50..0.50)"]
    assert table.rows[2][6:11] == ["5.00", "1.00", "4.00", "1.00", "1%/100%"]
    assert any("uvloop" in note and "1.50" in note for note in table.notes)
    assert all(len(row) == len(table.names) for row in table.rows)
    assert table.markdown().count("\n| ") == 5
    assert "c1m-uring" in table.text()


def test_a_table_says_what_failed_and_what_was_disturbed() -> None:
    failed = Comparison(ECHO, "go", "c", [], "the server ended with 1")
    rough = Comparison(ECHO, "uvloop", "c", [(a_run(), a_run(own_waited_ns=3 * 10**8))])
    notes = tables.table_of(ECHO, [failed, rough]).notes
    assert any("the server ended with 1" in note for note in notes)
    assert any("30%" in note for note in notes)
    assert tables.table_of(ECHO, [failed]).rows == []


def held(rss: int, slab: int, connections: int = 10, foreign: int = 0) -> dict[str, Any]:
    empty = {"rss_bytes": 1_000, "slabs": {"TCP": 500}, "tcp_sockets": 4}
    slabs, sockets = {"TCP": 500 + slab}, 4 + 2 * connections + foreign
    return {
        "connections": connections, "requests": 0, "seconds": 0.0, "empty": empty,
        "held": {"rss_bytes": 1_000 + rss, "slabs": slabs, "tcp_sockets": sockets},
    }  # fmt: skip


def test_idle_memory_is_told_a_connection_and_over_the_bare_socket() -> None:
    idle = Workload("idle", 10)
    done = [
        Comparison(idle, "bare", "c", [(held(0, 7_000), held(0, 5_000))]),
        Comparison(idle, "c1m-uring", "c", [(held(0, 7_000), held(400, 6_500))]),
    ]
    rows = {row[0]: row[1:] for row in tables.table_of(idle, done).rows}
    assert rows["bare"] == ["0", "500", "-"]
    assert rows["c1m-uring"] == ["40", "650", "150"]
    assert tables.table_of(idle, done).notes == []
    done.append(Comparison(idle, "go", "c", [(held(0, 7_000), held(0, 9_000, foreign=3))]))
    assert "up to 30%" in tables.table_of(idle, done).notes[0]


def verdicts(document: results.Results) -> dict[str, str]:
    return {row[0]: row[3] for row in targets.table(document).rows}


def test_targets_are_judged_by_the_comparison_they_name() -> None:
    document = a_document(
        compared(ECHO, "c1m-uring", "c", (1_000, 1_001)),
        compared(ECHO, "c1m-uring", "uvloop", (1_000, 1_100)),
    )
    document.comparisons.append(
        compared(Workload("echo", 1_000), "c1m-uring", "c", (100, 90), (100, 110), (100, 105))
    )
    document.start_up = {"c1m --help": [0.1, 0.3, 0.12]}
    found = verdicts(document)
    assert found["echo/s at 64 connections, c1m-uring / c"] == "reached"
    assert found["echo/s at 64 connections, c1m-uring / uvloop"] == "NOT reached"
    assert found["echo/s at 1,000 connections, c1m-uring / c"] == "reached, not in every pair"
    assert found["echo/s at 15,000 connections, c1m-uring / c"] == "not measured"
    assert found["start-up of c1m --help"] == "reached"


# --- charts, results, the page ----------------------------------------------------------------


@given(st.floats(1e-3, 1e9))
def test_a_scale_reaches_the_highest_value_in_few_round_steps(highest: float) -> None:
    top, step = chart.scale(highest)
    assert top >= highest * (1 - 1e-6)
    assert 1 <= round(top / step) <= 9


@given(st.lists(st.floats(1e-3, 1e6), min_size=1), st.booleans())
def test_an_axis_holds_all_values_between_its_ends(values: list[float], is_log: bool) -> None:
    up = chart.axis(values, is_log)
    pixels = [up.y(value) for value in values]
    assert all(chart.TOP - 0.01 <= y <= chart.HEIGHT - chart.BOTTOM + 0.01 for y in pixels)
    assert up.marks[0] == up.low and up.marks[-1] == pytest.approx(up.top)
    assert [up.y(v) for v in sorted(values)] == sorted(pixels, reverse=True)


@given(st.lists(st.floats(0, 1_000), max_size=12))
def test_names_at_the_end_of_lines_do_not_touch(wanted: list[float]) -> None:
    placed = sorted(chart.spread(wanted, 15, 500))
    assert all(at <= 500 for at in placed)
    assert all(b - a >= 15 - 1e-6 for a, b in itertools.pairwise(placed))


def test_a_chart_is_well_formed_and_leaves_gaps_out() -> None:
    svg = chart.line_chart("a < b", "n", ["1", "8"], {"c1m-uring": [1, 2], "go": [None, 3.5]})
    ElementTree.fromstring(svg)
    assert svg.count("<circle") == 3


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    document = a_document(compared(ECHO, "go", "c", (1, 2), (3, 4)), Comparison(ECHO, "x", "c"))
    document.start_up = {"c1m --help": [0.1]}
    document.write(tmp_path / "r.json")
    json.loads((tmp_path / "r.json").read_text())
    assert results.read(tmp_path / "r.json") == document


def test_results_of_another_schema_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="schema 99"):
        results.read(tmp_path / "r.json")


def test_the_page_is_changed_between_its_markers_only() -> None:
    page = f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n"
    once = render.between(page, "new")
    assert once == f"before\n{render.BEGIN}\n\nnew\n{render.END}\nafter\n"
    assert render.between(once, "new") == once
    with pytest.raises(ValueError, match="measured: begin"):
        render.between("nothing", "new")


def test_later_documents_replace_what_they_measured_again() -> None:
    old = a_document(compared(ECHO, "go", "c", (1, 1)), compared(ECHO, "uvloop", "c", (1, 1)))
    new = a_document(compared(ECHO, "go", "c", (1, 2)))
    merged = render.merge([old, new])
    assert [(c.peer, c.pairs[0][1]["rps"]) for c in merged.comparisons] == [
        ("go", 2.0),
        ("uvloop", 1.0),
    ]
