"""Whatever dies in a run by several workers: it is told, nothing runs twice, nothing is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from c1m.cluster.kept import PART, parts_in
from e2e import cli_helpers as cli
from e2e.dask_processes import COUNT, Cluster, Play, kill, until


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
    (loss,) = play.record.degraded
    assert (loss.part, loss.attempt, loss.why) == (0, 0, "its process ended")
    assert said.startswith("DEGRADED: 1 of 2 workers was lost") and play.opened() == COUNT


def test_a_load_client_that_is_killed(play: Play) -> None:
    """Its agent sees it end. The others go on."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 12s at 50/s")
    kill(play.clients[0])
    status, said, errors = play.end()
    assert (status, errors) == (1, ""), said
    (loss,) = play.record.degraded
    assert loss.why.startswith("Its load client was ended by SIGKILL")
    assert play.opened() == COUNT


def test_a_load_client_that_stands_still(play: Play) -> None:
    """It is lost when it was silent for 8 s, and is ended for good."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 15s at 50/s")
    os.kill(play.clients[0], signal.SIGSTOP)
    status, said, errors = play.end()
    assert (status, errors) == (1, ""), said
    (loss,) = play.record.degraded
    assert loss.why.startswith("it was silent for 8")


def test_a_run_that_a_loss_aborts(play: Play) -> None:
    """All others end at once, in good order."""
    play.begin(
        "--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s", "--on-worker-loss", "abort"
    )
    kill(play.cluster.at_work(1))
    status, said, errors = play.end()
    assert (status, errors) == (1, ""), said


@pytest.mark.parametrize(("what", "hold"), [("load client", "30s"), ("worker", "50s")])
def test_a_part_that_is_begun_anew(play: Play, what: str, hold: str) -> None:
    """It opens its connections again: as many as were lost, once. By the same worker, whose hands
    are empty; or, as that is not to be trusted, by the other one, beside what that does."""
    play.begin(
        "--stage", f"ramp {COUNT}", "--stage", f"hold for {hold} at 50/s",
        "--on-worker-loss", "respawn",
    )  # fmt: skip
    kill(play.clients[0] if what == "load client" else play.cluster.at_work(0))
    _, said, errors = play.end()
    assert errors == "", said
    assert play.opened() == COUNT + COUNT // 2
    assert play.record.connections.peak_open == COUNT


def test_a_scheduler_that_is_killed(play: Play) -> None:
    """The run ends at once; the load clients end by their leases."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s")
    kill(play.cluster.scheduler.pid)
    status, said, errors = play.end()
    assert (status, errors) == (1, ""), said
    assert {loss.why for loss in play.record.degraded} <= {
        "the scheduler has gone",
        "The scheduler has gone.",
    }
    assert len(play.record.degraded) == 2


def test_a_controller_that_is_killed(play: Play) -> None:
    """The load clients end by their leases; what the workers kept is the run."""
    kept = play.path.parent / "kept"
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s", "--cluster-dir", kept)
    until(lambda: has_asked(kept), "requests of the hold in what is kept")
    kill(play.load.pid)
    cli.finish(play.load)
    play.nothing_is_left()
    until(lambda: len(list(kept.glob("*/part-*.json"))) == 2, "the records")
    done = cli.run("report", "--from", kept, "--json", play.path)
    assert (done.returncode, done.stderr) == (0, "") and "2 of 2 parts" in done.stdout
    record = play.record
    assert record.connections.opened == COUNT and record.connections.lost == 0
    assert record.requests.right == record.requests.sent > 0
    assert record.verdict.shortfalls == ["The run was interrupted before its end."]


def has_asked(kept: Path) -> bool:
    """Whether the hold's requests are in a frame that a worker has kept."""
    parts = [part for folder in kept.iterdir() for part in parts_in(folder, [PART])]
    return any(frame.tally.counts.get("stage.1.right") for p in parts for frame in p.frames([]))


def test_a_controller_that_is_interrupted(play: Play) -> None:
    """It ends in good order, with a record."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s")
    os.kill(play.load.pid, signal.SIGINT)
    status, said, errors = play.end()
    assert (status, errors) == (1, ""), said
    assert play.record.connections.opened == COUNT
    assert play.record.verdict.shortfalls == ["The run was interrupted before its end."]
