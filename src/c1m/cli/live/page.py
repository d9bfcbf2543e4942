"""The dashboard as a web page: snapshots go out as server-sent events to every open browser.

A thread of the observer's process serves it, with the code of the push server below: the run does
not notice. A browser that comes late gets the run so far first, as rows, and then each snapshot.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import Any

import numpy as np

from c1m.cli.live.prometheus import parse_address
from c1m.errors import UsageError
from c1m.protocols import sse
from c1m.protocols.http.requests import Request
from c1m.protocols.http.responses import Response, text
from c1m.server.server import Server
from c1m.units import NS_PER_S
from c1m.web.app import STREAM, WebApp
from c1m.web.pages import page

CONNECTIONS_MAX = 256
ROWS_MAX = 1024  # of the past; beyond it every other one goes
DRAIN_NS = 4 * NS_PER_S  # at most, for the last news when the run has ended
JOIN_S = 5.0
_FIELDS = ("elapsed_s", "open", "right_per_s", "rate_asked_per_s")
_PERCENTILES = ("p50", "p99", "max")  # of the last second

News = dict[str, Any]


class Past:
    """What is plotted over time of the run so far, as rows; bounded."""

    def __init__(self) -> None:
        self.rows: list[list[float | None]] = []

    def add(self, snapshot: News) -> None:
        """A snapshot's figures; one that is not later than the last one replaces it."""
        recent = snapshot["recent_ns"]
        row = [snapshot[name] for name in _FIELDS] + [recent.get(name) for name in _PERCENTILES]
        if self.rows and row[0] <= (self.rows[-1][0] or 0):
            self.rows.pop()
        self.rows.append(row)
        if len(self.rows) > ROWS_MAX:
            self.rows = self.rows[1::2]


class LiveApp(WebApp):
    """Serves the page at / and events at /events.

    `news` are dicts: snapshots as they come, at the end one with the key "verdict". They are put
    there by another thread, which then wakes the server. A browser that does not read is dropped,
    as by every WebApp; if it comes again it gets the whole past.
    """

    def __init__(self) -> None:
        super().__init__()
        self.news: deque[News] = deque()
        self._page = page("c1m.cli.live", "page.html")
        self._past = Past()
        self._latest: dict[str, bytes] = {}  # the latest event of each name

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        """See WebApp."""
        if request.head.method not in (b"GET", b"HEAD"):
            return text(405, "There is nothing to change here.", ("Allow", "GET, HEAD"))
        if request.head.path == "/":
            return self._page
        if request.head.path == "/events":
            self.stream(slot, server, _event("past", self._past.rows))
            for event in self._latest.values():
                self.say(slot, event, server)
            return None
        return text(404, "The page is at /.")

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        """Send what is new."""
        due_ns = super().on_tick(now_ns, server)
        while self.news:
            news = self.news.popleft()
            name = "verdict" if "verdict" in news else "now"
            if name == "now":
                self._past.add(news)
            event = self._latest[name] = _event(name, news)
            self.say(np.flatnonzero(self.kinds == STREAM).astype(np.int32), event, server)
        return due_ns


def _event(name: str, said: Any) -> bytes:
    return sse.event(json.dumps(said, separators=(",", ":"), allow_nan=False).encode(),
                     name=name.encode())  # fmt: skip


class LivePage:
    """Serves the page at http://HOST:PORT/ in a thread until `close`.

    Port 0 takes a free one, which `url` names. Raises UsageError where it cannot listen there.
    """

    def __init__(self, address: str) -> None:
        host, port = parse_address(address, "--live")
        shown = f"[{host}]" if ":" in host else host
        self._app = LiveApp()
        try:
            self._server = Server(
                self._app, f"tcp://{shown}:{port}", engine="epoll",
                connections_max=CONNECTIONS_MAX, drain_ns=DRAIN_NS,
            )  # fmt: skip
        except UsageError as error:
            raise UsageError(
                f"The page cannot be served at {address}: {error.message}",
                "Give another address with --live.",
            ) from None
        self.url = f"{self._server.endpoints[0]}/".replace("tcp:", "http:")
        self._thread = threading.Thread(target=self._server.run, name="page", daemon=True)
        self._thread.start()

    def add(self, news: News) -> None:
        """A snapshot, or the verdict, for all who look."""
        self._app.news.append(news)
        self._server.wake()

    def close(self) -> None:
        """Send what is left, and serve no longer."""
        self._server.stop()
        self._thread.join(JOIN_S)
