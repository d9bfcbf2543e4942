"""How often `c1m compare` calls a build compared with itself worse or better, and what it finds.

    bench/false_alarms.py [--name NAME] [--records DIR]

Takes 11 minutes. 209 runs of a second of one server, started anew for each, by `c1m load` on this
machine, none of them pinned. Between them runs of the same server made worse on purpose
(peers/c1m_worse.py).

Comparisons are windows over the runs in the order in which they were made, split in turns (A B A B
...), as the how-to says; windows overlap, so that 200 comparisons of 5 and 5 records take 209 runs.
Others take their runs at random from all. Writes results/DATE-NAME.json with the conditions.
`--records` keeps the records in DIR, and does not make again what is there.
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
from random import Random
from typing import Any

from harness import build, conditions
from harness.processes import Server

from c1m.loadgen.metadata import started_text
from c1m.report.compare import BETTER, SAME, WORSE, compare
from c1m.results.record import RunRecord

SCHEMA = 1
PAIRS = 200
DRAWS = 500
SIDES = (3, 4, 5)  # records a side
RUNS = PAIRS + 2 * max(SIDES) - 1
EVERY = 4  # so many runs of the build are between two of a build that is worse
PLAN = "ramp 100", "hold for 0.8s at 2k/s", "stampede"
PORT = 18_470
# name -> work and delay in microseconds before each batch of replies
BUILDS = {"same": (0, 0), "work": (50, 0), "delay": (0, 300)}
WORSE_BUILDS = {"work": "server_cpu", "delay": "p50"}  # and the figure to name
WATCHED = ("rate", "request.p50", "request.p99", "server_cpu")  # shown for the worse builds

Runs = list[RunRecord]


def wanted() -> Iterator[tuple[str, int]]:
    """(build, number) of each run, in the order in which they are made."""
    for number in range(RUNS):
        yield "same", number
        if number % EVERY == EVERY - 1:
            turn = number // EVERY
            yield list(WORSE_BUILDS)[turn % 2], turn // 2


def make(records: Path) -> None:
    """All records that are not there yet, as files."""
    runs = list(wanted())
    for done, (name, number) in enumerate(runs):
        path = records / f"short-{name}-{number:03d}.json"
        if not path.exists():
            load_once(path, PORT + done % 100, BUILDS[name])  # the last port is in TIME_WAIT
        if sys.stderr.isatty():
            print(f"\r{done + 1} of {len(runs)} runs", end="", file=sys.stderr)


def load_once(path: Path, port: int, worse_us: tuple[int, int]) -> None:
    """One run against a server of its own."""
    program = build.BENCH / "peers" / "c1m_worse.py"
    server = Server([sys.executable, str(program), *map(str, (port, *worse_us))], port)
    try:
        command = [sys.executable, "-m", "c1m", "load", f"tcp://127.0.0.1:{port}", "--quiet"]
        for stage in PLAN:
            command += ["--stage", stage]
        part = path.with_suffix(".part")
        subprocess.run([*command, "--json", str(part)], stdout=subprocess.DEVNULL, check=False)
        part.rename(path)  # what is there is whole
    finally:
        server.stop()


def read(records: Path, name: str) -> Runs:
    """The records of a build in the order in which they were made."""
    return [RunRecord.read(path) for path in sorted(records.glob(f"short-{name}-*.json"))]


def in_turns(runs: Sequence[RunRecord], n: int) -> Iterator[tuple[Runs, Runs]]:
    """A B A B ... over every window of 2 n runs, at most PAIRS of them."""
    for at in range(min(PAIRS, len(runs) - 2 * n + 1)):
        window = runs[at : at + 2 * n]
        yield list(window[0::2]), list(window[1::2])


def at_random(runs: Sequence[RunRecord], n: int) -> Iterator[tuple[Runs, Runs]]:
    """DRAWS times 2 n of the runs, whenever they were made."""
    random = Random(n)
    for _ in range(DRAWS):
        drawn = random.sample(list(runs), 2 * n)
        yield drawn[:n], drawn[n:]


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
    same = read(records, "same")
    alarms = {}
    for n in SIDES:
        alarms[f"{n} + {n}, in turns"] = count(in_turns(same, n))
        alarms[f"{n} + {n}, at random"] = count(at_random(same, n))
    found: dict[str, Any] = {}
    for turn, (name, figure) in enumerate(WORSE_BUILDS.items()):
        runs, first = read(records, name), (turn + 1) * EVERY - 1
        for n in SIDES:
            found[f"{name}, {n} + {n}"] = count(against(same, runs, first, n))
            named = count(against(same, runs, first, n), [figure])
            found[f"{name}, {n} + {n}, --metric {figure}"] = named
    return {"false_alarms": alarms, "found": found, "medians": medians(records)}


def medians(records: Path) -> dict[str, dict[str, float]]:
    """What the builds differ by in truth: the medians of the watched figures over all runs."""
    from c1m.results import catalogue as metrics

    found: dict[str, dict[str, float]] = {}
    for name in BUILDS:
        runs = read(records, name)
        found[name] = {}
        for figure in WATCHED:
            values = [metrics.measure(run, metrics.find(figure)).value for run in runs]
            known = sorted(value for value in values if value is not None)
            found[name][figure] = known[len(known) // 2]
    return found


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
        document["settings"] = {
            "plan": PLAN, "runs": RUNS, "builds_us": BUILDS,
            "split": "in turns, in overlapping windows of consecutive runs, or at random",
        }  # fmt: skip
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
