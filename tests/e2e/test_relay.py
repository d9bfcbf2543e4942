"""Several servers and one broker: Redis, NATS, and our own key-value server in Redis's place."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import c1m
from c1m.apps.kv.app import KeyValue
from e2e.cli_helpers import COMMAND, free_ports
from e2e.debian_servers import program
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving
from e2e.push_clients import Events, heard, say

BROKERS = ("redis", "nats", "c1m")


class Broker:
    """A process that can be killed, started again, stopped in its tracks and let go on."""

    def __init__(self, kind: str, directory: Path, password: str = "") -> None:
        self.port = free_ports(1)
        self._directory = directory
        scheme = "nats" if kind == "nats" else "redis"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        words: dict[str, list[Any]] = {
            "redis": ["--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", directory],
            "nats": ["-a", "127.0.0.1", "-p", self.port],
            "c1m": ["serve", "kv", "--listen", f"tcp://127.0.0.1:{self.port}", "--quiet"],
        }
        options = [*words[kind], *(["--requirepass", password] if password else [])]
        start = {"redis": "redis-server", "nats": "nats-server"}
        found = [program(start[kind], start[kind])] if kind in start else COMMAND
        self._command = [*found, *map(str, options)]
        self.start()

    def start(self) -> None:
        with (self._directory / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

        def takes_connections() -> bool:
            assert self.process.poll() is None, (self._directory / "broker.log").read_text()
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port), WAIT_S).close()
                return True
            return False

        eventually(takes_connections, "the broker listens")

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)


@contextlib.contextmanager
def running(kind: str, directory: Path, password: str = "") -> Iterator[Broker]:
    made = Broker(kind, directory, password)
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with running(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def redis_broker(tmp_path: Path) -> Iterator[Broker]:
    with running("redis", tmp_path) as made:
        yield made


class Push:
    """One of the push servers, in a thread of the test's process."""

    def __init__(self, run: ServerThread, push: c1m.Push) -> None:
        self.run, self.push = run, push
        self.sockets = contextlib.ExitStack()
        self.url = f"http://127.0.0.1:{run.port}"

    def figures(self) -> dict[str, int]:
        asked: Future[Any] = Future()
        server: Any = self.run.server
        server.call_soon(lambda: asked.set_result(server.app.figures(server)))
        values = asked.result(WAIT_S)
        return {n.removeprefix("relay."): v for n, (_, v) in values.items() if n[:6] == "relay."}

    def is_connected(self, wanted: int = 1) -> None:
        eventually(lambda: self.figures()["connected"] == wanted, f"connected is {wanted}")

    def events(self, query: str, **fields: str) -> Events:
        made = Events(f"{self.url}/events?{query}", fields)
        self.sockets.callback(made.close)
        return made

    def socket(self, query: str) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.run.port}/connect?{query}"
        return self.sockets.enter_context(connect(url, open_timeout=WAIT_S))

    def publish(self, query: str, body: bytes, path: str = "/publish") -> tuple[int, Any]:
        asks = http.client.HTTPConnection("127.0.0.1", self.run.port, timeout=WAIT_S)
        kind = {"Content-Type": "application/x-ndjson" if not query else "text/plain"}
        with contextlib.closing(asks):
            asks.request("POST", f"{path}?{query}", body, kind)
            with asks.getresponse() as answer:
                return answer.status, json.loads(answer.read())


@contextlib.contextmanager
def pushing(broker: Broker | str, count: int = 2, **options: Any) -> Iterator[list[Push]]:
    """Push servers with this broker, once they have it."""
    with contextlib.ExitStack() as all_of_them:
        found = []
        for _ in range(count):
            push = c1m.Push(relay=getattr(broker, "url", broker), **options)
            run = all_of_them.enter_context(serving(push, "http://127.0.0.1:0"))
            found.append(Push(run, push))
            all_of_them.enter_context(found[-1].sockets)
        for each in found:
            each.is_connected()
        yield found


