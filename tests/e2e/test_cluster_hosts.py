"""A run by workers on hosts of their own, of which one is cut off from the others in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import cli_helpers as cli
from e2e.dask_processes import COUNT, Cluster, Host, Play, until
from e2e.hosts import CannotBeHad, Hosts

SERVER, CONTROLLER, WORKER = range(3)  # hosts; the scheduler is where the controller is


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Four of them."""
    try:
        with Hosts(4) as made:
            yield made
    except CannotBeHad as error:
        pytest.skip(f"no hosts can be made here: {error}")


@pytest.fixture
def play(tmp_path: Path, hosts: Hosts) -> Iterator[Play]:
    """With all there, and nothing begun."""
    places = [Host(hosts.address(one), hosts.at(one)) for one in range(4)]
    at = places[SERVER]
    with (
        cli.Server(tmp_path, listen=[f"tcp://{at.address}:0"], before=at.before) as server,
        Cluster(tmp_path, hosts=places[CONTROLLER:]) as cluster,
    ):
        yield Play(tmp_path, cluster, server, places[CONTROLLER].before)


def test_a_worker_that_is_cut_off(play: Play, hosts: Hosts) -> None:
    """The others go on without it. It ends by its lease; the server hears of that when it can."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 20s at 50/s")
    hosts.cut(WORKER)
    said, errors = cli.finish(play.load)
    assert (play.load.returncode, errors) == (1, ""), said
    (loss,) = play.record.degraded
    assert loss.why.startswith("it was silent for 8")
    until(lambda: not play.cluster.load_clients(), "the load clients' end")
    assert play.open == COUNT // 2  # as far as the server knows
    hosts.mend(WORKER)
    play.nothing_is_left()


def test_a_controller_that_is_cut_off(play: Play, hosts: Hosts) -> None:
    """With its scheduler: all are lost for it, and end by their leases."""
    play.begin("--stage", f"ramp {COUNT}", "--stage", "hold for 10m at 50/s")
    hosts.cut(CONTROLLER)
    play.nothing_is_left()
    said, errors = cli.finish(play.load)
    assert play.load.returncode == 1, said + errors
