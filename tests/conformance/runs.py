"""Runs a suite on a loop, module by module, in workers that may hang or die.

A worker that says nothing for a while is in a test that hangs: that test has failed, and another
worker goes on with the tests after it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from .obtaining import ROOT
from .protocol import Job, Result, Started, read_line
from .suites import Suite

SILENCE_S = 40  # no test of the suites takes half of that
LOG_LINES = 60


@dataclass(frozen=True)
class On:
    """What a suite is run on."""

    python: str
    loop: str
    engine: str

    def __str__(self) -> str:
        return self.loop if self.loop == "asyncio" else f"{self.loop}, {self.engine}"


def run(suite: Suite, name: str, on: On, only: Sequence[str] | None = None) -> dict[str, Result]:
    """Results by test of one module, class or test of the suite, in order.

    `only` those tests, by their names with the suite's prefix.
    """
    results: list[Result] = []
    complete = False
    while not complete:
        job = Job(
            module=suite.prefix + name,
            loop=on.loop,
            engine=on.engine,
            only=None if only is None else list(only),
            without=[result.test for result in results],
            package_paths=[(package, str(path)) for package, path in suite.package_paths],
        )
        with tempfile.TemporaryDirectory() as scratch:
            worker = _Worker(suite, job, on, Path(scratch))
            complete = worker.watch()
        results += worker.results
    short = [replace(each, test=each.test.removeprefix(suite.prefix)) for each in results]
    return {each.test: each for each in short}


@dataclass
class _Worker:
    suite: Suite
    job: Job
    on: On
    scratch: Path
    results: list[Result] = field(default_factory=list)
    running: str | None = None

    def watch(self) -> bool:
        """Run it to its end: whether it came to the end of its tests."""
        log = self.scratch / "log"
        with log.open("wb") as output:
            how = self._run(output)
        if how == "" and self.running is None:
            return True
        said = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        if self.running is None:  # of no test's making: nothing can be said of the module
            raise RuntimeError(f"{self.job.module} on {self.on}: {how}.\n{said}")
        self.results.append(Result(self.running, "failed", f"{how or 'the worker ended'}\n{said}"))
        return False

    def _run(self, output: IO[bytes]) -> str:
        """What went wrong with the process, or ""."""
        reading, writing = os.pipe()
        work = self.scratch / "work"
        work.mkdir()
        with open(reading, "rb", buffering=0) as lines:
            process = subprocess.Popen(
                [self.on.python, "-m", "conformance.worker", str(writing)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self._environment(),
                cwd=work,
                pass_fds=(writing,),
                start_new_session=True,
            )
            os.close(writing)
            try:
                assert process.stdin is not None
                process.stdin.write(f"{self.job.line()}\n".encode())
                process.stdin.close()
                if self._read(lines.fileno()):
                    status = process.wait(SILENCE_S)
                    return f"the worker ended with {status}" if status else ""
                process.send_signal(signal.SIGABRT)  # it says where it is before it dies
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                return f"nothing for {SILENCE_S} seconds"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _read(self, descriptor: int) -> bool:
        """Take what it says until it closes the pipe (True) or is silent for too long."""
        unfinished = b""
        while select.select([descriptor], [], [], SILENCE_S)[0]:
            data = os.read(descriptor, 1 << 16)
            if not data:
                return True
            *lines, unfinished = (unfinished + data).split(b"\n")
            for line in lines:
                self._take(read_line(line.decode()))
        return False

    def _take(self, message: Started | Result) -> None:
        if isinstance(message, Started):
            self.running = message.test
        else:
            self.results.append(message)
            self.running = None

    def _environment(self) -> dict[str, str]:
        paths = [ROOT / "src", ROOT / "tests", *self.suite.paths]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "C1M_"))}
        return {**kept, "PYTHONPATH": os.pathsep.join(map(str, paths)), "LC_ALL": "C.UTF-8"}
