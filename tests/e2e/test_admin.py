"""--admin of every server: what operators see, also of a server that is stuck, full or stopping."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import c1m
from c1m.addresses import AF_INET, Endpoint
from c1m.errors import UsageError
from c1m.server import admin as admin_module
from c1m.server.figures import FIGURES, OF_PROCESS
from c1m.serving import server_of
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving, talk

ANY = "127.0.0.1:0"


class Echo(c1m.App):
    """Sends back, and has a figure of its own."""

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)

    def figures(self, server: c1m.Server) -> Any:
        return {"orders": (c1m.Figure("orders", 'So "many"\\\n', "of"), {'a "b"\\\n': 3})}


class Protocol(asyncio.Protocol):
    """Sends back."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def look(run: ServerThread, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body."""
    admin = run.server.operators.admin
    assert admin is not None
    request = urllib.request.Request(admin.url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(params=[("uring", Echo()), ("epoll", Echo()), ("uring", Protocol)])
def run(request: pytest.FixtureRequest) -> Iterator[ServerThread]:
    engine, app = request.param
    with serving(app, engine=engine, admin=ANY) as running:
        yield running


def test_pages(run: ServerThread) -> None:
    assert look(run, "/healthz") == (200, "ok\n")
    assert look(run, "/readyz") == (200, "ready\n")
    assert look(run, "/")[0] == 200 and "/metrics" in look(run, "/nothing")[1]
    assert look(run, "/nothing")[0] == 404
    assert look(run, "/healthz", "HEAD") == (200, "")
    assert look(run, "/healthz", "POST")[0] == 405
    for query in (
        "sort=x",
        "limit=0",
        "limit=x",
        "limit=99999",
        "limit=00000000100000",
        "format=x",
    ):
        assert look(run, f"/connections?{query}")[0] == 400


def test_metrics_are_those_of_the_table(run: ServerThread) -> None:
    with talk(run, 1000):
        eventually(lambda: run.server.statistics.live == 1, "it is there")
        status, text = look(run, "/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    of_all = {**FIGURES, **OF_PROCESS}.values()
    own = {"orders"} if isinstance(run.server, c1m.Server) else set()
    assert set(families) == {figure.metric.removesuffix("_total") for figure in of_all} | own
    for figure in of_all:
        assert families[figure.metric.removesuffix("_total")].type == figure.kind
    [opened] = families["c1m_connections_opened"].samples
    assert opened.value == 1
    [received] = families["c1m_received_bytes"].samples
    assert received.value == 1000
    if own:
        [sample] = families["orders"].samples
        assert (sample.labels, sample.value) == ({"of": 'a "b"\\\n'}, 3)


def test_connections_and_what_they_have(run: ServerThread) -> None:
    socks = {size: talk(run, size) for size in (10, 5000, 200)}
    names = {size: "{}:{}".format(*sock.getsockname()) for size, sock in socks.items()}

    def rows(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(look(run, f"/connections?{query}")[1])[
            "connections"
        ]
        return found

    eventually(lambda: sum(row["sent"] for row in rows("sort=sent")) == 5210, "all has been sent")
    first, second = rows("sort=received&limit=2")
    assert (first["peer"], first["received"], first["sent"]) == (names[5000], 5000, 5000)
    assert (second["peer"], second["received"], second["unsent"]) == (names[200], 200, 0)
    assert {row["peer"] for row in rows("sort=age")} == set(names.values())
    assert rows("sort=unsent") == []
    text = look(run, "/connections?sort=sent&format=text")[1]
    assert text.startswith("3 connections") and names[10] in text
    for sock in socks.values():
        sock.close()
    eventually(lambda: rows("sort=age") == [], "they have gone")


def test_who_does_not_read_is_first_by_unsent(run: ServerThread) -> None:
    with talk(run, 1), socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((run.host, run.port))
        sock.setblocking(False)

        def unsent() -> bool:
            with contextlib.suppress(BlockingIOError):
                sock.send(b"x" * 65536)
            rows = json.loads(look(run, "/connections?sort=unsent")[1])["connections"]
            return bool(rows) and rows[0]["unsent"] > 0 and len(rows) == 1

        eventually(unsent, "it has something unsent")


class Stuck(Echo):
    """Does not return from a callback until it is let go."""

    def __init__(self) -> None:
        self.is_in, self.may_go = threading.Event(), threading.Event()

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        self.is_in.set()
        self.may_go.wait(WAIT_S)


def test_a_loop_that_does_not_tick_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Stuck()
    monkeypatch.setattr(admin_module, "ANSWER_S", 0.05)
    with serving(app, admin=ANY) as run:
        assert look(run, "/healthz")[0] == 200
        with socket.create_connection((run.host, run.port), WAIT_S) as sock:
            sock.sendall(b"x")
            assert app.is_in.wait(WAIT_S)
            assert look(run, "/healthz")[0] == 200  # not for long
            run.server.operators.admin._pulse_ns -= 11 * 10**9
            status, said = look(run, "/healthz")
            assert status == 503 and said.startswith("The loop has not ticked for 11 s")
            for page in ("/metrics", "/readyz", "/connections", "/stats"):
                assert look(run, page)[0] == 503
            app.may_go.set()
            eventually(lambda: look(run, "/healthz")[0] == 200, "it ticks again")


def test_one_that_is_full_is_not_ready() -> None:
    with serving(Echo(), admin=ANY, connections_max=1) as run, talk(run, 1):
        eventually(lambda: look(run, "/readyz")[0] == 503, "it is full")
        assert look(run, "/readyz")[1].startswith("It is full: 1 connections, room for 1.")
        assert look(run, "/healthz")[0] == 200


class Last(Echo):
    """Is not done until it is let go."""

    may_end = False

    def is_done(self, server: c1m.Server) -> bool:
        return self.may_end


def test_one_that_stops_answers_and_is_not_ready() -> None:
    app = Last()
    with serving(app, admin=ANY, drain_ns=WAIT_S * 10**9) as run:
        run.server.stop()
        eventually(lambda: look(run, "/readyz") == (503, "It is stopping.\n"), "it drains")
        assert look(run, "/healthz")[0] == 200 and '"draining": 1' in look(run, "/stats")[1]
        app.may_end = True


def test_figures_that_fail_are_said() -> None:
    class Broken(Echo):
        def figures(self, server: c1m.Server) -> Any:
            raise KeyError("oops")

    with serving(Broken(), admin=ANY) as run:
        assert look(run, "/metrics") == (500, "KeyError: 'oops'\n")
        assert look(run, "/readyz")[0] == 200


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with serving(Echo(), admin=f"unix://{path}"), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with sock.makefile("rb") as file:
            assert file.read().endswith(b"\r\n\r\nok\n")
    assert not path.exists()


@pytest.mark.parametrize("app", [Echo(), Protocol])
def test_what_cannot_be_listened_on(app: Any) -> None:
    with serving(Echo(), admin=ANY) as run:
        for place, said in (
            (run.server.operators.admin.url, "is in use"),
            ("127.0.0.1:1-3", "is not one plain place"),
            ("tcp+proxy://127.0.0.1:1", "is not one plain place"), ("nonsense", "--admin: "),
        ):  # fmt: skip
            with pytest.raises(UsageError, match=r"^--admin: ") as caught:
                server_of(app, "tcp://127.0.0.1:0", admin=place)
            assert said in str(caught.value)


def test_who_listens_for_others_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Echo(), admin="0.0.0.0:0") as run:
        eventually(lambda: run.server.pulse > 0, "it has begun")
    [said] = [r for r in caplog.records if r.event == "admin-for-others"]  # type: ignore[attr-defined]
    assert "which is no loopback address" in said.getMessage()


def test_without_a_thread_it_is_not_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(UsageError, match="--admin: no thread is to be had"):
        admin_module.Admin(None, Endpoint(AF_INET, "127.0.0.1", 0))


def test_clients_that_ask_byte_by_byte_keep_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are places, each in time for every byte and never done."""
    monkeypatch.setattr(admin_module, "PATIENCE_S", 1.0)
    with serving(Echo(), admin=ANY) as run, contextlib.ExitStack() as opened:
        endpoint = run.server.operators.admin.endpoint
        slow = [
            opened.enter_context(socket.create_connection((endpoint.host, endpoint.port), WAIT_S))
            for _ in range(admin_module.AT_ONCE)
        ]
        is_over = threading.Event()

        def ask() -> None:
            for each in slow:
                each.sendall(b"GET /")
            while not is_over.wait(0.05):
                for each in slow:
                    with contextlib.suppress(OSError):
                        each.sendall(b"x")

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            eventually(lambda: len(run.server.operators.admin._served) > 0, "they are served")
            assert look(run, "/healthz") == (200, "ok\n")
        finally:
            is_over.set()
            asking.join()


@pytest.mark.parametrize("limit", ["0000000011000000", "1" * 5000, "0", "1001", "-1", ""])
def test_limits_that_are_none(run: ServerThread, limit: str) -> None:
    status, _ = look(run, f"/connections?limit={limit}")
    assert status == (400 if limit else 200)  # as if there were none
