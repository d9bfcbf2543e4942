"""A short run of each target of `python -m tests.fuzz`."""

from __future__ import annotations

from random import Random

import pytest

import fuzz.command
import fuzz.corpus
import fuzz.http1
import fuzz.limits
import fuzz.log_lines
import fuzz.mercure
import fuzz.mqtt
import fuzz.operators
import fuzz.plans
import fuzz.proxy
import fuzz.push_json
import fuzz.push_server
import fuzz.records
import fuzz.resp
import fuzz.sockets
import fuzz.take_over
import fuzz.tls_records
import fuzz.tokens
import fuzz.web
import fuzz.websocket
from fuzz.__main__ import TARGETS


def test_streams_of_requests_and_replies() -> None:
    assert sum(fuzz.resp.run(Random(seed)) for seed in range(300)) > 0


def test_streams_of_http() -> None:
    assert sum(fuzz.http1.run(Random(seed)) for seed in range(1000)) > 0


def test_proxy_headers() -> None:
    assert sum(fuzz.proxy.run(Random(seed)) for seed in range(2000)) > 0


def test_records_of_tls() -> None:
    assert sum(fuzz.tls_records.run(Random(seed)) for seed in range(150)) > 0


def test_tokens() -> None:
    assert sum(fuzz.tokens.run(Random(seed)) for seed in range(1000)) > 0


def test_topics_of_mercure() -> None:
    assert sum(fuzz.mercure.run(Random(seed)) for seed in range(1000)) > 0


def test_packets_of_mqtt() -> None:
    assert sum(fuzz.mqtt.run(Random(seed)) for seed in range(500)) > 0


def test_clients_of_a_web_server() -> None:
    assert sum(fuzz.web.run(Random(seed)) for seed in range(40)) > 0


def test_streams_of_websockets() -> None:
    assert sum(fuzz.websocket.run(Random(seed)) for seed in range(200)) > 0


def test_what_clients_of_the_push_server_say() -> None:
    assert sum(fuzz.push_json.run(Random(seed)) for seed in range(1000)) > 0


def test_random_websockets() -> None:
    assert sum(fuzz.sockets.run(Random(seed)) for seed in range(12)) > 0


def test_clients_of_the_push_server() -> None:
    assert sum(fuzz.push_server.run(Random(seed)) for seed in range(15)) > 0


def test_command_lines() -> None:
    assert sum(fuzz.command.run(Random(seed)) for seed in range(12)) > 0


def test_plan_files() -> None:
    assert sum(fuzz.plans.run(Random(seed)) for seed in range(200)) > 0


def test_damaged_records() -> None:
    assert sum(fuzz.records.run(Random(seed)) for seed in range(30)) > 0


def test_limits_of_servers() -> None:
    assert sum(fuzz.limits.run(Random(seed)) for seed in range(500)) > 0


def test_what_operators_ask() -> None:
    assert sum(fuzz.operators.run(Random(seed)) for seed in range(500)) > 0


def test_what_is_said_at_a_take_over() -> None:
    assert sum(fuzz.take_over.run(Random(seed)) for seed in range(150)) > 0


def test_lines_of_logs() -> None:
    assert sum(fuzz.log_lines.run(Random(seed)) for seed in range(500)) > 0


@pytest.mark.parametrize("target", fuzz.corpus.kept())
def test_what_was_kept(target: str) -> None:
    for seed in fuzz.corpus.kept()[target]:
        TARGETS[target](Random(seed))
