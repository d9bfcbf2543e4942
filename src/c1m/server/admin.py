"""What operators look at, on a listener of its own: a thread beside the server.

    /healthz      200 while the loop ticks, 503 when it has not for STALLED_S
    /readyz       200 while it takes connections, 503 while it stops or is full
    /metrics      figures for Prometheus
    /stats        the same as JSON
    /connections  who is connected: ?sort=unsent|received|sent|age|silent&limit=20&format=text

Why a thread (ADR 32): a loop that is stuck cannot say so itself. What only the loop may touch is
asked for by `call_soon`, and given up after ANSWER_S. The hot path has no part in it. Whoever can
reach the listener can see all this: that is why it is to be on a loopback address or a unix socket.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from c1m.addresses import AF_UNIX, Endpoint
from c1m.clock import SystemClock
from c1m.errors import UsageError
from c1m.kernel.sockets import open_listeners
from c1m.server import connections_page
from c1m.server.connections_page import LIMIT_MAX, SORTS
from c1m.server.figures import (
    PAGES,
    PROMETHEUS,
    Figures,
    figures_of,
    nested,
    of_process,
    prometheus,
)
from c1m.units import NS_PER_S

STALLED_S = 10  # without a tick: it ticks ten times a second where nothing happens
ANSWER_S = 3.0  # for the loop to answer a question
PATIENCE_S = 5.0  # for a client to say what it wants; byte by byte, where others wait for its place
RETRY_S = 0.1
AT_ONCE = 8  # requests; further ones wait in the accept queue
BACKLOG = 16
JSON, TEXT = "application/json", "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """Of a request."""

    status: int
    body: bytes
    kind: str = TEXT


def said(status: int, line: str) -> Answer:
    """One line."""
    return Answer(status, line.encode() + b"\n")


class Seen(Protocol):
    """What pages show: of a server, or of one of several processes (server/whole.py)."""

    def why_not_ready(self) -> str:
        """Why no further connections are to be sent here; "" where they are welcome."""

    def figures(self) -> Figures:
        """All there are."""

    def connections(self, sort: str, limit: int) -> list[dict[str, Any]]:
        """The `limit` connections that come first by `sort`."""


class _OfServer:
    """Asks the server's thread."""

    def __init__(self, admin: Admin) -> None:
        self._ask = admin.ask

    def why_not_ready(self) -> str:
        return str(self._ask(why_not_ready))

    def figures(self) -> Figures:
        found: Figures = self._ask(figures_of)
        return found | of_process()

    def connections(self, sort: str, limit: int) -> list[dict[str, Any]]:
        return connections_page.top(self._ask, sort, limit)


