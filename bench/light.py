"""Does light load tell the truth: c1m's generator beside the C one, on the same echo server.

    python bench/light.py [--rates 1000,10000] [--connections 100] [--pairs 5] [--seconds 3]
                          [--engine uring] [--nice N] [--port P] [--json FILE]

The server is bench/c/echo_epoll.c on one core. The two generators have the other one, in turn (A B
A B), each in an open loop at the same rate: latency counts from when a request was due. Shown are
the medians of each, and of the differences and ratios within the pairs. `core`: the part of it that
the generator took, by the kernel's accounts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from harness import build, conditions, processes
from harness.processes import Server, generate
from harness.results import conclude

from c1m.loadgen.metadata import started_text

PAYLOAD = 64
WARM_UP_S = 0.5
SERVER_CPU, GENERATOR_CPU = 0, 1
FIGURES = ("p50_us", "p99_us", "core")

Run = dict[str, Any]


def main() -> int:
    """The command."""
    options = parse()
    processes.NICE = options.nice
    found: dict[str, Any] = {
        "started": started_text(),
        "conditions": conditions.collect([]),
        "settings": {
            name: getattr(options, name)
            for name in ("connections", "pairs", "seconds", "engine", "nice")
        }
        | {"realtime": os.sched_getscheduler(0) != os.SCHED_OTHER},
        "rates": compare(options),
    }
    conclude(found, options.json)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", type=_numbers, default=[1_000, 5_000, 10_000, 20_000])
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run, that count")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--port", type=int, default=20_090)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each rate's pairs, printed as they come."""
    print("| requests/s | p50 us, C | c1m | more | p99 us, C | c1m | core, C | c1m |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    server = Server(
        [str(build.c_program("echo_epoll")), str(options.port)], options.port, SERVER_CPU
    )
    try:
        return [_pairs(options, server, rate) for rate in options.rates]
    finally:
        server.stop()


def _pairs(options: argparse.Namespace, server: Server, rate: int) -> dict[str, Any]:
    pairs: list[tuple[Run, Run]] = []
    for _ in range(options.pairs):
        pair = []
        for command in (_c, _c1m):
            server.wait_until_idle()
            seconds = options.seconds + WARM_UP_S
            run = generate(command(options, rate), GENERATOR_CPU, seconds)
            run["core"] = run["own_cpu_ns"] / 1e9 / run["seconds"]
            pair.append(run)
        pairs.append((pair[0], pair[1]))
    c, ours = (
        {name: statistics.median(pair[i][name] for pair in pairs) for name in FIGURES}
        for i in range(2)
    )
    more = statistics.median(b["p50_us"] - a["p50_us"] for a, b in pairs)
    print(
        f"| {rate:,} | {c['p50_us']:.0f} | {ours['p50_us']:.0f} | {more:+.0f} "
        f"| {c['p99_us']:.0f} | {ours['p99_us']:.0f} | {c['core']:.2f} | {ours['core']:.2f} |",
        flush=True,
    )
    return {"rate": rate, "p50_more_us": more, "c": c, "c1m": ours, "pairs": pairs}


def _c(options: argparse.Namespace, rate: int) -> list[str]:
    values = {
        "port": options.port, "connections": options.connections, "payload": PAYLOAD,
        "seconds": options.seconds, "warm-up": WARM_UP_S, "rate": rate,
    }  # fmt: skip
    pairs = (part for name, value in values.items() for part in (f"--{name}", str(value)))
    return [str(build.generator()), "open", *pairs]


def _c1m(options: argparse.Namespace, rate: int) -> list[str]:
    client = build.BENCH / "peers" / "c1m_client.py"
    numbers = (options.port, options.connections, PAYLOAD, options.seconds, WARM_UP_S)
    return [sys.executable, str(client), *map(str, numbers), options.engine, str(rate)]


if __name__ == "__main__":
    raise SystemExit(main())
