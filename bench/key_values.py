"""The key-value server against redis-server, driven by redis-benchmark.

    python bench/key_values.py [--pairs 5] [--tests GET,SET] [--connections 50,1000]
                               [--pipeline 1,16] [--idle 1M] [--seconds 1] [--nice N] [--json FILE]

Both servers live throughout, on the same core; redis-benchmark has the other one and drives one of
them at a time, in turn (A B A B). A ratio is taken within each pair; shown are the medians. SET,
GET and INCR are measured with all numbers of connections, once more with 100,000 keys drawn at
random, and all other tests with the first number only. p99 is c1m's and redis-server's.

`--idle`: so many clients are connected and silent while 50 are busy (c1m only: redis-server has no
more descriptors than the process may), and what each takes: the growth of the server's resident
memory by their number. redis-server's is measured with 15,000.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness import conditions, processes
from harness.measure import Machine
from harness.processes import RunFailed, Server, run_to_its_end
from harness.results import conclude
from million import namespace
from million.lives import SETTLE_S, Life

from c1m.loadgen.metadata import started_text
from c1m.units import format_count, parse_count

CORE = ("SET", "GET", "INCR")
OTHERS = (
    "PING_INLINE", "PING_MBULK", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP", "ZADD",
    "ZPOPMIN", "LRANGE_100", "LRANGE_300", "LRANGE_500", "LRANGE_600", "MSET",
)  # fmt: skip
RANDOM_KEYS = 100_000
SLOW = {"LRANGE_300": 4, "LRANGE_500": 8, "LRANGE_600": 8, "LRANGE_100": 2, "MSET": 2}
RATES = {1: 80_000, 16: 800_000}  # requests of a run for each second that it is to last
IDLE_REDIS = 15_000
MIN_BUSY = 50

Run = tuple[float, float, float]  # requests/s, p50 and p99 in milliseconds


class Row(NamedTuple):
    """One test under one load."""

    test: str
    connections: int
    pipeline: int
    random_keys: bool = False

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{self.test}{', random keys' if self.random_keys else ''}"


def main() -> int:
    """The command."""
    options = parse()
    missing = [name for name in ("redis-server", "redis-benchmark") if not shutil.which(name)]
    if missing:
        print(f"bench: {' and '.join(missing)} not found: apt-get install redis", file=sys.stderr)
        return 0
    processes.NICE = options.nice
    namespace.enter()
    machine = Machine(0, 1, options.seconds, options.pairs)
    found: dict[str, Any] = {
        "started": started_text(), "conditions": conditions.collect([]),
        "settings": {"pairs": options.pairs, "seconds": options.seconds, "nice": options.nice},
        "rows": compare(machine, list(rows(options))),
    }  # fmt: skip
    if options.idle:
        found["idle"] = idle(machine, options.idle)
    conclude(found, options.json)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a run is to last")
    parser.add_argument("--tests", type=lambda text: text.upper().split(","), default=[])
    parser.add_argument("--connections", type=_numbers, default=[50, 1_000])
    parser.add_argument("--pipeline", type=_numbers, default=[1, 16])
    parser.add_argument("--idle", type=parse_count, nargs="?", const=1_000_000, default=0)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """What is measured, in order."""
    tests = options.tests or [*CORE, *OTHERS]
    for pipeline in options.pipeline:
        for test in tests:
            for connections in options.connections if test in CORE else options.connections[:1]:
                yield Row(test, connections, pipeline)
        for test in CORE:
            if test in tests:
                yield Row(test, options.connections[0], pipeline, True)


def commands(port: int) -> dict[str, list[str]]:
    """Both servers; ours has `port`, Redis the next one."""
    return {
        "c1m": [sys.executable, "-m", "c1m", "serve", "kv", "--quiet", "--listen", f"tcp://127.0.0.1:{port}"],
        "redis": [
            "redis-server", "--port", str(port), "--save", "", "--maxclients", "19000",
            "--protected-mode", "no", "--tcp-backlog", "4096",
        ],
    }  # fmt: skip


def compare(machine: Machine, wanted: list[Row]) -> list[dict[str, Any]]:
    """Each row's pairs, printed as they come."""
    print("| test | connections | -P | c1m req/s | redis req/s | ratio | p99 ms, c1m / redis |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    servers = {}
    try:
        for name in ("c1m", "redis"):
            port = machine.next_port()
            servers[name] = Server(commands(port)[name], port, machine.server_cpu)
        return [_pairs(machine, servers, row) for row in wanted]
    finally:
        for server in servers.values():
            server.stop()


def _pairs(machine: Machine, servers: dict[str, Server], row: Row) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {name: [] for name in servers}
    for _ in range(machine.pairs):
        for name in ("redis", "c1m"):
            runs[name].append(benchmark(machine, servers[name], row))
    ours, theirs = runs["c1m"], runs["redis"]
    ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs, strict=True))
    middle = {
        name: [statistics.median(column) for column in zip(*runs[name], strict=True)]
        for name in runs
    }
    print(
        f"| {row.name} | {row.connections:,} | {row.pipeline} | {middle['c1m'][0]:,.0f} "
        f"| {middle['redis'][0]:,.0f} | {ratio:.2f} "
        f"| {middle['c1m'][2]:.2f} / {middle['redis'][2]:.2f} |",
        flush=True,
    )
    return {**row._asdict(), "ratio": ratio, "runs": runs}


