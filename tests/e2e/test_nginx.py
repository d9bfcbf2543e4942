"""`c1m load --scenario ping` against Debian's nginx: a fixed HTTP request, kept-alive."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.cli_helpers import assert_as_asked, load
from e2e.debian_servers import free_port, program, running

REQUEST = r"GET / HTTP/1.1\r\nHost: c1m\r\n\r\n"
REPLY = (
    r"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: {any:29}\r\nContent-Type: text/plain\r\n"
    r"Content-Length: 6\r\nConnection: keep-alive\r\n\r\nhello\n"
)
PING = ("--scenario", "ping", "--message", REQUEST, "--expect", REPLY)

CONFIGURATION = """
daemon off;
pid nginx.pid;
error_log stderr;
worker_processes 1;
{user}
events {{ worker_connections 12000; }}
http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    keepalive_requests {requests};
    keepalive_timeout 60s;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "hello\\n"; }}
    }}
}}
"""

Serve = Callable[[int], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts an nginx that keeps connections for so many requests, with no file but its own."""
    with ExitStack() as stack:

        def start(requests: int) -> str:
            port = free_port()
            path = tmp_path / "nginx.conf"
            user = "user root;" if os.geteuid() == 0 else ""
            text = CONFIGURATION.format(port=port, requests=requests, user=user)
            path.write_text(text)
            nginx = program("nginx", "nginx-light")
            command: list[str | Path] = [nginx, "-p", tmp_path, "-c", path, "-e", "stderr"]
            stack.enter_context(running(command, port, tmp_path / "nginx.log"))
            return f"tcp://127.0.0.1:{port}"

        yield start


def test_a_fixed_request(tmp_path: Path, engine: str, serve: Serve) -> None:
    """5,000 connections; what the date is does not matter, everything else is compared."""
    url, count = serve(1_000_000), 5_000
    status, record, said = load(
        tmp_path, url, *PING, "--connections", count, "--hold", "2s", "--rate", "4k/s",
        "--engine", engine, "--require", "wrong == 0", "--require", "lost == 0",
    )  # fmt: skip
    assert_as_asked(status, record, said)
    assert record.requests.due == 8_000 and record.faults == []
    assert (record.first.right, record.connections.open_at_end) == (count, count)
    assert record.latencies["request"].count == record.requests.right


def test_pipelined_requests(tmp_path: Path, engine: str, serve: Serve) -> None:
    url = serve(1_000_000)
    status, record, said = load(
        tmp_path, url, *PING, "--connections", 50, "--hold", "1s", "--think", "0s",
        "--pipeline", 8, "--engine", engine,
    )  # fmt: skip
    assert status == 0, said
    assert record.requests.right == record.requests.sent > 0 and record.faults == []


def test_a_limit_of_requests_is_told(tmp_path: Path, engine: str, serve: Serve) -> None:
    """nginx says so in its fifth reply, which is therefore another one, and ends the connection."""
    url, count = serve(5), 100
    status, record, said = load(
        tmp_path, url, *PING, "--connections", count, "--hold", "2s", "--rate", "1k/s",
        "--engine", engine,
    )  # fmt: skip
    assert status == 1 and not record.verdict.complete
    assert record.connections.lost == count and record.connections.open_at_end == 0
    (failure,) = record.failures
    assert (failure.phase, failure.errno, failure.count) == ("open", "EOF", count)
    assert f"{count} x EOF while open: Closed by the peer before the run was over." in said
    assert record.requests.faults["garbled"] == count  # "Connection: close"
    assert record.requests.right == count * (5 - 1 - 1)  # the first was the ramp's
    for fault in record.faults:
        assert b"Connection: keep-alive" in ast.literal_eval(fault.expected)
        if fault.kind == "garbled":
            assert b"Connection: close" in ast.literal_eval(fault.received)


def test_its_latencies_open_in_hdrhistograms_plotter(tmp_path: Path, serve: Serve) -> None:
    """As wrk2 has them: from when each request was due, and beside it from when it was sent."""
    url = serve(1_000_000).replace("tcp", "http")
    hgrm = tmp_path / "run.hgrm"
    status, record, said = load(
        tmp_path, url, "--connections", 100, "--hold", "2s", "--rate", "2k/s", "--hgrm", hgrm
    )
    assert_as_asked(status, record, said)
    corrected, sent = plotted(hgrm), plotted(tmp_path / "run-uncorrected.hgrm")
    for points, name in ((corrected, "request"), (sent, "uncorrected")):
        latency = record.latencies[name]
        shares, values = zip(*points, strict=True)
        assert latency.count == record.requests.right == 4_000
        assert list(shares) == sorted(set(shares)) and shares[0] == 1
        at_most = latency.histogram["counts"][-1]  # so many share the bucket of the longest
        assert shares[-1] >= latency.count / (2 * at_most)  # its last but one step
        assert list(values) == sorted(values)
        assert values[-1] == pytest.approx(latency.max_ns / 1e6, rel=2e-3, abs=1e-3)
        p50 = next(value for share, value in points if share >= 2)
        assert p50 == pytest.approx(latency.percentiles_ns["p50"] / 1e6, rel=2e-3, abs=1e-3)
    by_share = dict(sent)
    assert all(value >= by_share[share] for share, value in corrected if share in by_share)


def plotted(path: Path) -> list[tuple[float, float]]:
    """(1/(1-percentile), milliseconds): a row of four numbers is a point, as its plotter has it."""
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    assert rows[0] == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    return [(float(row[3]), float(row[0])) for row in rows[1:] if len(row) == 4]