def numbered(events: Events, count: int) -> list[str]:
    return [(events.next() or ("", "nothing"))[1] for _ in range(count)]


def test_each_gets_each_once_and_in_one_order(broker: Broker) -> None:
    with pushing(broker) as servers:
        streams = [server.events("channel=a") for server in servers for _ in range(3)]
        count = 200

        def publish(server: Push, name: str) -> None:
            for number in range(count):
                status, told = server.publish("channel=a", f"{name} {number}".encode())
                assert (status, told["subscribers"]) == (200, 3)

        publishers = [
            threading.Thread(target=publish, args=(server, name))
            for server, name in zip(servers, "xy", strict=True)
        ]
        for each in publishers:
            each.start()
        heard_by = [numbered(stream, 2 * count) for stream in streams]
        for each in publishers:
            each.join(WAIT_S)
        for said in heard_by:
            for name in "xy":
                assert [s for s in said if s[0] == name] == [f"{name} {n}" for n in range(count)]
        if broker.url.startswith("redis"):
            assert all(said == heard_by[0] for said in heard_by), "one order for all"
        for server in servers:
            figures = server.figures()
            assert (figures["sent"], figures["received"]) == (count, 2 * count)
            assert not figures["doubles"] and not figures["missed"] and not figures["waiting"]


def test_what_is_published_by_every_door_arrives_as_it_was(broker: Broker) -> None:
    with pushing(broker) as (one, other):
        told, stream = other.socket("channel=a&channel=b&form=json"), other.events("channel=a")
        raw, mercure = other.socket("channel=a"), Events(
            f"{other.url}/.well-known/mercure?topic=a&topic=c", {}
        )  # fmt: skip
        other.sockets.callback(mercure.close)
        heard(told)
        status, said = one.publish("channel=a&event=goal&id=mine", "grüße\nzwei".encode())
        assert (status, said) == (200, {"id": "mine", "subscribers": 0})
        mine = {"channel": "a", "id": "mine", "event": "goal", "data": "grüße\nzwei"}
        assert heard(told) == mine
        assert raw.recv(timeout=WAIT_S) == mercure.next()[1] == "grüße\nzwei"  # type: ignore[index]
        assert stream.next() == ("goal", "grüße\nzwei") and stream.last_id == "mine"

        lines = b'{"channels": ["a", "b"], "data": "x"}\n{"channel": "a", "base64": "AP8="}\n'
        _, said = one.publish("", lines)
        assert len(said["ids"]) == 3
        assert [heard(told)["id"] for _ in range(3)] == said["ids"]
        assert [raw.recv(timeout=WAIT_S) for _ in range(2)] == ["x", b"\x00\xff"]

        body = b"topic=a&topic=c&data=both&retry=7"
        asks = http.client.HTTPConnection("127.0.0.1", one.run.port, timeout=WAIT_S)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        asks.request("POST", "/.well-known/mercure", body, form)
        with asks.getresponse() as answer:
            assert answer.status == 200
        asks.close()
        assert heard(told)["data"] == "both"
        assert [mercure.next() for _ in range(3)][-1] == ("message", "both")
        assert mercure.retry == 7

        publisher = one.socket("channel=z&form=json")
        heard(publisher)
        answer = say(publisher, publish={"channel": "b", "data": 1})
        assert answer["published"] == {"id": heard(told)["id"], "subscribers": 0}
        from_raw = one.socket("channel=b")
        from_raw.send("of a socket")
        assert heard(told)["data"] == "of a socket" == from_raw.recv(timeout=WAIT_S)
        eventually(lambda: one.push.publish("b", "of the program"), "it is taken")
        assert heard(told)["data"] == "of the program"


