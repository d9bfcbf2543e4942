"""How often `c1m compare` calls a build compared with itself worse or better, and what it finds.

    bench/false_alarms.py [--name NAME] [--records DIR]

Takes 13 minutes. Runs of one server, started anew for each, by `c1m load` on this machine, none of
them pinned: 209 short ones (1 s), and 24 of 12 s, which have a series of ten intervals and more.
Between them runs of the same server made worse on purpose (peers/c1m_worse.py).

Comparisons are windows over the runs in the order in which they were made, dealt to the sides in
turns (A B A B ...), as the how-to says; windows overlap, so that 200 comparisons of 5 and 5 records
take 209 runs. Those of one record a side with a series are of pairs at most so far apart as it
takes. Writes results/DATE-NAME.json with the conditions. `--records` keeps the records in DIR, and
does not make again what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import build, conditions
from harness.processes import Server

from c1m.loadgen.metadata import started_text
from c1m.report.compare import BETTER, SAME, WORSE, compare
from c1m.results.record import RunRecord

SCHEMA = 1
PAIRS = 200
SIDES = (1, 2, 3, 5)  # records a side
SHORT, LONG = PAIRS + 2 * max(SIDES) - 1, 24  # runs
EVERY = 4  # so many runs of the build are between two of a build that is worse
HOLD_S = {"short": 0.8, "long": 11.2}
PLAN = "ramp 100", "hold for {}s at 2k/s", "stampede"
PORT = 18_470
# name -> work and delay in microseconds before each batch of replies
BUILDS = {"same": (0, 0), "work": (50, 0), "delay": (0, 300)}
WORSE_BUILDS = {"work": "server_cpu", "delay": "p50"}  # and the figure to name
WATCHED = ("rate", "request.p50", "request.p99", "server_cpu")  # shown for the worse builds

Runs = list[RunRecord]


def wanted() -> Iterator[tuple[str, str, int]]:
    """(length, build, number) of each run, in the order in which they are made."""
    for length, count, every in (("short", SHORT, EVERY), ("long", LONG, 2 * EVERY)):
        for number in range(count):
            yield length, "same", number
            if number % every == every - 1:
                turn = number // every
                yield length, list(WORSE_BUILDS)[turn % 2], turn // 2


def make(records: Path) -> None:
    """All records that are not there yet, as files."""
    runs = list(wanted())
    for done, (length, name, number) in enumerate(runs):
        path = records / f"{length}-{name}-{number:03d}.json"
        if not path.exists():
            port = PORT + done % 100  # the last server's is in TIME_WAIT
            load_once(path, port, BUILDS[name], HOLD_S[length])
        if sys.stderr.isatty():
            print(f"\r{done + 1} of {len(runs)} runs", end="", file=sys.stderr)


def load_once(path: Path, port: int, worse_us: tuple[int, int], hold_s: float) -> None:
    """One run against a server of its own."""
    program = build.BENCH / "peers" / "c1m_worse.py"
    server = Server([sys.executable, str(program), *map(str, (port, *worse_us))], port)
    try:
        command = [sys.executable, "-m", "c1m", "load", f"tcp://127.0.0.1:{port}", "--quiet"]
        for stage in PLAN:
            command += ["--stage", stage.format(hold_s)]
        part = path.with_suffix(".part")
        subprocess.run([*command, "--json", str(part)], stdout=subprocess.DEVNULL, check=False)
        part.rename(path)  # what is there is whole
    finally:
        server.stop()


def read(records: Path, length: str, name: str) -> Runs:
    """The records of a build in the order in which they were made."""
    return [RunRecord.read(path) for path in sorted(records.glob(f"{length}-{name}-*.json"))]


def in_turns(runs: Sequence[RunRecord], n: int) -> Iterator[tuple[Runs, Runs]]:
    """A B A B ... over every window of 2 n runs, at most PAIRS of them."""
    for at in range(min(PAIRS, len(runs) - 2 * n + 1)):
        window = runs[at : at + 2 * n]
        yield list(window[0::2]), list(window[1::2])


def one_each(runs: Sequence[RunRecord]) -> Iterator[tuple[Runs, Runs]]:
    """PAIRS of single runs, neighbours first, then those that are further apart."""
    pairs = [(i, i + far) for far in range(1, len(runs)) for i in range(len(runs) - far)]
    for i, j in pairs[:PAIRS]:
        yield [runs[i]], [runs[j]]


def against(
    same: Sequence[RunRecord], worse: Sequence[RunRecord], first: int, n: int
) -> Iterator[tuple[Runs, Runs]]:
    """Windows over a worse build, each of its runs with the one that was made before it."""
    before = same[first :: 2 * EVERY]
    for at in range(len(worse) - n + 1):
        yield list(before[at : at + n]), list(worse[at : at + n])


def count(comparisons: Iterator[tuple[Runs, Runs]], only: Sequence[str] = ()) -> dict[str, Any]:
    """How many comparisons had a verdict worse, or better; and in which figures."""
    total = worse = better = either = judged = figures = 0
    names: Counter[str] = Counter()
    for a, b in comparisons:
        result = compare(a, b, only)
        bad, good = result.having(WORSE), result.having(BETTER)
        total, worse, better = total + 1, worse + bool(bad), better + bool(good)
        either += bool(bad or good)
        figures += len(result.rows)
        judged += len(bad) + len(good) + len(result.having(SAME))
        names.update(row.name for row in (*bad, *good))
    return {
        "comparisons": total, "worse": worse, "better": better, "either": either,
        "figures": round(figures / total, 1), "judged": round(judged / total, 1),
        "by_figure": dict(names.most_common()),
    }  # fmt: skip


def judge(records: Path) -> dict[str, Any]:
    """False alarms by records a side, and of the builds that are worse what was found."""
    short, long = read(records, "short", "same"), read(records, "long", "same")
    alarms = {f"{n} + {n}": count(in_turns(short, n)) for n in SIDES}
    alarms["1 + 1, with a series"] = count(one_each(long))
    found: dict[str, Any] = {}
    for turn, (name, figure) in enumerate(WORSE_BUILDS.items()):
        runs, first = read(records, "short", name), (turn + 1) * EVERY - 1
        for n in SIDES:
            found[f"{name}, {n} + {n}"] = count(against(short, runs, first, n))
            named = count(against(short, runs, first, n), [figure])
            found[f"{name}, {n} + {n}, --metric {figure}"] = named
        slow = read(records, "long", name)
        found[f"{name}, 1 + 1, with a series"] = count(([a], [b]) for b in slow for a in long)
    return {"false_alarms": alarms, "found": found, "medians": medians(records)}


def medians(records: Path) -> dict[str, dict[str, float]]:
    """What the builds differ by in truth: the medians of the watched figures over all runs."""
    from c1m.results import catalogue as metrics

    told: dict[str, dict[str, float]] = {}
    for name in BUILDS:
        runs = read(records, "short", name)
        told[name] = {}
        for figure in WATCHED:
            values = [metrics.measure(run, metrics.find(figure)).value for run in runs]
            known = sorted(value for value in values if value is not None)
            told[name][figure] = known[len(known) // 2]
    return told


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="compare-false-alarms")
    parser.add_argument("--records", type=Path, metavar="DIR")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        records = options.records or Path(scratch)
        records.mkdir(parents=True, exist_ok=True)
        kept = records / "conditions"
        if not kept.exists():
            kept.write_text(json.dumps(made(records)))
        document = json.loads(kept.read_text())
        document |= judge(records)
    path = build.BENCH / "results" / f"{document['started'][:10]}-{options.name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    show(document)
    print(path.relative_to(build.BENCH.parent))


def made(records: Path) -> dict[str, Any]:
    """Make the records; under which conditions."""
    there = conditions.collect([])
    document: dict[str, Any] = {
        "schema": SCHEMA, "started": started_text(), "conditions": there,
    }  # fmt: skip
    start = time.monotonic()
    make(records)
    there["load_average_after"] = os.getloadavg()[0]
    document["seconds"] = round(time.monotonic() - start)
    document["settings"] = {
        "plan": PLAN, "hold_s": HOLD_S, "runs": {"short": SHORT, "long": LONG},
        "builds_us": BUILDS, "dealt": "in turns, in overlapping windows of consecutive runs",
    }  # fmt: skip
    return document


def show(document: dict[str, Any]) -> None:
    """The tables on the terminal."""
    for part in ("false_alarms", "found"):
        print(f"{part.replace('_', ' '):<36}  of  worse  better  figures")
        for name, counted in document[part].items():
            print(
                f"{name:<36} {counted['comparisons']:>3} {counted['worse']:>6} "
                f"{counted['better']:>7}  {' '.join(counted['by_figure'])}"
            )


if __name__ == "__main__":
    main()
