"""Runs that several load clients do together, on real servers: sums, and who hears whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from c1m.results.record import RunRecord
from e2e.cli_helpers import Server
from e2e.library_runs import serving
from load_parts import run_parts
from mqtt_server import MqttServer
from torture.apps import WebSocketEcho

LOAD: dict[str, Any] = {"connections": 100, "hold": "1s", "rate": "200/s"}


def check(records: list[RunRecord], connections: int = 100) -> None:
    """All parts were whole, and together they did all."""
    for record in records:
        assert record.verdict.complete, record.verdict
        every = record.all_requests
        assert every.sent == every.right and not record.notes and not record.faults
    assert sum(record.connections.opened for record in records) == connections
    assert sum(record.connections.attempted for record in records) == connections


def check_rate(records: list[RunRecord]) -> None:
    assert sum(record.requests.due for record in records) == 200


@pytest.mark.parametrize("of", [2, 3])
@pytest.mark.parametrize("scenario", ["echo", "lines", "length-prefixed", "reconnect-storm"])
def test_bytes(of: int, scenario: str, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        records = run_parts(of, server.url, scenario=scenario, **LOAD)
    again = 2 if scenario == "reconnect-storm" else 1
    check(records, 100 * again)
    if again == 1:
        check_rate(records)


@pytest.mark.parametrize("of", [2, 3])
def test_keys_and_counters(of: int, tmp_path: Path) -> None:
    with Server(tmp_path, app="kv") as server:
        target = server.url.replace("tcp", "redis")
        check(records := run_parts(of, target, **LOAD))
        check_rate(records)
        check(run_parts(of, target, connections=30, hold="1s", think="0s"), 30)


@pytest.mark.parametrize("of", [2, 3])
def test_subscribers_of_redis_hear_all_parts(of: int, tmp_path: Path) -> None:
    with Server(tmp_path, app="kv") as server:
        check_fan_out(
            run_parts(
                of, server.url.replace("tcp", "redis"), scenario="redis-subscribe", publishers=2,
                connections=30, hold="2s", rate="20/s",
            ),
            subscribers=28,
        )  # fmt: skip


def check_fan_out(records: list[RunRecord], subscribers: int) -> None:
    """All hear all, once."""
    for record in records:
        assert record.verdict.complete, record.verdict
        assert not record.faults and not record.requests.faults
    told = [record.fan_out for record in records if record.fan_out is not None]
    published = sum(one.published for one in told)
    assert published == 40
    assert [one.elsewhere for one in told] == [published - one.published for one in told]
    expected = published * subscribers
    assert sum(one.expected for one in told) == sum(one.received for one in told) == expected
    assert not any(one.doubled or one.garbled for one in told)


@pytest.mark.parametrize("of", [2, 3])
@pytest.mark.parametrize("publishers", [1, 4])
def test_subscribers_of_a_push_server_hear_all_parts(
    of: int, publishers: int, tmp_path: Path
) -> None:
    with Server(tmp_path, app="push", listen=["http://127.0.0.1:0"]) as server:
        for scheme, path in (("ws", "/connect?channel=news"), ("sse", "/events?channel=news")):
            check_fan_out(
                run_parts(
                    of, server.url.replace("http", scheme) + path, scenario="publish",
                    publishers=publishers, publish_to="/publish?channel=news",
                    connections=30 + publishers, hold="2s", rate="20/s",
                ),
                subscribers=30,
            )  # fmt: skip


@pytest.mark.parametrize("of", [2, 3])
def test_clients_of_a_broker(of: int) -> None:
    app = MqttServer()
    with serving(app) as server:
        target = f"mqtt://127.0.0.1:{server.port}"
        check(records := run_parts(of, target, qos=1, **LOAD))
        check_rate(records)
        check_fan_out(
            run_parts(
                of, target, scenario="publish", publishers=2, connections=30, hold="2s",
                rate="20/s",
            ),
            subscribers=30,
        )  # fmt: skip


@pytest.mark.parametrize("of", [2, 3])
def test_messages_of_websockets(of: int) -> None:
    with serving(WebSocketEcho(), "http://127.0.0.1:0") as server:
        check(records := run_parts(of, f"ws://127.0.0.1:{server.port}/{{n}}", **LOAD))
        check_rate(records)


@pytest.mark.parametrize("of", [2, 3])
def test_requests_of_http(of: int, tmp_path: Path) -> None:
    with Server(tmp_path, app="push", listen=["http://127.0.0.1:0"]) as server:
        records = run_parts(of, server.url + "/{n}", expect_status="200,404", **LOAD)
        check(records)
        check_rate(records)
        asked = sum(sum(record.statuses.values()) for record in records)
    assert asked == sum(record.all_requests.sent for record in records)
