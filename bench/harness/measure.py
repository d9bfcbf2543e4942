"""Runs the pairs: both servers on one core, the generator on the other, turn by turn."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from c1m.kernel import procfs
from harness import build, wrk
from harness.peers import BY_NAME, Peer
from harness.processes import RunFailed, Server, generate, start, stop
from harness.workloads import WARM_UP_S, Workload

FIRST_PORT, LAST_PORT = 20_100, 30_000  # below the ephemeral range
SOURCES_A_RUN = 2
CHURN_SOURCES = 250


@dataclass(slots=True)
class Comparison:
    """One workload, one peer, one reference: the runs of each, in the order they were made.

    `error` says why there are fewer pairs than were asked.
    """

    workload: Workload
    peer: str
    against: str
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    error: str = ""


@dataclass(slots=True)
class Machine:
    """How to run here."""

    server_cpu: int
    generator_cpu: int
    seconds: float
    pairs: int
    spin: bool = False
    ports: itertools.count[int] = field(default_factory=lambda: itertools.count(FIRST_PORT))
    sources: int = field(default_factory=lambda: os.getpid() % 4_000 * 1_000)

    def next_port(self) -> int:
        """One that no server of this run has had."""
        return FIRST_PORT + (next(self.ports) - FIRST_PORT) % (LAST_PORT - FIRST_PORT)

    def next_sources(self, workload: Workload) -> list[str]:
        """Options: source addresses that no run had in the last minutes.

        A generator that ends leaves its ports in TIME_WAIT for a minute, and connect() would have
        to search between them.
        """
        count = CHURN_SOURCES if workload.kind == "churn" else SOURCES_A_RUN
        first = self.sources
        self.sources = (self.sources + count) % 16_000_000
        return ["--first-source", str(first), "--sources", str(count)]


def compare(
    machine: Machine, workload: Workload, peer: Peer, against: Peer, tell: Callable[[str], None]
) -> Comparison:
    """A B A B ...: `against`, then `peer`, so many times. What goes wrong is in `error`."""
    comparison = Comparison(workload, peer.name, against.name)
    servers: list[Server] = []
    is_fresh = workload.needs_fresh_server or peer.leaks or against.leaks
    try:
        for number in range(machine.pairs):
            if not servers or is_fresh:
                _stop_all(servers)
                servers = _start_both(machine, workload, against, peer)
            tell(f"{workload.name} {against.name} / {peer.name}, pair {number + 1}")
            first = run_once(machine, workload, servers[0], against)
            second = run_once(machine, workload, servers[-1], peer)
            comparison.pairs.append((first, second))
    except RunFailed as failure:
        comparison.error = str(failure)
    finally:
        _stop_all(servers)
    return comparison


def _start_both(machine: Machine, workload: Workload, *both: Peer) -> list[Server]:
    """Both servers, or one where the two sides differ in the generator only."""
    servers: list[Server] = []
    try:
        for peer in both[:1] if workload.kind == "driven" else both:
            port = machine.next_port()
            servers.append(Server(peer.command(port, workload.task), port, machine.server_cpu))
    except BaseException:
        _stop_all(servers)
        raise
    return servers


def _stop_all(servers: list[Server]) -> None:
    while servers:
        servers.pop().stop()


def run_once(machine: Machine, workload: Workload, server: Server, peer: Peer) -> dict[str, Any]:
    """One run of the generator against one server. Raises RunFailed."""
    server.wait_until_idle()
    if workload.kind == "driven" and peer is not BY_NAME["c"]:
        return _drive_with_c1m(machine, workload, server, peer)
    if workload.kind == "http":
        result = wrk.run(server, machine.generator_cpu, workload.connections, machine.seconds)
        return _with_requests(result, workload, peer)
    window = min(peer.window, workload.connections)
    command = [
        str(build.generator()),
        *workload.arguments(machine.seconds, window),
        *machine.next_sources(workload),
        *("--port", str(server.port), "--server-pid", str(server.pid)),
        *(("--spin", "1") if machine.spin else ()),
    ]
    if workload.kind == "idle":
        return _hold(machine, workload, command, server)
    result = generate(command, machine.generator_cpu, machine.seconds + WARM_UP_S)
    if workload.kind != "ramp":
        result["step_seconds"] = []
    return _with_requests(result, workload, peer)


def _with_requests(result: dict[str, Any], workload: Workload, peer: Peer) -> dict[str, Any]:
    if not result["requests"]:
        raise RunFailed(f"{peer.name} has not completed one of the {workload.unit}")
    return result


def _drive_with_c1m(
    machine: Machine, workload: Workload, server: Server, peer: Peer
) -> dict[str, Any]:
    client = build.BENCH / "peers" / "c1m_client.py"
    numbers = (server.port, workload.connections, workload.payload, machine.seconds, WARM_UP_S)
    engine = peer.name.removeprefix("c1m-")
    command = [sys.executable, str(client), *map(str, numbers), engine]
    return generate(command, machine.generator_cpu, machine.seconds + WARM_UP_S)


def _hold(
    machine: Machine, workload: Workload, command: Sequence[str], server: Server
) -> dict[str, Any]:
    """Memory before anything is open, and while all are: adds it to the generator's figures."""
    empty = memory(server.pid)
    process = start(command, machine.generator_cpu, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline().strip() != b"held":
            assert process.stderr is not None
            raise RunFailed(process.stderr.read().decode(errors="replace").strip())
        time.sleep(1)  # what is deferred (RCU, buffers going back) is done by then
        held = memory(server.pid)
    finally:
        stop(process)
    count = workload.connections
    return {"connections": count, "requests": 0, "seconds": 0.0, "empty": empty, "held": held}


def memory(pid: int) -> dict[str, Any]:
    """A process's resident bytes, the kernel's slab caches in bytes by name, what is available."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    slabs = {name: s.active_objects * s.object_bytes for name, s in procfs.slabs().items()}
    sockets = procfs.sockstat()
    return {
        "rss_bytes": int(resident) * 1024,
        "slabs": slabs,
        "tcp_sockets": sockets.get("TCP.inuse", 0),
        "tcp_everywhere": sockets.get("TCP.alloc", 0),  # in all network namespaces
        "available_bytes": procfs.meminfo().get("MemAvailable", 0),
    }
