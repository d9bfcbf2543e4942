"""Well-behaved clients: `c1m load` beside the test, which checks every reply."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from c1m.results.record import RunRecord

UNSENT = "requests that were due were not sent."  # the load client had no time: no fault


class Good:
    """A run under way, as a context manager; `record()` waits for its end."""

    def __init__(self, url: str, *arguments: object) -> None:
        self._place = tempfile.TemporaryDirectory()
        self.path = Path(self._place.name) / "run.json"
        words = ["load", url, *map(str, arguments), "--json", str(self.path), "--quiet"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "c1m", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        self.said = ""

    def record(self) -> RunRecord:
        """What it has found."""
        self.said = self.process.communicate()[0]
        if not self.path.exists():
            raise RuntimeError(f"The load client has failed: {self.said[-2000:]}")
        return RunRecord.read(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._place.cleanup()


def faults_of(record: RunRecord) -> list[str]:
    """What was not as it must be, in its own words. That this machine had no time to send what was
    due is none."""
    return [short for short in record.verdict.shortfalls if not short.endswith(UNSENT)]
