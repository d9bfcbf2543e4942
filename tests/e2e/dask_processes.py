"""A Dask cluster of processes of their own, as its users start one: a scheduler and workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from distributed import Client

from e2e.cli_helpers import PATIENCE_S, free_ports

CHILD = "c1m.cluster.child"


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
        with Client(self.address, timeout=PATIENCE_S, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self.workers, self.scheduler):
            for process in [*below(one.pid), one]:
                kill(process.pid)
            one.wait(PATIENCE_S)
        self.log.close()

    def at_work(self, number: int) -> psutil.Process:
        """A worker's process: its nanny's child."""
        found = [one for one in below(self.workers[number].pid) if not is_load_client(one)]
        return next(one for one in found if "spawn_main" in " ".join(one.cmdline()))

    def load_clients(self) -> list[psutil.Process]:
        """Those of all workers."""
        return [one for worker in self.workers for one in below(worker.pid) if is_load_client(one)]


def below(pid: int) -> list[psutil.Process]:
    """A process's children, and theirs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_load_client(process: psutil.Process) -> bool:
    """Whether it does a part of a run."""
    try:
        return CHILD in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def kill(pid: int) -> None:
    """-9, whether it is there or not."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


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
