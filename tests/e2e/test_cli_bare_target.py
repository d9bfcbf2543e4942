"""`c1m load TARGET` and nothing else: it does something sensible, and says what."""

from __future__ import annotations

from pathlib import Path

import pytest

from c1m.results.record import RunRecord
from e2e.cli_helpers import Server, load, run

EACH = "each asks again as soon as it has its reply"
MORE = "ask otherwise with --connections, --hold, --rate, --think"


def test_nothing_but_a_target(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with Server(tmp_path) as server:
        done = run("load", server.url, "--json", path)
    assert done.returncode == 0, done.stdout
    first, _, rest = done.stdout.partition("\n")
    assert first == f"assumed: 10 connections, for 10 s, {EACH}; {MORE}."
    assert "\nassumed   10 connections, for 10 s, " in rest
    record = RunRecord.read(path)
    assert record.asked.connections == record.connections.peak_open == 10
    assert (record.asked.hold_ns, record.asked.think_ns) == (10_000_000_000, 0)
    assert record.requests.right == record.requests.sent > 100
    assert record.assumed == f"10 connections, for 10 s, {EACH}"


@pytest.mark.parametrize(
    ("app", "listen", "target", "scenario", "is_silent"),
    [
        ("push", "http", "http://{}/page", "http", False),
        ("push", "http", "ws://{}/connect?channel=a", "echo", False),
        ("push", "http", "sse://{}/events?channel=a", "hold", True),
        ("kv", "redis", "redis://{}", "resp", False),
        ("echo", "tcp", "{}", "echo", False),
    ],
)
def test_every_scheme(
    tmp_path: Path, app: str, listen: str, target: str, scenario: str, is_silent: bool
) -> None:
    with Server(tmp_path, app=app, listen=[f"{listen}://127.0.0.1:0"]) as server:
        place = server.urls[0].partition("://")[2]
        short = ("--hold", "500ms", "--timeout", "2s")
        status, record, said = load(tmp_path, target.format(place), *short)
        assert record.scenario == scenario
        assert record.connections.peak_open == 10, said
        assert record.assumed == ("10 connections" if is_silent else f"10 connections, {EACH}")
        assert bool(record.requests.sent) != is_silent
        if app != "push" or is_silent:  # its sockets are told what others say
            assert status == 0 and record.verdict.complete, said
