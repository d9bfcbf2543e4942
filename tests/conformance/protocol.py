"""What a worker tells the runner of each test, as one line of JSON.

Not its job: running tests (`worker.py`), or judging them (`verdicts.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Job:
    """What a worker is asked to do: tests of one module, on one loop."""

    module: str  # or a class or a test in it
    loop: str  # 'c1m', or 'asyncio' for its own loop
    engine: str  # of c1m's loop
    only: list[str] | None = None  # names of tests, or all of the module
    without: list[str] | None = None  # names of tests that an earlier worker ran
    package_paths: list[tuple[str, str]] | None = None  # packages that go on elsewhere

    def line(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Started:
    """A test began. The worker that says nothing more hangs, or died, in this test."""

    test: str

    def line(self) -> str:
        return json.dumps({"started": self.test})


@dataclass(frozen=True)
class Result:
    """A test ended."""

    test: str
    outcome: Outcome
    text: str = ""  # traceback, or the reason for which it was skipped
    loops: int = 0  # how many loops of the placed kind it made

    def line(self) -> str:
        return json.dumps({"ended": asdict(self)})


def read_line(line: str) -> Started | Result:
    """What a line of a worker says."""
    said = json.loads(line)
    if "started" in said:
        return Started(said["started"])
    return Result(**said["ended"])
