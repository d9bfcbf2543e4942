"""Whatever dies in a run by several workers: it is told, nothing runs twice, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from c1m.results.record import RunRecord
from e2e import cli_helpers as cli
from e2e.dask_processes import Cluster, connections_to, is_alive, kill, until

COUNT = 100


class Play:
    """A run on a cluster of two against a server, in its hold."""

    def __init__(self, tmp_path: Path, cluster: Cluster, server: cli.Server) -> None:
        self.cluster, self.server = cluster, server
        self.port = int(server.url.rpartition(":")[2])
        self.path = tmp_path / "run.json"
        self.load: subprocess.Popen[str]
        self.clients: list[int] = []

    def begin(self, *options: object) -> None:
        """Until all are open."""
        self.load = load = cli.start(
            "load", self.server.url, "--quiet", "--json", self.path,
            "--cluster", self.cluster.address, *options,
        )  # fmt: skip
        until(lambda: self.open == COUNT or load.poll() is not None, "the hold")
        self.clients = self.cluster.load_clients()

    @property
    def open(self) -> int:
        """Connections, on the server's side."""
        return connections_to(self.port)

    def end(self) -> tuple[int, str, str]:
        """Of the load run: its status, what it said; nothing is left of it then."""
        said, errors = cli.finish(self.load)
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


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """With all there, and nothing begun."""
    with cli.Server(tmp_path) as server, Cluster(tmp_path) as cluster:
        yield Play(tmp_path, cluster, server)


def test_a_worker_that_is_killed(play: Play) -> None:
    """Its nanny starts it again under its address, and the scheduler sends the task there again:
    nothing is done twice. The others go on."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 12s at 50/s")
    worker = play.cluster.at_work(0)
    kill(worker)
    until(lambda: play.cluster.at_work(0) not in (None, worker), "a worker in its place")
    until(lambda: play.cluster.times_begun() == 3, "the second time that the task was sent")
    _, said, errors = play.end()
    assert errors == "", said
    assert play.opened() == COUNT


def test_a_load_client_that_is_killed(play: Play) -> None:
    """Its agent sees it end. The others go on."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 12s at 50/s")
    kill(play.clients[0])
    _, said, errors = play.end()
    assert errors == "", said
    assert play.opened() == COUNT


def test_a_load_client_that_stands_still(play: Play) -> None:
    """It is lost when it was silent for 8 s, and is ended for good."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 15s at 50/s")
    os.kill(play.clients[0], signal.SIGSTOP)
    _, said, errors = play.end()
    assert errors == "", said


def test_a_run_that_a_loss_aborts(play: Play) -> None:
    """All others end at once, in good order."""
    play.begin(
        "--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s", "--on-worker-loss", "abort"
    )
    kill(play.cluster.at_work(1))
    status, said, errors = play.end()
    assert (status, errors) == (1, ""), said


def test_a_part_that_is_begun_anew(play: Play) -> None:
    """By another worker, which opens its connections again: as many as were lost, once."""
    play.begin(
        "--stage", f"ramp {COUNT}", "--stage", "hold for 30s at 50/s",
        "--on-worker-loss", "respawn",
    )  # fmt: skip
    kill(play.clients[0])
    _, said, errors = play.end()
    assert errors == "", said
    assert play.opened() == COUNT + COUNT // 2


def test_a_scheduler_that_is_killed(play: Play) -> None:
    """The run ends at once; the load clients end by their leases."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s")
    kill(play.cluster.scheduler.pid)
    status, said, errors = play.end()
    assert status == 1 and "The scheduler has gone." in said + errors


def test_a_controller_that_is_killed(play: Play) -> None:
    """The load clients end by their leases."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s")
    kill(play.load.pid)
    cli.finish(play.load)
    play.nothing_is_left()


def test_a_controller_that_is_interrupted(play: Play) -> None:
    """It ends in good order, with a record."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s")
    os.kill(play.load.pid, signal.SIGINT)
    status, said, errors = play.end()
    assert (status, errors) == (1, ""), said
    assert play.record.connections.opened == COUNT
    assert play.record.verdict.shortfalls == ["The run was interrupted before its end."]
