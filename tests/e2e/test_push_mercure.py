"""Mercure on the push server: what is written for a hub of it, over real sockets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from websockets.sync.client import connect

from c1m.apps.push.push import Push
from conformance.obtaining import BUILD, CannotBeHad, site
from e2e.devtools import Browser
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving

SECRET = b"0123456789abcdef0123456789abcdef"
PATH = "/.well-known/mercure"
PACKAGES = ("eventsource@^4", "event-source-polyfill@^1")
INSTALL_S = 300


def signed(**claims: Any) -> str:
    return jwt.encode(claims, SECRET, "HS256")


def mercure(subscribe: list[str] | None = None, publish: list[str] | None = None) -> str:
    return signed(mercure={"subscribe": subscribe or [], "publish": publish or []})


PUBLISHER = mercure(publish=["*"])


class Stream:
    """A subscriber: `next` is the next event, its fields by name."""

    def __init__(self, port: int, query: str, token: str = "", **fields: str) -> None:
        self._client = HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        if token:
            fields["Authorization"] = f"Bearer {token}"
        self._client.request("GET", f"{PATH}?{query}", headers=fields)
        self.response: HTTPResponse = self._client.getresponse()

    @property
    def status(self) -> int:
        return self.response.status

    def next(self) -> dict[str, str]:
        event: dict[str, str] = {}
        while line := self.response.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                event[name] = f"{event[name]}\n{value}" if name in event else value
            elif "data" in event:
                return event
            else:
                event = {}  # of the connection: retry
        raise AssertionError("the stream has ended")

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._client.close()


class Hub:
    """A running server."""

    def __init__(self, run: ServerThread) -> None:
        self.port = run.port

    def subscribe(self, *topics: str, token: str = "", **fields: str) -> Stream:
        query = urlencode([("topic", topic) for topic in topics])
        return Stream(self.port, query, token, **fields)

    def post(self, *fields: tuple[str, str], token: str = PUBLISHER, **headers: str) -> Any:
        client = HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        client.request("POST", PATH, urlencode(fields), headers)
        response = client.getresponse()
        said = response.status, response.read().decode(), response.headers
        client.close()
        return said

    def publish(self, topic: str, data: str, *fields: tuple[str, str]) -> str:
        status, said, _ = self.post(("topic", topic), ("data", data), *fields)
        assert status == 200, said
        return str(said)


def started(tmp_path: Path, **options: Any) -> Iterator[Hub]:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    with serving(Push(secret_file=str(secret), **options)) as run:
        eventually(lambda: hasattr(run.server.app, "_owner"), "it has begun")
        yield Hub(run)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    yield from started(tmp_path, anonymous="subscribe", origin=["https://app.example"])


PRIVATE = ("private", "on")


def test_topics_templates_and_everything(hub: Hub) -> None:
    with hub.subscribe("a", "/b/{id}") as some, hub.subscribe("*") as all:
        hub.publish("a", "1")
        hub.publish("c", "2")
        hub.publish("/b/7", "3", ("topic", "a"), ("type", "t"), ("id", "urn:x:3"), ("retry", "50"))
        hub.publish("c", "4", ("topic", "/b/8"))
        assert [some.next()["data"] for _ in range(3)] == ["1", "3", "4"]
        assert [all.next()["data"] for _ in range(2)] == ["1", "2"]
        event = {"id": "urn:x:3", "event": "t", "retry": "50", "data": "3"}
        assert all.next() == event
        assert all.next()["data"] == "4"


def test_what_is_private_is_for_those_whose_token_names_a_topic_of_it(hub: Hub) -> None:
    users = mercure(["/users/{id}"])
    with (
        hub.subscribe("*") as anonymous,
        hub.subscribe("*", token=mercure(["/users/8"])) as other,
        hub.subscribe("/books/{id}", token=users) as reader,
    ):
        hub.publish("/books/1", "for users", ("topic", "/users/7"), PRIVATE)
        hub.publish("/books/2", "for nobody", PRIVATE)
        hub.publish("/books/3", "for all")
        assert anonymous.next()["data"] == other.next()["data"] == "for all"
        assert reader.next()["data"] == "for users"
        assert reader.next()["data"] == "for all"
    for token, expected in ((users, ["for users", "for all"]), ("", ["for all"])):
        with hub.subscribe("*", token=token, **{"Last-Event-ID": "earliest"}) as late:
            assert [late.next()["data"] for _ in expected] == expected


def test_what_is_private_does_not_reach_a_websocket_without_a_token(hub: Hub) -> None:
    url = f"ws://127.0.0.1:{hub.port}/connect?channel=a"
    token = signed(channels=["a"])
    with connect(url) as nobody, connect(f"{url}&token={token}") as somebody:
        hub.publish("a", "for the named", PRIVATE)
        hub.publish("a", "for all")
        assert nobody.recv(WAIT_S) == "for all"
        assert somebody.recv(WAIT_S) == "for the named"


def test_what_was_missed_comes_first(hub: Hub) -> None:
    first = hub.publish("/b/1", "1", ("id", "urn:x:1"))
    assert first == "urn:x:1"
    second = hub.publish("/b/2", "2")
    hub.publish("/b/3", "3")
    for query, fields, data in (
        (urlencode({"topic": "/b/{id}", "lastEventID": first}), {}, ["2", "3", "4"]),
        ("topic=/b/3&last_event_id=" + second, {}, ["3"]),
        ("topic=/b/2&lastEventID=x", {"Last-Event-ID": first}, ["2"]),
    ):
        with Stream(hub.port, query, **fields) as stream:
            asked = fields.get("Last-Event-ID", first if "urn" in query else second)
            assert stream.response.headers["Last-Event-ID"] == asked
            if "4" in data:
                hub.publish("/b/4", "4")
            assert [stream.next()["data"] for _ in data] == data
    with Stream(hub.port, "topic=/b/1&lastEventID=nobodys") as stream:
        assert stream.response.headers["Last-Event-ID"] == "earliest"
        assert stream.next()["data"] == "1"


def test_who_may_what(hub: Hub, tmp_path: Path) -> None:
    named = mercure(publish=["/b/{id}"])
    assert hub.post(("topic", "/b/1"), token=named)[0] == 200
    assert hub.post(("topic", "/b/1"), ("topic", "/c"), token=named)[0] == 403
    status, _, fields = hub.post(("topic", "a"), token="")
    assert (status, fields["WWW-Authenticate"]) == (401, "Bearer")
    status, _, fields = hub.post(("topic", "a"), token=named + "x")
    assert (status, fields["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert hub.post(("data", "x"))[0] == 400
    for closed in started(tmp_path):
        with closed.subscribe("a") as nobody, closed.subscribe("a", token=mercure()) as somebody:
            assert (nobody.status, somebody.status) == (401, 200)


def test_a_token_in_the_cookie_needs_a_page_that_is_named(hub: Hub) -> None:
    cookie = {"Cookie": f"mercureAuthorization={PUBLISHER}"}
    for origin, status in (
        ("https://app.example", 200), (f"http://127.0.0.1:{hub.port}", 200),
        ("https://evil.example", 403),
    ):  # fmt: skip
        assert hub.post(("topic", "a"), token="", Origin=origin, **cookie)[0] == status
    assert hub.post(("topic", "a"), token="", **cookie)[0] == 401
    reader = {"Cookie": f"mercureAuthorization={mercure(['a'])}"}
    with hub.subscribe("a", **reader) as stream:
        hub.publish("a", "x", PRIVATE)
        assert stream.next()["data"] == "x"


def test_what_is_published_otherwise_is_heard_by_those_who_may(tmp_path: Path) -> None:
    """With tokens for subscribers, too: a channel is not open to whoever has some token."""
    for hub in started(tmp_path):
        with hub.subscribe("*", token=signed(channels=["a"])) as stream:
            client = HTTPConnection("127.0.0.1", hub.port, timeout=WAIT_S)
            token = signed(publish=["*"])
            for channel in "ba":
                client.request(
                    "POST", f"/publish?channel={channel}", channel,
                    {"Authorization": f"Bearer {token}"},
                )  # fmt: skip
                client.getresponse().read()
            assert stream.next()["data"] == "a"
            client.close()


def test_the_connection_ends_with_the_token(tmp_path: Path) -> None:
    for hub in started(tmp_path):
        token = signed(exp=int(time.time()) + 2, channels=["a"])
        url = f"ws://127.0.0.1:{hub.port}/connect?channel=a&token={token}"
        with hub.subscribe("a", token=token) as stream, connect(url) as web:
            assert stream.status == 200
            with pytest.raises(AssertionError, match="the stream has ended"):
                stream.next()
            with pytest.raises(Exception, match="3000"):
                web.recv(WAIT_S)


def test_the_page_tells_of_the_hub(tmp_path: Path) -> None:
    with serving(Push(page=True)) as run:
        client = HTTPConnection("127.0.0.1", run.port, timeout=WAIT_S)
        client.request("GET", "/")
        response = client.getresponse()
        assert response.headers["Link"] == f'<{PATH}>; rel="mercure"'
        client.close()


# --- clients of others ------------------------------------------------------------------------

LISTEN = """
(() => {
  window.heard = [];
  document.cookie = "mercureAuthorization=%s";
  const url = new URL("/.well-known/mercure", location.href);
  url.searchParams.append("topic", "/u/{id}");
  window.source = new EventSource(url, { withCredentials: true });
  source.onmessage = (event) => heard.push([event.lastEventId, event.data]);
})()
"""


def test_a_browser_with_its_cookie(tmp_path: Path, browser: Browser) -> None:
    """EventSource has no other way to say a token."""
    for hub in started(tmp_path, page=True):
        with browser.open(f"http://127.0.0.1:{hub.port}/") as page:
            page.value(LISTEN % mercure(["/u/{id}"]))
            page.wait_for("source.readyState === EventSource.OPEN")
            first = hub.publish("/u/1", "private", PRIVATE)
            page.wait_for("heard.length === 1")
            assert page.value("heard") == [[first, "private"]]


@cache
def installed() -> Path:
    """A directory with the packages in it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    where = BUILD / "npm-mercure"
    stamp = where / ".installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        where.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(where), "--no-audit", "--no-fund", *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
        if done.returncode != 0:
            pytest.skip(f"npm could not install {PACKAGES}: {done.stderr.strip()[-300:]}")
        stamp.write_text(" ".join(PACKAGES))
    shutil.copy(Path(__file__).parent / "node" / "with_eventsource.mjs", where)
    return where


