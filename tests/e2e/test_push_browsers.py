"""Two hundred subscribers in a real browser, half of them WebSockets and half EventSources.

Chromium opens at most six connections to a host by HTTP/1.1: each tab has a host of its own.
"""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from e2e.cli_helpers import Server, free_ports
from e2e.devtools import Browser, Page

TABS = 20
EACH = 5  # of both kinds in a tab
MESSAGES = 30  # of each burst; the server keeps more

# What a page of somebody else would do: `came` has a list of messages for each subscriber.
SUBSCRIBE = """
const came = Array.from({ length: 2 * EACH }, () => []);
let opened = 0;
function webSocket(to, since) {
  const url = `ws://${location.host}/connect?channel=many&form=json&since=${since}`;
  const socket = new WebSocket(url);
  socket.onopen = () => { opened += 1; };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.channel !== "many") return;
    since = message.id;
    to.push(message.data);
  };
  socket.onclose = () => { setTimeout(() => webSocket(to, since), 100); };
}
function eventSource(to) {
  const source = new EventSource("/events?channel=many");
  source.onopen = () => { opened += 1; };
  source.onmessage = ({ data }) => { to.push(data); };
}
for (let i = 0; i < EACH; i += 1) {
  webSocket(came[i], "0-0");
  eventSource(came[EACH + i]);
}
"""


def publish(url: str, texts: list[str]) -> None:
    for text in texts:
        with urllib.request.urlopen(
            f"{url}/publish?channel=many", data=text.encode(), timeout=60
        ) as answer:
            answer.read()


def check(tabs: list[Page], wanted: list[str]) -> None:
    """Each of all subscribers has had these messages, in this order, each once."""
    whole = json.dumps(wanted)
    for tab in tabs:
        tab.wait_for(f"came.every((each) => each.length >= {len(wanted)})")
        wrong: list[Any] = tab.value(f"came.filter((each) => JSON.stringify(each) !== {whole!r}"
                                     ".replaceAll(', ', ','))")  # fmt: skip
        assert wrong == []


def test_two_hundred_subscribers_miss_nothing_over_a_restart(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_ports(1)
    hosts = [f"127.0.0.{number}" for number in range(1, TABS + 1)]
    listen = [f"tcp://{host}:{port}" for host in hosts]
    url = f"http://{hosts[0]}:{port}"
    bursts = [[f"{when} {number}" for number in range(MESSAGES)] for when in ("before", "after")]
    server = Server(tmp_path, "--page", "--quiet", app="push", listen=listen)
    with ExitStack() as stack:
        tabs = [stack.enter_context(browser.open(f"http://{host}:{port}/")) for host in hosts]
        for tab in tabs:
            tab.value(SUBSCRIBE.replace("EACH", str(EACH)))
            tab.wait_for(f"opened === {2 * EACH}")
        publish(url, bursts[0])
        check(tabs, bursts[0])
        assert server.stop() == 0
        server = Server(tmp_path, "--page", "--quiet", app="push", listen=listen)
        publish(url, bursts[1])  # most of them are not back yet
        check(tabs, bursts[0] + bursts[1])
        for tab in tabs:  # each came back once
            assert tab.value("opened") == 4 * EACH
    assert server.stop() == 0
    assert server.figures()["peak"] >= 2 * EACH * TABS
