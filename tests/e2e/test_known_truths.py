"""What servers are known to have done, and what `c1m load` says of it: faults, one by one.

Each server counts its own faults (faulty_servers.py); the record has to have the same number under
the right name, nothing else, and the first ones with their bytes; the summary has to name them.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from c1m.results.record import EXTRA_KINDS, WRONG_KINDS, FaultSeen, RunRecord
from c1m.units import format_count, format_duration
from e2e import faulty_servers as servers
from e2e.cli_helpers import assert_as_asked, load
from e2e.faulty_speech import Http, Mqtt, Speech, WebSocket

CONNECTIONS = 20
# {random} makes every byte of a reply its own: a digit that is garbled makes no other's reply.
MESSAGE = r"client {n} message {seq} {random:16}\n"
SLOWER = 3.5  # than a bare socket, explained where it is used
# io_uring hands a request over in its wait and fetches a reply in two steps: 50 to 150 us more on
# this kernel, so that two percent of 5 ms are reached in quiet minutes only. It is held to six.
SHARES = {"epoll": 0.02, "uring": 0.06}
TRIES = 8  # on a machine that others use, too: the nearest of so many counts
CLOSED, OPEN = ("--think", "0s"), ("--rate", "6k/s")

Counts = dict[str, int]


@dataclass(frozen=True)
class Way:
    """What is spoken, with the options of a closed or an open loop."""

    speech: type[Speech]
    engine: str
    loop: tuple[str, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """Those of a load whose messages are MESSAGE."""
        return "--engine", self.engine, *self.loop, *self.speech.options(MESSAGE)

    @property
    def by_bytes(self) -> tuple[str, ...]:
        """Over HTTP a response is that of the request whose turn it is; that of another is told by
        its bytes in pipelines only."""
        return ("--pipeline", "4") if self.speech is Http else ()


WAYS = {
    "uring-closed": Way(Speech, "uring", CLOSED),
    "uring-open": Way(Speech, "uring", OPEN),
    "epoll-closed": Way(Speech, "epoll", CLOSED),
    "epoll-open": Way(Speech, "epoll", OPEN),
    "http-epoll-closed": Way(Http, "epoll", CLOSED),
    "ws-epoll-open": Way(WebSocket, "epoll", OPEN),
    "mqtt-uring-open": Way(Mqtt, "uring", OPEN),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


def faults_of(record: RunRecord) -> Counts:
    """All that was wrong with the stages' requests, by name, as far as there was any."""
    counts = Counter(record.requests.faults)
    counts["missing"] = record.requests.missing
    return {kind: count for kind, count in counts.items() if count}


def run(
    server: servers.Faulty, tmp_path: Path, way: Way, *options: object, hold: str = "500ms"
) -> tuple[RunRecord, str]:
    """A load on the server that leaves nothing but its faults to be found."""
    server.speech = way.speech
    with server:
        status, record, said = load(
            tmp_path, server.url, "--connections", CONNECTIONS, "--hold", hold, "--timeout", "1s",
            *way.options, *options,
        )  # fmt: skip
    first = record.first
    assert (first.sent, first.right) == (CONNECTIONS, CONNECTIONS)
    assert record.connections.open_at_end == CONNECTIONS and record.connections.lost == 0
    assert server.faults > 0, f"only {server.answered} messages came in {hold}"
    assert status == 1 and not record.verdict.complete
    return record, said


def wanted(fault: FaultSeen) -> bytes:
    """What was expected: over HTTP the body."""
    return bytes(ast.literal_eval(fault.expected))


def came(fault: FaultSeen) -> bytes:
    """What came instead: over HTTP the body, too."""
    received: bytes = ast.literal_eval(fault.received)
    return received.partition(b"\r\n\r\n")[2] if received.startswith(b"HTTP/") else received


def check(record: RunRecord, said: str, expected: Counts) -> None:
    """The record has exactly these faults, keeps the first of each, and the summary says so."""
    assert faults_of(record) == expected
    r = record.requests
    assert r.wrong == sum(expected.get(kind, 0) for kind in WRONG_KINDS)
    assert r.sent == r.right + r.wrong + r.missing
    kept = Counter(fault.kind for fault in record.faults)
    assert kept == {kind: min(count, 10) for kind, count in expected.items()}
    for fault in record.faults:
        assert re.fullmatch(rb"(client \d+ message \d+ \S{16}\n)?", wanted(fault))
        assert 0 <= fault.connection < CONNECTIONS
    for kind, count in expected.items():
        name = {**dict.fromkeys(WRONG_KINDS, "wrong: "), **dict.fromkeys(EXTRA_KINDS, "extra: ")}
        assert re.search(rf"^  {name.get(kind, '')}{kind} +{count:,}\b", said, re.MULTILINE)
        assert re.search(rf"^first faults(?:\n  .*)*\n  (?:[\d,]+ x )?{kind}\b", said, re.MULTILINE)


