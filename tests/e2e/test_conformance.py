"""Parts of foreign suites on c1m's event loop: CPython's tests of asyncio, and uvloop's.

All of them: `make conformance`. What a failure here says is in the suite's own words; the same
test alone: `python -m tests.conformance cpython --only test_streams.StreamTests --lines 40`.
"""

from __future__ import annotations

import sys

import pytest

from conformance.comparing import compare
from conformance.runs import On
from conformance.suites import SUITES, CannotBeHad
from conformance.verdicts import exclusions

TESTS_LEAST = 80  # a sample that is smaller was not found


@pytest.mark.conformance
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SUITES)
def test_a_sample_passes_that_passes_on_asyncios_own_loop(name: str, engine: str) -> None:
    try:
        suite = SUITES[name](sys.executable)
    except CannotBeHad as why:
        pytest.skip(str(why))
    on = On(sys.executable, "c1m", engine)
    judged = [one for part in suite.sample for one in compare(suite, part, on, exclusions())]
    assert len(judged) >= TESTS_LEAST
    assert {one.test: one.text for one in judged if one.verdict == "failed"} == {}
