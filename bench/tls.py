"""TLS servers against others: handshakes, echo; and handshakes beside connections that are busy.

    python bench/tls.py [--pairs 5] [--seconds 1] [--only handshakes,echo,beside,memory]
                        [--peers nginx,haproxy] [--connections 64,1000] [--nice N] [--json FILE]
    python bench/tls.py --million [COUNT] [--way handoff] [--nice N] [--json FILE]

All servers of a row live throughout, on the same core; the C generator has the other one and drives
one of them at a time, in turn (A B C A B C). A ratio is taken within each turn; shown are the
medians. TLS 1.3, a certificate of ECDSA with P-256, and what each does by default about tickets.

handshakes  so many at a time: connect, shake hands, wait for a ticket, end; full, and resumed. The
            generator may be as busy as the server: handshakes a second of the server's processor
            time are shown, too
echo        of 64 B and 1 KiB: each connection has one message in flight; every byte is compared.
            nginx and HAProxy are terminators, with c1m's echo behind them on the same core
beside      1,000 connections with 10,000 requests/s, without and with 1,000 handshakes/s
memory      of both ends (c1m's) for 15,000 connections that are idle after an echo, by the growth
            of resident memory: without TLS, by ssl, handed off; and of the other servers. Of the
            terminators, which have two descriptors for each, 9,000; c1m's behind them counts, too
--million   so many connections over TLS, each echoed once; handed off on both ends, or --way ssl
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness import build, conditions, processes, tls_peers
from harness.measure import Machine, memory
from harness.processes import RunFailed, Server, generate, start, stop
from harness.results import conclude
from harness.tls_peers import ECHO, HANDSHAKES, TlsPeer
from harness.turns import in_turns
from million import lives, namespace, secured

from c1m.loadgen.metadata import started_text
from c1m.units import parse_count

WARM_UP_S = 0.3
AT_A_TIME = 32
BESIDE, MEMORY = "beside", "memory"
BUSY, BUSY_RATE, SHAKEN_RATE = 1_000, 10_000, 1_000
IDLE, IDLE_BETWEEN = 15_000, 9_000
SETTLE_S = 5.0
SOURCES = 250  # of a run whose connections end: their ports are in TIME_WAIT for a minute


class Row(NamedTuple):
    """One task; `payload` of echoes, `resume` of handshakes."""

    task: str
    connections: int
    payload: int = 64
    resume: bool = False

    @property
    def name(self) -> str:
        """A heading."""
        if self.task == HANDSHAKES:
            return (
                f"{'resumed' if self.resume else 'full'} handshakes, {self.connections} at a time"
            )
        return f"echo of {self.payload:,} B, {self.connections:,} connections"


ROWS = (
    Row(HANDSHAKES, AT_A_TIME), Row(HANDSHAKES, AT_A_TIME, resume=True),
    Row(ECHO, 64), Row(ECHO, 1_000), Row(ECHO, 64, 1_024), Row(ECHO, 1_000, 1_024),
)  # fmt: skip


class Running:
    """A server and, where it is a terminator, what is behind it; on one core."""

    def __init__(self, machine: Machine, peer: TlsPeer, task: str) -> None:
        self._behind: Server | None = None
        port = machine.next_port()
        if peer.is_terminator and task == ECHO:
            behind = machine.next_port()
            self._behind = Server(tls_peers.plain_echo(behind), behind, machine.server_cpu)
        try:
            command = peer.command(port, task, self._behind.port if self._behind else 0)
            self.front = Server(command, port, machine.server_cpu)
        except BaseException:
            self.stop()
            raise

    @property
    def arguments(self) -> list[str]:
        """Of the generator: where it is, whose processor time counts."""
        found = ["--port", str(self.front.port), "--server-pid", str(self.front.pid)]
        return [*found, "--other-pid", str(self._behind.pid)] if self._behind else found

    @property
    def all(self) -> list[Server]:
        """The server, and what is behind it."""
        return [self.front, self._behind] if self._behind else [self.front]

    def wait_until_idle(self) -> None:
        """Until both are."""
        for each in self.all:
            each.wait_until_idle()

    def resident(self) -> list[int]:
        """Bytes of each."""
        return [memory(each.pid)["rss_bytes"] for each in self.all]

    def stop(self) -> None:
        """End both."""
        for each in (getattr(self, "front", None), self._behind):
            if each is not None:
                each.stop()


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
    if options.million:
        found["million"] = secured.hold(machine, options.million, options.way)
    else:
        measure(machine, options, found)
    conclude(found, options.json)
    return 0


def measure(machine: Machine, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """All that is wanted."""
    for row in wanted(options):
        peers = _there(options, row.task, found["skipped"])
        found["rows"].append(compare(machine, row, peers))
    if BESIDE in options.only:
        found[BESIDE] = beside(machine)
    if MEMORY in options.only:
        found[MEMORY] = [secured.hold(machine, IDLE, way) for way in ("", *lives.OPTIONS)]
        found["held"] = [held(machine, each) for each in _there(options, ECHO, found["skipped"])]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    listed: Callable[[str], list[str]] = lambda text: text.split(",")  # noqa: E731
    everything = [HANDSHAKES, ECHO, BESIDE, MEMORY]
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a run lasts")
    parser.add_argument("--only", type=listed, default=everything)
    parser.add_argument("--peers", type=listed, default=[])
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument(
        "--million", type=parse_count, nargs="?", const=1_000_000, metavar="COUNT",
        help="only this, with so many  [1M]",
    )  # fmt: skip
    parser.add_argument("--way", choices=lives.OPTIONS, default=lives.HANDED_OFF)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def versions() -> dict[str, str]:
    """Of all that takes part and has no module: a line of each."""
    found = {}
    for name, command in (
        ("openssl", ("openssl", "version")), ("nginx", ("nginx", "-v")),
        ("haproxy", ("haproxy", "-v")),
    ):  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            continue
        found[name] = (done.stdout or done.stderr).partition("\n")[0]
    import ssl

    found["python ssl"] = ssl.OPENSSL_VERSION
    for name in ("cryptography", "uvicorn", "uvloop"):
        found[name] = conditions.version(name)
    return found


def wanted(options: argparse.Namespace) -> Iterator[Row]:
    """What is measured by all servers, in order."""
    for row in ROWS:
        of_so_many = not options.connections or row.connections in options.connections
        if row.task in options.only and (row.task == HANDSHAKES or of_so_many):
            yield row


def _there(options: argparse.Namespace, task: str, skipped: dict[str, str]) -> list[TlsPeer]:
    """Those that can do it and can be started; why the others cannot is put into `skipped`."""
    there = []
    for peer in tls_peers.ALL:
        if task not in peer.tasks or (options.peers and peer.name not in options.peers):
            continue
        if why := peer.why_missing(task):
            skipped[peer.name] = why
        else:
            there.append(peer)
    return there


def compare(machine: Machine, row: Row, peers: Sequence[TlsPeer]) -> dict[str, Any]:
    """Each peer's runs in turns, printed; a peer that fails is left out from there on."""
    runs, failed = in_turns(
        machine.pairs,
        peers,
        lambda peer: Running(machine, peer, row.task),
        lambda server: run(machine, server, row),
    )
    show(row, runs, failed)
    return {**row._asdict(), "runs": runs, "failed": failed}


