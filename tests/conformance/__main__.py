"""`python -m tests.conformance [SUITE ...]`: the foreign suites on c1m's loop, beside asyncio's.

`python -m tests.conformance packages` are other people's packages, `redis-differential` holds
`c1m serve kv` against redis-server, `redis-tcl`, `redis-py` and `redis-py-cluster` run foreign
tests on both, `kv-crash` kills it under load, `autobahn` runs the Autobahn test suite on both sides
of WebSockets, and `tls` sets other people's TLS against ours, each with a command line of its own.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import autobahn, kv_crash, obtaining, packages, redis_suites, tables
from .comparing import compare
from .differential import run as differential_run
from .runs import On
from .suites import SUITES, CannotBeHad
from .tables import Row
from .verdicts import Judged, exclusions

ENGINES = ("uring", "epoll")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(SUITES)}; all")
    parser.add_argument(
        "--engine",
        choices=(*ENGINES, "auto"),
        action="append",
        help="one only; both, unless one is named",
    )
    parser.add_argument("--quick", action="store_true", help="the sample of the default tests")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="a module, class or test, as in test_events.EPollEventLoopTests",
    )
    parser.add_argument("--loop", choices=("c1m", "asyncio"), default="c1m")
    parser.add_argument("--python", default=sys.executable, help="another interpreter to run it on")
    parser.add_argument("--lines", type=int, default=12, help="of what is said of a failure")
    asked = parser.parse_args(words)
    for name in asked.suites:
        if name not in SUITES:
            parser.error(f"no suite is called {name!r}; there are {', '.join(SUITES)}")
    return asked


def main(words: Sequence[str]) -> int:
    """0 where nothing failed that passes on asyncio's own loop."""
    # Its workers and servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("conformance: ended by SIGTERM"))
    if words[:1] == ["packages"]:
        return packages.main(words[1:])
    if words[:1] == ["redis-differential"]:
        return differential_run.main(words[1:])
    if words and words[0] in redis_suites.SUITES:
        return redis_suites.main(words[0], words[1:])
    if words[:1] == ["autobahn"]:
        return autobahn.main(words[1:])
    if words[:1] == ["tls"]:
        sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds what tests share
        from .tls import run

        return run.main(words[1:])
    if words[:1] == ["kv-crash"]:
        return kv_crash.main(words[1:])
    asked = arguments(words)
    version = obtaining.version_of(asked.python)
    rows: list[Row] = []
    for name in asked.suites or SUITES:
        try:
            suite = SUITES[name](asked.python)
        except CannotBeHad as why:
            print(f"{name} cannot be had here: {why}", file=sys.stderr)
            return 2
        names = asked.only or (suite.sample if asked.quick else suite.modules)
        engines = (asked.engine or ENGINES) if asked.loop == "c1m" else ("",)
        for engine in engines:
            on = On(asked.python, asked.loop, engine)
            judged: list[Judged] = []
            for module in names:
                print(f"{name} on {on}: {module}", file=sys.stderr, flush=True)
                for one in compare(suite, module, on, exclusions()):
                    judged.append(one)
                    _report(one, asked.lines)
            rows.append(Row(name, str(on), version, judged))
    print(tables.table(rows), tables.NOTES, sep="\n\n")
    print(f"Linux {platform.release()}, {platform.machine()}")
    return int(any(row.count()["failed"] for row in rows))


def _report(one: Judged, last_lines: int) -> None:
    if one.verdict in ("failed", "unsteady", "asyncio's fails too"):
        print(f"{one.verdict}: {one.test}")
        if one.verdict != "asyncio's fails too":
            for line in one.text.strip().splitlines()[-last_lines:]:
                print(f"    {line}")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
