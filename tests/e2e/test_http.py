"""HTTP/1.1 over real sockets: the list of smuggling cases, curl, and clients that stop halfway."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from c1m.protocols.http.replies import ResponseReader
from e2e.cli_helpers import PATIENCE_S, Server
from http_cases import CASES, HOST, Case

SHORT = [case for case in CASES if case.name not in ("long body", "long chunks")]  # it takes more


@pytest.fixture(scope="module")
def push(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A push server; it must have survived all of it, its counts adding up."""
    with Server(tmp_path_factory.mktemp("http"), "--quiet", app="push") as server:
        yield server
        assert server.stop() == 0
        server.figures()


def connect(push: Server) -> socket.socket:
    host, _, port = push.url.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def to_the_end(sock: socket.socket) -> bytes:
    """All that comes until the server closes; a reset raises ConnectionResetError."""
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def statuses(stream: bytes) -> list[int]:
    """Of the responses that it is made of."""
    found = []
    while stream:
        reader = ResponseReader()
        reader.feed(stream)
        assert reader.is_whole and reader.head is not None, stream
        found.append(reader.head.status)
        stream = reader.rest()
    return found


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_a_case_is_answered_as_it_must_be(push: Server, case: Case) -> None:
    with connect(push) as sock:
        sock.sendall(case.stream)
        is_refused = case.statuses[-1] != 200
        if not is_refused:
            sock.shutdown(socket.SHUT_WR)
        # There is nothing at /: what is taken is answered 404. A response of 1.0 is the last.
        wanted = [404 if status == 200 else status for status in case.statuses]
        assert statuses(to_the_end(sock)) == wanted


def test_who_is_refused_reads_why_however_much_it_still_sends(push: Server) -> None:
    with connect(push) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9999999\r\n\r\n")
        sock.sendall(b"x" * 9_999_999)
        sock.shutdown(socket.SHUT_WR)
        assert statuses(to_the_end(sock)) == [413]


def test_thousands_of_requests_in_one_go_are_all_answered(push: Server) -> None:
    with connect(push) as sock:
        sock.sendall((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 5000)
        sock.shutdown(socket.SHUT_WR)
        assert statuses(to_the_end(sock)) == [404] * 5000


def test_who_breaks_off_halfway_leaves_nothing_behind(push: Server) -> None:
    whole = b"POST /publish?channel=a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
    for size in range(1, len(whole), 7):
        with connect(push) as sock:
            sock.sendall(whole[:size])
            sock.shutdown(socket.SHUT_WR)
            assert to_the_end(sock) == b""


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["-d", "hello"], 200),
        (["-d", "hello", "--http1.0"], 200),
        (["-d", "hello", "-H", "Transfer-Encoding: chunked"], 200),
        (["-d", "hello", "-H", "Expect: 100-continue"], 200),
        (["-d", "hello", "-H", "Expect: something"], 417),
        (["-d", "a" * 70_000, "-H", "Expect: 100-continue"], 200),
        (["-H", "X: " + "a" * 40_000], 431),
        (["-H", "Host: a b"], 400),
    ],
)
def test_curl(push: Server, words: list[str], status: int) -> None:
    url = push.url.replace("tcp", "http") + "/publish?channel=a"
    done = subprocess.run(
        ["curl", "-sS", "-o", "-", "-w", "%{http_code}", "--max-time", "60", *words, url, url],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout.decode().endswith(str(status)), done
