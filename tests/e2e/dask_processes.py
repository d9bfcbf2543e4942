"""A Dask cluster of processes of their own, as its users start one: a scheduler and workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import Client

from e2e.cli_helpers import PATIENCE_S, free_ports


class Cluster:
    """As a context manager: all its workers are there when entered, all has ended when left.

    Workers have a nanny each, which starts a dead one again under the same address, and the
    scheduler's settings are those that it has by default: a task is sent again up to three times.
    """

    def __init__(self, tmp_path: Path, workers: int = 2, *options: object) -> None:
        port = free_ports(1 + workers)
        self.address = f"tcp://127.0.0.1:{port}"
        self.log = (tmp_path / "dask.log").open("wb")
        self._options, self._folder = options, tmp_path
        self.scheduler = self._start("scheduler", "--port", port)
        self.workers = [self.add(port + 1 + number) for number in range(workers)]

    def add(self, port: int) -> subprocess.Popen[bytes]:
        """One more worker."""
        return self._start(
            "worker", self.address, "--nthreads", 1, "--worker-port", port,
            "--local-directory", self._folder, *self._options,
        )  # fmt: skip

    def _start(self, kind: str, *options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1"),
                *("--no-dashboard", *map(str, options)),
            ],
            stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Cluster:
        client: Any = Client  # which has no types
        with client(self.address, timeout=PATIENCE_S, set_as_default=False) as asked:
            asked.wait_for_workers(len(self.workers), timeout=PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self.workers, self.scheduler):
            for process in [*below(one.pid), one.pid]:
                kill(process)
            one.wait(PATIENCE_S)
        self.log.close()

    def at_work(self, number: int) -> int | None:
        """A worker's process: its nanny's child."""
        found = [one for one in below(self.workers[number].pid) if b"spawn_main" in command(one)]
        return found[0] if found else None

    def load_clients(self) -> list[int]:
        """Those of all workers: processes."""
        found = [one for worker in self.workers for one in below(worker.pid)]
        return [one for one in found if b"c1m.cluster.child" in command(one)]

    def times_begun(self) -> int:
        """How often the scheduler has sent a task of c1m's to a worker."""
        client: Any = Client  # which has no types
        with client(self.address, timeout=PATIENCE_S, set_as_default=False) as asked:
            return int(asked.run_on_scheduler(_times_begun))


def _times_begun(dask_scheduler: Any) -> int:
    log = dask_scheduler.transition_log
    return sum(one[2] == "processing" and str(one[0]).startswith("c1m-") for one in log)


def below(pid: int) -> list[int]:
    """A process's children, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *below(child)]
    return found


def command(pid: int) -> bytes:
    """What a process was started as."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    """Whether it is there, and no zombie: that has no command any more."""
    return command(pid) != b""


def kill(pid: int | None) -> None:
    """-9, whether it is there or not."""
    assert pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def connections_to(port: int) -> int:
    """How many there are to a server on this machine, by the kernel's table, on its side."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(one[1].endswith(f":{port:04X}") and one[3] == "01" for one in fields)


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for it; that it never comes is a failure."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"{what} has not come"
        time.sleep(0.05)