def test_an_answer_left_out_in_a_thousand(tmp_path: Path, way: Way) -> None:
    server = servers.Drops(1_000, quiet=CONNECTIONS, most=1)
    record, said = run(server, tmp_path, way, hold="1500ms")
    check(record, said, {"missing": 1})
    assert came(record.faults[0]) == b""


def test_answers_twice(tmp_path: Path, way: Way) -> None:
    server = servers.Doubles(10, quiet=CONNECTIONS, most=15)
    record, said = run(server, tmp_path, way, *way.by_bytes)
    check(record, said, {"doubled": server.faults})
    assert all(wanted(fault) == came(fault) for fault in record.faults)


def test_a_byte_changed(tmp_path: Path, way: Way) -> None:
    server = servers.Garbles(10, quiet=CONNECTIONS, most=45)  # each byte of a line once
    record, said = run(server, tmp_path, way)
    check_garbled(record, said, server)


def test_a_byte_of_a_line_changed(tmp_path: Path, engine: str) -> None:
    server = servers.Garbles(10, quiet=CONNECTIONS, most=45)
    record, said = run(server, tmp_path, Way(Speech, engine, CLOSED), "--scenario", "lines")
    check_garbled(record, said, server)


def check_garbled(record: RunRecord, said: str, server: servers.Garbles) -> None:
    check(record, said, {"garbled": server.faults})
    for fault in record.faults:
        pairs = zip(wanted(fault), came(fault), strict=True)
        assert [a ^ b for a, b in pairs if a != b] == [1]


def test_an_answer_that_is_cut_off(tmp_path: Path, way: Way) -> None:
    """It is missing, with what came of it; the next one on its connection is right. Where messages
    have an end of their own, it is another message."""
    server = servers.Truncates(10, quiet=CONNECTIONS, most=5)
    record, said = run(server, tmp_path, way, hold="1500ms")
    check(record, said, {"missing" if way.speech is Speech else "garbled": server.faults})
    for fault in record.faults:
        assert came(fault) == wanted(fault)[: len(wanted(fault)) // 2]
    assert record.doubts == [], "each says which request it is for, and ends in a newline"


def test_answers_on_the_wrong_connection(tmp_path: Path, way: Way) -> None:
    server = servers.AnswersElsewhere(10, quiet=CONNECTIONS, most=15)
    record, said = run(server, tmp_path, way, *way.by_bytes)
    check(record, said, {"crossed": server.faults})
    for fault in record.faults:
        assert not came(fault).startswith(b"client %d " % fault.connection)


def test_answers_of_two_connections_swapped(tmp_path: Path, way: Way) -> None:
    server = servers.Swaps(10, quiet=CONNECTIONS, most=15, within=False)
    record, said = run(server, tmp_path, way)
    left_out = {"missing": 1} if server.held else {}
    check(record, said, {"crossed": 2 * server.faults, **left_out})


def test_answers_of_one_connection_swapped(tmp_path: Path, way: Way) -> None:
    server = servers.Swaps(10, quiet=CONNECTIONS, most=15, within=True)
    record, said = run(server, tmp_path, way, "--pipeline", 4)
    left_out = {"missing": 1} if server.held else {}
    check(record, said, {"reordered": server.faults, **left_out})
    swapped = [fault for fault in record.faults if fault.kind == "reordered"]
    assert all(wanted(fault) == came(fault) for fault in swapped)


def test_answers_after_the_time_out(tmp_path: Path, way: Way) -> None:
    server = servers.Delaying(10, quiet=CONNECTIONS, most=5, seconds=1.5)
    record, said = run(server, tmp_path, way, hold="3s")
    check(record, said, {"missing": server.faults, "late": server.faults})


@pytest.mark.parametrize("kind", [servers.Closes, servers.BreaksOff])
def test_ends_connections_instead_of_answering(
    tmp_path: Path, way: Way, kind: type[servers.Faulty]
) -> None:
    """Or in the middle of an answer."""
    server = kind(10, quiet=CONNECTIONS, most=5)
    server.speech = way.speech
    with server:
        status, record, said = load(
            tmp_path, server.url, "--connections", CONNECTIONS, "--hold", "500ms", "--timeout",
            "1s", *way.options,
        )  # fmt: skip
    assert status == 1 and server.faults > 0
    assert faults_of(record) == {"missing": server.faults}
    assert record.connections.lost == server.faults
    assert record.connections.open_at_end == CONNECTIONS - server.faults
    (failure,) = record.failures
    assert (failure.phase, failure.count) == ("open", server.faults)
    assert f"{server.faults} x EOF while open: Closed by the peer" in said


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path, way: Way) -> None:
    with servers.EchoServer() as server:
        server.speech = way.speech
        status, record, said = load(
            tmp_path, server.url, "--connections", CONNECTIONS, "--hold", "500ms", "--pipeline", 4,
            *way.options,
        )  # fmt: skip
    assert_as_asked(status, record, said)
    assert faults_of(record) == {} and record.faults == []
    assert record.requests.right == record.requests.sent == server.answered - CONNECTIONS > 0
    assert "first faults" not in said


