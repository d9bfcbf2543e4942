"""`c1m load` says who stood still: a server or a client that is stopped for a while, a server that
is killed in mid-run, a server that spins at its descriptor limit. On both engines of the client.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from c1m.results.record import RunRecord
from e2e.cli_helpers import finish, load, start
from e2e.process_server import ProcessServer
from laws import broken_laws

STOPPED_S = 1.5
HELD = ("--connections", 100, "--hold", "5s", "--rate", "200/s", "--timeout", "5s")


@pytest.fixture(params=["epoll", "uring"])
def engine(request: pytest.FixtureRequest) -> str:
    """The client's engine."""
    return str(request.param)


def disturbed(server: ProcessServer, engine: str, tmp_path: Path, disturb: str) -> RunRecord:
    """A run in whose hold the server is stopped for a while or killed, or the client is stopped."""
    path = tmp_path / "run.json"
    client = start("load", server.url, *HELD, "--engine", engine, "--quiet", "--json", path)
    server.wait_until_busy()
    if disturb == "server killed":
        os.kill(server.pid, signal.SIGKILL)
    else:
        pid = server.pid if disturb == "server stopped" else client.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(pid, signal.SIGCONT)
    _, errors = finish(client)
    assert errors == ""
    record = RunRecord.read(path)
    assert broken_laws(record) == []
    return record


@pytest.mark.parametrize("who", ["server", "client"])
def test_who_was_stopped_for_a_while_is_named_first(engine: str, who: str, tmp_path: Path) -> None:
    with ProcessServer() as server:
        record = disturbed(server, engine, tmp_path, f"{who} stopped")
    side = "generator" if who == "client" else "server"
    pause = max(record.limit.pauses, key=lambda pause: pause.seconds)
    assert pause.who == side and pause.seconds > STOPPED_S - 0.1
    assert pause.cpu is not None and pause.cpu < 0.5
    assert record.limit.who in (side, "both")  # both: on a machine that others use, too
    told = record.limit.sentences
    assert any(f"The {side} stood still for" in sentence for sentence in told[:2]), told
    assert not any("time to spare" in sentence for sentence in told)
    assert record.requests.right == record.requests.sent == 1_000


def test_a_server_that_was_killed_is_named_once(engine: str, tmp_path: Path) -> None:
    with ProcessServer() as server:
        record = disturbed(server, engine, tmp_path, "server killed")
    first, *others = record.explanations
    assert "server's process ended" in first.what + first.cause
    assert "dmesg" in first.remedy
    assert not any("process ended" in row.what + row.cause for row in others)
    assert record.limit.who in ("server", "both")
    assert any("The server's process ended" in said for said in record.limit.sentences)
    assert not any("--pipeline would carry more" in said for said in record.limit.sentences)
    assert record.connections.lost == 100


def test_a_server_that_spins_at_its_descriptor_limit_is_named(engine: str, tmp_path: Path) -> None:
    """And the ramp that it never ends is ended; a full accept queue is no cause, but follows."""
    with ProcessServer(descriptors=200) as server:
        status, record, said = load(
            tmp_path, server.url, "--connections", 600, "--timeout", "2s", "--engine", engine
        )
    assert status == 1
    ramp = record.stages[0]
    assert ramp.stood_still_s >= 2 and "stood still for" in said
    assert 190 <= record.connections.ready < 200 <= record.connections.opened < 300
    first, *others = record.explanations
    assert first.what == f"the server took no more connections after {record.connections.ready}"
    assert "may have 200 descriptors open (RLIMIT_NOFILE)" in first.cause
    assert "It spins: its process used" in first.cause
    assert "ulimit -n" in first.remedy and "listener alone" in first.remedy
    assert len(others) >= 2
    assert not any("net.core.somaxconn" in row.remedy for row in record.explanations)
