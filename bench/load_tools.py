"""`c1m load` beside other generators: requests a second that one core of each drives.

    python bench/load_tools.py [--pairs 5] [--seconds 3] [--only http,redis,mqtt]
                               [--connections 100,1000,10000] [--peers wrk] [--nice N]
                               [--emqtt-bench PROGRAM] [--json FILE]

Each generator has a server of its own (nginx with one worker and a static page; redis-server;
mosquitto), all on the same core; all generators run on the other one, in turn (A B C A B C), each
for so long. A ratio is taken within each turn; shown are the medians with the least and the most.

The rate is what each says of its own window; only c1m's begins when all connections are open. Of
processor time: `generator us` a request is, of c1m, its share of a core while requests ran by the
rate (so without Python's start); of the others, all they took by all they did. `server us` is what
the server took by the requests that it had.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness import conditions, load_peers, processes
from harness.accounts import account
from harness.load_peers import OURS, LoadPeer
from harness.measure import Machine
from harness.processes import RunFailed, Server, run_to_its_end
from harness.results import conclude
from harness.turns import in_turns
from million import namespace

from c1m.loadgen.metadata import started_text

CONNECTIONS = (100, 1_000, 10_000)
MANY, MANY_S_MIN = 5_000, 5.0  # where opening them is a part of others' window that shows
RPS = 60_000.0  # of which a run is made where its length is a number of requests, at first


class Row(NamedTuple):
    """One kind of server, and so many connections."""

    task: str
    connections: int

    @property
    def name(self) -> str:
        """A heading."""
        return f"{self.task}, {self.connections:,} connections"


class Driven:
    """A server, and the generator that drives it."""

    def __init__(self, machine: Machine, peer: LoadPeer) -> None:
        self.peer = peer
        self.port = machine.next_port()
        self.server = Server(load_peers.SERVERS[peer.task](self.port), self.port,
                             machine.server_cpu)  # fmt: skip
        self.rps = RPS

    def stop(self) -> None:
        """End the server."""
        self.server.stop()


def main() -> int:
    """The command."""
    options = parse()
    processes.NICE = options.nice
    namespace.enter()
    machine = Machine(0, 1, options.seconds, options.pairs)
    found: dict[str, Any] = {
        "started": started_text(), "conditions": conditions.collect([]),
        "settings": {
            "pairs": options.pairs, "seconds": options.seconds, "nice": options.nice,
            "versions": versions(),
        },
        "skipped": {}, "rows": [],
    }  # fmt: skip
    for task in options.only:
        there = _there(options, task, found["skipped"])
        for connections in options.connections:
            found["rows"].append(compare(machine, Row(task, connections), there))
    conclude(found, options.json)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    listed: Callable[[str], list[str]] = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="that a run lasts")
    parser.add_argument("--only", type=listed, default=list(load_peers.SERVERS))
    parser.add_argument("--peers", type=listed, default=[])
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")],
                        default=CONNECTIONS)  # fmt: skip
    parser.add_argument("--emqtt-bench", type=Path, metavar="PROGRAM")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def versions() -> dict[str, str]:
    """Of all that takes part: a line of each."""
    found = {}
    for command in (("nginx", "-v"), ("wrk", "-v"), ("h2load", "--version"),
                    ("redis-server", "-v"), ("redis-benchmark", "--version")):  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            continue
        found[command[0]] = (done.stdout or done.stderr).partition("\n")[0]
    return found


def _there(options: argparse.Namespace, task: str, skipped: dict[str, str]) -> list[LoadPeer]:
    """Those that can be started; why the others cannot is put into `skipped`."""
    there = []
    for peer in (*load_peers.ALL, load_peers.emqtt_bench(options.emqtt_bench)):
        if peer.task != task or (options.peers and peer.name not in (OURS, *options.peers)):
            continue
        if why := peer.why_missing():
            skipped[peer.name] = why
        else:
            there.append(peer)
    return there


def compare(machine: Machine, row: Row, peers: Sequence[LoadPeer]) -> dict[str, Any]:
    """Each generator's runs in turns, printed; one that fails is left out from there on."""
    runs, failed = in_turns(
        machine.pairs,
        peers,
        lambda peer: Driven(machine, peer),
        lambda driven: run(machine, driven, row),
    )
    show(row, runs, failed)
    return {**row._asdict(), "runs": runs, "failed": failed}


def run(machine: Machine, driven: Driven, row: Row) -> dict[str, Any]:
    """One run of a generator. Raises RunFailed."""
    peer, server = driven.peer, driven.server
    server.wait_until_idle()
    seconds = max(machine.seconds, MANY_S_MIN if row.connections >= MANY else 0)
    command = peer.command(driven.port, row.connections, seconds, driven.rps)
    before, own_before = account(server.pid)["cpu_ns"], _own_cpu_s()
    output = run_to_its_end(command, machine.generator_cpu, seconds)
    own, served = _own_cpu_s() - own_before, account(server.pid)["cpu_ns"] - before
    try:
        found = peer.read(output, command)
    except (ValueError, KeyError) as error:
        raise RunFailed(f"{peer.name}: {error!r} in {output[-300:]!r}") from error
    if not found["requests"]:
        raise RunFailed(f"{peer.name} has had no reply")
    driven.rps = found["rps"]
    by_share = found.get("own_cpu")
    found["own_us"] = 1e6 * (by_share / found["rps"] if by_share else own / found["requests"])
    found["server_us"] = served / found["requests"] / 1e3
    return found


def _own_cpu_s() -> float:
    """Of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def show(row: Row, runs: dict[str, list[dict[str, Any]]], failed: dict[str, str]) -> None:
    """A table of one row: c1m's by those of each."""
    print(f"\n{row.name}")
    print("| generator | requests/s | c1m's / its | generator us | c1m's / its | server us "
          "| p50 ms | p99 ms | errors |")  # fmt: skip
    print(f"| --- {'| ---: ' * 8}|")
    ours = runs.get(OURS, [])
    for name, some in runs.items():
        if not some:
            continue
        middle = {key: _median(some, key) for key in ("rps", "own_us", "server_us")}
        times = [f"{_median(some, key) / 1e3:.2f}" if key in some[0] else "-"
                 for key in ("p50_us", "p99_us")]  # fmt: skip
        print(f"| {name} | {middle['rps']:,.0f} | {ratio_of(ours, some, 'rps')} "
              f"| {middle['own_us']:.1f} | {ratio_of(ours, some, 'own_us')} "
              f"| {middle['server_us']:.1f} | {' | '.join(times)} "
              f"| {sum(each['errors'] for each in some)} |")  # fmt: skip
    for name, why in failed.items():
        print(f"{name}: {why}")
    sys.stdout.flush()


def _median(some: Sequence[dict[str, Any]], key: str) -> float:
    return float(statistics.median(each[key] for each in some))


def ratio_of(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], key: str) -> str:
    """The median of the ratios within each turn, with the least and the most."""
    ratios = [a[key] / b[key] for a, b in zip(ours, theirs, strict=False)]
    if not ratios:
        return "-"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
