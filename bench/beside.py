"""`c1m load` beside wrk, h2load, autocannon, artillery, locust, k6 and tsung on the same servers.

    python bench/beside.py [--only fast,many,faulty] [--tools wrk,k6] [--seconds 15] [--nice N]
                           [--json FILE]

fast    nginx's static page over 100 connections, as fast as they go
many    10,000 of which each asks every 5 s (wrk and autocannon have no pauses): how many the tool
        holds, by nginx's descriptors, and its memory
faulty  peers/http_faulty.py, at 500 requests/s over 50 connections for 20 s: it freezes for 3 s
        once, gives another's body to 1 of 100, and no answer to 1 of 1,000. What it did is beside
        what the tool says of it, in its own words

The server has one core, the tool the other one. A tool is told what the right body is where it can
be. Memory is the most of any process of the tool.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import beside_peers, conditions, load_peers, processes
from harness.beside_peers import HOME, Asked, Tool
from harness.build import BENCH, BuildFailed
from harness.measure import Machine
from harness.processes import Server, start, stop
from harness.results import conclude
from million import namespace

from c1m.loadgen.metadata import started_text

FAST, MANY, FAULTY = "fast", "many", "faulty"
PATH, RATE, FAULTY_S = "/item/7", 500, 20
PAUSE_S, MANY_S = 5, 40  # so long that all are open for the last of it
CONNECTIONS = {FAST: 100, MANY: 10_000, FAULTY: 50}
GRACE_S = 60.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """The command."""
    options = parse()
    processes.NICE = options.nice
    HOME.mkdir(parents=True, exist_ok=True)
    tools: list[Tool] = []
    found: dict[str, Any] = {
        "started": started_text(), "conditions": conditions.collect([]),
        "settings": {"seconds": options.seconds, "nice": options.nice},
        "versions": {}, "skipped": {}, "rows": [],
    }  # fmt: skip
    for tool in beside_peers.ALL:
        if options.tools and tool.name.split()[0] not in options.tools:
            continue
        try:
            found["versions"][tool.name] = tool.version()
            tools.append(tool)
        except BuildFailed as failure:
            found["skipped"][tool.name] = str(failure)
    namespace.enter()  # behind what is installed: there is no network in it
    machine = Machine(0, 1, options.seconds, 1)
    for task in options.only:
        for tool in tools:
            found["rows"].append(measured(machine, task, tool, options.seconds))
    conclude(found, options.json)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    listed: Callable[[str], list[str]] = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--only", type=listed, default=[FAST, MANY, FAULTY])
    parser.add_argument("--tools", type=listed, default=[])
    parser.add_argument("--seconds", type=int, default=15, help="as fast as they go")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


class Watch(threading.Thread):
    """Every fifth of a second: the server's descriptors, and the largest process of a session."""

    def __init__(self, server: int) -> None:
        super().__init__(daemon=True)
        self._server, self._session = server, 0
        self._before = self._descriptors()
        self.connections = self.rss_bytes = 0
        self.is_over = threading.Event()

    def begin(self, session: int) -> None:
        """From now on, that session."""
        self._session = session
        self.start()

    def _descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._server}/fd"))

    def run(self) -> None:
        while not self.is_over.wait(0.2):
            try:
                held = self._descriptors() - self._before
            except OSError:
                return
            self.connections = max(self.connections, held)
            self.rss_bytes = max(self.rss_bytes, *map(self._rss, Path("/proc").glob("[0-9]*")), 0)

    def _rss(self, process: Path) -> int:
        """Of one that is of the session, or runs for it."""
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            return int(fields[21]) * PAGE_BYTES if int(fields[3]) == self._session else 0
        except (OSError, IndexError):
            return 0


def measured(machine: Machine, task: str, tool: Tool, seconds: int) -> dict[str, Any]:
    """One tool and one task, printed."""
    port, connections = machine.next_port(), CONNECTIONS[task]
    if task == FAULTY:
        program: Sequence[str] = [
            sys.executable, str(BENCH / "peers" / "http_faulty.py"), str(port)
        ]  # fmt: skip
        asked = Asked(port, PATH, connections, FAULTY_S, RATE, PATH)
    else:
        program, asked = load_peers.nginx(port), Asked(port, "/", connections, seconds)
        if task == MANY:
            asked = asked._replace(seconds=MANY_S, pause_s=PAUSE_S)
    server = Server(program, port, machine.server_cpu, stdout=subprocess.PIPE)
    try:
        shutil.rmtree(HOME / "tsung-log", ignore_errors=True)
        command = tool.command(asked)
        output, watch, took = watched(command, server, machine.generator_cpu, asked.seconds)
    finally:
        did = ended(server)
    rates = re.findall(tool.rps, output)
    rate = float(rates[-1].replace(",", "")) if rates else None
    if tool.is_count and rate is not None:
        rate /= asked.seconds
    row: dict[str, Any] = {
        "task": task, "tool": tool.name, "rps": rate,
        "held": watch.connections, "rss_bytes": watch.rss_bytes, "seconds": took,
        "server": json.loads(did) if did else None,
        "said": [line for line in output.splitlines() if re.search(tool.said, line)][-30:],
    }  # fmt: skip
    print(
        f"\n{task}: {tool.name}: {row['rps']} requests/s, {row['held']:,} connections held, "
        f"{row['rss_bytes'] / 2**20:,.0f} MiB, {took:.0f} s; the server: {row['server']}"
    )
    for line in row["said"]:
        print(f"    {line}")
    sys.stdout.flush()
    return row


def watched(
    command: Sequence[str], server: Server, cpu: int, seconds: float
) -> tuple[str, Watch, float]:
    """Run a tool to its end, or to GRACE_S behind it: what it wrote, what was seen, how long."""
    begun = time.monotonic()
    log = HOME / "output"
    with log.open("wb") as output:
        both = ["sh", "-c", 'exec "$@" 2>&1', "sh", *command]  # what they say is in either
        watch = Watch(server.pid)
        process = start(both, cpu, stdout=output, cwd=HOME)
        watch.begin(process.pid)
        try:
            process.wait(seconds + GRACE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        finally:
            watch.is_over.set()
            watch.join()
            stop(process)
    said = log.read_text(errors="replace")
    for dump in HOME.glob("tsung-log/*/tsung.log"):
        said += dump.read_text().rpartition("# stats:")[2]  # the last one
    return said, watch, time.monotonic() - begun


def ended(server: Server) -> bytes:
    """What a server says at its end."""
    server.process.terminate()
    try:
        return server.process.communicate(timeout=10)[0].strip()
    finally:
        server.stop()


if __name__ == "__main__":
    raise SystemExit(main())
