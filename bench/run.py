"""The benchmark: `run.py --help` says what it can be asked for, README.md how it measures."""

from __future__ import annotations

import argparse
import signal
import statistics
import sys

from harness import build, peers
from harness.processes import Server, generate

SERVER_CPU, GENERATOR_CPU = 0, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", default="1,64,1000")
    parser.add_argument("--payload", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--peers", default="c1m-uring")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    port = 20100
    for name in options.peers.split(","):
        for connections in map(int, options.connections.split(",")):
            servers = []
            try:
                for each in ("c", name):
                    port += 1
                    command = peers.BY_NAME[each].command(port, "echo")
                    servers.append(Server(command, port, SERVER_CPU))
                rows = []
                for _ in range(options.pairs):
                    rows.append([one(server, connections, options) for server in servers])
                for i, each in enumerate(("c", name)):
                    show(each, connections, [row[i] for row in rows])
                ratios = [b["rps"] / a["rps"] for a, b in rows]
                latencies = [b["p50_us"] / a["p50_us"] for a, b in rows]
                costs = [cpu_us(b) / cpu_us(a) for a, b in rows]
                print(
                    f"   {name} / c: requests/s {statistics.median(ratios):.3f} "
                    f"({min(ratios):.2f}..{max(ratios):.2f})  "
                    f"p50 {statistics.median(latencies):.3f}  cpu {statistics.median(costs):.3f} "
                    f"({min(costs):.2f}..{max(costs):.2f})",
                    flush=True,
                )
            finally:
                for server in servers:
                    server.stop()


def one(server, connections, options):
    server.wait_until_idle()
    return generate(
        [str(build.generator()), "closed", "--port", str(server.port), "--connections",
         str(connections), "--payload", str(options.payload), "--seconds", str(options.seconds),
         "--server-pid", str(server.pid), "--warm-up", "0.3"],
        GENERATOR_CPU, options.seconds,
    )  # fmt: skip


def cpu_us(row):
    return row["server_cpu_ns"] / 1e3 / max(row["requests"], 1)


def show(name, connections, rows):
    median = {key: statistics.median(row[key] for row in rows)
              for key in ("rps", "p50_us", "p99_us", "p999_us", "errors")}  # fmt: skip
    cpu = statistics.median(map(cpu_us, rows))
    waited = statistics.median(
        (row["server_waited_ns"] + row["own_waited_ns"]) / 1e9 / row["seconds"] for row in rows
    )
    print(f"{name:12} {connections:6} {median['rps']:10,.0f}/s  p50 {median['p50_us']:8.1f}  "
          f"p99 {median['p99_us']:8.1f} p99.9 {median['p999_us']:8.1f} us  "
          f"cpu {cpu:6.2f} us  errors {median['errors']}  disturbed {waited:.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
