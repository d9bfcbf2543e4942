"""A Dask cluster of processes of their own, as its users start one: a scheduler and workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from c1m.results.record import RunRecord
from e2e.cli_helpers import PATIENCE_S, Server, finish, free_ports, start

COUNT = 100  # connections of a `Play`


@dataclass(frozen=True)
class Host:
    """Where a process is started: its address, and what starts a command there."""

    address: str = "127.0.0.1"
    before: tuple[str, ...] = ()


class Cluster:
    """As a context manager: all its workers are there when entered, all has ended when left.
    `hosts`: of the scheduler, and of each worker.

    Workers have a nanny each, which starts a dead one again under the same address, and the
    scheduler's settings are those that it has by default: a task is sent again up to three times.
    """

    def __init__(
        self,
        tmp_path: Path,
        workers: int = 2,
        *,
        hosts: Sequence[Host] = (),
        scheme: str = "tcp",
    ) -> None:
        port = free_ports(1 + workers)
        self._hosts = hosts or [Host()] * (1 + workers)
        self.address = f"{scheme}://{self._hosts[0].address}:{port}"
        self._scheme = scheme
        self.log = (tmp_path / "dask.log").open("wb")
        self.scheduler = self._start(self._hosts[0], "scheduler", "--port", port)
        self.workers = [
            self._start(
                self._hosts[1 + number], "worker", self.address, "--nthreads", 1,
                "--worker-port", port + 1 + number, "--local-directory", tmp_path,
            )
            for number in range(workers)
        ]  # fmt: skip

    def _start(self, host: Host, kind: str, *options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(*host.before, sys.executable, "-m", f"distributed.cli.dask_{kind}"),
                *("--host", host.address, "--protocol", self._scheme, "--no-dashboard"),
                *map(str, options),
            ],
            stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Cluster:
        until(lambda: self.log_says("Registered to:") == len(self.workers), "the workers")
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self.workers, self.scheduler):
            for process in [*below(one.pid), one.pid]:
                kill(process)
            one.wait(PATIENCE_S)
        self.log.close()

    def log_says(self, what: str) -> int:
        """How often."""
        return Path(self.log.name).read_text(errors="replace").count(what)

    def at_work(self, number: int) -> int | None:
        """A worker's process: its nanny's child."""
        found = [one for one in below(self.workers[number].pid) if b"spawn_main" in command(one)]
        return found[0] if found else None

    def load_clients(self) -> list[int]:
        """Those of all workers: processes."""
        found = [one for worker in self.workers for one in below(worker.pid)]
        return [one for one in found if b"c1m.cluster.child" in command(one)]

    @contextlib.contextmanager
    def client(self, does: str) -> Iterator[str]:
        """Another process with a `client` of Dask does this; the line that it prints. Here its
        threads would stay, and close descriptors in the middle of other tests."""
        code = _CLIENT.format(address=self.address, timeout=PATIENCE_S, does=does)
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdin is not None and other.stdout is not None
            said = other.stdout.readline().strip()
            assert said, "it has ended"
            yield said
            other.stdin.close()  # it ends

    def times_begun(self) -> int:
        """How often the scheduler has sent a task of c1m's to a worker."""
        with self.client(_TIMES_BEGUN) as said:
            return int(said)


_CLIENT = """
import sys, time
from distributed import Client
with Client({address!r}, timeout={timeout}, set_as_default=False) as client:
    {does}
    sys.stdin.read()
"""
_TIMES_BEGUN = """
    def begun(dask_scheduler):
        log = dask_scheduler.transition_log
        return sum(one[2] == "processing" and str(one[0]).startswith("c1m-") for one in log)
    print(client.run_on_scheduler(begun), flush=True)
"""


class Play:
    """A run on a cluster of two against a server, in its hold. `before`: what starts it."""

    def __init__(
        self, tmp_path: Path, cluster: Cluster, server: Server, before: Sequence[str] = ()
    ) -> None:
        self._before = before
        self.cluster, self.server = cluster, server
        self.port = int(server.url.rpartition(":")[2])
        self.path = tmp_path / "run.json"
        self.load: subprocess.Popen[str]
        self.clients: list[int] = []

    def begin(self, *options: object) -> None:
        """Until all are open."""
        self.load = load = start(
            "load", self.server.url, "--quiet", "--json", self.path,
            "--cluster", self.cluster.address, *options, before=self._before,
        )  # fmt: skip
        until(lambda: self.open == COUNT or load.poll() is not None, "the hold")
        self.clients = self.cluster.load_clients()

    @property
    def open(self) -> int:
        """Connections, on the server's side."""
        return connections_to(self.port, self.server.pid)

    def end(self) -> tuple[int, str, str]:
        """Of the load run: its status, what it said; nothing is left of it then."""
        said, errors = finish(self.load)
        self.nothing_is_left()
        return self.load.returncode, said, errors

    def nothing_is_left(self) -> None:
        """Neither processes nor connections."""
        until(lambda: not any(map(is_alive, self.clients)), "the load clients' end")
        until(lambda: not self.cluster.load_clients(), "the end of others")
        until(lambda: self.open == 0, "the connections' end")

    @property
    def record(self) -> RunRecord:
        """Of the run."""
        return RunRecord.read(self.path)

    def opened(self) -> int:
        """By the server's count."""
        assert self.server.stop() == 0
        return int(self.server.figures()["opened"])


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


def connections_to(port: int, pid: int | str = "self") -> int:
    """How many there are to a server, by the kernel's table where process `pid` is."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(one[1].endswith(f":{port:04X}") and one[3] == "01" for one in fields)


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for it; that it never comes is a failure."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"{what} has not come"
        time.sleep(0.05)
