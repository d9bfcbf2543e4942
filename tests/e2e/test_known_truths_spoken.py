"""Known truths of what is spoken over HTTP, WebSocket and MQTT, beside those of all protocols."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from c1m.results.record import RunRecord
from e2e import faulty_servers as servers
from e2e.cli_helpers import assert_as_asked, load
from e2e.faulty_speech import Http, Mqtt, Speech, WebSocket
from e2e.test_known_truths import CONNECTIONS, MESSAGE, Counts, faults_of

SPOKEN: dict[str, type[Speech]] = {"http": Http, "ws": WebSocket, "mqtt": Mqtt}


@pytest.fixture(params=SPOKEN)
def speech(request: pytest.FixtureRequest) -> type[Speech]:
    return SPOKEN[request.param]


def run(
    server: servers.EchoServer, tmp_path: Path, *options: object, path: str = ""
) -> tuple[int, RunRecord, str]:
    """A load on it, and what it has seen."""
    with server:
        status, record, said = load(
            tmp_path, server.url + path, "--connections", CONNECTIONS, *options
        )
    assert record.first.right == CONNECTIONS
    return status, record, said


def test_a_freeze_is_the_servers(tmp_path: Path, speech: type[Speech]) -> None:
    """Where its machine has taken the generator off the core meanwhile, a part of it is that."""
    server = servers.Freezes(quiet=300, seconds=1.5)
    server.speech = speech
    status, record, said = run(
        server, tmp_path, "--hold", "3s", "--rate", "300/s", *speech.options(MESSAGE)
    )
    assert_as_asked(status, record, said)
    pauses = record.limit.pauses
    ours = sum(pause.seconds for pause in pauses if pause.who == "generator")
    theirs = [pause for pause in pauses if pause.who == "server"]
    if not theirs:  # this machine had no core for the generator for most of that time
        assert ours > server.froze_s / 4
        return
    longest = max(theirs, key=lambda pause: pause.seconds)
    assert longest.start_s + longest.seconds > server.froze_after_s
    assert longest.seconds > server.froze_s / 2 - ours
    assert "The server stood still for" in " ".join(said.split())


def test_a_delay_is_in_every_latency(tmp_path: Path, speech: type[Speech]) -> None:
    server = servers.Delays(0.02)
    server.speech, server.spins = speech, False
    status, record, said = run(
        server, tmp_path, "--hold", "500ms", "--think", "0s", *speech.options(MESSAGE)
    )
    assert status == 0, said
    latency = record.latencies["request"]
    assert latency.count == record.requests.right > 0
    assert latency.percentiles_ns["p50"] >= latency.min_ns >= 20_000_000


# --- HTTP -----------------------------------------------------------------------------------------


def planted(
    server: servers.Faulty, tmp_path: Path, *options: object, path: str = ""
) -> tuple[RunRecord, Counts]:
    """A closed loop over HTTP on a server with faults: the record, and its faults."""
    server.speech = Http
    message = () if path else Http.options(MESSAGE)
    _, record, _ = run(
        server, tmp_path, "--hold", "1500ms", "--think", "0s", "--timeout", "1s", *message,
        *options, path=path,
    )  # fmt: skip
    assert server.faults > 0
    return record, faults_of(record)


def test_statuses_are_counted(tmp_path: Path) -> None:
    server = servers.Fails(10, quiet=CONNECTIONS, most=15)
    record, faults = planted(server, tmp_path)
    assert faults == {"garbled": server.faults}
    assert record.statuses == {"200": server.answered - server.faults, "500": server.faults}
    assert all("500" in fault.note + fault.received for fault in record.faults)


def test_a_connection_that_is_closed_in_good_order(tmp_path: Path) -> None:
    server = servers.SaysClose(10, quiet=CONNECTIONS, most=15)
    record, faults = planted(server, tmp_path)
    c = record.connections
    assert (faults, record.verdict.shortfalls) == ({}, [])
    assert (c.renewed, c.lost) == (server.faults, 0)
    assert len(server.clients) == c.opened == CONNECTIONS + server.faults
    assert record.all_requests.sent == record.all_requests.right == server.answered


def test_what_may_be_said_twice_is_said_again(tmp_path: Path) -> None:
    """GET, where the server has ended the connection instead of answering."""
    server = servers.Closes(10, quiet=CONNECTIONS, most=15)
    record, faults = planted(
        server, tmp_path, "--expect", "/client/{n}/message/{seq}", path="/client/{n}/message/{seq}"
    )
    c, r = record.connections, record.all_requests
    assert (faults, record.verdict.shortfalls) == ({}, [])
    assert (c.renewed, c.lost, r.repeated) == (server.faults, 0, server.faults)
    assert r.sent == r.right == server.answered - server.faults


def test_a_body_that_is_longer_than_was_said(tmp_path: Path) -> None:
    """What is left over begins no response, so the connection cannot go on."""
    server = servers.PromisesLess(10, quiet=CONNECTIONS, most=5)
    record, faults = planted(server, tmp_path)
    assert faults == {"garbled": server.faults}
    (failure,) = record.failures
    assert (failure.errno, failure.count) == ("not HTTP", server.faults)
    assert record.connections.lost == server.faults


def test_a_body_that_is_shorter_than_was_said(tmp_path: Path) -> None:
    server = servers.PromisesMore(10, quiet=CONNECTIONS, most=3)
    record, faults = planted(server, tmp_path)
    assert faults == {"missing": server.faults + server.swallowed}
    assert record.connections.lost == 0


# --- anything -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("speech", [Speech, *SPOKEN.values()])
def test_laws_hold_whatever_a_server_does(tmp_path: Path, speech: type[Speech], seed: int) -> None:
    """`load` looks at the record's laws; and each request ends, as does the run."""
    rng = random.Random(seed)
    server = servers.Random(seed, share=rng.choice([0.02, 0.2]))
    server.speech = speech
    options = [
        *rng.choice([("--think", "0s"), ("--think", "5ms"), ("--rate", "2k/s")]),
        *rng.choice([(), ("--churn", "50/s")]),
        "--pipeline", rng.choice([1, 4]), "--engine", rng.choice(["uring", "epoll"]),
    ]  # fmt: skip
    with server:
        _, record, _ = load(
            tmp_path, server.url, "--connections", CONNECTIONS, "--hold", "400ms", "--timeout",
            "300ms", *options, *speech.options(MESSAGE),
        )  # fmt: skip
    r = record.all_requests
    assert r.in_flight == 0 and r.right <= server.answered <= r.sent + r.repeated
