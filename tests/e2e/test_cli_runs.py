"""`c1m serve echo` and `c1m load` as a user runs them, at 1,000 and 10,000 connections."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from c1m.results.record import SCHEMA, RunRecord
from c1m.scenarios.templates import MESSAGE
from e2e.cli_helpers import (
    Server,
    assert_complete,
    finish,
    free_ports,
    load,
    run,
    start,
    threads_of,
)
from laws import broken_laws


def serve_and_load(
    tmp_path: Path, engine: str, count: int, *options: object, listen: tuple[str, ...] = ()
) -> str:
    """A run that must be complete, both ends agreeing on it; the client's output."""
    with Server(tmp_path, "--engine", engine, listen=listen) as server:
        assert threads_of(server.pid) == 1
        status, record, said = load(
            tmp_path, *server.urls, "--connections", count, "--engine", engine, *options
        )
        assert threads_of(server.pid) == 1
        assert server.stop() == 0
    assert_complete(record, count)
    assert status == 0
    assert record.metadata.engine.name == engine
    figures = server.figures()
    assert (figures["opened"], figures["peak"]) == (count, count)
    assert figures["messages"] >= 2 * count
    text = str(record.asked.message or MESSAGE)
    size = sum(len(text.format(n=n, seq=seq).encode()) for n in range(count) for seq in (0, 1))
    assert figures["received_bytes"] == figures["sent_bytes"] == size
    assert f"{count:,} connections opened, at most {count:,} at once" in server.output
    return said


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_echo(tmp_path: Path, engine: str, count: int) -> None:
    said = serve_and_load(tmp_path, engine, count)
    assert said.startswith(f"COMPLETE: {count:,} of {count:,} connections open")


def test_an_epoll_server_says_that_descriptors_are_its_limit(tmp_path: Path) -> None:
    with Server(tmp_path, "--engine", "epoll") as server:
        assert server.stop() == 0
    assert "epoll needs a descriptor for each connection: RLIMIT_NOFILE (" in server.output
    with Server(tmp_path, "--engine", "epoll", "--connections-max", "5") as server:
        assert server.stop() == 0
    assert "room for 5 connections" in server.output and "RLIMIT" not in server.output


def test_ipv6(tmp_path: Path, engine: str) -> None:
    serve_and_load(tmp_path, engine, 1_000, listen=("tcp://[::1]:0",))


