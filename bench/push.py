"""The push server and WebSocket applications against others: upgrades, echo, broadcast, events.

    python bench/push.py [--pairs 5] [--seconds 0.8] [--only echo,broadcast] [--connections 64,1000]
                         [--peers ws,nchan] [--uwebsockets CLONE] [--nice N]
                         [--json FILE]

All servers of a row live throughout, on the same core; the C generator has the other one and drives
one of them at a time, in turn (A B C A B C). A ratio is taken within each turn; shown are the
medians. Where others use the machine, too, `--nice -15` (as root) gives all of these most of it.
So does `chrt -r 5`, but not for broadcasts: where the kernel puts off receiving to a thread of
its own, that one would never run.

upgrades   so many are opened, 256 at a time, from connect to the 101, of which the key is checked
echo       of 64 B of text: each has one message in flight; every byte is compared
broadcast  one sends 64 B, all have it, the next one; and ten messages at once
events     one posts 64 B, all streams of server-sent events have it, the next one; and ten at once

In the latter two the generator does not sleep: waking it up would be the server's work.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import statistics
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from harness import build, conditions, processes, push_peers
from harness.accounts import account
from harness.measure import Machine
from harness.processes import RunFailed, Server, generate
from harness.push_peers import BROADCAST, ECHO, EVENTS, UPGRADES, PushPeer
from harness.results import conclude
from harness.turns import in_turns
from million import namespace

from c1m.loadgen.metadata import started_text

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEYS = 4096
MODES = {UPGRADES: "ramp", ECHO: "closed", BROADCAST: "broadcast", EVENTS: "broadcast"}
CHANNEL = "channel=bench"
PAYLOAD = 64
WARM_UP_S = 0.2
MANY, BURST = 15_000, 10
SPINNING = (BROADCAST, EVENTS)
UNITS = {UPGRADES: "upgrades/s", ECHO: "messages/s", BROADCAST: "deliveries/s",
         EVENTS: "deliveries/s"}  # fmt: skip


class Row(NamedTuple):
    """One task with so many connections; `burst` messages are published at once."""

    task: str
    connections: int
    burst: int = 1

    @property
    def name(self) -> str:
        """A heading."""
        burst = f", {self.burst} messages at once" if self.burst > 1 else ""
        return f"{self.task}, {self.connections:,} connections{burst}"


ROWS = (
    Row(UPGRADES, MANY), Row(ECHO, 64), Row(ECHO, 1_000), Row(ECHO, MANY),
    Row(BROADCAST, 1_000), Row(BROADCAST, MANY), Row(BROADCAST, MANY, BURST),
    Row(EVENTS, MANY), Row(EVENTS, MANY, BURST),
)  # fmt: skip


def main() -> int:
    """The command."""
    options = parse()
    processes.NICE = options.nice
    namespace.enter()
    machine = Machine(0, 1, options.seconds, options.pairs)
    known = [each for each in push_peers.peers(options.uwebsockets)
             if not options.peers or each.name in ("c1m", *options.peers)]  # fmt: skip
    names = ("websockets", "wsproto", "uvicorn", "uvloop", "httptools")
    found: dict[str, Any] = {
        "started": started_text(), "conditions": conditions.collect([]),
        "settings": {
            "pairs": options.pairs, "seconds": options.seconds,
            "nice": options.nice, "realtime": os.sched_getscheduler(0) != os.SCHED_OTHER,
            "packages": {name: conditions.version(name) for name in names if find_spec(name)},
        },
        "skipped": {}, "rows": [],
    }  # fmt: skip
    keys = write_keys()
    for row in wanted(options):
        there, found["skipped"] = _there(known, row.task, found["skipped"])
        found["rows"].append(compare(machine, row, there, keys))
    conclude(found, options.json)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="that a run lasts")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[])
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--uwebsockets", type=Path, metavar="CLONE", help="with its uSockets")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def wanted(options: argparse.Namespace) -> Iterator[Row]:
    """What is measured, in order."""
    for row in ROWS:
        if row.task in (options.only or MODES) and (
            not options.connections or row.connections in options.connections
        ):
            yield row


def write_keys() -> Path:
    """A file of keys and what is to be answered to each (RFC 6455, 4.2.2)."""
    lines = []
    for _ in range(KEYS):
        key = base64.b64encode(os.urandom(16))
        lines.append(key + b" " + base64.b64encode(hashlib.sha1(key + GUID).digest()) + b"\n")
    build.BUILD.mkdir(parents=True, exist_ok=True)
    path = build.BUILD / "keys"
    path.write_bytes(b"".join(lines))
    return path


def _there(
    known: list[PushPeer], task: str, skipped: dict[str, str]
) -> tuple[list[PushPeer], dict[str, str]]:
    """Those that can do it and can be started; why the others cannot."""
    able = [peer for peer in known if task in peer.tasks]
    missing = {peer.name: why for peer in able if (why := peer.why_missing(task))}
    return [peer for peer in able if peer.name not in missing], skipped | missing


def compare(machine: Machine, row: Row, peers: list[PushPeer], keys: Path) -> dict[str, Any]:
    """Each peer's runs in turns, printed; a peer that fails is left out from there on."""

    def begin(peer: PushPeer) -> Server:
        port = machine.next_port()
        return Server(peer.command(port, row.task), port, machine.server_cpu)

    runs, failed = in_turns(
        machine.pairs, peers, begin, lambda server: run(machine, server, row, keys)
    )
    show(row, runs, failed)
    return {**row._asdict(), "runs": runs, "failed": failed}


