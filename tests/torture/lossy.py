"""Every server behind a wire that loses, delays, reorders, doubles and damages packets.

All bytes must be right and in order, no connection may be stuck, and the server's counts add up.
The clients are others' (asyncio's streams, redis-py, websockets, Python's ssl) and ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from c1m.results.record import RunRecord
from certificates import authority
from e2e.cli_helpers import COMMAND, Server
from laws import broken_laws

from .verdict import Torture, Verdict
from .wire import SERVER, CannotBeHad, Faults, Wire

PATIENCE_S = 240
STEP_S = 0.7  # between one change of the wire and the next
DOWN_STEPS = 16  # often, and each retry of TCP, of which there are ever fewer, would find it so
MTUS = (576, 1280, 9000, 1500)
ENGINES = ("uring", "epoll")
EXAMPLES = Path(__file__).parents[2] / "examples"
CLIENTS = str(Path(__file__).with_name("lossy_clients.py"))


@dataclass(frozen=True, slots=True)
class Kind:
    """A server, and who talks to it."""

    app: str
    scheme: str
    client: str  # of lossy_clients.py; "load": c1m load


KINDS = {
    "echo": Kind("echo", "tcp", "echo"),
    "protocols": Kind("asyncio_echo:Echo", "tcp", "echo"),
    "tls": Kind("echo", "tls", "tls"),
    "kv": Kind("kv", "tcp", "kv"),
    "push": Kind("push", "http", "push"),
    "load": Kind("echo", "tcp", "load"),
}
WIRES = {
    "loss": Faults(loss=0.05, delay_s=0.001),
    "reordering": Faults(loss=0.005, delay_s=0.01, jitter_s=0.03),
    "doubled and damaged": Faults(delay_s=0.001, jitter_s=0.002, duplicate=0.1, damage=0.03),
    "all": Faults(loss=0.01, delay_s=0.005, jitter_s=0.01, duplicate=0.02, damage=0.01),
}


@dataclass(slots=True)
class Run:
    """One server, one wire, its clients. `changes`: the MTU changes all the time, and the wire is
    down now and then."""

    kind: str
    engine: str
    faults: Faults
    seed: int = 1
    changes: bool = False
    count: int = 20
    rounds: int = 2
    size: int = 100_000

    def found(self) -> dict[str, Any]:
        """Counts of all three; "wrong": sentences. Raises CannotBeHad."""
        kind = KINDS[self.kind]
        with tempfile.TemporaryDirectory() as directory, Wire(self.faults, self.seed) as wire:
            path = Path(directory)
            arguments: list[object] = ["--engine", self.engine, "--quiet", "--linger", "300s"]
            if kind.scheme == "tls":
                leaf = authority().leaf("localhost")
                arguments += ["--tls-cert", leaf.cert, "--tls-key", leaf.key]
                arguments += ["--tls-handshake-timeout", "300s"]
            listen = [f"{kind.scheme}://{SERVER}:0"]
            with Server(path, *arguments, app=kind.app, listen=listen, before=wire.server,
                        cwd=EXAMPLES) as server:  # fmt: skip
                port = int(server.url.rpartition(":")[2])
                found = self._clients(wire, kind, port, path)
                found["packets"] = wire.say(faults={})  # from now on it is a good one
                found["checksums"] = sum(
                    wire.kernel(end)["InCsumErrors"] for end in (wire.server, wire.client)
                )
                status = server.stop()
                figures = server.figures()
            if status:
                found["wrong"].append(f"the server ended with {status}")
            found["opened"], found["closed"] = figures["opened"], figures["closed"]
        return found

    def _clients(self, wire: Wire, kind: Kind, port: int, path: Path) -> dict[str, Any]:
        command: Sequence[object] = [
            sys.executable, CLIENTS, kind.client, SERVER, port, "--count", self.count,
            "--rounds", self.rounds, "--size", self.size, "--seed", self.seed,
            "--patience", PATIENCE_S - 20,
        ]  # fmt: skip
        if kind.client == "load":
            command = [
                *COMMAND, "load", f"tcp://{SERVER}:{port}", "--connections", 20 * self.count,
                "--hold", f"{3 * self.rounds}s", "--rate", 10 * self.count, "--engine", self.engine,
                "--timeout", f"{PATIENCE_S - 60}s", "--seed", self.seed, "--quiet",
                "--json", path / "load.json",
            ]  # fmt: skip
        with subprocess.Popen(
            [*wire.client, *map(str, command)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                said, errors = self._to_its_end(wire, process)
            finally:
                process.kill()
        if kind.client == "load":
            return _of_load(path / "load.json", errors)
        if process.returncode or errors:
            return {"wrong": [f"the clients ended with {process.returncode}: {errors}"]}
        found: dict[str, Any] = json.loads(said)
        return found

    def _to_its_end(self, wire: Wire, process: subprocess.Popen[str]) -> tuple[str, str]:
        random = Random(self.seed)
        steps = int(PATIENCE_S / STEP_S)
        for step in range(steps):
            try:
                return process.communicate(timeout=STEP_S)
            except subprocess.TimeoutExpired:
                if self.changes and step < steps // 4:
                    wire.say(mtu=random.choice(MTUS))
                    if step % DOWN_STEPS == 0:
                        wire.say(down_s=random.uniform(0.5, 3))
        return "", f"it did not end in {PATIENCE_S} s"


def _of_load(path: Path, errors: str) -> dict[str, Any]:
    """Connections opened and replies right; all must be."""
    if errors or not path.exists():
        return {"wrong": [f"c1m load: {errors}"]}
    record = RunRecord.read(path)
    c, requests = record.connections, record.requests
    wrong = broken_laws(record)
    if c.opened < c.attempted or c.lost:
        wrong.append(f"{c.attempted} connects, {c.opened} opened, {c.lost} lost: {record.failures}")
    if requests.right != requests.sent:
        wrong.append(f"{requests.sent} requests, {requests.right} right replies")
    return {"conversations": c.opened, "replies": requests.right, "wrong": wrong}


def run(scale: float) -> Verdict:
    """Each server on each engine behind each wire; the last is down at times, with other MTUs."""
    verdict = Verdict()
    sums = dict.fromkeys(("runs", "conversations", "bytes", "replies", "checksums"), 0)
    packets: dict[str, int] = {}
    seed = 0
    for name, faults in WIRES.items():
        for kind in KINDS:
            for engine in ENGINES:
                seed += 1
                rounds = max(round(12 * scale), 1)
                each = Run(kind, engine, faults, seed, changes=name == "all", rounds=rounds)
                try:
                    found = each.found()
                except CannotBeHad as why:
                    verdict.wrong.append(f"no namespaces here: {why}")
                    return verdict
                sums["runs"] += 1
                for what in ("conversations", "bytes", "replies", "checksums"):
                    sums[what] += found.get(what, 0)
                for what, count in found.get("packets", {}).items():
                    packets[what] = packets.get(what, 0) + count
                verdict.wrong += [f"{kind}, {engine}, {name}: {each}" for each in found["wrong"]]
    verdict.figures = {
        "servers, engines, wires": sums["runs"],
        "conversations": sums["conversations"],
        "bytes checked": sums["bytes"],
        "replies to our load client": sums["replies"],
        **{f"packets {what.replace('_', ' ')}": count for what, count in packets.items()},
        "packets that a checksum caught": sums["checksums"],
    }
    return verdict


TORTURE = Torture(
    "lossy",
    "packets lost, delayed, reordered, doubled, damaged: all bytes right, nobody stuck",
    run,
)
