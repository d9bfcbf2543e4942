"""Runs a suite on c1m's loop, and what did not pass once more there and on asyncio's own loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from . import runs
from .protocol import Result
from .runs import On
from .suites import Suite
from .verdicts import Exclusion, Judged, judge


def compare(suite: Suite, name: str, on: On, excluded: Sequence[Exclusion]) -> Iterator[Judged]:
    """The verdict on each test of the module, class or test that is named."""
    ours = runs.run(suite, name, on)
    exclusion = {
        test: next((e for e in excluded if e.holds(suite.name, on.engine, test)), None)
        for test in ours
    }
    asked = [t for t, r in ours.items() if r.outcome != "passed" and exclusion[t] is None]
    failed = [test for test in asked if ours[test].outcome == "failed"]
    again = _once_more(suite, name, on, failed)
    theirs = _once_more(suite, name, replace(on, loop="asyncio"), asked)
    for test, result in ours.items():
        yield judge(result, again.get(test), theirs.get(test), exclusion[test])


def _once_more(suite: Suite, name: str, on: On, tests: Sequence[str]) -> dict[str, Result]:
    if not tests:
        return {}
    # The set-up of a class goes by no name that a test has: then all of them are run.
    whole = any(" " in test for test in tests)
    wanted = None if whole else [suite.prefix + test for test in tests]
    results = runs.run(suite, name, on, wanted)
    # A set-up that is not there a second time went well.
    return {test: results.get(test, Result(test, "passed")) for test in tests}
