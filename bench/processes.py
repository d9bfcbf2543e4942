"""Requests a second of `c1m serve --processes 2` against the same server as one process.

    python bench/processes.py [--pairs 5] [--seconds 4] [--connections 64] [--nice N] [--json FILE]

Both servers live throughout; the generator drives one of them at a time, in turn (A B A B). Nothing
is pinned: on two processors the generator takes its part of what the processes could have, and so
its processor time is said, in processors: with two of them, 2.00 is all there is. `per request`:
processor time of the server (its processes, with their broker).

echo: 64 bytes, by bench/c/generator. http: an application that does some 90 us of Python for each
request (bench/peers/c1m_http.py), by wrk. push: POST /publish to the push server, whose processes
relay what is published to each other, by wrk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import sys
from pathlib import Path
from typing import Any

from harness import build, conditions, processes
from harness.accounts import account
from harness.processes import START_S_MAX, RunFailed, Server, below, run_to_its_end
from harness.results import conclude

from c1m.loadgen.metadata import started_text

WORKLOADS = ("echo", "http", "push")
PAYLOAD, WARM_UP_S, PUSH_BYTES = 64, 0.5, 64
PORT = 21_300
PUSH = f'wrk.method = "POST"\nwrk.body = string.rep("x", {PUSH_BYTES})\n'

Run = dict[str, float]


def main() -> int:
    """The command."""
    options = parse()
    processes.NICE = options.nice
    names = ("pairs", "seconds", "connections", "nice")
    found: dict[str, Any] = {
        "started": started_text(), "conditions": conditions.collect([]),
        "settings": {name: getattr(options, name) for name in names},
    }  # fmt: skip
    print("| | 1 process, requests/s | 2 processes | ratio | server, per request | generator |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    found["workloads"] = [compare(options, name) for name in options.workloads]
    conclude(found, options.json)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=WORKLOADS)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def compare(options: argparse.Namespace, workload: str) -> dict[str, Any]:
    """The pairs of one workload, and its row."""
    servers = [serving(workload, PORT + n, n) for n in (1, 2)]
    pairs: list[tuple[Run, Run]] = []
    try:
        for _ in range(options.pairs):
            one, two = (once(options, workload, server) for server in servers)
            pairs.append((one, two))
    finally:
        for server in servers:
            server.stop()
    one, two = (
        {name: statistics.median(pair[i][name] for pair in pairs) for name in pairs[0][0]}
        for i in range(2)
    )
    ratio = statistics.median(b["rps"] / a["rps"] for a, b in pairs)
    print(
        f"| {workload} | {one['rps']:,.0f} | {two['rps']:,.0f} | {ratio:.2f} "
        f"| {one['server_us']:.1f} and {two['server_us']:.1f} us "
        f"| {one['generator']:.2f} and {two['generator']:.2f} processors |",
        flush=True,
    )
    return {"workload": workload, "ratio": ratio, "one": one, "two": two, "pairs": pairs}


def serving(workload: str, port: int, count: int) -> Server:
    """A server of so many processes."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(build.BENCH / "peers"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    app = "c1m_http:Http" if workload == "http" else workload
    where = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "c1m", "serve", app, "--listen", where, "--quiet"]
    server = Server(command + (["--processes", str(count)] if count > 1 else []), port)
    with socket.create_connection(("127.0.0.1", port), START_S_MAX) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        sock.recv(1)  # who connects early waits for the processes
    return server


def once(options: argparse.Namespace, workload: str, server: Server) -> Run:
    """One run of the generator."""
    before, own = tree_cpu_ns(server.pid), own_cpu_s()
    if workload == "echo":
        result = closed_loop(options, server)
    else:
        result = wrk(options, workload, server)
    seconds = float(result["seconds"])
    spent = tree_cpu_ns(server.pid) - before
    if not result["requests"] or result["errors"]:
        raise RunFailed(f"{workload}: {result}")
    return {
        "rps": result["requests"] / seconds,
        "server_us": spent / 1000 / result["requests"],
        "server": spent / 1e9 / seconds,
        "generator": (own_cpu_s() - own) / seconds,
    }


def closed_loop(options: argparse.Namespace, server: Server) -> dict[str, Any]:
    values = {
        "payload": PAYLOAD, "connections": options.connections, "window": options.connections,
        "seconds": options.seconds, "warm-up": WARM_UP_S, "port": server.port,
    }  # fmt: skip
    pairs = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    return processes.generate([str(build.generator()), "closed", *pairs], None, options.seconds)


def wrk(options: argparse.Namespace, workload: str, server: Server) -> dict[str, Any]:
    script = build.BUILD / f"processes-{workload}.lua"
    script.parent.mkdir(parents=True, exist_ok=True)
    told = (build.BENCH / "c" / "wrk.lua").read_text()
    script.write_text((PUSH if workload == "push" else "") + told)
    path = "publish?channel=news" if workload == "push" else ""
    command = [
        "wrk", "--threads", "1", "--connections", str(options.connections), "--timeout", "8s",
        "--duration", f"{options.seconds}s", "--script", str(script),
        f"http://127.0.0.1:{server.port}/{path}",
    ]  # fmt: skip
    output = run_to_its_end(command, None, options.seconds)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def tree_cpu_ns(pid: int) -> int:
    """Of a process and those that it has started."""
    return sum(account(each)["cpu_ns"] for each in (pid, *below(pid)))


def own_cpu_s() -> float:
    """Of all generators that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
