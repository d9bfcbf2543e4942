"""Runs tests of one module of a suite, in a process of its own, and says how each one ended.

`python -m conformance.worker DESCRIPTOR`: a `Job` comes as a line on the standard input, results go
to DESCRIPTOR. The suite's own output stays on the standard streams.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import unittest
from collections.abc import Iterator
from typing import Any

from . import placing
from .protocol import Job, Outcome, Result, Started


class Reporter(unittest.TestResult):
    """Writes each test's start and end as a line, at once."""

    def __init__(self, descriptor: int, counter: placing.Counter) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._counter = counter
        self._made_before = 0
        self._failures: list[str] = []
        self._skipped: str | None = None

    def write(self, message: Started | Result) -> None:
        os.write(self._descriptor, f"{message.line()}\n".encode())

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().startTest(test)
        self._made_before = self._counter.made
        self._failures = []
        self._skipped = None
        self.write(Started(test.id()))

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().stopTest(test)
        made = self._counter.made - self._made_before
        outcome: Outcome = "passed"
        text = ""
        if self._failures:
            outcome, text = "failed", "\n".join(self._failures)
        elif self._skipped is not None:
            outcome, text = "skipped", self._skipped
        self.write(Result(test.id(), outcome, text, made))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        if not isinstance(test, unittest.TestCase):  # all of a class or of a module
            self.write(Result(test.id(), "skipped", reason))
        elif not hasattr(test, "test_case"):  # a subtest that is skipped leaves the others
            self._skipped = reason

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._failures.append("The suite expects a failure here, and there was none.")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.addError(test, err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        text = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]
        if isinstance(test, unittest.TestCase):
            self._failures.append(text)
        else:  # the set-up of a class or of a module
            self.write(Result(test.id(), "failed", text))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            text = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]
            self._failures.append(f"{subtest}\n{text}")


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests in their order, out of suites in suites."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def main() -> None:
    """Run the job."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    faulthandler.enable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    job = Job(**json.loads(sys.stdin.readline()))
    for package, more in job.package_paths or ():
        importlib.import_module(package).__path__.append(more)
    counter = placing.place(job.loop, job.engine)
    tests = unittest.defaultTestLoader.loadTestsFromName(job.module)
    suite = unittest.TestSuite(
        test
        for test in tests_of(tests)
        if (job.only is None or test.id() in job.only) and test.id() not in (job.without or ())
    )
    suite.run(Reporter(descriptor, counter))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a thread that a test has left may never end


if __name__ == "__main__":
    main()
