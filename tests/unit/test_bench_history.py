"""The benchmark over commits: what is kept of a run, and the page that plots all of them."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
try:
    import history
    from harness.measure import Comparison
    from harness.results import Results
    from harness.workloads import from_name
finally:
    sys.path.remove(str(BENCH))

CONDITIONS = {
    "kernel": "Linux 6.18.5", "cpu": "AMD EPYC", "cores": 2, "python": "3.11.7", "numpy": "2.4.6",
    "load_average_before": 0.5, "load_average_after": 1.25, "sysctls": {"fs.nr_open": "1048576"},
}  # fmt: skip


def a_run(rps: float) -> dict[str, Any]:
    return {
        "rps": rps, "requests": int(rps), "seconds": 1.0, "server_cpu_ns": 5_000_000,
        "server_waited_ns": 10**8, "own_waited_ns": 0,
    }  # fmt: skip


def results(started: str, commit: str, *rates: float) -> Results:
    pairs = [(a_run(1_000), a_run(rate)) for rate in rates]
    compared = [
        Comparison(from_name(name), "c1m-uring", "c", pairs)
        for name in ("echo:64:64", "echo:64:1000", "idle:64:15000")
    ]
    settings = {"pairs": len(rates), "seconds": 1.0}
    return Results("echo", started, CONDITIONS | {"commit": commit}, settings, {}, compared)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(history, "HISTORY", tmp_path / "history")
    history.add(results("2026-11-29T05:00:00Z", "bbbbbbb-dirty", 900, 1_000, 1_200))
    history.add(results("2026-11-23T17:00:00Z", "aaaaaaa", 500))
    return tmp_path / "history"


def test_a_run_has_a_small_file_of_its_own(kept: Path) -> None:
    later = kept / "20261129T050000Z-echo.json"
    assert sorted(path.name for path in kept.iterdir()) == [
        "20261123T170000Z-echo.json", later.name,
    ]  # fmt: skip
    entry = json.loads(later.read_text())
    assert (entry["commit"], entry["started"]) == ("bbbbbbb-dirty", "2026-11-29T05:00:00Z")
    assert entry["conditions"]["load_average_after"] == 1.25
    assert entry["conditions"]["disturbed"] == 0.1
    assert entry["ratios"][0] == {
        "workload": "echo:64:64", "peer": "c1m-uring", "against": "c",
        "rate": [1.0, 0.9, 1.2], "cpu": [1.0, pytest.approx(0.8333), pytest.approx(1.1111)],
    }  # fmt: skip
    assert [each["workload"] for each in entry["ratios"]] == ["echo:64:64", "echo:64:1000"]


def test_a_run_that_compared_nothing_has_none(kept: Path) -> None:
    assert (
        history.add(Results("million", "2026-11-29T06:00:00Z", {}, {"pairs": 5, "seconds": 2}, {}))
        is None
    )
    assert len(list(kept.iterdir())) == 2


def test_runs_are_in_the_order_in_which_they_were_made(kept: Path) -> None:
    runs = history.entries()
    assert [entry["commit"] for entry in runs] == ["aaaaaaa", "bbbbbbb-dirty"]
    page = history.page(runs)
    assert page.index("`aaaaaaa` | 0.50 (0.50..0.50)") < page.index(
        "`bbbbbbb+` | 1.00 (0.90..1.20)"
    )
    assert "### Echo of 64 B, 1,000 connections, closed loop" in page
    assert "AMD EPYC, 2 cores, Linux 6.18.5" in page and "idle" not in page


def test_a_plot_has_a_line_for_what_was_measured(kept: Path) -> None:
    svg = history.plot(history.entries(), "rate")
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"c1m-uring, 64", "c1m-uring, 1,000", "aaaaaaa", "bbbbbbb+"} <= set(texts)
    assert "uvloop, 64" not in texts
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 4


def test_the_page_is_what_make_bench_page_writes() -> None:
    runs = history.entries()
    assert runs
    assert (history.PAGES / "benchmarks.md").read_text() == history.page(runs)
    for figure in history.FIGURES:
        plot = (history.PAGES / f"benchmarks-{figure}.svg").read_text()
        assert plot == history.plot(runs, figure)
