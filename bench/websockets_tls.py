"""So many WebSockets over TLS, each echoed: the memory and the processor time of both ends.

    python bench/websockets_tls.py [--connections 100k] [--way ssl,handoff] [--nice N] [--json FILE]

The server (`peers/c1m_websocket.py`) has one core, `c1m load wss://` the other, both by `ssl` or
both handed off. The plan: open all, each by a handshake, an upgrade and one echo; hold them idle;
and ask once more on all at once (a stampede). `user B` is the growth of an end's resident memory by
connections; `idle` behind the hold, `most` of the whole run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from harness import conditions, processes, tls_peers
from harness.build import BUILD
from harness.measure import Machine
from harness.peers import PEERS
from harness.processes import RunFailed, Server, run_to_its_end
from million import namespace
from million.lives import HANDED_OFF, OPTIONS

from c1m.loadgen.metadata import started_text
from c1m.units import parse_count

IDLE_S = 10
S_MAX = 1800.0
RECORD = BUILD / "websockets-tls.json"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=parse_count, default=100_000)
    parser.add_argument("--way", type=lambda text: text.split(","), default=list(OPTIONS))
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    processes.NICE = options.nice
    namespace.enter()
    machine = Machine(0, 1, S_MAX, 1)
    found: dict[str, Any] = {
        "started": started_text(), "conditions": conditions.collect([]),
        "settings": {"nice": options.nice}, "rows": [],
    }  # fmt: skip
    for way in options.way:
        found["rows"].append(held(machine, options.connections, way))
    found["conditions"]["load_average_after"] = os.getloadavg()[0]
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(not all(row["complete"] for row in found["rows"]))


def held(machine: Machine, count: int, way: str) -> dict[str, Any]:
    """One way, printed."""
    files, port = tls_peers.certificate(), machine.next_port()
    program = [sys.executable, str(PEERS / "c1m_websocket.py"), str(port)]
    more = ["handoff"] if way == HANDED_OFF else []
    server = Server([*program, str(files.cert), str(files.key), *more], port, machine.server_cpu)
    try:
        server.wait_until_idle()
        command = [
            sys.executable, "-m", "c1m", "load", f"wss://127.0.0.1:{port}", "--ca", str(files.cert),
            "--stage", f"ramp {count}", "--stage", f"hold for {IDLE_S}s", "--stage", "stampede",
            "--timeout", "600s", "--quiet", "--json", str(RECORD), *OPTIONS[way],
        ]  # fmt: skip
        try:
            run_to_its_end(command, machine.generator_cpu, S_MAX)
        except RunFailed as failure:
            print(f"{way}: {failure}")
    finally:
        server.stop()
    row = figures(json.loads(RECORD.read_text()), way)
    say(row)
    return row


def figures(record: dict[str, Any], way: str) -> dict[str, Any]:
    """What a record says of both ends."""
    connections, samples = record["connections"], record["samples"]
    count = max(connections["peak_open"], 1)
    ramp, hold = (
        next(stage for stage in record["stages"] if stage["name"] == name)
        for name in ("ramp", "hold")
    )
    resting = max(n for n, t in enumerate(samples["t_s"]) if t <= hold["end_s"])
    opened = max(n for n, t in enumerate(samples["t_s"]) if t <= ramp["end_s"])
    ends = {}
    for end in ("server", "client"):
        rss, user, system = (samples[end][name] for name in ("rss_bytes", "user_s", "system_s"))
        ends[end] = {
            "idle_user_bytes": (rss[resting] - rss[0]) / count,
            "most_user_bytes": (max(rss) - rss[0]) / count,
            "ramp_cpu_us": 1e6 * (user[opened] + system[opened] - user[0] - system[0]) / count,
        }
    return {
        "way": way, "complete": record["verdict"]["complete"],
        "shortfalls": record["verdict"]["shortfalls"], "connections": connections,
        "ramp_s": ramp["end_s"] - ramp["start_s"], "echoed": record["first"]["right"],
        "stampede": record["stampede"], "latencies": _quantiles(record), "ends": ends,
        "tls": record["tls"],
    }  # fmt: skip


def _quantiles(record: dict[str, Any]) -> dict[str, Any]:
    return {name: each["percentiles_ns"] for name, each in record["latencies"].items()}


def say(row: dict[str, Any]) -> None:
    """In a few lines."""
    stampede = row["stampede"]
    print(
        f"\n{row['way']}: {row['connections']['peak_open']:,} WebSockets over TLS, "
        f"{row['echoed']:,} echoed in {row['ramp_s']:.1f} s, {stampede['right']:,} of "
        f"{stampede['sent']:,} again at once; {'complete' if row['complete'] else 'NOT complete'}"
    )
    for end, each in row["ends"].items():
        print(
            f"  {end}: {each['ramp_cpu_us']:.0f} us of processor time, "
            f"{each['idle_user_bytes']:,.0f} B of user memory idle, "
            f"{each['most_user_bytes']:,.0f} B at most, a connection",
            flush=True,
        )
    for text in row["shortfalls"]:
        print(f"  {text}")


if __name__ == "__main__":
    raise SystemExit(main())