def test_who_goes_to_another_server_gets_what_it_missed(broker: Broker) -> None:
    with pushing(broker, 3) as (one, other, third):
        stream = one.events("channel=a")
        for number in range(3):
            one.publish("channel=a", b"%d" % number)
            other.publish("channel=b", b"elsewhere")
        assert numbered(stream, 3) == ["0", "1", "2"]
        stream.close()
        for number in range(3, 8):
            (one, other, third)[number % 3].publish("channel=a", b"%d" % number)
        again = other.events("channel=a", Last_Event_ID=stream.last_id)
        third.publish("channel=a", b"8")
        assert numbered(again, 6) == ["3", "4", "5", "6", "7", "8"]
        mercure = Events(
            f"{third.url}/.well-known/mercure?topic=a", {"Last-Event-ID": stream.last_id}
        )
        third.sockets.callback(mercure.close)
        assert mercure.answer.headers["Last-Event-ID"] == stream.last_id
        assert numbered(mercure, 6) == ["3", "4", "5", "6", "7", "8"]
        told = third.socket("channel=a&form=json&since=ffffffffffff-3")
        assert heard(told)["missed"]["why"] == "unknown"


def test_a_broker_that_is_killed_and_comes_back(broker: Broker) -> None:
    with pushing(broker) as (one, other):
        stream = other.events("channel=a")
        one.publish("channel=a", b"before")
        broker.kill()
        one.is_connected(0)
        status, said = one.publish("channel=a", b"lost")
        assert (status, said["error"]["kind"]) == (503, "not-relayed")
        assert "nothing was published" in said["error"]["message"]
        assert not one.push.publish("a", "lost")
        told = one.socket("channel=z&form=json")
        heard(told)
        assert say(told, publish={"channel": "a", "data": 1})["error"]["kind"] == "not-relayed"
        raw = one.socket("channel=a")
        raw.send("lost")
        with pytest.raises(ConnectionClosed) as closed:
            raw.recv(timeout=WAIT_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        broker.start()
        one.is_connected()
        other.is_connected()
        assert one.publish("channel=a", b"after")[0] == 200
        assert numbered(stream, 2) == ["before", "after"]
        figures = one.figures()
        assert (figures["lost"], figures["refused"], figures["unknown"]) == (1, 3, 0)
        assert other.figures()["missed"] == other.figures()["doubles"] == 0


def test_what_was_on_its_way_to_a_frozen_broker_is_unknown_and_delivered_once_at_most(
    redis_broker: Broker,
) -> None:
    with pushing(redis_broker) as (one, other):
        stream = other.events("channel=a")
        one.publish("channel=a", b"before")
        redis_broker.signal(signal.SIGSTOP)
        answers: list[tuple[int, Any]] = []
        asks = [
            threading.Thread(target=lambda n=n: answers.append(one.publish("channel=a", b"%d" % n)))
            for n in range(3)
        ]
        for each in asks:
            each.start()
        for each in asks:
            each.join(WAIT_S)
        assert {status for status, _ in answers} <= {503, 504}
        unknown = [said for said in answers if said[0] == 504]
        assert all("may have been published" in said["error"]["message"] for _, said in unknown)
        one.is_connected(0)
        redis_broker.signal(signal.SIGCONT)
        one.is_connected()
        other.is_connected()
        assert one.publish("channel=a", b"after")[0] == 200
        said: list[str] = []
        while not said or said[-1] != "after":
            said += numbered(stream, 1)
        said = [each for each in said if not each.startswith("{")]  # that something was missed
        assert said[0] == "before" and len(said) == len(set(said))
        assert len(said) - 2 <= len(unknown) == one.figures()["unknown"]


def test_a_server_that_was_cut_off_knows_what_it_missed(redis_broker: Broker) -> None:
    with pushing(redis_broker) as (one, other):
        told, stream = other.socket("channel=a&form=json"), other.events("channel=a")
        heard(told)
        _, said = one.publish("channel=a", b"before")
        assert heard(told)["data"] == "before"
        server = redis.Redis(port=redis_broker.port, socket_timeout=WAIT_S)
        client = redis.Redis(port=redis_broker.port, socket_timeout=WAIT_S)
        # The subscriber of the other server, by its address: one publishes meanwhile.
        theirs = [c for c in server.client_list() if c["sub"] == "1"]
        assert len(theirs) == 2
        for cut_off, each in enumerate(theirs, 1):  # whichever it is, the other one publishes
            assert client.client_kill_filter(_id=each["id"]) == 1
            for server_ in (one, other):
                with contextlib.suppress(OSError):
                    server_.publish("channel=b", b"x")
            eventually(
                lambda wanted=cut_off: one.figures()["lost"] + other.figures()["lost"] == wanted,
                "the server that was cut off knows it",
            )
            one.is_connected()
            other.is_connected()
        assert sum(each.figures()["lost"] for each in (one, other)) == 2
        one.publish("channel=a", b"after")
        following = [heard(told)]
        while "missed" in following[-1]:  # one for each publisher whose numbers have a gap
            following.append(heard(told))
        assert following[-1]["data"] == "after"
        assert {each["missed"]["why"] for each in following[:-1]} <= {"dropped"}
        missed = other.figures()["missed"]
        assert bool(missed) == (len(following) > 1)
        if missed:
            again = other.events("channel=a", Last_Event_ID=said["id"])
            assert again.next()[0] == "missed"  # type: ignore[index]
        assert numbered(stream, 1) == ["before"]


def test_a_broker_that_is_there_later_and_one_with_a_password(tmp_path: Path) -> None:
    with running("redis", tmp_path, "secret") as broker:
        broker.kill()
        url = broker.url.replace("://", "://:secret@")
        with serving(c1m.Push(relay=url), "http://127.0.0.1:0") as run:
            one = Push(run, c1m.Push())
            assert one.publish("channel=a", b"x")[0] == 503
            broker.start()
            one.is_connected()
            assert one.publish("channel=a", b"x")[0] == 200
        with serving(c1m.Push(relay=broker.url), "http://127.0.0.1:0") as run:
            one = Push(run, c1m.Push())
            assert "uthentication" in eventually_said(one)


def eventually_said(one: Push) -> str:
    """Why its broker is not there, once it knows."""
    said = ""

    def knows() -> bool:
        nonlocal said
        said = one.publish("channel=a", b"x")[1]["error"]["message"]
        return "not been reached yet" not in said

    eventually(knows, "it knows why")
    return said


def test_what_was_taken_goes_out_at_a_stop(redis_broker: Broker) -> None:
    with pushing(redis_broker, 1) as (other,):
        stream = other.events("channel=a")
        push = c1m.Push(relay=redis_broker.url)
        with serving(push, "http://127.0.0.1:0") as run:
            one = Push(run, push)
            one.is_connected()
            for number in range(500):
                assert push.publish("a", str(number))
        assert numbered(stream, 500) == [str(number) for number in range(500)]


def redis_client(run: ServerThread) -> Any:
    return redis.Redis(run.host, run.port, socket_timeout=WAIT_S)


def test_publish_of_the_key_value_server_is_heard_by_all(broker: Broker) -> None:
    with contextlib.ExitStack() as both:
        runs = [both.enter_context(serving(KeyValue(relay=broker.url))) for _ in range(2)]
        one, other = (redis_client(run) for run in runs)
        for each in (one, other):
            eventually(lambda e=each: e.info("stats").get("relay_connected"), "connected")
        channel, pattern = other.pubsub(), other.pubsub()
        channel.subscribe("a")
        pattern.psubscribe("*")
        mine = one.pubsub()
        mine.subscribe("a", "b")
        for each, count in ((channel, 1), (pattern, 1), (mine, 2)):
            for _ in range(count):
                assert "subscribe" in each.get_message(timeout=WAIT_S)["type"]
        assert one.publish("a", b"\x00\xff") == 1, "as many as hear it here"
        assert other.publish("a", "back") == 2
        pipe = one.pipeline(transaction=False)
        for number in range(2500):
            pipe.publish("a", number)
            if number == 700:
                pipe.set("key", "value")
                pipe.get("key")
        replies = pipe.execute()
        assert replies == [1] * 701 + [True, b"value"] + [1] * 1799
        wanted = [b"\x00\xff", b"back", *(b"%d" % number for number in range(2500))]
        for each in (channel, pattern, mine):
            assert [each.get_message(timeout=WAIT_S)["data"] for _ in wanted] == wanted
        with one.pipeline() as transaction:
            transaction.publish("a", "in a transaction")
            transaction.set("key", 1)
            assert transaction.execute() == [1, True]
        assert channel.get_message(timeout=WAIT_S)["data"] == b"in a transaction"
        eventually(lambda: one.info("stats")["relay_sent"] == 2502, "it has come back")
        broker.kill()
        eventually(lambda: not one.info("stats")["relay_connected"], "it is gone")
        with pytest.raises(redis.ResponseError, match="nothing was published"):
            one.publish("a", "lost")
        assert one.get("key") == b"1"
        broker.start()
        eventually(lambda: one.info("stats")["relay_connected"], "it is back")
        assert one.publish("a", "again") == 1


def test_a_client_that_waits_and_goes_is_forgotten(redis_broker: Broker) -> None:
    with serving(KeyValue(relay=redis_broker.url)) as run:
        client = redis_client(run)
        eventually(lambda: client.info("stats")["relay_connected"], "connected")
        redis_broker.signal(signal.SIGSTOP)
        goes, stays = (socket.create_connection((run.host, run.port), WAIT_S) for _ in range(2))
        goes.sendall(b"PUBLISH a x\r\n")
        stays.sendall(b"PUBLISH a x\r\nPUBLISH a y\r\nECHO z\r\n")
        eventually(lambda: client.info("stats")["relay_waiting"] == 3, "they wait")
        goes.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        goes.close()  # with a reset
        eventually(lambda: client.info("clients")["connected_clients"] == 2, "one has gone")
        redis_broker.signal(signal.SIGCONT)
        wanted = b":0\r\n:0\r\n$1\r\nz\r\n"
        said = b""
        while len(said) < len(wanted):
            said += stays.recv(100)
        assert said == wanted
        stays.close()


def test_two_names_of_one_broker_are_two_worlds(redis_broker: Broker) -> None:
    with (
        pushing(f"{redis_broker.url}/blue") as (one, other),
        pushing(f"{redis_broker.url}/green", 1) as (third,),
    ):
        streams = [server.events("channel=a") for server in (other, third)]
        one.publish("channel=a", b"blue")
        third.publish("channel=a", b"green")
        assert [numbered(stream, 1) for stream in streams] == [["blue"], ["green"]]
        redis.Redis(port=redis_broker.port).publish("blue", "not of a server")
        eventually(lambda: one.figures()["foreign"] == 1, "it is counted")


def test_a_message_that_the_broker_does_not_take(tmp_path: Path) -> None:
    with running("nats", tmp_path) as broker, pushing(broker, 1, message_max="4M") as (one,):
        status, said = one.publish("channel=a", b"x" * (2 << 20))
        assert status == 503 and "1,048,576 bytes" in said["error"]["message"]
        large = b"x" * ((1 << 20) - 200)
        stream = one.events("channel=a")
        assert [one.publish("channel=a", large)[0] for _ in range(3)] == [200] * 3
        assert numbered(stream, 3) == [large.decode()] * 3


def test_redis_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "kv.sock"
    with (
        serving(KeyValue(), f"unix://{path}"),
        pushing(f"redis+unix://{path}?name=n") as (one, other),
    ):
        stream = other.events("channel=a")
        for number in range(20):
            one.publish("channel=a", b"%d" % number)
        assert numbered(stream, 20) == [str(number) for number in range(20)]
