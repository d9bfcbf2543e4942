"""What the cases have around them: certificates, our servers, runs of our load client.

One stage is for one way of speaking TLS: by ssl, or handed off. Its servers are started when first
asked for, and end with it.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from certificates import ECDSA, Leaf, authority

from ..obtaining import ROOT

SIZES = (1, 100, 16_383, 16_384, 16_385, 100_000)  # around what a record holds (RFC 8446, 5.1)
PATIENCE_S = 60
SCENARIO = f"{Path(__file__).with_name('sizes.py')}:Sizes"


class Failed(Exception):
    """A case went wrong: its sentence says how."""


def payload(size: int, seed: object = "") -> bytes:
    """Random bytes, the same for the same seed."""
    return Random(f"{size}/{seed}").randbytes(size)


def digits(size: int) -> bytes:
    """Random digits: a program with commands of one letter takes none for a command."""
    return bytes(Random(size).choices(b"0123456789", k=size))


@dataclass
class Served:
    """A `c1m serve` of the stage."""

    process: subprocess.Popen[bytes]
    port: int
    figures: Path
    log: Path


@dataclass
class Stage:
    """A context manager."""

    handoff: bool
    where: Path = field(default_factory=Path)
    _served: dict[tuple[str, ...], Served] = field(default_factory=dict)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def how(self) -> str:
        """In words."""
        return "handed off" if self.handoff else "by ssl"

    @property
    def ca(self) -> Path:
        """What both ends trust."""
        return authority().cert

    def leaf(self, kind: str = ECDSA) -> Leaf:
        """A server's certificate."""
        return authority().leaf("localhost", "127.0.0.1", kind=kind)

    @property
    def client(self) -> Leaf:
        """A client's certificate."""
        return authority().leaf("alice", client=True)

    def __enter__(self) -> Stage:
        directory = tempfile.TemporaryDirectory(prefix="c1m-tls-")
        self.where = Path(self._stack.enter_context(directory))
        return self

    def __exit__(self, *_: object) -> None:
        for served in self._served.values():
            if served.process.poll() is None:
                served.process.kill()
            served.process.wait()
        self._served.clear()
        self._stack.close()

    # --- our servers ------------------------------------------------------------------------------

    def serve(self, app: str = "echo", *options: object, kind: str = ECDSA) -> int:
        """The port of a server with TLS that trusts nobody, unless `options` say so."""
        key = (app, kind, *map(str, options))
        if key in self._served and self._served[key].process.poll() is None:
            return self._served[key].port
        leaf = self.leaf(kind)
        scheme = {"echo": "tls", "push": "https", "kv": "rediss"}[app]
        tls = ["--tls-cert", leaf.cert, "--tls-key", leaf.key, *options]
        return self._serve(key, scheme, *tls, *(["--tls-handoff"] if self.handoff else []))

    def serve_plain(self) -> int:
        """The port of an echo without TLS."""
        key = ("echo", "plain")
        return self._served[key].port if key in self._served else self._serve(key, "tcp")

    def _serve(self, key: tuple[str, ...], scheme: str, *options: object) -> int:
        app, number = key[0], len(self._served)
        figures, log = (self.where / f"{number}-{app}.{end}" for end in ("json", "log"))
        command = [sys.executable, "-m", "c1m", "serve", app, "--quiet", "--json", figures]
        command += ["--listen", f"{scheme}://127.0.0.1:0", *options]
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(map(str, command)), cwd=ROOT, stdout=output, stderr=output
            )
        served = self._served[key] = Served(process, 0, figures, log)
        served.port = int(_told(log, rf"{scheme}://127\.0\.0\.1:(\d+)", process))
        return served.port

    @property
    def ran(self) -> list[str]:
        """The apps that are served."""
        return [key[0] for key in self._served]

    def ended(self) -> str:
        """Stop the servers: what they counted. Raises Failed where it does not add up."""
        counts: Counter[str] = Counter()
        wrong = []
        for key, served in self._served.items():
            served.process.terminate()
            status = served.process.wait(PATIENCE_S)
            said = served.log.read_text(errors="replace")
            name = " ".join((key[0], *key[2:]))
            if status != 0 or "Traceback" in said:
                wrong.append(f"{name} ended with {status}: {said[-2000:]}")
                continue
            figures = json.loads(served.figures.read_text())
            if figures["opened"] != figures["live"] + sum(figures["closed"].values()):
                wrong.append(f"{name}: its connections do not add up: {figures}")
            counts.update(figures["closed"])
        self._served.clear()
        if wrong:
            raise Failed("; ".join(wrong))
        return ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)

    # --- our client -------------------------------------------------------------------------------

    def load(self, url: str, *options: object, status: int = 0) -> dict[str, Any]:
        """A run's record; `status` is what it must end with."""
        path = self.where / "run.json"
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "c1m", "load", url, "--quiet", "--json", path]
        command += ["--ca", self.ca, *options]
        command += ["--tls-handoff"] if self.handoff else []
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
        )
        if done.returncode != status:
            said = done.stderr[-600:] or done.stdout[:600]
            raise Failed(f"c1m load ended with {done.returncode}: {said}")
        record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return record

    def echoes(self, port: int, *options: object, connections: int = 1) -> str:
        """Echoes of all sizes by a server of somebody else's, all right: how many."""
        record = self.load(
            f"tls://127.0.0.1:{port}", "--connections", connections, "--scenario", SCENARIO,
            *rounds(len(SIZES) - 1), *options,
        )  # fmt: skip
        return all_right(record, len(SIZES) * connections)


def rounds(count: int) -> list[str]:
    """Options: behind the first request of each connection so many more, as long as they take."""
    return ["--stage", "stampede"] * count


def all_right(record: dict[str, Any], at_least: int = 1) -> str:
    """How many requests of a run were right; raises Failed where one was not."""
    each = [record["first"], *(stage["requests"] for stage in record["stages"])]
    due, right = (sum(one[what] for one in each) for what in ("due", "right"))
    if right < at_least or right != due:
        raise Failed(f"of the requests: {each}")
    if record["connections"]["lost"]:
        raise Failed(f"connections were lost: {record['connections']}")
    return f"{right} right"


def _told(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> str:
    """What a pattern finds in a log, as soon as it is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := re.search(pattern, log.read_text(errors="replace"))):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)
    return found[1]


def counted(words: list[str]) -> str:
    """As in "3 passed, 1 failed"."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())
