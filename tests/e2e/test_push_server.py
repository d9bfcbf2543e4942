"""The push server with clients as others have them: websockets, streams read by urllib, curl."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

import c1m
from e2e.cli_helpers import free_ports, run
from e2e.push_clients import PATIENCE_S, Events, PushServer, heard, say

NDJSON = "application/x-ndjson"


def test_every_form_gets_what_is_published(tmp_path: Path, engine: str) -> None:
    with PushServer(tmp_path, engine=engine) as push:
        raw, told = push.socket("channel=news"), push.socket("channel=news&form=json")
        stream = push.events("channel=news")
        assert list(heard(told)) == ["subscribed", "id"]
        said = push.publish("channel=news", "grüße\nzwei".encode())
        assert said["subscribers"] == 3
        assert raw.recv(timeout=PATIENCE_S) == "grüße\nzwei"
        assert heard(told) == {"channel": "news", "id": said["id"], "data": "grüße\nzwei"}
        assert stream.next() == ("message", "grüße\nzwei")
        assert (stream.last_id, stream.retry) == (said["id"], 1000)

        binary = push.publish("channel=news", b"\x00\xff", "application/octet-stream")
        assert raw.recv(timeout=PATIENCE_S) == b"\x00\xff"
        assert heard(told) == {"channel": "news", "id": binary["id"], "base64": "AP8="}
        assert stream.next() == ("binary", "AP8=")

        push.publish("channel=news&event=goal", b"1:0")
        assert raw.recv(timeout=PATIENCE_S) == "1:0"
        assert heard(told)["event"] == "goal"
        assert stream.next() == ("goal", "1:0")

        raw.send("from a client")
        assert raw.recv(timeout=PATIENCE_S) == "from a client"
        assert heard(told)["data"] == "from a client"
        assert stream.next() == ("message", "from a client")


def test_many_messages_in_one_request(tmp_path: Path) -> None:
    with PushServer(tmp_path) as push:
        socket = push.socket("channel=a&channel=b&form=json")
        heard(socket)
        lines = [
            {"channel": "a", "data": "one"},
            {"channels": ["a", "b"], "data": {"deep": [1, None]}, "event": "e"},
            {"channel": "b", "base64": "AAE=", "id": "mine"},
            {"data": "to the query's channel"},
        ]
        body = "\n".join(map(json.dumps, lines)).encode()
        said = push.publish("channel=a", body, NDJSON)
        assert (len(said["ids"]), said["subscribers"]) == (5, 5)
        got = [heard(socket) for _ in range(5)]
        assert [each["channel"] for each in got] == ["a", "a", "b", "b", "a"]
        assert json.loads(got[1]["data"]) == {"deep": [1, None]}
        assert (got[3]["base64"], got[3]["id"]) == ("AAE=", "mine")
        assert [each["id"] for each in got] == said["ids"]

        # All of them or none, and which line is wrong.
        bad = body + b'\n\n{"channel": "a"}\n'
        status, told, _ = push.ask("/publish", bad, Content_Type=NDJSON)
        assert (status, told["error"]["kind"], told["error"]["line"]) == (400, "bad-message", 4)
        push.publish("channel=b", b"next")
        assert heard(socket)["data"] == "next"


def test_subscriptions_change_in_mid_connection(tmp_path: Path, engine: str) -> None:
    with PushServer(tmp_path, "--channels-max", "3", engine=engine) as push:
        first = push.publish("channel=b", b"before")
        socket = push.socket("channel=a&form=json")
        assert heard(socket) == {"subscribed": ["a"], "id": first["id"]}
        epoch = first["id"].rpartition("-")[0]
        socket.send(json.dumps({"subscribe": ["b"], "since": f"{epoch}-0"}))
        assert heard(socket)["data"] == "before"
        assert heard(socket)["subscribed"] == ["b"]
        assert say(socket, unsubscribe=["a"]) == {"unsubscribed": ["a"]}
        push.publish("channel=a", b"unheard")
        push.publish("channel=b", b"heard")
        assert heard(socket)["data"] == "heard"
        # It publishes, is told so, and hears it itself.
        socket.send(json.dumps({"publish": {"channel": "b", "data": "own"}}))
        assert heard(socket)["data"] == "own"
        assert heard(socket)["published"]["subscribers"] == 1

        for wrong, kind in (
            ({"subscribe": ["c", "d", "e", "f"]}, "too-many-channels"),
            ({"subscribe": ["c", "d", "e"]}, "too-many-channels"),
            ({"subscribe": [""]}, "bad-channel"),
            ({"subscribe": ["x" * 513]}, "bad-channel"),
            ({"shout": 1}, "bad-request"),
            ({"publish": {"channel": "b"}}, "bad-message"),
            ({"publish": {"channel": "$stats:b", "data": ""}}, "not-allowed"),
        ):
            assert say(socket, **wrong)["error"]["kind"] == kind
        socket.send("[" * 100_000)
        assert heard(socket)["error"]["kind"] == "bad-message"
        assert say(socket, subscribe="c")["subscribed"] == ["c"]  # it goes on


def test_who_comes_back_gets_what_it_missed(tmp_path: Path, engine: str) -> None:
    with PushServer(tmp_path, "--history", "5", engine=engine) as push:
        ids = [push.publish(f"channel={'ab'[n % 2]}", b"%d" % n)["id"] for n in range(6)]
        # Of several channels in order, without what it has had; then what comes.
        stream = push.events("channel=a&channel=b", Last_Event_ID=ids[1])
        socket = push.socket(f"channel=a&channel=b&form=json&since={ids[1]}")
        assert [stream.next() for _ in range(4)] == [("message", f"{n}") for n in range(2, 6)]
        assert [heard(socket)["data"] for _ in range(4)] == ["2", "3", "4", "5"]
        assert heard(socket) == {"subscribed": ["a", "b"], "id": ids[-1]}
        push.publish("channel=a", b"6")
        assert stream.next() == ("message", "6")
        assert heard(socket)["data"] == "6"
        # Each channel from an id of its own.
        socket = push.socket(f"channel=a&channel=b&since={ids[2]}&since={ids[5]}&form=json")
        assert [heard(socket)["data"] for _ in range(2)] == ["4", "6"]
        # More than is kept, and an id that nobody knows: it is said.
        for number in range(7, 12):
            push.publish("channel=a", b"%d" % number)
        stream = push.events(f"channel=a&last_event_id={ids[0]}")
        assert stream.next() == ("missed", '{"channels": ["a"], "why": "dropped"}')
        assert stream.next() == ("message", "7")
        socket = push.socket("channel=a&form=json&since=nobody-1")
        assert heard(socket) == {"missed": {"channels": ["a"], "why": "unknown"}}
        assert heard(socket)["data"] == "7"


def test_much_that_was_missed_comes_whole_and_in_order(tmp_path: Path, engine: str) -> None:
    with PushServer(tmp_path, engine=engine) as push:
        for number in range(60):
            push.publish("channel=a", b"%02d" % number + b"x" * 100_000)
        stream = push.events("channel=a&since=other-1")
        socket = push.socket("channel=a&form=json&since=other-1")
        push.publish("channel=a", b"60")
        assert stream.next() == ("missed", '{"channels": ["a"], "why": "unknown"}')
        got = [stream.next() for _ in range(61)]
        assert [each and each[1][:2] for each in got] == [f"{n:02}" for n in range(61)]
        assert "missed" in heard(socket)
        told = [said for _ in range(62) if "data" in (said := heard(socket))]
        assert [each["data"][:2] for each in told] == [f"{n:02}" for n in range(61)]


# --- a restart ------------------------------------------------------------------------------------


class Reader(threading.Thread):
    """A subscriber that comes back with the id that it had last until it hears "end"."""

    def __init__(self, push: PushServer, form: str) -> None:
        super().__init__(daemon=True)
        self._push = push
        self._form = form
        self.last_id = ""
        self.got: list[str] = []
        self.connections = 0
        self.is_there = threading.Event()

    def run(self) -> None:
        while not self.got or self.got[-1] != "end":
            with contextlib.suppress(OSError, InvalidStatus, ConnectionClosed):
                self._read_socket() if self._form == "json" else self._read_stream()

    def _read_socket(self) -> None:
        with self._push.connect(f"channel=a&form=json&since={self.last_id}") as socket:
            self.connections += 1
            while not self.got or self.got[-1] != "end":
                said = heard(socket)
                self.last_id = said.get("id", self.last_id)
                if "data" in said:
                    self.got.append(said["data"])
                self.is_there.set()

    def _read_stream(self) -> None:
        stream = Events(f"{self._push.url}/events?channel=a", {"Last_Event_ID": self.last_id})
        self.connections += 1
        self.is_there.set()
        while (event := stream.next()) is not None:
            self.last_id = stream.last_id
            if event[0] == "message":
                self.got.append(event[1])
            if event[1] == "end":
                break
        stream.close()


def test_nothing_is_missed_and_nothing_doubled_over_a_restart(tmp_path: Path, engine: str) -> None:
    """Also of what is published while the server goes: it is taken and delivered, or refused."""
    with PushServer(tmp_path, "--history", "100000", engine=engine) as push:
        readers = [Reader(push, form) for form in ("json", "stream") for _ in range(5)]
        for reader in readers:
            reader.start()
            assert reader.is_there.wait(PATIENCE_S)
        confirmed: list[str] = []
        is_back, has_stopped = threading.Event(), threading.Event()

        def publish() -> None:
            number = 0
            after = 0
            while after < 100:
                number += 1
                try:
                    push.publish("channel=a", b"%d" % number)
                except (AssertionError, OSError):
                    continue  # refused, or nobody knows: never said again
                confirmed.append(f"{number}")
                after += is_back.is_set()
                if number == 100:
                    has_stopped.set()

        publisher = threading.Thread(target=publish, daemon=True)
        publisher.start()
        assert has_stopped.wait(PATIENCE_S)
        push.stop()
        push.start()
        is_back.set()
        publisher.join(PATIENCE_S)
        assert not publisher.is_alive()
        push.publish("channel=a", b"end")
        for reader in readers:
            reader.join(PATIENCE_S)
            assert not reader.is_alive()
            assert len(set(reader.got)) == len(reader.got)
            assert set(confirmed) <= set(reader.got)
            numbers = [int(each) for each in reader.got[:-1]]
            assert numbers == sorted(numbers)
            assert reader.connections >= 2


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/connect?channel=a", 426, "upgrade-required"),
        ("GET", "/events", 400, "bad-request"),
        ("GET", "/events?channel=", 400, "bad-channel"),
        ("GET", "/events?channel=%0A", 400, "bad-channel"),
        ("GET", "/events?channel=caf%E9", 400, "bad-channel"),  # Latin-1
        ("GET", f"/events?channel={'x' * 513}", 400, "bad-channel"),
        ("GET", "/events?" + "&".join(f"channel={n}" for n in range(101)), 400,
         "too-many-channels"),
        ("GET", "/events?channel=a&channel=b&since=1&since=2&since=3", 400, "bad-request"),
        ("GET", "/events?channel=a&form=xml", 400, "bad-request"),
        ("POST", "/events?channel=a", 405, "method-not-allowed"),
        ("GET", "/publish?channel=a", 405, "method-not-allowed"),
        ("POST", "/publish", 400, "bad-request"),
        ("POST", "/publish?channel=a&event=%0D", 400, "bad-request"),
        ("POST", "/publish?channel=$stats:a", 403, "not-allowed"),
        ("LARGE", "/publish?channel=a", 413, "too-large"),
    ],
)  # fmt: skip
def test_requests_that_are_refused(
    refusing: PushServer, method: str, path: str, status: int, kind: str
) -> None:
    body = {"POST": b"x", "LARGE": b"x" * 1001}.get(method)
    got, said, fields = refusing.ask(path, body)
    assert (got, said["error"]["kind"]) == (status, kind)
    assert said["error"]["message"].endswith((".", ")")) and fields["content-type"]
    assert status != 405 or fields["allow"]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with PushServer(tmp_path_factory.mktemp("push"), "--message-max", "1000") as push:
        yield push


def closed_with(socket: ClientConnection) -> int | None:
    """The code with which the server closes."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(timeout=PATIENCE_S)
    return closed.value.rcvd.code if closed.value.rcvd else None


