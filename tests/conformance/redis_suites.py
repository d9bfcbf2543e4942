"""Foreign tests of a Redis or of a cluster, first on redis-server, then on c1m."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from .kv_servers import c1m, free_port, redis, redis_cluster
from .obtaining import CannotBeHad
from .protocol import Result
from .redis_py import RedisPy, RedisPyCluster
from .redis_tcl import RedisTcl
from .verdicts import exclusions

EXCLUSIONS = Path(__file__).with_name("redis_exclusions.toml")
VERDICTS = ("passed", "failed", "unsteady", "Redis's fails too", "skipped")


class Suite(Protocol):
    """Tests in parts, each of which is run by itself on a new server."""

    name: str
    parts: Sequence[str]
    nodes: int  # of the server: more than one are a cluster

    def run(self, part: str, port: int, without: Sequence[str]) -> dict[str, Result]: ...

    def came_to_its_end(self, results: dict[str, Result]) -> bool: ...


SUITES: dict[str, Callable[[], Suite]] = {
    suite.name: suite for suite in (RedisTcl, RedisPy, RedisPyCluster)
}


def main(name: str, words: Sequence[str]) -> int:
    """0 where nothing fails that redis-server passes."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.conformance {name}")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all, unless some are named")
    parser.add_argument("--lines", type=int, default=8, help="of what is said of a failure")
    asked = parser.parse_args(words)
    without = [test for each in exclusions(EXCLUSIONS) if each.suite == name for test in each.tests]
    total: Counter[str] = Counter()
    try:
        suite = SUITES[name]()
        for part in asked.parts or suite.parts:
            counts: Counter[str] = Counter()
            for verdict, result in judged(suite, part, without):
                counts[verdict] += 1
                if verdict in ("failed", "unsteady"):
                    print(f"{verdict}: {result.test}")
                    for line in result.text.strip().splitlines()[-asked.lines :]:
                        print(f"    {line}")
            said = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
            print(f"{part}: {said or 'nothing to run'}", flush=True)
            total += counts
    except CannotBeHad as why:
        print(f"{name} cannot be had here: {why}", file=sys.stderr)
        return 2
    print(f"{name}: " + ", ".join(f"{total[v]} {v}" for v in VERDICTS))
    print(f"excluded: {len(without)} names, for the reasons in {EXCLUSIONS.name}")
    return int(bool(total["failed"]))


def judged(suite: Suite, part: str, without: Sequence[str]) -> Iterator[tuple[str, Result]]:
    """The verdict on each test of a part that either server has run."""
    theirs = _results(suite, part, without, "redis")
    ours = _results(suite, part, without, "c1m")
    nothing = Result("", "failed", "It was not run: the suite did not come so far.")
    unlike = [t for t, r in theirs.items() if r.outcome == "passed" and not _passed(ours.get(t))]
    again = _results(suite, part, without, "c1m") if unlike else {}
    for test, their in theirs.items():
        our = ours.get(test, nothing)
        if test in unlike and test not in ours and suite.came_to_its_end(ours):
            yield "skipped", Result(test, "skipped", "The suite itself leaves it out.")
        elif test in unlike:
            verdict = "unsteady" if _passed(again.get(test)) else "failed"
            yield verdict, Result(test, "failed", our.text)
        elif test == part:  # not a test: nothing of it was run
            yield "failed", their
        elif their.outcome == "failed" and our.outcome == "failed":
            yield "Redis's fails too", our
        else:
            yield ("skipped" if their.outcome == "skipped" else "passed"), our
    for test, our in ours.items():
        if test not in theirs and our.outcome == "failed":
            yield "failed", our


def _passed(result: Result | None) -> bool:
    return result is not None and result.outcome == "passed"


def _results(suite: Suite, part: str, without: Sequence[str], on: str) -> dict[str, Result]:
    print(f"{suite.name} on {on}: {part}", file=sys.stderr, flush=True)
    several = suite.nodes > 1
    port = free_port(suite.nodes + several)  # c1m's processes have one together as well
    with tempfile.TemporaryDirectory(prefix="c1m-redis-") as directory:
        where = Path(directory)
        if on == "c1m":
            server = c1m(where, port, *(["--processes", str(suite.nodes)] if several else []))
        elif several:
            server = redis_cluster(where, range(port, port + suite.nodes))
        else:
            server = redis(where, "--port", str(port))
        with server:
            return suite.run(part, port, without)
