"""`c1m load http://`: responses of every form, and servers that end connections in every way."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

import certificates
from e2e import counting_peers
from e2e.cli_helpers import assert_as_asked, load, run
from e2e.odd_servers import OddServer

LOOP = ("--connections", 8, "--hold", "300ms")
BODY = b"a body of some length\n" * 2000
SENT = 2000  # bytes at once


class Answers(OddServer):
    """Answers each request as its path says; counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self._asked: dict[int, bytes] = {}

    @property
    def target(self) -> str:
        return self.url.replace("tcp://", "http://")

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        asked = self._asked.get(number, b"") + data
        while (match := re.match(rb"(\w+) /(\S*) .*?\r\n\r\n", asked, re.DOTALL)) is not None:
            asked = asked[match.end() :]
            self.requests += 1
            sock.setblocking(True)
            goes_on = self.answer(sock, match[1], match[2])
            sock.setblocking(False)
            if not goes_on:
                self.end(sock)
                return
        self._asked[number] = asked

    def answer(self, sock: socket.socket, method: bytes, path: bytes) -> bool:
        """Whether the connection stays."""
        content = b"" if method == b"HEAD" else BODY
        sized = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)
        if path == b"chunked":
            chunks = [content[at : at + 7000] for at in range(0, len(content), 7000)]
            coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
            said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"
        elif path == b"none":
            said = b"HTTP/1.1 204 No Content\r\n\r\n"
        elif path == b"early":
            said = b"HTTP/1.1 103 Early Hints\r\n\r\n" + sized + b"\r\n" + content
        elif path == b"close":
            said = sized + b"Connection: close\r\n\r\n" + content
        elif path == b"to-the-end":
            said = b"HTTP/1.0 200 OK\r\n\r\n" + content
        else:
            said = sized + b"\r\n" + content
        for at in range(0, len(said), SENT):
            sock.sendall(said[at : at + SENT])
        return path not in (b"close", b"to-the-end")


class EndsAtTheSecond(Answers):
    """Answers one request on each connection, and ends it at the next without a word."""

    def __init__(self) -> None:
        super().__init__()
        self._answered: set[socket.socket] = set()

    def answer(self, sock: socket.socket, method: bytes, path: bytes) -> bool:
        if sock in self._answered:
            self._answered.discard(sock)
            self.requests -= 1
            return False
        self._answered.add(sock)
        return super().answer(sock, method, path)


FORMS = [
    ("length", "GET"), ("length", "HEAD"), ("chunked", "GET"), ("none", "DELETE"), ("early", "GET"),
    ("close", "GET"), ("close", "POST"), ("to-the-end", "GET"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ["uring", "epoll"])
@pytest.mark.parametrize(("path", "method"), FORMS)
def test_responses_of_every_form(tmp_path: Path, path: str, method: str, engine: str) -> None:
    body = "" if method == "HEAD" or path == "none" else BODY.decode()
    content = tmp_path / "content"
    content.write_bytes(body.encode())
    with Answers() as server:
        status, record, said = load(
            tmp_path, f"{server.target}/{path}", *LOOP, "--method", method, "--engine", engine,
            "--expect", f"@{content}",
        )  # fmt: skip
        assert_as_asked(status, record, said)
        c, everything = record.connections, record.all_requests
        assert (c.lost, c.closed, everything.repeated) == (0, 0, 0)
        assert (c.renewed > 0) == (path in ("close", "to-the-end"))
        assert sum(record.statuses.values()) == everything.sent == server.requests


CONVERSATION = """
import c1m

def talk(n):
    reply = yield c1m.Get("/length")
    assert reply.body
"""


@pytest.mark.parametrize("scenario", ["http", "{own}", "http=2,{own}=1"])
def test_what_was_not_answered_is_said_once_more(tmp_path: Path, scenario: str) -> None:
    own = tmp_path / "own.py"
    own.write_text(CONVERSATION)
    scenario = scenario.format(own=f"{own}:talk")
    with EndsAtTheSecond() as server:
        status, record, said = load(tmp_path, server.target, *LOOP, "--scenario", scenario)
        assert_as_asked(status, record, said)
        c, everything = record.connections, record.all_requests
        assert c.lost == 0 and c.renewed > 0 and everything.repeated > 0
        assert server.requests == everything.sent
        assert "200 OK" in said


class EndsAtTheFirst(Answers):
    """Ends each connection at its first request, a while later."""

    def answer(self, sock: socket.socket, method: bytes, path: bytes) -> bool:
        time.sleep(0.2)
        return False


def test_who_never_answers_is_not_asked_again(tmp_path: Path) -> None:
    with EndsAtTheFirst() as server:
        status, record, _ = load(tmp_path, server.target, *LOOP)
        c = record.connections
        assert status == 1 and (c.lost, c.renewed, c.attempted) == (8, 0, 8)
        assert record.first.missing == 8


def test_what_may_have_been_done_is_not_said_again(tmp_path: Path) -> None:
    with EndsAtTheSecond() as server:
        status, record, _ = load(tmp_path, server.target, *LOOP, "--method", "POST")
        c, everything = record.connections, record.all_requests
        assert status == 1 and (c.lost, c.renewed, everything.repeated) == (8, 0, 0)
        assert (everything.missing, everything.right) == (8, 8)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("pipeline", [1, 5])
def test_nginx_ends_connections_behind_three_requests(
    tmp_path: Path, scheme: str, pipeline: int
) -> None:
    trust = ("--ca", certificates.authority().cert) if scheme == "https" else ()
    (tmp_path / "nginx").mkdir()
    with counting_peers.nginx(tmp_path / "nginx", 3) as peers:
        peer = peers[scheme]
        before = peer.counts()
        status, record, said = load(
            tmp_path, f"{scheme}://{peer.place}/", *LOOP, "--pipeline", pipeline, *trust,
            "--expect", "hello\\n", "--require", "lost == 0", "--require", "renewed > 10",
        )  # fmt: skip
        assert_as_asked(status, record, said)
        came, everything = peer.counts().since(before), record.all_requests
        assert everything.sent <= came.requests <= everything.sent + everything.repeated


def test_a_wrong_response_says_what_was_expected(tmp_path: Path) -> None:
    with Answers() as server:
        status, record, said = load(
            tmp_path, server.target, *LOOP, "--expect-status", "201", "--header", "Cookie: secret"
        )
    assert status == 1 and record.requests.wrong == record.requests.sent
    assert record.faults[0].note == "status 200, expected 201" and record.faults[0].note in said
    assert (
        record.asked.headers == ["Cookie: ***"]
        and "secret" not in (tmp_path / "run.json").read_text()
    )


@pytest.mark.parametrize(
    "given",
    [
        ("--method", "get"), ("--header", "X: a\nY: b"), ("--header", "X: {what}"),
        ("--expect-status", "2000"), ("--expect-json", "total"), ("--url-file", "/nowhere"),
        ("--scenario", "lines"), ("--message", "a"), ("--topic", "a"),
    ],
)  # fmt: skip
def test_what_is_refused(given: tuple[str, ...]) -> None:
    with Answers() as server:
        done = run("load", server.target, *LOOP, *given)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("c1m: ") and done.stderr.count("\n") == 1
        assert server.accepted == 0