def test_a_message_that_is_too_large_closes_with_1009(refusing: PushServer) -> None:
    socket = refusing.socket("channel=a")
    socket.send("x" * 1000)
    assert socket.recv(timeout=PATIENCE_S) == "x" * 1000
    socket.send("x" * 1001)
    assert closed_with(socket) == 1009


def test_an_upgrade_that_is_refused_says_why(refusing: PushServer) -> None:
    for query, status in (("channel=", 400), ("", 400), ("channel=a&form=x", 400)):
        with pytest.raises(InvalidStatus) as refused:
            refusing.socket(query)
        assert refused.value.response.status_code == status
        assert b'"error"' in bytes(refused.value.response.body or b"")


def test_who_may_publish(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)
    with PushServer(tmp_path, "--publish-token-file", str(token)) as push:
        status, said, fields = push.ask("/publish?channel=a", b"x")
        assert (status, said["error"]["kind"]) == (401, "no-token")
        assert fields["www-authenticate"] == "Bearer"
        assert push.ask("/publish?channel=a", b"x", Authorization="Bearer wrong")[0] == 401
        told = push.socket("channel=a&form=json")
        heard(told)
        assert say(told, publish={"channel": "a", "data": "x"})["error"]["kind"] == "not-allowed"
        raw = push.socket("channel=a")
        raw.send("x")
        assert closed_with(raw) == 1008
        mine = push.socket("channel=a&token=0123456789abcdef")
        mine.send("by token")
        assert heard(told)["data"] == "by token"
        push.publish("channel=a", b"y", Authorization="Bearer 0123456789abcdef")
        assert heard(told)["data"] == "y"