@pytest.mark.conformance
@pytest.mark.timeout(INSTALL_S + WAIT_S)
@pytest.mark.parametrize("package", ["eventsource", "event-source-polyfill"])
def test_event_source_of_npm(hub: Hub, package: str) -> None:
    """It subscribes by a template with a token, publishes by fetch, and resumes."""
    said = {"port": hub.port, "publisher": PUBLISHER, "subscriber": mercure(["/u/{id}"])}
    done = subprocess.run(
        ["node", str(installed() / "with_eventsource.mjs"), package, json.dumps(said)],
        capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr


PUBLISHES = r"""
import sys
import httpx, sseclient
from mercure_publisher import MercureConfig, MercurePublisher

hub = f"http://127.0.0.1:{sys.argv[1]}/.well-known/mercure"
config = MercureConfig(hub, sys.argv[2], ["/books/{id}"])
with httpx.stream("GET", hub, params={"topic": ["/books/{id}", "x"]}, timeout=30) as stream:
    with MercurePublisher(config) as publisher:
        id = publisher.publish(["/books/1", "/books/2"], "two\nlines", type="new", retry=500)
        publisher.publish("/books/3", "private", private=True)
        publisher.publish("/books/3", "last", id="urn:x:3")
    events = sseclient.SSEClient(stream.iter_bytes()).events()
    first, last = next(events), next(events)
assert (first.id, first.event, first.data) == (id, "new", "two\nlines"), first
assert int(first.retry) == 500
assert (last.id, last.event, last.data) == ("urn:x:3", "message", "last")
print("all right")
"""


@pytest.mark.conformance
@pytest.mark.timeout(INSTALL_S + WAIT_S)
def test_mercure_publisher_and_sseclient_of_pypi(hub: Hub) -> None:
    try:
        there = site(sys.executable, ["mercure-publisher", "sseclient-py", "httpx"], "site-mercure")
    except CannotBeHad as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [sys.executable, "-c", PUBLISHES, str(hub.port), SECRET.decode()],
        capture_output=True, text=True, timeout=WAIT_S,
        env={**os.environ, "PYTHONPATH": str(there)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr
