"""Whatever dies in a run by several workers: it ends, is told, runs nothing twice, leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from c1m.results.record import RunRecord
from e2e import cli_helpers as cli
from e2e.dask_processes import Cluster, connections_to, kill, until

COUNT = 100


class Play:
    """A run on a cluster of two against a server, in its hold."""

    def __init__(self, tmp_path: Path, cluster: Cluster, server: cli.Server) -> None:
        self.cluster, self.server = cluster, server
        self.port = int(server.url.rpartition(":")[2])
        self.path = tmp_path / "run.json"
        self.load: subprocess.Popen[str] | None = None
        self.clients: list[psutil.Process] = []

    def begin(self, *options: object) -> None:
        """Until all are open."""
        self.load = cli.start(
            "load", self.server.url, "--connections", COUNT, "--quiet", "--json", self.path,
            "--cluster", self.cluster.address, *options,
        )  # fmt: skip
        until(lambda: self.open == COUNT or self.load.poll() is not None, "the hold")
        self.clients = self.cluster.load_clients()

    @property
    def open(self) -> int:
        return connections_to(self.port)

    def end(self) -> tuple[int, str, str]:
        """Of the load run: its status, what it said; nothing is left of it then."""
        assert self.load is not None
        said, errors = cli.finish(self.load)
        self.nothing_is_left()
        return self.load.returncode, said, errors

    def nothing_is_left(self) -> None:
        until(lambda: not any(one.is_running() and one.status() != "zombie" for one in self.clients), "the load clients' end")
        until(lambda: not self.cluster.load_clients(), "the end of others")
        until(lambda: self.open == 0, "the connections' end")

    @property
    def record(self) -> RunRecord:
        return RunRecord.read(self.path)

    def opened(self) -> int:
        """By the server's count."""
        assert self.server.stop() == 0
        return int(self.server.figures()["opened"])


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    with cli.Server(tmp_path) as server, Cluster(tmp_path) as cluster:
        yield Play(tmp_path, cluster, server)


def test_a_worker_that_is_killed(play: Play) -> None:
    """Its nanny starts it again under its address, and the scheduler sends the task again: the
    others go on, and nothing is done twice."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 12s at 50/s")
    kill(play.cluster.at_work(0).pid)
    status, said, errors = play.end()
    assert errors == ""
    assert play.opened() == COUNT
    print(said)


def test_a_load_client_that_is_killed(play: Play) -> None:
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 12s at 50/s")
    kill(play.clients[0].pid)
    status, said, errors = play.end()
    print(said)
    assert errors == ""
    assert play.opened() == COUNT


def test_a_scheduler_that_is_killed(play: Play) -> None:
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 60s at 50/s")
    kill(play.cluster.scheduler.pid)
    status, said, errors = play.end()
    print(said, errors)
    assert status == 1


def test_a_controller_that_is_killed(play: Play) -> None:
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 60s at 50/s")
    kill(play.load.pid)
    cli.finish(play.load)
    play.nothing_is_left()


def test_a_controller_that_is_interrupted(play: Play) -> None:
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 60s at 50/s")
    os.kill(play.load.pid, signal.SIGINT)
    status, said, errors = play.end()
    print(said, errors)
    assert status == 1