def test_pages_of_other_origins(tmp_path: Path) -> None:
    app = "https://app.example.com"
    with PushServer(tmp_path, "--origin", app, "--origin", "http://localhost:3000") as push:
        for origin, status in (
            (app, 200), ("http://localhost:3000", 200), (push.url, 200),
            ("https://evil.example.com", 403), ("null", 403), ("http://localhost:3001", 403),
        ):  # fmt: skip
            got, _, fields = push.ask("/publish?channel=a", b"x", Origin=origin)
            assert got == status
            allowed = fields.get("access-control-allow-origin")
            assert allowed == (origin if status == 200 else None)
            if status == 200:
                push.socket("channel=a", origin=origin).close()
                assert push.events("channel=a", Origin=origin).answer.headers["Vary"] == "Origin"
                continue
            with pytest.raises(InvalidStatus):
                push.socket("channel=a", origin=origin)
            with pytest.raises(urllib.error.HTTPError):
                push.events("channel=a", Origin=origin)
        got, _, fields = push.ask(
            "/publish?channel=a", method="OPTIONS", Origin=app,
            Access_Control_Request_Method="POST",
        )  # fmt: skip
        assert got == 204 and "POST" in fields["access-control-allow-methods"]
        assert "Authorization" in fields["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--publish-token", "short"], "can be guessed"),
        (["--publish-token", "x" * 20, "--publish-token-file", "f"], "one of the two"),
        (["--publish-token", "\xe9" * 20], "ASCII"),
        (["--publish-token-file", "{world}"], "everybody may read it"),
        (["--secret-file", "{short}"], "can be guessed"),
        (["--secret-file", "{short}", "--public-key", "{short}"], "one of the two"),
        (["--public-key", "{short}"], "no public key"),
        (["--anonymous", "subscribe"], "nobody needs one"),
        (["--origin", "app.example.com"], "no origin"),
        (["--origin", "https://app.example.com/path"], "no origin"),
        (["--history", "1M"], "0 to 100,000"),
        (["--message-max", "1G"], "too large"),
        (["--channels-max", "0"], "too small"),
        (["--ping", "10ms"], "1s or more"),
        (["--listen", "http://127.0.0.1:{taken}"], "in use"),
    ],
)
def test_options_that_cannot_be_meant(
    tmp_path: Path, refusing: PushServer, arguments: list[str], said: str
) -> None:
    for name, text, mode in (("world", "x" * 40, 0o644), ("short", "short", 0o600)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
    names = {name: str(tmp_path / name) for name in ("world", "short")}
    words = [each.format(taken=refusing.port, **names) for each in arguments]
    done = run("serve", "push", *words)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) <= 3


