"""Many connections by the workers of a Dask cluster, and who took how much of the processor.

    python bench/cluster.py [--workers 4] [--connections 1M] [--rate 20k/s] [--hold 60s]
                            [--connect-rate 20k/s] [--json FILE]

A scheduler and workers, each a process of its own on this machine, as their users start them, and
`c1m load --cluster` against `c1m serve echo`. Said is what the run says; and for the time in which
all connections are open, and for the whole of the run, the processor time of the server, of each
worker's load client, of the workers that look after them, of the scheduler and of the controller,
and the most memory that each had.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import conditions
from harness.processes import below

from c1m.kernel import procfs
from c1m.units import parse_count

SETTLE_S = 5  # between the run and the end of what it ran on
STEP_S = 0.5
NEAR = 0.999  # so many of both ends of all connections are there: it is the hold
CHILD = "c1m.cluster.child"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--connections", type=parse_count, default=1_000_000)
    parser.add_argument("--rate", default="20k/s")
    parser.add_argument("--hold", default="60s")
    parser.add_argument("--connect-rate", default="20k/s")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(given, Path(folder))
    for line in found["said"]:
        print(line)
    print(f"\n{'process':24}{'hold, of a core':>16}{'whole, s':>10}{'MiB':>8}")
    for name, row in found["processes"].items():
        print(f"{name:24}{row['hold_cores']:16.3f}{row['whole_s']:10.1f}{row['mib']:8.0f}")
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run."""
    port, first = free_port(), free_port()
    python = [sys.executable, "-m"]
    address = f"tcp://127.0.0.1:{first}"
    log = (folder / "dask.log").open("wb")
    with contextlib.ExitStack() as stack:

        def begin(*words: object) -> int:
            return stack.enter_context(started([*python, *map(str, words)], log)).pid

        server = begin("c1m", "serve", "echo", "--listen", f"tcp://127.0.0.1:{port}")
        quiet = "--no-dashboard"
        scheduler = begin(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", first, quiet
        )
        workers = [
            begin(
                "distributed.cli.dask_worker", address, "--nthreads", 1, "--host", "127.0.0.1",
                "--local-directory", folder, quiet, "--name", f"worker {number}",
            )
            for number in range(given.workers)
        ]  # fmt: skip
        while Path(log.name).read_bytes().count(b"Registered to:") < given.workers:
            time.sleep(STEP_S)
        record = folder / "run.json"
        stages = [f"ramp {given.connections}", f"hold for {given.hold} at {given.rate}"]
        load = subprocess.Popen(
            [
                *(*python, "c1m", "load", f"tcp://127.0.0.1:{port}", "--cluster", address),
                *(word for stage in stages for word in ("--stage", stage)),
                *("--connect-rate", given.connect_rate, "--timeout", "120s", "--quiet"),
                *("--json", str(record)),
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        fixed = {"server": server, "scheduler": scheduler, "controller": load.pid}
        rows = watched(load, fixed, workers, given.connections)
        assert load.stdout is not None
        said = [line for line in load.stdout.read().splitlines() if str(folder) not in line]
        time.sleep(SETTLE_S)
    run = json.loads(record.read_text()) if record.exists() else {}
    return {
        "date": time.strftime("%Y-%m-%d"), "conditions": conditions.collect([]),
        "asked": {n: getattr(given, n) for n in ("workers", "connections", "rate", "hold")},
        "status": load.returncode, "said": said, "processes": split(rows),
        "connections": run.get("connections"), "requests": run.get("requests"),
        "workers": run.get("workers"),
    }  # fmt: skip


Row = dict[str, tuple[float, int]]  # of each process: processor time in s, memory in bytes


def watched(
    load: subprocess.Popen[str], fixed: dict[str, int], workers: list[int], connections: int
) -> list[tuple[float, bool, Row]]:
    """A row twice a second: when, whether all are open, the processes."""
    rows = []
    while load.poll() is None:
        named = dict(fixed)
        for number, nanny in enumerate(workers):
            for pid in below(nanny):
                is_load = CHILD in command(pid)
                named[f"load client {number}" if is_load else f"worker {number}"] = pid
        found: Row = {}
        for name, pid in named.items():
            sample = procfs.process_sample(pid)
            if sample is not None:
                found[name] = (sample.user_s + sample.system_s, sample.rss_bytes)
        is_hold = procfs.sockstat().get("TCP.inuse", 0) >= 2 * connections * NEAR
        rows.append((time.monotonic(), is_hold, found))
        time.sleep(STEP_S)
    return rows


def split(rows: list[tuple[float, bool, Row]]) -> dict[str, dict[str, float]]:
    """Of each process: its cores during the hold, all its processor time, its most memory."""
    hold = [(at, row) for at, is_hold, row in rows if is_hold]
    names = dict.fromkeys(name for *_, row in rows for name in row)
    found = {}
    for name in sorted(names):
        seen = [row[name] for *_, row in rows if name in row]
        held = [(at, row[name][0]) for at, row in hold if name in row]
        took = held[-1][0] - held[0][0] if len(held) > 1 else 0
        found[name] = {
            "hold_cores": (held[-1][1] - held[0][1]) / took if took else 0.0,
            "whole_s": seen[-1][0],
            "mib": max(memory for _, memory in seen) / (1 << 20),
        }
    return found


@contextlib.contextmanager
def started(words: list[str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended at the end."""
    process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def command(pid: int) -> str:
    """What a process was started as."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
