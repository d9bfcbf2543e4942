"""Two hundred subscribers in a real browser, half of them WebSockets and half EventSources.

Chromium opens at most six connections to a host and port by HTTP/1.1, so the server listens on
many. The page is of another origin than most of them, which has to be allowed.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from e2e.cli_helpers import Server, free_ports
from e2e.devtools import Browser, Page

PORTS = 20
EACH = 5  # of both kinds on a port
MESSAGES = 30  # of each burst; the server keeps more

# What a page of somebody else would do: `came` has a list of messages for each subscriber.
SUBSCRIBE = """
const came = [];
let opened = 0;
function webSocket(place, to, since) {
  const url = `ws://${place}/connect?channel=many&form=json&since=${since}`;
  const socket = new WebSocket(url);
  socket.onopen = () => { opened += 1; };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    since = message.id ?? since;
    if (message.channel === "many") to.push(message.data);
  };
  socket.onclose = () => { setTimeout(() => webSocket(place, to, since), 100); };
}
function eventSource(place, to) {
  const source = new EventSource(`http://${place}/events?channel=many`);
  source.onopen = () => { opened += 1; };
  source.onmessage = ({ data }) => { to.push(data); };
}
for (let i = 0; i < PORTS * EACH; i += 1) {
  const place = `${location.hostname}:${Number(location.port) + i % PORTS}`;
  came.push([], []);
  webSocket(place, came.at(-2), "");
  eventSource(place, came.at(-1));
}
"""


def publish(url: str, texts: list[str]) -> None:
    """All of these, in one request."""
    lines = "\n".join(json.dumps({"channel": "many", "data": text}) for text in texts)
    request = urllib.request.Request(f"{url}/publish", data=lines.encode())
    request.add_header("Content-Type", "application/x-ndjson")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert len(json.loads(answer.read())["ids"]) == len(texts)


def check(page: Page, wanted: list[str]) -> None:
    """Each of all subscribers has had these messages, in this order, each once."""
    page.wait_for(f"came.every((each) => each.length >= {len(wanted)})")
    had: list[Any] = page.value("[...new Set(came.map((each) => JSON.stringify(each)))]")
    assert [json.loads(each) for each in had] == [wanted]


def test_two_hundred_subscribers_miss_nothing_over_a_restart(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_ports(PORTS)
    url = f"http://127.0.0.1:{port}"
    listen = [f"tcp://127.0.0.1:{port}-{port + PORTS - 1}"]
    options = ("--page", "--origin", url, "--quiet")
    bursts = [[f"{when} {number}" for number in range(MESSAGES)] for when in ("before", "after")]
    count = 2 * EACH * PORTS
    with browser.open("about:blank") as page:
        with Server(tmp_path, *options, app="push", listen=listen) as server:
            page.go(f"{url}/nothing")  # a page without a policy of its own
            page.value(SUBSCRIBE.replace("EACH", str(EACH)).replace("PORTS", str(PORTS)))
            page.wait_for(f"opened === {count}")
            publish(url, bursts[0])
            check(page, bursts[0])
            assert server.stop() == 0
            assert server.figures()["peak"] >= count
        with Server(tmp_path, *options, app="push", listen=listen) as server:
            publish(url, bursts[1])  # most of them are not back yet
            check(page, bursts[0] + bursts[1])
            page.wait_for(f"opened === {2 * count}")  # each came back once
            assert server.stop() == 0


def test_a_page_of_another_origin_is_refused(browser: Browser, tmp_path: Path) -> None:
    with Server(tmp_path, "--quiet", app="push") as server:
        place = server.url.removeprefix("tcp://")
        other = server.url.replace("tcp://127.0.0.1", "http://localhost")
        with browser.open(f"{other}/nothing") as page:
            socket = f"new WebSocket('ws://{place}/connect?channel=many')"
            source = f"new EventSource('http://{place}/events?channel=many')"
            for made in (socket, source):
                refused = f"new Promise((done) => {{ ({made}).onerror = () => done(true); }})"
                assert page.value(refused)
        assert server.stop() == 0