# --- other publishers -----------------------------------------------------------------------------


def test_a_program_publishes_from_its_threads() -> None:
    port = free_ports(1)
    push = c1m.Push(history=10)
    server = c1m.Server(push, f"http://127.0.0.1:{port}")
    thread = threading.Thread(target=server.run, daemon=True)
    push.publish("a", "before it runs")
    thread.start()
    try:
        stream = Events(f"http://127.0.0.1:{port}/events?channel=a&since=x-1", {})
        assert stream.next() == ("missed", '{"channels": ["a"], "why": "unknown"}')
        assert stream.next() == ("message", "before it runs")
        assert push.publish("a", b"\xff") and push.publish("a", "text", event="e")
        assert stream.next() == ("binary", "/w==")
        assert stream.next() == ("e", "text")
        for wrong in (("", "x"), ("a", "x" * (1 << 21))):
            with pytest.raises(c1m.UsageError):
                push.publish(*wrong)
    finally:
        server.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_publishes_and_listens(tmp_path: Path) -> None:
    with PushServer(tmp_path) as push:
        curl = ["curl", "--silent", "--show-error", "--no-buffer", "--max-time", str(PATIENCE_S)]
        listening = subprocess.Popen(
            [*curl, f"{push.url}/events?channel=a&since=x-1"], stdout=subprocess.PIPE, text=True
        )
        done = subprocess.run(
            [*curl, "--data-binary", "hello", f"{push.url}/publish?channel=a"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert listening.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "data: hello\n":
            lines.append(listening.stdout.readline())
        assert f"id: {json.loads(done.stdout)['id']}\n" in lines
        listening.terminate()
        listening.wait()
        listening.stdout.close()