def benchmark(machine: Machine, server: Server, row: Row) -> Run:
    """One run of redis-benchmark. Raises RunFailed."""
    server.wait_until_idle()
    count = int(RATES.get(row.pipeline, 80_000) * machine.seconds) // SLOW.get(row.test, 1)
    command = [
        "redis-benchmark", "-p", str(server.port), "--csv", "-t", row.test.lower(),
        "-n", str(count), "-c", str(row.connections), "-P", str(row.pipeline),
    ]  # fmt: skip
    if row.random_keys:
        command += ["-r", str(RANDOM_KEYS)]
    output = run_to_its_end(command, machine.generator_cpu, machine.seconds).decode()
    table = [line for line in csv.reader(io.StringIO(output)) if len(line) == 8]
    if len(table) < 2:
        raise RunFailed(f"redis-benchmark has counted nothing: {output[-200:]}")
    last = table[-1]  # LRANGE's own preparations come first
    return float(last[1]), float(last[4]), float(last[6])


def idle(machine: Machine, count: int) -> dict[str, Any]:
    """So many silent clients beside 50 busy ones, and what each of them takes."""
    row = Row("GET", MIN_BUSY, 1)
    found: dict[str, Any] = {"connections": count}
    for name, most in (("c1m", count), ("redis", min(IDLE_REDIS, count))):
        port = machine.next_port()
        life = Life(machine, most, server=commands(port)[name], port=port)
        try:
            life.answer()  # it is ready
            before = [benchmark(machine, life.server, row) for _ in range(machine.pairs)]
            empty = life.memory()
            opening = life.ask("open", count=most)
            opened = opening["opened"]
            life.ask("idle", seconds=SETTLE_S)
            held = life.memory()
            between = [benchmark(machine, life.server, row) for _ in range(machine.pairs)]
            life.close_all()
            after = [benchmark(machine, life.server, row) for _ in range(machine.pairs)]
        finally:
            life.stop()
        alone = statistics.median(rate for rate, *_ in before + after)
        beside = statistics.median(rate for rate, *_ in between)
        bytes_each = (held["rss_bytes"] - empty["rss_bytes"]) / max(opened, 1)
        found[name] = {
            "opened": opened, "stopped": opening["stopped"], "user_bytes": bytes_each,
            "before": before, "between": between, "after": after, "ratio": beside / alone,
        }  # fmt: skip
        print(
            f"{name}: {format_count(opened)} idle clients of {bytes_each:,.0f} B of user memory; "
            f"50 busy ones keep {beside / alone:.2f} of {alone:,.0f}/s {opening['stopped']}",
            flush=True,
        )
    return found


if __name__ == "__main__":
    raise SystemExit(main())
