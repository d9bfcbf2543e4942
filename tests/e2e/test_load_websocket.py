"""`c1m load ws://` and `sse://`: against servers of other people's packages, and odd ones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import c1m
from c1m.results.record import RunRecord
from e2e.cli_helpers import load, run
from e2e.web_servers import WebServer
from laws import broken_laws

PUBLISH = ("--scenario", "publish", "--publishers", 2, "--hold", "1s", "--think", "50ms")
HEADER = ("--header", "Authorization: Bearer secret")


def assert_all_heard(record: RunRecord) -> None:
    fan_out = record.fan_out
    assert fan_out is not None and fan_out.published == record.requests.right > 0
    assert fan_out.expected == fan_out.received >= fan_out.published * 100
    assert (fan_out.doubled, fan_out.garbled) == (0, 0)
    assert record.connections.lost == 0 and record.verdict.shortfalls == []


@pytest.mark.parametrize("kind", ["websockets", "aiohttp"])
def test_an_echo(tmp_path: Path, kind: str, engine: str) -> None:
    with WebServer(kind) as server:
        status, record, output = load(
            tmp_path, f"ws://{server.place}", "--connections", 200, "--hold", "1500ms",
            "--engine", engine, "--pipeline", 2,
        )  # fmt: skip
    assert status == 0, output
    assert record.connections.ready == record.connections.opened == 200
    assert record.latencies["handshake"].count == 200
    assert record.requests.right == record.requests.sent > 200
    assert record.target == record.asked.targets[0] == f"ws://{server.place}"


def test_messages_of_all_kinds(tmp_path: Path) -> None:
    with WebServer("websockets") as server:
        for number, arguments in enumerate([
            ("--message", "zwölf {n} {seq}"),
            ("--message", "{n} {random:70000}", "--connections", 5),
            ("--message", "\\xff\\xfe {n}"),
            ("--scenario", "lines"),
            ("--binary",),
            ("--scenario", "ping", "--message", "the same", "--expect", "the same"),
        ]):  # fmt: skip
            place, more = f"ws://{server.place}/?a=b", ("--hold", "300ms", "--think", "50ms")
            count = () if "--connections" in arguments else ("--connections", 40)
            status, record, output = load(tmp_path, place, *count, *more, *arguments)
            assert status == 0, (number, output)
            assert record.requests.right == record.requests.sent > 0


@pytest.mark.parametrize("scheme", ["ws", "sse"])
def test_what_is_posted_reaches_all(tmp_path: Path, scheme: str, engine: str) -> None:
    path = "connect" if scheme == "ws" else "events?channel=a"
    with WebServer("aiohttp") as server:
        status, record, output = load(
            tmp_path, f"{scheme}://{server.place}/{path}", "--connections", 102, *PUBLISH, *HEADER,
            "--publish-to", "/publish", "--engine", engine,
        )  # fmt: skip
    assert status == 0, output
    assert_all_heard(record)
    assert record.fan_out is not None
    assert record.fan_out.expected == record.fan_out.published * 100  # publishers hear nothing


def test_publishing_by_messages(tmp_path: Path) -> None:
    with WebServer("aiohttp") as server:
        status, record, output = load(
            tmp_path, f"ws://{server.place}/connect", "--connections", 102, *PUBLISH
        )
    assert status == 0, output
    assert_all_heard(record)


def test_publishers_whose_idle_connections_are_ended(tmp_path: Path) -> None:
    """uvicorn ends them after a second: they are opened again, and nothing is lost by that."""
    with WebServer("uvicorn") as server:
        status, record, output = load(
            tmp_path, f"sse://{server.place}/events?channel=a", "--scenario", "publish",
            "--stage", "ramp 101", "--stage", "hold for 1s think 50ms", "--stage", "hold for 3s",
            "--stage", "hold for 1s think 50ms",
        )  # fmt: skip
    assert status == 0, output
    assert record.connections.renewed >= 1 and record.connections.lost == 0
    assert record.fan_out is not None
    assert record.fan_out.received == record.fan_out.published * 100 > 0


def test_a_publication_that_is_refused(tmp_path: Path) -> None:
    with WebServer("aiohttp") as server:
        status, record, _ = load(
            tmp_path, f"sse://{server.place}/events", "--connections", 11, "--scenario", "publish",
            "--publish-to", "/publish", "--hold", "1s", "--think", "100ms",
        )  # fmt: skip
    assert status == 1
    assert record.requests.wrong == record.requests.sent > 0
    fault = record.faults[0]
    assert "401 Who are you?" in fault.received and "did not take" in fault.note
    assert record.fan_out is not None and record.fan_out.expected == 0


def test_a_close_is_counted_by_its_code(tmp_path: Path) -> None:
    with WebServer("websockets") as server:
        status, record, output = load(
            tmp_path, f"ws://{server.place}", "--connections", 7, "--message", "end", "--hold", "1s"
        )
    assert status == 1
    failure = record.failures[0]
    assert (failure.phase, failure.errno, failure.count) == ("open", "close 4002", 7)
    assert "as you like" in failure.text and "close 4002 while open" in output
    assert record.connections.lost == 7


# --- what is no such server ----------------------------------------------------------------------


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does this with every connection, then ends it; HOST:PORT."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def saying(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        while b"\r\n\r\n" not in (piece := connection.recv(65536)):
            if not piece:  # it was asked whether it speaks TLS
                return
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return answer


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("scheme", "answer", "name", "said"),
    [
        ("ws", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP 200", "'hi'"),
        ("ws", b"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP 403", "Origin"),
        ("ws", b"SSH-2.0-OpenSSH_9\r\n", "not HTTP", "SSH-2.0"),
        ("ws", b"", "EOF", "instead of answering"),
        ("ws", SWITCHED + b"Sec-WebSocket-Accept: abc\r\n\r\n", "bad handshake", "Accept: abc"),
        ("ws", SWITCHED + b"\r\n", "bad handshake", "Sec-WebSocket-Accept"),
        ("sse", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "no events", "text/html"),
        ("sse", b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP 404", "nothing at that path"),
    ],
)
def test_what_is_no_such_server(scheme: str, answer: bytes, name: str, said: str) -> None:
    with answering(saying(answer)) as place:
        record = c1m.load(f"{scheme}://{place}/x", connections=3, hold="100ms", timeout="5s")
    assert broken_laws(record) == []
    (failure,) = record.failures
    assert (failure.phase, failure.errno, failure.count) == ("handshake", name, 3)
    assert record.connections.handshake_failed == 3 and record.connections.opened == 0
    explained = record.explanations[0]
    assert said in explained.cause + explained.remedy


def test_a_server_that_does_not_answer() -> None:
    def answer(connection: socket.socket) -> None:
        while connection.recv(1 << 20):
            pass

    with answering(answer) as place:
        record = c1m.load(f"ws://{place}", connections=1, hold="100ms", timeout="500ms")
    assert broken_laws(record) == []
    (failure,) = record.failures
    assert (failure.phase, failure.errno, failure.count) == ("handshake", "ETIMEDOUT", 1)


def test_a_server_that_breaks_the_protocol() -> None:
    """Its frames are masked, or no UTF-8: the connection is failed, and counted so."""
    from base64 import b64encode
    from hashlib import sha1

    from c1m.protocols.websocket.handshake import GUID

    def answer(connection: socket.socket) -> None:
        asked = connection.recv(65536)
        key = asked.partition(b"Sec-WebSocket-Key: ")[2][:24]
        accept = b64encode(sha1(key + GUID).digest())
        connection.sendall(SWITCHED + b"Sec-WebSocket-Accept: %b\r\n\r\n\x81\x01\xff" % accept)
        while connection.recv(65536):
            pass

    with answering(answer) as place:
        record = c1m.load(f"ws://{place}", connections=2, hold="200ms", timeout="5s")
    assert broken_laws(record) == []
    (failure,) = record.failures
    assert (failure.phase, failure.errno, failure.count) == ("open", "broke off 1007", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ws://me:secret@127.0.0.1",), "user or a password"),
        (("ws://127.0.0.1/a", "ws://127.0.0.1/b"), "different paths"),
        (("ws://127.0.0.1/#a",), "fragment"),
        (("ws://127.0.0.1/a b",), "no path"),
        (("ws://127.0.0.1:1", "tcp://127.0.0.1:1"), "speak different things"),
        (("tcp://127.0.0.1:1", "--header", "a: b"), "--header is of no use with tcp://"),
        (("tcp://127.0.0.1:1", "--binary"), "--binary is of no use with tcp://"),
        (("ws://127.0.0.1", "--header", "a b"), "no field"),
        (("ws://127.0.0.1", "--header", "Upgrade: h2c"), "client's own"),
        (("ws://[::1/",), "has no host"),
        (("ws://127.0.0.1", "--publish-to", "/x"), "scenario 'publish'"),
        (("ws://127.0.0.1", "--scenario", "publish", "--publish-to", "x"), "no path"),
        (("ws://127.0.0.1", "--scenario", "publish", "--publish-to", "ftp://x"), "POST"),
        (("ws://a", "--scenario", "publish", "--publish-to", "http://[::1/x"), "not an endpoint"),
        (("ws://127.0.0.1", "--scenario", "half-open"), "cannot be spoken over ws://"),
        (("sse://127.0.0.1", "--scenario", "publish"), "where to publish"),
        (("sse://127.0.0.1", "--scenario", "lines"), "cannot be spoken over sse://"),
        (("sse://127.0.0.1", "--binary"), "--binary is of no use with sse://"),
        (
            ("sse://127.0.0.1/?channel=a", "--scenario", "publish", "--message", "{seq}\\r"),
            "carriage return",
        ),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = run("load", *arguments, "--connections", 10)
    assert done.returncode == 2 and said in done.stderr
    assert "secret" not in done.stderr


# --- a user's own scenarios -----------------------------------------------------------------------


class Shop(c1m.Conversation):
    """Knows nothing of frames; a reply is a message."""

    def talk(self, n: int) -> Generator[c1m.Say, bytes, None]:
        reply = yield c1m.Say(b"list %d" % n)
        assert reply == b"list %d" % n
        yield c1m.Say(b"buy", expect=b"buy")


class Judge(c1m.Scenario):
    """Says which replies are right, and not where they end."""

    def requests(self, numbers: c1m.scenarios.messages.Numbers, seqs: object) -> c1m.Ragged:
        return c1m.Ragged.of([b"%d" % number for number in numbers.tolist()])

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        return reply == b"%d" % number


@pytest.mark.parametrize("kind", [Shop, Judge])
def test_a_scenario_of_the_users_own(kind: type) -> None:
    with WebServer("websockets") as server:
        record = c1m.load(
            f"ws://{server.place}", connections=50, scenario=kind(), hold="500ms", think="100ms"
        )
    assert record.verdict.shortfalls == [] and record.requests.right > 50
