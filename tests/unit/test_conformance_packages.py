"""How runs of other packages' tests are read and held against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance import packages
from conformance.package_suites import SUITES
from conformance.packages import Outcome, Run, only_ours, read_log

SUITE = SUITES["anyio"]


def run_of(loop: str, **outcomes: str) -> Run:
    return Run(loop, {name: Outcome(outcome) for name, outcome in outcomes.items()})


def log_of(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def ended(name: str, outcome: str) -> tuple[dict[str, object], dict[str, object]]:
    return {"start": name}, {"test": name, "outcome": outcome, "message": ""}


def test_a_run_that_comes_to_its_end(tmp_path: Path) -> None:
    run = Run("uring")
    log = log_of(tmp_path / "log", *ended("a", "passed"), *ended("b", "failed"), {"end": 1})
    assert read_log(log, run)
    assert (run.passed(), run.failed()) == ({"a"}, {"b"})


def test_a_test_in_which_the_process_dies_has_failed_and_the_rest_is_run(tmp_path: Path) -> None:
    run = Run("uring")
    lines: list[dict[str, object]] = [*ended("a", "passed"), {"start": "b"}]
    assert not read_log(log_of(tmp_path / "log", *lines), run)
    assert run.failed() == {"b"}
    lines += [*ended("c", "passed"), {"end": 0}]
    assert read_log(log_of(tmp_path / "log", *lines), run)
    assert (run.passed(), run.failed()) == ({"a", "c"}, {"b"})


def test_what_fails_with_ours_alone_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = run_of("asyncio", a="passed", b="failed", c="passed", d="passed", e="skipped")
    ours = run_of("uring", a="failed", b="failed", c="failed", d="died", e="skipped")
    again: list[tuple[str, list[str]]] = []

    def repeated(suite: object, loop: str, what: list[str], turn: str) -> Run:
        again.append((loop, what))
        asyncios = run_of("asyncio", a="passed", c="passed", d="failed")
        return (
            asyncios if loop == "asyncio" else run_of("uring", a="failed", c="passed", d="failed")
        )

    monkeypatch.setattr(packages, "run_suite", repeated)
    told = only_ours(SUITE, theirs, ours)
    assert again == [("uring", ["a", "c", "d"]), ("asyncio", ["a", "c", "d"])] * packages.AGAIN
    assert told["a"] == "3 of 3 times again, asyncio's never"
    assert {name for name, how in told.items() if how.startswith("unsteady")} == {"c", "d"}


def test_a_file_that_cannot_be_imported_with_ours_counts() -> None:
    told = only_ours(SUITE, run_of("asyncio"), run_of("uring", **{"x.py (import)": "failed"}))
    assert told == {"x.py (import)": "always"}
