"""Under which conditions a run was made; and how long the commands of c1m take to start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version as version
from pathlib import Path
from typing import Any

from c1m.loadgen import metadata
from c1m.results.codec import encode
from harness import build
from harness.peers import Peer
from harness.processes import Server, start, stop

START_UPS = 7


def collect(peers: Sequence[Peer]) -> dict[str, Any]:
    """Machine, kernel, limits, versions of all that is compared, the commit, the load now."""
    conditions: dict[str, Any] = encode(metadata.collect("", ""))
    del conditions["engine"]
    versions = {peer.module: peer.version() for peer in peers if peer.module}
    for name, command in (("gcc", ("gcc", "-dumpfullversion")), ("go", ("go", "version"))):
        if shutil.which(name):
            versions[name] = _output(command)
    return {
        **conditions,
        "versions": versions,
        "commit": _output(("git", "-C", str(build.BENCH), "describe", "--always", "--dirty")),
        "load_average_before": os.getloadavg()[0],
    }


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip()


def start_up_seconds(cpu: int, port: int) -> dict[str, list[float]]:
    """Wall seconds of `c1m --help`, and of `c1m serve` until a connect succeeds."""
    c1m = [str(Path(sys.executable).parent / "c1m")]
    helps, serves = [], []
    for _ in range(START_UPS):
        begin = time.monotonic()
        process = start([*c1m, "--help"], cpu, stdout=subprocess.DEVNULL)
        process.wait()
        helps.append(time.monotonic() - begin)
        stop(process)
    for number in range(START_UPS):
        listen = ["serve", "echo", "--listen", f"tcp://127.0.0.1:{port + number}", "--quiet"]
        server = Server([*c1m, *listen], port + number, cpu)
        serves.append(server.start_seconds)
        server.stop()
    return {"c1m --help": helps, "c1m serve": serves}
