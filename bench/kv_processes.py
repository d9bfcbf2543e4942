"""The key-value server by two processes against one, driven by redis-benchmark and c1m load.

    python bench/kv_processes.py [--pairs 5] [--seconds 1] [--tests SET,C1M] [--pipeline 1,16]
                                 [--connections 200] [--nice N] [--json FILE]

`c1m serve kv --processes 2` is a Redis Cluster of two nodes, which redis-benchmark is told
(`--cluster`); beside them are one `redis-server` and two in cluster mode. All servers live
throughout, and one of them is driven at a time, in turn (A B A B ...). Nothing is pinned: two
processes and the generator share the machine, so the generator's share of all processor time that
a run took is shown. Ratios are taken within each turn; shown are the medians. Each client of a
cluster has a key of its own, in a slot that redis-benchmark draws; they are set before. Without a
cluster all have the same key. The test C1M is `c1m load`: SET, GET and INCR in turn, for so many
seconds, each connection with a key of its own, every reply checked; pipelined, it is the limit.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness import conditions, processes
from harness.accounts import account
from harness.processes import RunFailed, Server, below, run_to_its_end
from harness.results import conclude

from c1m.loadgen.metadata import started_text
from c1m.results.record import RunRecord

FILLING = 60  # runs of 1,000 clients, by which nearly every slot has its key
RATES = {1: 60_000, 16: 500_000}  # requests of a run for each second that it is to last
FIRST_PORT = 22_100
ALONE, TWICE = "c1m", "c1m, 2 processes"
REDIS_ALONE, REDIS_TWICE = "redis", "redis, 2 nodes"
NAMES = (ALONE, TWICE, REDIS_ALONE, REDIS_TWICE)
C1M = "C1M"  # the test of c1m load


class Target(NamedTuple):
    """Servers that are driven together."""

    servers: list[Server]
    port: int  # that redis-benchmark is given
    is_cluster: bool

    def pids(self) -> list[int]:
        """All processes of it."""
        return [pid for server in self.servers for pid in (server.pid, *below(server.pid))]


class Run(NamedTuple):
    """What the generator measured, and the processor time in seconds."""

    per_s: float
    p99_ms: float
    server_s: float
    generator_s: float
    answered: int  # requests


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a run is to last")
    parser.add_argument(
        "--tests", type=lambda text: text.upper().split(","), default="SET,GET,INCR,C1M"
    )
    parser.add_argument("--pipeline", type=lambda text: map(int, text.split(",")), default="1,16")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--nice", type=int, default=0, help="of all that is measured")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    missing = [name for name in ("redis-server", "redis-benchmark") if not shutil.which(name)]
    if missing:
        print(f"bench: {' and '.join(missing)} not found: apt-get install redis", file=sys.stderr)
        return 0
    processes.NICE = options.nice
    settings = {name: str(value) for name, value in vars(options).items() if name != "json"}
    found: dict[str, Any] = {
        "started": started_text(), "conditions": conditions.collect([]), "settings": settings,
        "rows": [],
    }  # fmt: skip
    print(
        "| test | -P | servers | requests/s | against one | p99 ms | server us each | generator |"
    )
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(prefix="c1m-bench-") as folder, targets(folder) as all_of_them:
        for pipeline in options.pipeline:
            for test in options.tests:
                count = int(RATES.get(pipeline, 60_000) * options.seconds)
                runs: dict[str, list[Run]] = {name: [] for name in NAMES}
                for _ in range(options.pairs):
                    for name in NAMES:
                        target, most = all_of_them[name], options.connections
                        if test == C1M:
                            words = ["--connections", most, "--pipeline", pipeline]
                            words += ["--hold", f"{options.seconds}s", "--think", "0s"]
                            runs[name].append(loaded(target, list(map(str, words))))
                            continue
                        words = ["-t", test.lower(), "-n", count, "-P", pipeline, "-c", most]
                        runs[name].append(measured(target, list(map(str, words)), count))
                tell(test, pipeline, runs)
                found["rows"].append({"test": test, "pipeline": pipeline, "runs": runs})
    conclude(found, options.json)
    return 0


@contextlib.contextmanager
def targets(folder: str) -> Iterator[dict[str, Target]]:
    """All servers, for the time of a `with`."""
    ports = iter(range(FIRST_PORT, FIRST_PORT + 100))
    with contextlib.ExitStack() as stack:

        def started(command: list[str], port: int) -> Server:
            server = Server(command, port)
            stack.callback(server.stop)
            return server

        serve = [sys.executable, "-m", "c1m", "serve", "kv", "--quiet", "--listen"]
        one, shared = next(ports), next(ports)
        own = [next(ports), next(ports)]
        alone = started([*serve, f"tcp://127.0.0.1:{one}"], one)
        twice = started([*serve, f"tcp://127.0.0.1:{shared}", "--processes", "2"], own[0])
        redis = ["redis-server", "--save", "", "--dir", folder, "--port"]
        single, *nodes = next(ports), next(ports), next(ports)
        cluster = ["--cluster-enabled", "yes", "--cluster-config-file"]
        redis_alone = started([*redis, str(single)], single)
        redis_twice = [
            started([*redis, str(port), *cluster, f"{port}.conf"], port) for port in nodes
        ]
        join(nodes)
        for port in (own[0], nodes[0]):
            fill = ["redis-benchmark", "--cluster", "-p", str(port), "-t", "set", "-c", "1000"]
            for _ in range(FILLING):
                subprocess.run([*fill, "-n", "1000"], check=True, capture_output=True)
        yield {
            ALONE: Target([alone], one, False),
            TWICE: Target([twice], own[0], True),
            REDIS_ALONE: Target([redis_alone], single, False),
            REDIS_TWICE: Target(redis_twice, nodes[0], True),
        }


def join(ports: list[int]) -> None:
    """Make redis-servers a cluster."""
    places = [f"127.0.0.1:{port}" for port in ports]
    for port, slots in zip(ports, (("0", "8191"), ("8192", "16383")), strict=True):
        subprocess.run(
            ["redis-cli", "-p", str(port), "cluster", "addslotsrange", *slots],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    meet = ["redis-cli", "-p", str(ports[0]), "cluster", "meet", *places[1].split(":")]
    subprocess.run(meet, check=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        said = subprocess.run(
            ["redis-cli", "-p", str(ports[1]), "cluster", "info"], capture_output=True, text=True
        ).stdout
        if "cluster_state:ok" in said:
            return
        time.sleep(0.2)
    raise RunFailed("two redis-servers do not become a cluster")


def measured(target: Target, words: list[str], count: int) -> Run:
    """One run of redis-benchmark. Raises RunFailed."""
    command = ["redis-benchmark", "-p", str(target.port), "--csv", *words]
    command += ["--cluster"] if target.is_cluster else []
    output, server_s, own_s = accounted(target, command)
    table = [line for line in csv.reader(io.StringIO(output)) if len(line) == 8]
    if len(table) < 2:
        raise RunFailed(f"redis-benchmark has counted nothing: {output[-200:]}")
    return Run(float(table[-1][1]), float(table[-1][6]), server_s, own_s, count)


def loaded(target: Target, words: list[str]) -> Run:
    """One run of c1m load. Raises RunFailed."""
    command = [sys.executable, "-m", "c1m", "load", f"redis://127.0.0.1:{target.port}", *words]
    output, server_s, own_s = accounted(target, [*command, "--json", "-"])
    record = RunRecord.from_json(json.loads(output))
    requests = record.requests
    if not record.verdict.complete:
        raise RunFailed(f"c1m load: {' '.join(record.verdict.shortfalls)}")
    p99_ns = record.latencies["request"].distribution().quantile(0.99)
    return Run(requests.right / requests.seconds, p99_ns / 1e6, server_s, own_s, requests.right)


def accounted(target: Target, command: list[str]) -> tuple[str, float, float]:
    """What a generator has said, and the processor time in seconds of the servers and its own."""
    for server in target.servers:
        server.wait_until_idle()
    before, pids = resource.getrusage(resource.RUSAGE_CHILDREN), target.pids()
    spent_ns = -sum(account(pid)["cpu_ns"] for pid in pids)
    output = run_to_its_end(command, None, 0).decode()
    spent_ns += sum(account(pid)["cpu_ns"] for pid in pids)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return output, spent_ns / 1e9, taken_s


def tell(test: str, pipeline: int, runs: dict[str, list[Run]]) -> None:
    """A line for each kind of servers."""
    against = {TWICE: ALONE, REDIS_TWICE: REDIS_ALONE}
    for name, those in runs.items():
        middle = [statistics.median(column) for column in zip(*those, strict=True)]
        share = statistics.median(
            run.generator_s / (run.generator_s + run.server_s) for run in those
        )
        ratio = "-"
        if name in against:
            pairs = zip(those, runs[against[name]], strict=True)
            ratio = f"{statistics.median(a.per_s / b.per_s for a, b in pairs):.2f}"
        print(
            f"| {test} | {pipeline} | {name} | {middle[0]:,.0f} | {ratio} | {middle[1]:.2f} "
            f"| {middle[2] / middle[4] * 1e6:.1f} | {share:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