def run(machine: Machine, server: Running, row: Row) -> dict[str, Any]:
    """One run of the generator. Raises RunFailed."""
    server.wait_until_idle()
    mode = HANDSHAKES if row.task == HANDSHAKES else "closed"
    command = [
        *_generator(machine, mode, row.connections, server), "--payload", str(row.payload),
        "--resume", str(int(row.resume)),
    ]  # fmt: skip
    found = generate(command, machine.generator_cpu, machine.seconds)
    wrong = found["errors"] or found["mismatches"] or found["unanswered"]
    if wrong or not found["requests"]:
        raise RunFailed(f"{found['errors']} errors, {found['mismatches']} wrong replies, "
                        f"{found['unanswered']} unanswered, {found['requests']} right")  # fmt: skip
    if row.resume and found["resumed"] < 0.9 * found["requests"]:
        raise RunFailed(f"{found['resumed']} of {found['requests']} were resumed")
    found["step_seconds"] = []
    return found


def _generator(machine: Machine, mode: str, connections: int, server: Running) -> list[str]:
    machine.sources = (machine.sources + SOURCES) % 16_000_000
    return [
        str(build.tls_generator()), mode, "--tls", "1", "--connections", str(connections),
        "--seconds", str(machine.seconds), "--warm-up", str(WARM_UP_S),
        "--window", str(min(256, connections)), "--first-source", str(machine.sources),
        "--sources", str(SOURCES), *server.arguments,
    ]  # fmt: skip


