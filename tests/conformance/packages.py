"""Other people's programs: their own tests with asyncio's loop and with ours, and the difference.

    python -m tests.conformance packages [NAME...] [--engine uring|epoll] [--quick]

Each package's tests (`package_suites.py`) are run with asyncio's own loop, then with ours on each
engine. What counts: a test that passes with asyncio's and does not with ours. Those that fail with
ours alone are run again, with both: a test that then passes with ours each time is unsteady, and so
is one that then fails with asyncio's. Exit status: 0, no test fails with ours alone.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .ipv6 import named
from .package_suites import BUILD, ROOT, SUITES, Suite, get

PLUGIN = Path(__file__).parent / "in_place"
TEST_S = 60  # a test that takes longer has failed
SILENT_S = 150  # with no test ended for so long the process is killed: its own timeout did not work
RESUMED_MOST = 8  # times that a run whose process died goes on behind the test that it died in
INTERNAL_ERROR = 3  # pytest's own exit status: it ended before the tests did
AGAIN = 3  # runs that tell a failure from unsteadiness
AGAIN_MOST = 60  # tests that are run again: more are no matter of luck


@dataclass
class Outcome:
    """How a test ended, and what was said."""

    outcome: str
    message: str = ""


@dataclass
class Run:
    """One run of a suite on one loop."""

    loop: str
    tests: dict[str, Outcome] = field(default_factory=dict)
    seconds: float = 0.0

    def failed(self) -> set[str]:
        """The names of the tests that did not pass."""
        return {name for name, test in self.tests.items() if test.outcome in ("failed", "died")}

    def passed(self) -> set[str]:
        """The names of those that did, also where that was not expected of them."""
        return {name for name, test in self.tests.items() if test.outcome in ("passed", "xfailed")}

    def summary(self) -> str:
        """Counts in words."""
        counts = Counter(test.outcome for test in self.tests.values())
        told = [f"{counts[kind]:,} {kind}" for kind in sorted(counts, key=lambda k: -counts[k])]
        return f"{', '.join(told) or 'nothing was run'} ({self.seconds:.0f} s)"


def run_suite(suite: Suite, loop: str, what: Sequence[str], turn: str = "") -> Run:
    """Run these paths or tests of a suite on a loop: asyncio, uring or epoll.

    `turn` is in the names of its logs.
    """
    logs = BUILD / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log, skip, output = (
        logs / f"{suite.name}-{loop}{turn}.{kind}" for kind in ("jsonl", "skip", "txt")
    )
    run, begun = Run(loop), time.monotonic()
    log.write_text("")
    output.write_text("")
    for _ in range(RESUMED_MOST):
        skip.write_text("\n".join(run.tests))
        env = os.environ | {
            "IN_PLACE_LOOP": loop, "IN_PLACE_LOG": str(log), "IN_PLACE_SKIP": str(skip),
            "PYTHONPATH": os.pathsep.join([str(PLUGIN), str(ours())]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        command = [
            *named(BUILD), str(suite.python), "-P", "-m", "pytest",
            "-p", "c1m_in_place", "-p", "no:cacheprovider", "-q",
            f"--timeout={TEST_S}", "--timeout-method=signal", *suite.arguments,
            *(f"--deselect={name}" for name in suite.not_run), *what,
        ]  # fmt: skip
        with output.open("a") as told:
            process = subprocess.Popen(
                command, cwd=suite.source, env=env, stdin=subprocess.DEVNULL, stdout=told,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                wait_while_it_says_something(process, log)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if read_log(log, run):
            break
    run.seconds = time.monotonic() - begun
    return run


@cache
def ours() -> Path:
    """A copy of c1m as it is now: the working tree may change while suites are run."""
    place = Path(tempfile.mkdtemp(prefix="c1m-conformance-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return shutil.copytree(ROOT / "src" / "c1m", place / "c1m").parent


def wait_while_it_says_something(process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it has ended, or was silent too long."""
    while process.poll() is None:
        if time.time() - log.stat().st_mtime > SILENT_S:
            return
        time.sleep(0.2)


def read_log(log: Path, run: Run) -> bool:
    """Add what the log says; whether the session has come to its end."""
    started, ended = "", False
    for text in log.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if "start" in line:
            started = line["start"]
        elif "test" in line:
            run.tests[line["test"]] = Outcome(line["outcome"], line["message"])
            started = ""
        ended = line.get("end", INTERNAL_ERROR) != INTERNAL_ERROR
    if ended:
        return True
    if not started or started in run.tests:
        return True  # it died outside of a test: nothing to go on behind
    run.tests[started] = Outcome("died", "the process ended, or hung, in this test")
    return False


