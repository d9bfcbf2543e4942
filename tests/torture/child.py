"""A module of this package as a process of its own: told in JSON, it says lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 120.0
TESTS = Path(__file__).parents[1]

Line = dict[str, Any]


class Child:
    """It, as a context manager: killed when left. `lines` are those that it has said so far."""

    def __init__(self, module: str, *, nice: int = 0, **asked: Any) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._at = 0
        self._rest = b""
        self.lines: list[Line] = []
        self.name = module
        places = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        before = ["nice", "-n", str(nice)] if nice else []
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", f"torture.{module}", json.dumps(asked)],
            stdout=self._said, env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        )  # fmt: skip

    def look(self) -> Line:
        """The last line, {} before the first."""
        if self._said.closed:
            return self.lines[-1] if self.lines else {}
        # The offset of the file is the child's: it writes there.
        there = os.fstat(self._said.fileno()).st_size - self._at
        data = os.pread(self._said.fileno(), there, self._at) if there else b""
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += [json.loads(line) for line in whole]
        return self.lines[-1] if self.lines else {}

    def wait_for(self, is_it: Callable[[Line], object], patience_s: float = PATIENCE_S) -> Line:
        """The first line from here on of which this is so. Raises TimeoutError, with the last."""
        deadline, seen = time.monotonic() + patience_s, max(len(self.lines) - 1, 0)
        while True:
            has_ended = self.process.poll() is not None
            self.look()
            for line in self.lines[seen:]:
                if is_it(line):
                    return line
            seen = len(self.lines)
            if has_ended or time.monotonic() > deadline:
                how = f"has ended ({self.process.poll()})" if has_ended else "does not say so"
                raise TimeoutError(f"{self.name} {how}; its last line: {self.look()}")
            time.sleep(0.02)

    def stop(self, patience_s: float = PATIENCE_S) -> Line:
        """SIGTERM, and the last line."""
        self.process.terminate()
        self.process.wait(patience_s)
        return self.look()

    def kill(self) -> None:
        """kill -9. The kernel may still be closing what it had open when this returns: rings are
        taken down later."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.look()
        self._said.close()


def asked() -> Line:
    """What this process, a child, was told."""
    told: Line = json.loads(sys.argv[1])
    return told


def say(**line: Any) -> None:
    """Say a line."""
    print(json.dumps(line), flush=True)
