"""A pytest plugin: our loop where tests ask asyncio for one, and a log of what became of each.

It is loaded (`-p c1m_in_place`) into the tests of other people's packages, by `packages.py` beside
this folder. The folder holds nothing else, so that it can stand in PYTHONPATH.

    IN_PLACE_LOOP    asyncio (nothing is replaced), or the engine: uring, epoll
    IN_PLACE_LOG     a line of JSON for each start and each outcome of a test is added to this file
    IN_PLACE_SKIP    a file of test names, one a line, that are not run

Facts. `asyncio.new_event_loop`, `asyncio.run`, `Runner` and `get_event_loop` end in the policy's
`_loop_factory`, on 3.14 too, where naming a policy of one's own is deprecated. Libraries also name
`asyncio.SelectorEventLoop` (uvicorn's `--loop asyncio`), and from 3.13 `asyncio.EventLoop`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LOG = Path(os.environ.get("IN_PLACE_LOG", os.devnull))
MESSAGE_MAX = 2000  # characters of a failure that are kept


def replace_loop(engine: str) -> None:
    """Whoever asks asyncio for a loop gets c1m's on this engine."""
    os.environ["C1M_ENGINE"] = engine
    import c1m

    for name in ("SelectorEventLoop", "EventLoop"):
        if hasattr(asyncio, name):
            setattr(asyncio, name, c1m.EventLoop)
    policy: Any = type(asyncio.get_event_loop_policy())
    policy._loop_factory = c1m.EventLoop


if (wanted := os.environ.get("IN_PLACE_LOOP", "asyncio")) != "asyncio":
    replace_loop(wanted)


def note(**line: object) -> None:
    """One line; written at once, for what ends the process ends the log."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


class Outcomes:
    """What became of a test, over its setup, call and teardown."""

    def __init__(self) -> None:
        self.outcome = ""
        self.message = ""

    def add(self, report: pytest.TestReport) -> None:
        """The worst counts; a skip in the setup is one."""
        if report.failed and self.outcome != "failed":
            self.outcome, self.message = "failed", str(report.longreprtext)[-MESSAGE_MAX:]
        elif report.skipped and not self.outcome:
            self.outcome = "xfailed" if hasattr(report, "wasxfail") else "skipped"
            self.message = str(report.longrepr)[-300:]
        elif report.when == "call" and not self.outcome:
            self.outcome = "passed"


_now = Outcomes()


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins."""
    global _now
    _now = Outcomes()
    note(start=nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A part of it has ended."""
    _now.add(report)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """It has ended."""
    note(test=nodeid, outcome=_now.outcome or "passed", message=_now.message)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported is a failure by its own name."""
    if report.failed:
        note(test=f"{report.nodeid} (import)", outcome="failed",
             message=str(report.longreprtext)[-MESSAGE_MAX:])  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was run before."""
    if not (path := os.environ.get("IN_PLACE_SKIP")):
        return
    names = set(Path(path).read_text(encoding="utf-8").splitlines())
    gone = [item for item in items if item.nodeid in names]
    items[:] = [item for item in items if item.nodeid not in names]
    config.hook.pytest_deselected(items=gone)


@pytest.hookimpl(hookwrapper=True)
def pytest_sessionfinish(exitstatus: int) -> Iterator[None]:
    """The session has come to its end: nothing of it was cut off."""
    yield
    note(end=int(exitstatus))