def only_ours(suite: Suite, theirs: Run, ours: Run) -> dict[str, str]:
    """What fails with our loop alone: names, and how often of AGAIN runs more, or "unsteady"."""
    suspects = sorted((ours.failed() - theirs.failed()) & (theirs.passed() | theirs.failed()))
    suspects += sorted(ours.failed() - set(theirs.tests))
    if len(suspects) > AGAIN_MOST:
        return dict.fromkeys(suspects, f"not run again: one of {len(suspects):,}")
    names = [name for name in suspects if not name.endswith("(import)")]
    bad, theirs_bad = Counter[str](), Counter[str]()
    for _ in range(AGAIN if names else 0):
        bad.update(run_suite(suite, ours.loop, names, "-again").failed())
        theirs_bad.update(run_suite(suite, "asyncio", names, "-again").failed())
    told = {}
    for name in suspects:
        if name.endswith("(import)"):
            told[name] = "always"
        elif bad[name] and not theirs_bad[name]:
            told[name] = f"{bad[name]} of {AGAIN} times again, asyncio's never"
        else:
            told[name] = f"unsteady: {bad[name]} of {AGAIN}, asyncio's {theirs_bad[name]}"
    return told


def compare(suite: Suite, theirs: Run, ours: Run) -> int:
    """Print the difference; returns the number of failures that count."""
    print(f"  {ours.loop:8} {ours.summary()}", flush=True)
    count = 0
    for name, how in only_ours(suite, theirs, ours).items():
        if name in suite.races:
            print(f"    - {name}: {how}; {suite.races[name]}")
            continue
        is_steady = not how.startswith("unsteady")
        count += is_steady
        print(f"    {'FAILS' if is_steady else '-'} {name}: {how}")
        last = [text for text in ours.tests[name].message.splitlines() if text.strip()][-3:]
        print("".join(f"        {text}\n" for text in last if is_steady), end="", flush=True)
    if absent := sorted(theirs.passed() - set(ours.tests)):
        print(f"    FAILS {len(absent):,} tests were not run with ours: {', '.join(absent[:3])}")
        count += len(absent)
    skipped = {n for n in theirs.passed() & set(ours.tests) if ours.tests[n].outcome == "skipped"}
    for name in sorted(skipped):
        print(f"    skipped with ours: {name}: {ours.tests[name].message}")
    for name in sorted(theirs.failed() & ours.passed()):
        print(f"    passes with ours alone: {name}")
    return count


def kept(suite: Suite, what: Sequence[str]) -> Path:
    """Where the run with asyncio's loop is kept."""
    kind = "quick" if tuple(what) == suite.quick else "all" if tuple(what) == suite.paths else ""
    return BUILD / "logs" / f"{suite.name}-baseline-{kind}.json" if kind else Path(os.devnull)


def with_asyncio(suite: Suite, what: Sequence[str], *, may_be_kept: bool) -> Run:
    """The run that ours is held against."""
    path = kept(suite, what)
    if may_be_kept and path.is_file():
        read = json.loads(path.read_text())
        tests = {name: Outcome(*each) for name, each in read["tests"].items()}
        return Run("asyncio", tests, read["seconds"])
    run = run_suite(suite, "asyncio", what)
    tests_out = {name: [test.outcome, test.message] for name, test in run.tests.items()}
    path.write_text(json.dumps({"seconds": run.seconds, "tests": tests_out}))
    return run


def main(arguments: Sequence[str]) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser("python -m tests.conformance packages", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUITES))
    parser.add_argument("--engine", choices=("uring", "epoll"), help="both, unless one is named")
    parser.add_argument("--quick", action="store_true", help="only where the loop does most")
    parser.add_argument("--test", action="append", default=[], help="only this file or test")
    parser.add_argument("--kept", action="store_true",
                        help="use the last run with asyncio's loop, if there is one")  # fmt: skip
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in SUITES]:
        parser.error(f"there is no suite {', '.join(unknown)}; there are: {', '.join(SUITES)}")
    count = 0
    for name in given.names or SUITES:
        suite = SUITES[name]
        get(suite)
        what = tuple(given.test) or (suite.quick if given.quick else suite.paths)
        print(f"{suite.name} {suite.version}", flush=True)
        theirs = with_asyncio(suite, what, may_be_kept=given.kept)
        print(f"  {'asyncio':8} {theirs.summary()}", flush=True)
        for engine in (given.engine,) if given.engine else ("uring", "epoll"):
            count += compare(suite, theirs, run_suite(suite, engine, what))
    print(f"{count} tests fail with c1m's loop alone" if count else "none fails with ours alone")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
