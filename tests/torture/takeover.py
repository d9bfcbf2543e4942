"""Five new processes take the sockets over, one after another, while 5,000 connects a second come.

Each connection says something and wants its reply.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .child import Child
from .verdict import Torture, Verdict

RATE, TIMES, PAUSE_S = 5_000.0, 5, 3.0
SOURCES = 16
PATIENCE_S = 120.0


class Serving:
    """`c1m serve echo --takeover`, writing into files."""

    def __init__(self, place: Path, number: int, *further: str) -> None:
        self.figures = place / f"{number}.json"
        self.said = place / f"{number}.log"
        with self.said.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "c1m", "serve", "echo", "--listen", "tcp://127.0.0.1:0",
                 "--takeover", str(place / "next"), "--quiet", "--json", str(self.figures),
                 *further], stdout=log, stderr=log,
            )  # fmt: skip

    def port(self) -> int:
        """Where it listens, as soon as it does."""
        deadline = time.monotonic() + PATIENCE_S
        while "listening on " not in (said := self.said.read_text()) or not said.endswith("\n"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"It does not listen: {said}")
            time.sleep(0.05)
        return int(said.partition("tcp://127.0.0.1:")[2].split()[0])

    def end(self) -> tuple[int, dict[str, Any]]:
        """Its exit status and its figures."""
        status = self.process.wait(PATIENCE_S)
        return status, json.loads(self.figures.read_text()) if self.figures.exists() else {}

    def kill(self) -> None:
        """Whatever it is at."""
        self.process.kill()
        self.process.wait(PATIENCE_S)


def run(scale: float) -> Verdict:
    """On the engine that servers have by default."""
    verdict = Verdict()
    times, rate = (TIMES, RATE) if scale >= 1 else (2, max(RATE * scale, 100.0))
    servers: list[Serving] = []
    with tempfile.TemporaryDirectory() as place:
        try:
            servers.append(Serving(Path(place), 0))
            port = servers[0].port()
            with Child("asking", ports=[port], sources=SOURCES, rate=rate) as client:
                start = time.monotonic()
                client.wait_for(lambda line: line["replied"] > rate / 4)
                _take_over(verdict, Path(place), servers, times, PAUSE_S * min(scale, 1))
                client.process.send_signal(signal.SIGTERM)
                said = client.wait_for(lambda line: "done" in line, PATIENCE_S)
                seconds = time.monotonic() - start
            os.kill(servers[-1].process.pid, signal.SIGTERM)
            status, _ = servers[-1].end()
            verdict.check(status == 0, f"The last server ended with {status}.")
        finally:
            for each in servers:
                each.kill()
    _judge(verdict, said, seconds, times)
    return verdict


def _take_over(
    verdict: Verdict, place: Path, servers: list[Serving], times: int, pause_s: float
) -> None:
    took = []
    for number in range(1, times + 1):
        time.sleep(pause_s)
        start = time.monotonic()
        servers.append(Serving(place, number))
        status, figures = servers[-2].end()
        took.append(round(time.monotonic() - start, 1))
        verdict.check(status == 0, f"Server {number} ended with {status}.")
        verdict.check(bool(figures) and not figures["live"], f"Server {number} says {figures}.")
    verdict.figures["seconds from the start of the next to the end of the one before"] = took


def _judge(verdict: Verdict, said: dict[str, Any], seconds: float, times: int) -> None:
    figures, check = verdict.figures, verdict.check
    figures["take-overs"] = times
    figures["connections"] = said["opened"]
    figures["connections a second"] = round(said["opened"] / seconds)
    figures["refused"] = sum(said["failed"].values())
    figures["reset, or closed without a reply"] = sum(said["ended"].values())
    check(not said["failed"], f"Connects have failed: {said['failed']}.")
    check(not said["ended"], f"Connections ended so: {said['ended']}.")
    opened, asked, replied = said["opened"], said["said"], said["replied"]
    check(replied == asked == opened, f"{opened} connected, {asked} asked, {replied} had replies.")
    check(not said["stuck"], f"{said['stuck']} were waiting at the end.")


TORTURE = Torture(
    "takeover",
    "Take-over by a new process, five times, under 5,000 connects/s: 0 refused, 0 reset, 0 without "
    "a reply.",
    run,
)
