"""`c1m load` against servers that do something wrong: each is found, counted and explained.

The command runs in this process, the server in a thread, the connections are real.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from c1m.cli.commands import c1m
from c1m.loading import load as run_load
from c1m.results.record import RunRecord
from c1m.results.snapshot import Snapshot
from e2e import odd_servers
from laws import broken_laws
from one_each import one_each

COUNT = 60


@pytest.fixture(params=["epoll", "uring"])
def engine(request: pytest.FixtureRequest) -> str:
    """The client's engine."""
    return str(request.param)


def load(url: str, engine: str, tmp_path: Path, *options: str) -> tuple[int, RunRecord]:
    """Exit status and record of a run of COUNT connections; the record's laws hold."""
    path = tmp_path / "run.json"
    arguments = [
        "load", url, "--connections", str(COUNT), "--engine", engine, "--json", str(path),
        "--message", "no {n};", "--quiet", *options,
    ]  # fmt: skip
    result = CliRunner().invoke(c1m, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    record = RunRecord.from_json(json.loads(path.read_text()))
    assert broken_laws(record) == []
    assert record.verdict.complete == (result.exit_code == 0)
    assert bool(record.verdict.shortfalls) == (result.exit_code == 1)
    assert all(failure.text and failure.remedy for failure in record.failures)
    for shortfall in record.verdict.shortfalls:
        assert shortfall[:30] in result.output
    for failure in record.failures:
        assert failure.errno in result.output
    return result.exit_code, record


def failures(record: RunRecord) -> set[tuple[str, str, int]]:
    return {(f.phase, f.errno, f.count) for f in record.failures}


def outcomes(record: RunRecord) -> list[tuple[int, int, int, int]]:
    """Sent, right, wrong, missing of the first requests and of each stampede."""
    return [(r.sent, r.right, r.wrong, r.missing) for _, r in one_each(record)]


def test_nobody_listens(engine: str, tmp_path: Path) -> None:
    with socket.socket() as held:  # bound, so that nobody else takes the port
        held.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        status, record = load(url, engine, tmp_path)
    assert status == 1
    assert (record.connections.opened, record.connections.refused) == (0, COUNT)
    assert failures(record) == {("connect", "ECONNREFUSED", COUNT)}
    assert "nothing listens" in record.failures[0].text
    assert outcomes(record) == [(0, 0, 0, 0)]  # of the stampede; nobody had a first request


def test_a_server_that_closes_at_once(engine: str, tmp_path: Path) -> None:
    with odd_servers.ClosesAtOnce() as server:
        status, record = load(server.url, engine, tmp_path, "--hold", "100ms")
    lost = COUNT // 3
    assert status == 1
    assert (record.connections.opened, record.connections.lost) == (COUNT, lost)
    # A close with our message unread is a reset; without it, an end of stream.
    assert {f.phase for f in record.failures} == {"open"}
    assert sum(f.count for f in record.failures) == lost
    assert {f.errno for f in record.failures} <= {"EOF", "ECONNRESET", "EPIPE"}
    assert record.first.right == record.stampede.right == COUNT - lost
    assert record.first.missing == record.first.sent - (COUNT - lost)


def test_a_server_that_resets_when_sent_to(engine: str, tmp_path: Path) -> None:
    with odd_servers.ResetsAtOnce() as server:
        status, record = load(server.url, engine, tmp_path)
    lost = COUNT // 3
    assert status == 1
    assert failures(record) == {("open", "ECONNRESET", lost)}
    assert "reset" in record.failures[0].text
    assert outcomes(record)[0] == (COUNT, COUNT - lost, 0, lost)
    assert outcomes(record)[1] == (COUNT - lost, COUNT - lost, 0, 0)


def test_a_server_that_changes_bytes(engine: str, tmp_path: Path) -> None:
    with odd_servers.SwapsBytes() as server:
        status, record = load(server.url, engine, tmp_path)
    wrong = COUNT // 5
    assert status == 1
    assert record.connections.lost == 0 and record.failures == []
    assert outcomes(record) == [(COUNT, COUNT - wrong, wrong, 0)] * 2
    kept = record.faults
    assert len(kept) == 10
    for failure in kept:
        assert failure.expected == repr(b"no %d;" % failure.connection)
        assert failure.received == repr(b"oo %d;" % failure.connection)  # n ^ 1


def test_a_server_that_answers_with_another_connections_text(engine: str, tmp_path: Path) -> None:
    with odd_servers.MixesUp() as server:
        status, record = load(server.url, engine, tmp_path)
    assert status == 1
    assert outcomes(record) == [(COUNT, COUNT - 10, 10, 0)] * 2
    assert [one.faults for _, one in one_each(record)] == [{"crossed": 10}] * 2
    assert {fault.kind for fault in record.faults} == {"crossed"}
    # Of two swapped replies the second comes where nothing is waited for any more.
    texts = {repr(b"no %d;" % n) for n in range(10)}
    assert {fault.received for fault in record.faults} == texts
    assert {fault.expected for fault in record.faults} <= texts | {repr(b"")}
    assert record.requests.faults == {}, "nothing is missing, nothing came twice"


def test_a_server_that_says_more_than_it_should(engine: str, tmp_path: Path) -> None:
    with odd_servers.SaysMore() as server:
        status, record = load(server.url, engine, tmp_path, "--hold", "500ms")
    assert status == 1
    # What it says too much may begin the next reply: it is judged when that is there.
    more = COUNT // 4
    assert outcomes(record) == [(COUNT, COUNT, 0, 0)] * 2
    assert record.all_requests.faults == {"unasked": more}
    assert record.connections.lost == 0


def test_a_server_that_drips_is_all_right(engine: str, tmp_path: Path) -> None:
    with odd_servers.Drips() as server:
        status, record = load(server.url, engine, tmp_path)
    assert status == 0
    assert outcomes(record) == [(COUNT, COUNT, 0, 0)] * 2


def test_a_server_that_never_answers(engine: str, tmp_path: Path) -> None:
    with odd_servers.NeverAnswers() as server:
        status, record = load(server.url, engine, tmp_path, "--timeout", "700ms")
    assert status == 1
    assert (record.connections.opened, record.connections.lost) == (COUNT, 0)
    assert outcomes(record) == [(COUNT, 0, 0, COUNT)] * 2
    assert any("missing: 60" in sentence for sentence in record.verdict.shortfalls)


@pytest.mark.parametrize("with_reset", [True, False])
def test_a_server_that_ends_connections_in_the_hold(
    engine: str, tmp_path: Path, with_reset: bool
) -> None:
    with odd_servers.ResetsInTheHold(COUNT, with_reset=with_reset) as server:
        status, record = load(server.url, engine, tmp_path, "--hold", "500ms")
    half = COUNT // 2
    assert status == 1
    assert failures(record) == {("open", "ECONNRESET" if with_reset else "EOF", half)}
    assert (record.connections.peak_open, record.connections.open_at_end) == (COUNT, half)
    assert outcomes(record) == [(COUNT, COUNT, 0, 0), (half, half, 0, 0)]


def test_a_run_that_an_exception_ends_gives_its_descriptors_back(engine: str) -> None:
    def raises(_: Snapshot) -> None:
        raise KeyError("of the caller")

    def own_files() -> int:
        """Those of /proc that a sampler keeps open."""
        links = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # of another thread, and closed since then
                links.append(os.readlink(f"/proc/self/fd/{name}"))
        return sum(link.startswith("/proc/") for link in links)

    before = own_files()
    with odd_servers.ClosesAtOnce() as server, pytest.raises(KeyError, match="of the caller"):
        run_load(server.url, connections=3, engine=engine, on_progress=raises)
    assert own_files() == before
