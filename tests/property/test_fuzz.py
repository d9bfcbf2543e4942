"""A short run of each target of `python -m tests.fuzz`."""

from __future__ import annotations

from random import Random

import fuzz.http1
import fuzz.mercure
import fuzz.mqtt
import fuzz.proxy
import fuzz.push_json
import fuzz.push_server
import fuzz.resp
import fuzz.sockets
import fuzz.tls_records
import fuzz.tokens
import fuzz.web
import fuzz.websocket


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