class Admin:
    """Listens from now on, answers until `close`. Raises UsageError where it cannot listen."""

    def __init__(self, server: Any, endpoint: Endpoint) -> None:
        self._server = server
        self._seen: Seen = getattr(server, "view", None) or _OfServer(self)
        try:
            [self._listener] = open_listeners([endpoint], BACKLOG)
        except UsageError as error:
            raise UsageError(f"--admin: {error.message}", error.remedy) from None
        self.endpoint = self._listener.endpoint
        self._sock = socket.socket(fileno=os.dup(self._listener.fd))
        self._sock.setblocking(True)
        self._closed = threading.Event()
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._served: dict[int, tuple[socket.socket, int]] = {}  # by thread; since when
        self._pulse, self._pulse_ns = -1, SystemClock.now_ns()
        try:
            threading.Thread(target=self._accept, name="c1m-admin", daemon=True).start()
        except RuntimeError as why:  # Python's word for a thread that the kernel refuses
            self._sock.close()
            self._listener.close()
            raise UsageError(
                f"--admin: no thread is to be had ({why}).",
                "Raise ulimit -u (TasksMax=, pids.max).",
            ) from None

    @property
    def url(self) -> str:
        """Where its pages are."""
        scheme = "https" if self.endpoint.is_tls else "http"
        return str(replace(self.endpoint, scheme=scheme))

    @property
    def is_for_others(self) -> bool:
        """Whether other machines may reach it."""
        return (
            self.endpoint.family != AF_UNIX
            and not ipaddress.ip_address(self.endpoint.host).is_loopback
        )

    def close(self) -> None:
        """Answer no more. May be called twice."""
        if not self._closed.is_set():
            self._closed.set()
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # ends the accept that waits
            self._listener.close()

    # --- its thread, and one for each request -----------------------------------------------------

    def _accept(self) -> None:
        while not self._closed.is_set():
            if not self._places.acquire(timeout=RETRY_S):
                self._end_slow()
                continue
            try:
                sock, address = self._sock.accept()
            except OSError:  # of descriptors there may be some again later
                self._places.release()
                self._closed.wait(RETRY_S)
                continue
            try:
                threading.Thread(target=self._serve, args=(sock, address), daemon=True).start()
            except RuntimeError:  # no thread is to be had
                sock.close()
                self._places.release()
        self._sock.close()

    def _end_slow(self) -> None:
        for sock, since_ns in [*self._served.values()]:
            if SystemClock.now_ns() - since_ns > PATIENCE_S * NS_PER_S:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS has no say in it

    def _serve(self, sock: socket.socket, address: Any) -> None:
        since_ns = SystemClock.now_ns()
        try:
            sock.settimeout(PATIENCE_S)
            if self.endpoint.is_tls:
                context: ssl.SSLContext = self._server.security.context_of(
                    len(self._server.endpoints)
                )
                sock = context.wrap_socket(sock, server_side=True)
            self._served[threading.get_ident()] = sock, since_ns
            _Handler(sock, address, self)  # type: ignore[arg-type]
        except OSError:  # the client has gone, or was too slow
            pass
        finally:
            self._served.pop(threading.get_ident(), None)
            sock.close()
            self._places.release()

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """What `question(server)` returns in the server's thread. Raises TimeoutError."""
        future: Future[Any] = Future()

        def answer() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(question(self._server))
                except Exception as error:
                    future.set_exception(error)

        self._server.call_soon(answer)
        try:
            return future.result(ANSWER_S)
        finally:
            future.cancel()

    def answer(self, target: str) -> Answer:
        """Of a request to this path, whose query may be behind it."""
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query))
        page = _PAGES.get(path)
        if page is None:
            return said(404 if path != "/" else 200, f"There are here: {PAGES}.")
        try:
            return page(self, query)
        except UsageError as error:
            return said(400, str(error))
        except TimeoutError:
            return said(503, f"The loop has not answered for {ANSWER_S:.0f} s: it is busy.")

    # --- the pages --------------------------------------------------------------------------------

    def _health(self, query: dict[str, str]) -> Answer:
        pulse, now_ns = self._server.pulse, SystemClock.now_ns()
        if pulse != self._pulse:
            self._pulse, self._pulse_ns = pulse, now_ns
        seconds = (now_ns - self._pulse_ns) // NS_PER_S
        if seconds >= STALLED_S:
            return said(503, f"The loop has not ticked for {seconds} s.")
        return said(200, "ok")

    def _ready(self, query: dict[str, str]) -> Answer:
        why = self._seen.why_not_ready()
        return said(503, why) if why else said(200, "ready")

    def _metrics(self, query: dict[str, str]) -> Answer:
        return Answer(200, prometheus(self._seen.figures()), PROMETHEUS)

    def _stats(self, query: dict[str, str]) -> Answer:
        found = nested(self._seen.figures())
        return Answer(200, json.dumps(found, indent=1).encode() + b"\n", JSON)

    def _connections(self, query: dict[str, str]) -> Answer:
        sort, limit = query.get("sort", "unsent"), query.get("limit", "20")
        form = query.get("format", "json")
        if sort not in SORTS:
            raise UsageError(f"There is no sort {sort!r}.", f"Use {', '.join(SORTS)}.")
        is_number = limit.isascii() and limit.isdigit() and len(limit) < 9
        if not (is_number and 0 < int(limit) <= LIMIT_MAX):
            raise UsageError(f"The limit {limit!r} is none.", f"Give 1 to {LIMIT_MAX:,}.")
        if form not in ("json", "text"):
            raise UsageError(f"There is no format {form!r}.", "Use json or text.")
        rows = self._seen.connections(sort, int(limit))
        live = self._server.statistics.live
        if form == "text":
            return Answer(200, connections_page.as_text(rows, live, sort).encode())
        body = {"live": live, "sort": sort, "connections": rows}
        return Answer(200, json.dumps(body, indent=1).encode() + b"\n", JSON)


_PAGES: dict[str, Callable[[Admin, dict[str, str]], Answer]] = {
    "/healthz": Admin._health,
    "/readyz": Admin._ready,
    "/metrics": Admin._metrics,
    "/stats": Admin._stats,
    "/connections": Admin._connections,
}


def why_not_ready(server: Any) -> str:
    """Why no further connections are to be sent here; "" where they are welcome."""
    if server.is_stopping:
        return "It is stopping."
    statistics = server.update_statistics()
    there, room = statistics.live + statistics.opening, server.engine.room()
    if there >= room:
        return f"It is full: {there:,} connections, room for {room:,}."
    return ""


class _Handler(BaseHTTPRequestHandler):
    """One request; HTTP/1.0: the connection ends with it."""

    server: Admin  # type: ignore[assignment]

    def version_string(self) -> str:
        """In the header Server."""
        return "c1m"

    def do_GET(self) -> None:
        try:
            answer = self.server.answer(self.path)
        except Exception as error:  # of an application's figures
            answer = said(500, f"{type(error).__name__}: {error}")
        self._reply(answer)

    do_HEAD = do_GET  # noqa: N815

    def _reply(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """In one line, as everything here."""
        if code == 501:  # a method that there is not
            code, message = 405, "These are to be looked at only: GET and HEAD."
        self.close_connection = True
        self.command = self.command or ""
        self._reply(said(code, message or self.responses[code][0]))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who looks is no event."""
