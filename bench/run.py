"""Compares c1m with other servers on this machine; README.md beside it says how it measures."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import history
from harness import build, conditions, loop_targets, peers, processes, targets, workloads, wrk
from harness.measure import FIRST_PORT, LAST_PORT, Machine, compare
from harness.peers import Peer
from harness.results import Results
from harness.tables import table_of
from harness.workloads import WARM_UP_S, Workload, from_name
from million import figures, lives, namespace, subscribers

from c1m.errors import UsageError
from c1m.loadgen.metadata import started_text
from c1m.units import parse_count

RESULTS = build.BENCH / "results"
OVERHEAD_S = 0.7  # a run: waiting for the server to be idle, opening, what is still in flight
AGAINST_UVLOOP = ("c1m", "c1m-uring", "c1m-epoll", "c1m-loop", "c1m-uring-loop", "c1m-epoll-loop")


def main() -> int:
    """The command."""
    options = parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        build.generator()
    except build.BuildFailed as failure:
        print(f"bench: the generator could not be built: {failure}", file=sys.stderr)
        return 2
    try:
        return run(options)
    except KeyboardInterrupt:  # the servers have been stopped on the way here
        return 130


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, text in (
        ("--only", "kinds of workload: " + ", ".join(kinds())),
        ("--workloads", "names or patterns, e.g. 'echo:64:*'"),
        ("--peers", "servers: " + ", ".join(peers.BY_NAME)),
        ("--connections", "instead of the workloads: echo of --payload bytes at these numbers"),
    ):
        parser.add_argument(name, metavar="A,B", type=_listed, default=[], help=text)
    parser.add_argument("--payload", type=int, default=64)
    parser.add_argument("--pairs", type=int, help="runs of each side  [default: 5]")
    parser.add_argument("--seconds", type=float, help="measured in each run  [default: 2]")
    parser.add_argument("--quick", action="store_true", help="few workloads, 2 pairs of 1 s")
    parser.add_argument("--targets", action="store_true", help="measure and judge the targets")
    parser.add_argument(
        "--asyncio", action="store_true", help="the same of the targets of the asyncio event loop"
    )
    parser.add_argument(
        "--million", metavar="COUNT", nargs="?", type=_count, const=figures.MILLION, default=0,
        help="ramp, memory, echo and broadcast with up to so many open  [1M]",
    )  # fmt: skip
    parser.add_argument(
        "--largest", metavar="A,B", nargs="?", type=_counts, const=lives.LARGEST, default=(),
        help="open so many, then so many, or as many as it goes  [2.5M,3M]",
    )  # fmt: skip
    parser.add_argument(
        "--subscribers", metavar="COUNT", nargs="?", type=_count, const=figures.MILLION, default=0,
        help="so many subscribers of the key-value server, some of whom do not read  [1M]",
    )  # fmt: skip
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--generator-cpu", type=int, default=1)
    parser.add_argument(
        "--nice", type=int, default=0,
        help="of servers and generators: below 0 where others share the cores (as root)  [0]",
    )  # fmt: skip
    parser.add_argument("--spin", action="store_true", help="the generator never sleeps")
    parser.add_argument(
        "--name", help="write bench/results/DATE-NAME.json, and the ratios into bench/history"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--list", action="store_true", help="show workloads and servers, and end")
    return parser.parse_args()


def _listed(value: str) -> list[str]:
    return value.split(",")


def _count(value: str) -> int:
    try:
        return parse_count(value)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _counts(value: str) -> list[int]:
    return [_count(part) for part in value.split(",")]


def kinds() -> list[str]:
    """Kinds of workload there are."""
    return list(dict.fromkeys(each.kind for each in workloads.ALL))


def run(options: argparse.Namespace) -> int:
    """Measure what was asked, print each table when it is there, write the results."""
    with_million = bool(options.million or options.largest or options.subscribers)
    is_alone = with_million and not (
        options.targets or options.only or options.workloads or options.connections
    )
    plan, skipped = ([], {}) if is_alone else plan_of(options)
    if options.list:
        for line in [w.name for w in workloads.ALL] + [f"{p.name}: {p.what}" for p in peers.ALL]:
            print(line)
        return 0
    if not plan and not with_million:
        print("bench: nothing fits what was asked (see --list).", file=sys.stderr)
        return 2
    pairs = options.pairs or (2 if options.quick else 5)
    seconds = options.seconds or (1.0 if options.quick else 2.0)
    processes.NICE = options.nice
    machine = Machine(options.server_cpu, options.generator_cpu, seconds, pairs, options.spin)
    used = list({peer.name: peer for _, *both in plan for peer in both}.values())
    results = Results(
        options.name or "unnamed", started_text(), conditions.collect(used),
        {"pairs": pairs, "seconds": seconds, "server_cpu": options.server_cpu,
         "generator_cpu": options.generator_cpu, "spin": options.spin, "nice": options.nice,
         "realtime": os.sched_getscheduler(0) == os.SCHED_RR},
        skipped,
    )  # fmt: skip
    if plan:
        minutes = len(plan) * pairs * 2 * (seconds + WARM_UP_S + OVERHEAD_S) / 60
        print(f"{len(plan)} comparisons of {pairs} pairs, about {minutes:.0f} minutes")
    for name, why in skipped.items():
        print(f"  {name} is left out: {why}")
    path: Path | None = options.json
    if path is None and options.name:
        path = RESULTS / f"{results.started[:10]}-{options.name}.json"
    try:
        measure(machine, plan, results)
        if options.targets:
            port = FIRST_PORT + (machine.next_port() - FIRST_PORT + 50) % (LAST_PORT - FIRST_PORT)
            results.start_up = conditions.start_up_seconds(options.server_cpu, port)
        if with_million:
            measure_million(machine, options, results)
    finally:  # what was measured before an interruption is kept
        results.conditions["load_average_after"] = os.getloadavg()[0]
        if path is not None:
            results.write(path)
            print(f"\nresults: {path}")
        if options.name and (kept := history.add(results)):
            print(f"kept for the page over commits: {kept}")
    if options.asyncio:
        print(targets.table(results, loop_targets.TARGETS).text())
    elif options.targets or is_alone:
        print(targets.table(results, targets.MILLIONS if is_alone else targets.TARGETS).text())
    return 0


def plan_of(
    options: argparse.Namespace,
) -> tuple[list[tuple[Workload, Peer, Peer]], dict[str, str]]:
    """(workload, peer, against) in order, and who is left out and why."""
    names = options.peers or list(targets.PEERS if options.targets else peers.BY_NAME)
    if unknown := [name for name in names if name not in peers.BY_NAME]:
        sys.exit(f"bench: there is no server {', '.join(unknown)} (see --list).")
    among = workloads.chosen(options.only, options.workloads, workloads_of(options))
    if options.asyncio:
        plan = [
            (workload, peers.BY_NAME[peer], peers.BY_NAME[against])
            for workload, peer, against in loop_targets.COMPARISONS
            if workload in among and peer in names
        ]
    else:
        plan = [
            (workload, peer, against)
            for workload in among
            for peer, against in pairings(workload, [peers.BY_NAME[name] for name in names])
            if not options.targets or targets.is_wanted(workload, peer.name, against.name)
        ]
    used = {peer.name: peer for _, *both in plan for peer in both}
    missing = {name: why for name, peer in used.items() if (why := peer.why_missing())}
    plan = [each for each in plan if not {each[1].name, each[2].name} & set(missing)]
    if (why := wrk.why_missing()) and any(each.kind == "http" for each, *_ in plan):
        missing["http"] = why
        plan = [each for each in plan if each[0].kind != "http"]
    return plan, missing


def workloads_of(options: argparse.Namespace) -> list[Workload]:
    """Those to choose from, by what was asked."""
    if options.connections:
        return [Workload("echo", int(n), options.payload) for n in options.connections]
    among: Sequence[Workload] = workloads.QUICK if options.quick else workloads.ALL
    if options.targets:
        among = targets.WORKLOADS
    if options.asyncio:
        among = list(dict.fromkeys(each for each, *_ in loop_targets.COMPARISONS))
    known = {each.name for each in among}
    others = [n for n in options.workloads if n.count(":") >= 2 and "*" not in n]
    return [*among, *(from_name(n) for n in others if n not in known)]


def pairings(workload: Workload, present: list[Peer]) -> list[tuple[Peer, Peer]]:
    """Who is compared with whom: all with the C loop, c1m with uvloop too.

    What only asyncio's loops can do is compared with uvloop.
    """
    only_loops = workload.task in (peers.STREAMS, peers.HTTP)
    reference = peers.BY_NAME[peers.REFERENCE_LOOP if only_loops else peers.REFERENCE]
    able = [p for p in present if workload.task in p.tasks and p is not reference]
    if workload.kind == "driven":
        return [(p, reference) for p in able if p.name == "c1m-uring"]
    both = [(p, reference) for p in able]
    uvloop = peers.BY_NAME["uvloop"]
    if workload.kind == "echo" and workload.connections >= 64 and uvloop in present:
        both += [(p, uvloop) for p in able if p.name in AGAINST_UVLOOP]
    return both


def measure(machine: Machine, plan: list[tuple[Workload, Peer, Peer]], results: Results) -> None:
    """Each workload's comparisons, then its table."""
    for workload in dict.fromkeys(each for each, *_ in plan):
        done = []
        for _, peer, against in (each for each in plan if each[0] == workload):
            done.append(compare(machine, workload, peer, against, tell))
            results.comparisons.append(done[-1])
        tell("")
        print(table_of(workload, done).text(), flush=True)


def measure_million(machine: Machine, options: argparse.Namespace, results: Results) -> None:
    """What needs a million connections; last, because this process leaves the network it is in."""
    results.conditions["network_namespace"] = namespace.enter()
    lives.measure(machine, options.million, options.largest, results.million, tell)
    if options.subscribers:
        subscribers.measure(machine, options.subscribers, results.million, tell)
    for table in figures.tables(results.million):
        print(table.text(), flush=True)


def tell(what: str) -> None:
    """Where it is, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