def show(row: Row, runs: dict[str, list[dict[str, Any]]], failed: dict[str, str]) -> None:
    """A table of one row: c1m's rates by those of each, and the same of rates a CPU second."""
    print(f"\n{row.name}")
    unit = "handshakes" if row.task == HANDSHAKES else "messages"
    ours = [name for name in ("c1m", "c1m-handoff") if runs.get(name)]
    print(f"| server | {unit}/s | {' | '.join(f'{name} / it' for name in ours)} "
          f"| server us each | {' | '.join(f'{name} / it, a CPU s' for name in ours)} "
          "| p50 ms | p99 ms | busy, server / generator |")  # fmt: skip
    print(f"| --- {'| ---: ' * (5 + 2 * len(ours))}|")
    for name, some in runs.items():
        if not some:
            continue
        middle = {key: statistics.median(each[key] for each in some) for key in SHOWN}
        busy = [middle[key] / middle["seconds"] / 1e9 for key in ("server_cpu_ns", "own_cpu_ns")]
        by_rate = [_ratio(runs[us], some, lambda run: run["rps"]) for us in ours]
        by_cpu = [_ratio(runs[us], some, lambda run: 1 / cpu_us(run)) for us in ours]
        each_us = statistics.median(map(cpu_us, some))
        print(
            f"| {name} | {middle['rps']:,.0f} | {' | '.join(by_rate)} | {each_us:.1f} "
            f"| {' | '.join(by_cpu)} | {middle['p50_us'] / 1e3:.2f} | {middle['p99_us'] / 1e3:.2f} "
            f"| {busy[0]:.0%} / {busy[1]:.0%} |"
        )
    for name, why in failed.items():
        print(f"{name}: {why}")
    sys.stdout.flush()


def cpu_us(run: dict[str, Any]) -> float:
    """The server's processor time for each."""
    return float(run["server_cpu_ns"] / run["requests"] / 1e3)


def _ratio(
    ours: Sequence[dict[str, Any]],
    theirs: Sequence[dict[str, Any]],
    figure: Callable[[dict[str, Any]], float],
) -> str:
    ratios = [figure(a) / figure(b) for a, b in zip(ours, theirs, strict=False)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def beside(machine: Machine) -> list[dict[str, Any]]:
    """The busy ones' latency without and with handshakes of others, by each way; in pairs."""
    found = []
    for peer in tls_peers.ALL[:2]:
        server = Running(machine, peer, ECHO)
        pairs = []
        try:
            for _ in range(machine.pairs):
                pairs.append([_busy(machine, server, rate) for rate in (0, SHAKEN_RATE)])
        finally:
            server.stop()
        found.append({"peer": peer.name, "pairs": pairs})
        ratios = [b["p99_us"] / a["p99_us"] for a, b in pairs]
        p99 = [statistics.median(pair[n]["p99_us"] for pair in pairs) / 1e3 for n in (0, 1)]
        shaken = statistics.median(b["handshakes"]["rps"] for _, b in pairs)
        print(f"\n{peer.name}: p99 of {BUSY:,} connections with {BUSY_RATE:,} requests/s: "
              f"{p99[0]:.2f} ms; beside {shaken:,.0f} handshakes/s {p99[1]:.2f} ms, "
              f"{statistics.median(ratios):.2f} x ({min(ratios):.2f}..{max(ratios):.2f})",
              flush=True)  # fmt: skip
    return found


def _busy(machine: Machine, server: Running, handshakes: int) -> dict[str, Any]:
    """A run of the busy ones; beside it handshakes at that rate, by another generator."""
    server.wait_until_idle()
    command = [*_generator(machine, "open", BUSY, server), "--rate", str(BUSY_RATE)]
    other = None
    if handshakes:
        beside = _generator(machine, HANDSHAKES, 512, server)
        seconds = machine.seconds + 2 * WARM_UP_S + 2  # those who are busy open theirs first
        beside[beside.index("--seconds") + 1] = str(seconds)
        other = start([*beside, "--rate", str(handshakes)], machine.generator_cpu,
                      stdout=subprocess.PIPE)  # fmt: skip
    try:
        found = generate(command, machine.generator_cpu, machine.seconds)
        if other is not None:
            found["handshakes"] = json.loads(other.communicate(timeout=60)[0])
    finally:
        if other is not None:
            stop(other)
    found["step_seconds"] = []
    return found


def held(machine: Machine, peer: TlsPeer) -> dict[str, Any]:
    """What a server takes for connections that are idle after an echo, printed."""
    count = IDLE_BETWEEN if peer.is_terminator else IDLE
    server = Running(machine, peer, ECHO)
    try:
        server.wait_until_idle()
        empty = server.resident()
        command = _generator(machine, "hold", count, server)
        client = start(command, machine.generator_cpu, stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE)  # fmt: skip
        try:
            assert client.stdout is not None
            said = client.stdout.readline().strip()
            server.wait_until_idle()
            time.sleep(SETTLE_S)
            user = [(now - before) / count
                    for now, before in zip(server.resident(), empty, strict=True)]  # fmt: skip
        finally:
            stop(client)
    finally:
        server.stop()
    found = {
        "peer": peer.name,
        "connections": count,
        "user_bytes": user,
        "is_held": said == b"held",
    }
    print(f"{peer.name}: {count:,} idle connections {'held' if found['is_held'] else 'NOT held'}, "
          f"{' + '.join(f'{each:,.0f}' for each in user)} B of user memory each",
          flush=True)  # fmt: skip
    return found


SHOWN = ("rps", "p50_us", "p99_us", "seconds", "server_cpu_ns", "own_cpu_ns")


if __name__ == "__main__":
    raise SystemExit(main())
