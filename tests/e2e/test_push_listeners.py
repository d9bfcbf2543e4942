"""The push server's listeners of Redis's protocol and for operators, with clients of theirs."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import ClientConnection, connect

from c1m.apps.push.figures import FIGURES
from c1m.apps.push.push import Push
from e2e.debian_servers import program
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving

ANY = "tcp://127.0.0.1:0"


class Running:
    """A push server: its ports, in the order web, Redis, admin."""

    def __init__(self, run: ServerThread) -> None:
        self.run = run
        self.web, self.redis = (end.port for end in run.server.endpoints)
        admin = run.server.operators.admin
        assert admin is not None
        self.admin = admin.endpoint.port

    def subscriber(self, channel: str) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.web}/connect?channel={channel}", compression=None)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis("127.0.0.1", self.redis, socket_timeout=WAIT_S, **options)

    def publish(self, channel: str, data: bytes) -> str:
        url = f"http://127.0.0.1:{self.web}/publish?channel={channel}"
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=WAIT_S) as response:
            return str(response.read().decode())

    def look(self, path: str) -> str:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.admin}{path}", timeout=WAIT_S
        ) as response:
            return str(response.read().decode())

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = json.loads(self.look("/stats"))
        return stats


def started(app: Push, **options: Any) -> Iterator[Running]:
    with serving(app, admin="127.0.0.1:0", **options) as run:
        eventually(lambda: hasattr(run.server.app, "_owner"), "it has begun")
        yield Running(run)


@pytest.fixture(params=["uring", "epoll"])
def push(request: pytest.FixtureRequest) -> Iterator[Running]:
    yield from started(Push(resp=ANY), engine=request.param)


def test_it_says_where_each_of_them_is() -> None:
    with serving(Push(resp=ANY, page=True), engine="epoll") as run:
        eventually(lambda: hasattr(run.server.app, "_owner"), "it has begun")
        web, resp = (end.port for end in run.server.endpoints)
        place = f"//127.0.0.1:{web}"
        assert run.server.app.notes(run.server) == [
            f"subscribe: ws:{place}/connect?channel=NAME, http:{place}/events?channel=NAME",
            f"publish: POST http:{place}/publish?channel=NAME",
            f"page: http:{place}/",
            f"Redis's protocol: tcp://127.0.0.1:{resp}",
        ]


def test_redis_clients_and_the_web_hear_each_other(push: Running) -> None:
    with push.client() as client, client.pubsub() as heard, push.subscriber("news") as web:
        heard.subscribe("news")
        assert heard.get_message(timeout=WAIT_S)["type"] == "subscribe"
        eventually(lambda: client.pubsub_numsub("news") == [(b"news", 2)], "both are there")
        assert client.pubsub_channels() == [b"news"]
        assert client.publish("news", "from Redis") == 2
        assert web.recv(WAIT_S) == "from Redis"
        assert heard.get_message(timeout=WAIT_S)["data"] == b"from Redis"
        assert json.loads(push.publish("news", b"from the web"))["subscribers"] == 2
        assert web.recv(WAIT_S) == "from the web"
        assert heard.get_message(timeout=WAIT_S)["data"] == b"from the web"
        web.send("from a browser")
        assert web.recv(WAIT_S) == "from a browser"
        assert heard.get_message(timeout=WAIT_S)["data"] == b"from a browser"


def test_patterns_pipelines_and_binary_messages(push: Running) -> None:
    with push.client(protocol=3) as client, client.pubsub() as heard:
        heard.psubscribe("a.*")
        assert heard.get_message(timeout=WAIT_S)["type"] == "psubscribe"
        with push.subscriber("a.b") as web:
            eventually(lambda: client.pubsub_numsub("a.b") == [(b"a.b", 1)], "it is there")
            with client.pipeline() as many:  # MULTI, EXEC
                assert many.publish("a.b", b"\xff\x00").publish("a.c", "c").execute() == [2, 1]
            assert web.recv(WAIT_S) == b"\xff\x00"
        assert heard.get_message(timeout=WAIT_S)["data"] == b"\xff\x00"
        assert heard.get_message(timeout=WAIT_S)["channel"] == b"a.c"


def test_other_commands_are_refused_and_say_so(push: Running) -> None:
    with push.client() as client:
        for words in (["GET", "k"], ["CONFIG", "GET", "*"], ["SHUTDOWN"], ["SPUBLISH", "c", "m"]):
            with pytest.raises(redis.ResponseError, match="is not served here"):
                client.execute_command(*words)
        with pytest.raises(redis.ResponseError, match="a channel's name is UTF-8 here"):
            client.publish(b"\xff", "m")
        assert client.ping() and client.info("server")["redis_version"]


def test_redis_cli(push: Running) -> None:
    cli = program("redis-cli", "redis-tools")
    done = subprocess.run(
        [cli, "-p", str(push.redis), "publish", "news", "x"], capture_output=True, timeout=WAIT_S
    )
    assert done.stdout == b"0\n"


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("sesame\n")
    file.chmod(0o600)
    for push in started(Push(resp=ANY, resp_password_file=str(file))):
        with push.client() as client, pytest.raises(redis.AuthenticationError):
            client.publish("news", "x")
        with push.client(password="sesame") as client:
            assert client.publish("news", "x") == 0


def test_everything_is_accounted_for(push: Running) -> None:
    with push.subscriber("news"), push.subscriber("news"):
        eventually(lambda: push.stats()["connections"]["live"]["websocket"] == 2, "they are there")
        push.publish("news", b"x")
        eventually(lambda: push.stats()["delivered"] == 2, "both were sent it")
    eventually(lambda: push.stats()["ended"] == {"1000": 2}, "both have ended")
    connections = push.stats()["connections"]
    live, closed = sum(connections["live"].values()), sum(connections["closed"].values())
    assert connections["opened"] == live + closed
    assert connections["live"]["other"] == 0


def test_metrics_are_in_prometheus_format(push: Running) -> None:
    families = {family.name: family for family in text_string_to_metric_families(
        push.look("/metrics"))}  # fmt: skip
    assert {figure.metric.removesuffix("_total") for figure in FIGURES.values()} < set(families)
    assert families["c1m_connections"].type == "gauge"
    assert families["c1m_push_published"].type == "counter"
    with push.subscriber("news"):
        eventually(lambda: push.stats()["connections"]["live"]["websocket"] == 1, "it is there")


def test_what_is_for_operators_is_on_their_listener_only(push: Running) -> None:
    for port, path, status in (
        (push.admin, "/healthz", 200), (push.admin, "/connect", 404), (push.web, "/stats", 404),
        (push.web, "/metrics", 404), (push.web, "/healthz", 404),
    ):  # fmt: skip
        client = HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        client.request("GET", path)
        assert client.getresponse().status == status
        client.close()