def test_unix_socket(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "echo.sock"
    serve_and_load(tmp_path, engine, 1_000, listen=(f"unix://{path}",))
    assert not path.exists(), "the server removes its socket's file"


def test_a_range_of_ports(tmp_path: Path, engine: str) -> None:
    first = free_ports(6)
    url = f"tcp://127.0.0.1:{first}-{first + 5}"
    with Server(tmp_path, "--engine", engine, listen=(url,)) as server:
        status, record, _ = load(tmp_path, url, "--connections", 1_000, "--engine", engine)
        assert server.stop() == 0
    assert status == 0
    assert_complete(record, 1_000)
    assert server.figures()["opened"] == 1_000


def test_several_targets(tmp_path: Path) -> None:
    listen = ("tcp://127.0.0.1:0", "tcp://127.0.0.2:0", "tcp://127.0.0.1:0")
    serve_and_load(tmp_path, "uring", 1_000, listen=listen)


def test_different_engines_on_the_two_ends(tmp_path: Path) -> None:
    with Server(tmp_path, "--engine", "epoll") as server:
        status, record, _ = load(tmp_path, server.url, "--connections", 1_000, "--engine", "uring")
        assert server.stop() == 0
    assert status == 0
    assert_complete(record, 1_000)


def test_rate_hold_and_message(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        status, record, _ = load(
            tmp_path, server.url, "--connections", 300, "--connect-rate", "600/s",
            "--hold", "300ms", "--message", r"{{{n}}} is grüß {n}\n",
        )  # fmt: skip
        assert server.stop() == 0
    assert status == 0
    assert_complete(record, 300)
    asked = record.asked
    assert (asked.connections, asked.connect_rate_per_s, asked.hold_ns) == (300, 600.0, 3 * 10**8)
    assert [p.name for p in record.phases] == ["ramp", "hold", "stampede", "settle", "close"]
    size = sum(len(f"{{{n}}} is grüß {n}\n".encode()) for n in range(300))
    assert server.figures()["received_bytes"] == 2 * size


def test_sources_of_ones_own(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        status, record, _ = load(
            tmp_path, server.url, "--connections", 500, "--source", "127.7.0.1-127.7.0.3",
            "--source", "127.8.0.1",
        )  # fmt: skip
    assert status == 0
    assert_complete(record, 500)


def test_long_messages(tmp_path: Path, engine: str) -> None:
    serve_and_load(tmp_path, engine, 50, "--message", "{n}" + "x" * 100_000)


def test_the_record_and_the_report_of_a_run(tmp_path: Path) -> None:
    report, again = tmp_path / "run.html", tmp_path / "again.html"
    with Server(tmp_path) as server:
        status, record, said = load(tmp_path, server.url, "--connections", "2k", "--report", report)
        pid = server.pid
    assert status == 0
    data = json.loads((tmp_path / "run.json").read_text())
    assert data["schema"] == SCHEMA
    assert data["asked"]["connections"] == data["connections"]["opened"] == 2_000
    assert data["verdict"] == {"complete": True, "shortfalls": []}
    assert len(data["ramp"]["per_1000_s"]) == 2
    samples = data["samples"]
    assert samples["server"] is not None, f"the server (process {pid}) was not found by its port"
    columns = [samples["t_s"], samples["open"], *samples["kernel"].values()]
    columns += [*samples["server"].values(), *samples["client"].values()]
    assert len({len(column) for column in columns}) == 1
    assert max(samples["open"]) == 2_000
    assert {"connect", "first", "stampede"} == set(data["latencies"])
    assert all(latency["count"] == 2_000 for latency in data["latencies"].values())
    assert str(report) in said
    assert_is_self_contained(report.read_text())
    shown = run("report", tmp_path / "run.json", "--html", again)
    assert shown.returncode == 0 and shown.stderr == ""
    assert shown.stdout.startswith("COMPLETE: 2,000 of 2,000")
    assert_is_self_contained(again.read_text())
    assert record.connections.opened == 2_000


class _Links(HTMLParser):
    """Everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "data", "action") and not (value or "").startswith(
                ("data:", "#")
            ):
                self.fetched.append(f"{tag} {name}={value}")


def assert_is_self_contained(page: str) -> None:
    """An HTML page with plots that fetches nothing."""
    links = _Links()
    links.feed(page)
    assert [link for link in links.fetched if link.startswith(("script", "link", "img"))] == []
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "plotly" in page.lower()


def test_the_client_has_one_thread(tmp_path: Path, engine: str) -> None:
    with Server(tmp_path, "--engine", engine) as server:
        client = start("load", server.url, "--connections", 200, "--hold", "60s",
                       "--engine", engine)  # fmt: skip
        assert client.stdout is not None
        for line in client.stdout:  # progress once it is under way
            if re.search(r"\bhold\b.* 200 open", line):
                break
        assert threads_of(client.pid) == 1
        assert threads_of(server.pid) == 1
        client.terminate()
        finish(client)
        assert server.stop() == 0


def test_demo(tmp_path: Path) -> None:
    done = run("demo", "--connections", "10k", "--hold", "1s", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "COMPLETE: 10,000 of 10,000" in done.stdout
    assert re.search(r"10,000 opened, at most 10,000 at once, 10,000 closed.*; 1 thread$",
                     done.stdout, re.MULTILINE)  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["report.html", "run.json", "server.json", "server.log"]
    assert_is_self_contained((tmp_path / "out" / "report.html").read_text())


def test_demo_push(tmp_path: Path) -> None:
    """Ten messages, each to every WebSocket, whatever time that takes."""
    done = run("demo", "--push", "--connections", "500", "--hold", "1s", "--out", "out",
               cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "COMPLETE: 501 of 501" in done.stdout
    assert "10 messages of 64 bytes, 5,000 of 5,000 received" in done.stdout
    assert re.search(r"memory with 500 idle subscribers: .* B each", done.stdout)
    record = RunRecord.read(tmp_path / "out" / "run.json")
    fan_out = record.fan_out
    assert fan_out is not None and broken_laws(record) == []
    assert (fan_out.published, fan_out.expected, fan_out.received) == (10, 5_000, 5_000)
    assert (fan_out.doubled, fan_out.garbled, record.stampede.right) == (0, 0, 10)
    assert_is_self_contained((tmp_path / "out" / "report.html").read_text())