def run(machine: Machine, server: Server, row: Row, keys: Path) -> dict[str, Any]:
    """One run of the generator. Raises RunFailed."""
    server.wait_until_idle()
    before = account(server.pid)["cpu_ns"]
    target = f"/connect?{CHANNEL}"
    what = ["--websocket", target, "--keys", str(keys)]
    if row.task == EVENTS:
        what = ["--sse", f"/events?{CHANNEL}", "--publish", f"/publish?{CHANNEL}"]
    command = [
        str(build.generator()), MODES[row.task], "--connections", str(row.connections),
        "--payload", str(PAYLOAD), "--seconds", str(machine.seconds), "--warm-up", str(WARM_UP_S),
        "--window", str(min(256, row.connections)), "--first-source", str(machine.sources),
        "--sources", "2", "--burst", str(row.burst), "--spin", str(int(row.task in SPINNING)),
        "--port", str(server.port), "--server-pid", str(server.pid), *what,
    ]  # fmt: skip
    machine.sources = (machine.sources + 2) % 16_000_000
    found = generate(command, machine.generator_cpu, machine.seconds)
    if found["errors"] or found["mismatches"] or found["unanswered"] or not found["requests"]:
        raise RunFailed(f"{found['errors']} errors, {found['mismatches']} wrong replies, "
                        f"{found['unanswered']} unanswered, {found['requests']} right")  # fmt: skip
    found["step_seconds"] = []
    found["all_cpu_ns"] = account(server.pid)["cpu_ns"] - before
    return found


def show(row: Row, runs: dict[str, list[dict[str, Any]]], failed: dict[str, str]) -> None:
    """A table of one row."""
    print(f"\n{row.name}")
    print(
        f"| server | {UNITS[row.task]} | c1m's / its | p50 ms | p99 ms | busy, server / generator |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    ours = runs.get("c1m", [])
    for name, some in runs.items():
        if not some:
            continue
        middle = {key: statistics.median(each[key] for each in some) for key in SHOWN}
        ratios = [a["rps"] / b["rps"] for a, b in zip(ours, some, strict=False)]
        busy = [middle[key] / middle["seconds"] / 1e9 for key in ("server_cpu_ns", "own_cpu_ns")]
        print(
            f"| {name} | {middle['rps']:,.0f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}..{max(ratios):.2f}) | {middle['p50_us'] / 1e3:.2f} "
            f"| {middle['p99_us'] / 1e3:.2f} | {busy[0]:.0%} / {busy[1]:.0%} |"
            if ratios
            else f"| {name} | {middle['rps']:,.0f} | | | | |"
        )
    for name, why in failed.items():
        print(f"{name}: {why}")
    sys.stdout.flush()


SHOWN = ("rps", "p50_us", "p99_us", "seconds", "server_cpu_ns", "own_cpu_ns")


if __name__ == "__main__":
    raise SystemExit(main())