def test_a_freeze_is_in_the_corrected_percentiles_only(tmp_path: Path, engine: str) -> None:
    """20 connections at 1,000/s: in a freeze of 1.4 s 20 requests wait for their reply, and 1,380
    to be sent. Counted from when they were sent, a third of a percent of all is slow."""
    with servers.Freezes(quiet=3_000, seconds=1.4) as server:
        status, record, said = load(
            tmp_path, server.url, "--connections", CONNECTIONS, "--hold", "6s", "--rate", "1k/s",
            "--engine", engine,
        )  # fmt: skip
    froze_ns = server.froze_s * 1e9
    assert status == 0 and record.requests.right == record.requests.due == 6_000
    corrected, uncorrected = record.latencies["request"], record.latencies["uncorrected"]
    p99, p99_of_sent = (each.percentiles_ns["p99"] for each in (corrected, uncorrected))
    assert 0.85 * froze_ns < p99 < corrected.max_ns
    assert p99_of_sent < 0.1 * froze_ns
    assert uncorrected.max_ns > 0.95 * froze_ns  # it has seen the freeze, in 20 of 6,000
    (row,) = re.findall(r"^  p99 .*", said, re.MULTILINE)
    assert format_duration(p99) in row and format_duration(p99_of_sent) in row
    assert record.requests.waited > 1_000
    assert f"waited {format_count(record.requests.waited)} " in re.sub(" +", " ", said)


# The simplest client that does not sleep: what it sees on top of the server's own delay is this
# machine's (loopback, and on a shared host whatever else has the core), not c1m's.
_BARE = """
import socket, statistics, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setblocking(False)
    took = []
    for number in range(200):
        begin = time.monotonic_ns()
        client.send(b"bare %d\\n" % number)
        while True:
            try:
                client.recv(100)
                break
            except BlockingIOError:
                pass
        took.append(time.monotonic_ns() - begin)
print(statistics.median(took))
"""


def bare_p50_ns(url: str) -> float:
    """The median of 200 requests, one after the other."""
    command = [sys.executable, "-c", _BARE, url.rpartition(":")[2]]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.alone
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [("--think", "0s"), ("--rate", "130/s")])
def test_a_fixed_delay_is_told_within_two_percent(
    tmp_path: Path, engine: str, options: tuple[str, ...]
) -> None:
    """5 ms, held by a server that spins until they are over, and measures what it has made.

    130 a second: at 200 each request would come while the server sends the reply before.

    Within 2 % of that (see SHARES), in one of TRIES. On a host that others use there are minutes in
    which even the simplest client, a bare socket that spins, is 1 to 3 % over; then SLOWER times
    its share is what c1m may have (measured: 2 to 3.3 times, in quiet minutes as in others).
    """
    off = []
    for _ in range(TRIES):
        with servers.Delays(0.005) as server:
            before = bare_p50_ns(server.url)
            server.delays_s.clear()
            _, record, _ = load(
                tmp_path, server.url, "--connections", 4, "--hold", "2s", *options, "--spin",
                "--engine", engine,
            )  # fmt: skip
            truth = statistics.median(server.delays_s) * 1e9
            bare = max(before, bare_p50_ns(server.url)) / truth - 1
        assert record.requests.right > 20 and record.requests.wrong == 0
        off.append((record.latencies["request"].percentiles_ns["p50"] / truth - 1, bare))
        if off[-1][0] <= max(SHARES[engine], SLOWER * bare):
            break
    else:
        raise AssertionError(
            [f"{100 * share:+.2f} % (bare {100 * bare:+.2f} %)" for share, bare in off]
        )
    assert min(share for share, _ in off) > -0.005, off
