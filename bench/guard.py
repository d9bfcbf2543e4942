"""What limits cost: an echo server without and with them, in turn (A B A B).

    python bench/guard.py [--pairs 5] [--seconds 2] [--port P] [--engines auto,epoll] [--json FILE]

The C generator drives a closed loop of 64 B with 64 and 1,000 connections, and a churn (connect,
echo once, close), 64 at a time. What counts is the processor time that the server takes for a
message, or for a connection, by the kernel's accounts: another process on its core adds to the time
that passes, and hardly to that. Shown are medians, and the median of the ratios within the pairs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from harness import build, conditions, processes
from harness.processes import Server, generate
from harness.results import conclude

from c1m.loadgen.metadata import started_text

WARM_UP_S = 0.5
SERVER_CPU, GENERATOR_CPU = 0, 1
WORKLOADS = (("closed", 64), ("closed", 1_000), ("churn", 64))
RATE = "--accept-rate 1M --accept-burst 1M"
ADMISSION = f"--per-source 1M --deny 192.0.2.0/24 {RATE} --memory-max 1000G"
STAY = "--idle-timeout 1h --unread-timeout 1h --unsent-max 1G --turn 1G"
# Never so many that one bites.
LIMITS = {
    "per-source": "--per-source 1M",
    "networks": "--deny 192.0.2.0/24 --deny 198.51.100.0/24",
    "rate": RATE,
    "refuse": "--when-full refuse",
    "admission": ADMISSION,
    "all": f"{ADMISSION} {STAY}",
}


def main() -> int:
    """The command."""
    options = parse()
    processes.NICE = options.nice
    found: dict[str, Any] = {
        "started": started_text(),
        "conditions": conditions.collect([]),
        "settings": {name: getattr(options, name) for name in ("pairs", "seconds", "nice")},
        "rows": [],
    }
    print("| engine | workload | limits | us of processor | without | more |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    for engine in options.engines:
        for name in options.limits:
            for mode, connections in WORKLOADS:
                row = pairs(options, engine, name, mode, connections)
                found["rows"].append(row)
                print(
                    f"| {engine} | {mode} {connections:,} | {name} | {row['with_us']:.2f} "
                    f"| {row['without_us']:.2f} | {row['ratio'] - 1:+.1%} |",
                    flush=True,
                )
    conclude(found, options.json)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engines", type=lambda text: text.split(","), default=["auto", "epoll"])
    parser.add_argument("--limits", type=lambda text: text.split(","), default=[*LIMITS])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run, that count")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--port", type=int, default=21_090)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def pairs(
    options: argparse.Namespace, engine: str, name: str, mode: str, connections: int
) -> dict[str, Any]:
    """Runs of both servers in turn."""
    servers = []
    try:
        for at, limits in enumerate(("", LIMITS[name])):
            port = options.port + at
            servers.append(
                Server(
                    [sys.executable, "-m", "c1m", "serve", "echo", "--quiet", "--engine", engine,
                     "--listen", f"127.0.0.1:{port}", *limits.split()],
                    port, SERVER_CPU,
                )
            )  # fmt: skip
        runs = [[_cost_us(options, s, mode, connections) for s in servers]
                for _ in range(options.pairs)]  # fmt: skip
    finally:
        for server in servers:
            server.stop()
    return {
        "engine": engine, "mode": mode, "connections": connections, "limits": name,
        "without_us": statistics.median(a for a, _ in runs),
        "with_us": statistics.median(b for _, b in runs),
        "ratio": statistics.median(b / a for a, b in runs),
        "runs": runs,
    }  # fmt: skip


def _cost_us(options: argparse.Namespace, server: Server, mode: str, connections: int) -> float:
    """Microseconds of the server's processor time for each message, or each connection."""
    server.wait_until_idle()
    values = {
        "port": server.port, "connections": connections, "payload": 64,
        "seconds": options.seconds, "warm-up": WARM_UP_S, "server-pid": server.pid,
    }  # fmt: skip
    given = (part for name, value in values.items() for part in (f"--{name}", str(value)))
    seconds = options.seconds + WARM_UP_S
    run = generate([str(build.generator()), mode, *given], GENERATOR_CPU, seconds)
    return float(run["server_cpu_ns"] / run["requests"] / 1e3)


if __name__ == "__main__":
    raise SystemExit(main())
