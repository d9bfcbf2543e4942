"""Commands that wait, over real sockets: what is sent behind them, times, connections' ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from c1m.apps.kv.app import KeyValue
from c1m.kv.intake import LATER_MAX
from c1m.protocols.resp.replies import command
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving


@pytest.fixture(params=["uring", "epoll"])
def app(request: pytest.FixtureRequest) -> Iterator[tuple[KeyValue, ServerThread]]:
    app = KeyValue()
    with serving(app, engine=request.param) as run:
        eventually(lambda: hasattr(app, "store"), "it has begun")
        yield app, run


def client(run: ServerThread) -> redis.Redis:
    return redis.Redis(run.host, run.port, protocol=2, socket_timeout=WAIT_S)


class Raw:
    """A connection on which commands are sent without waiting for their replies."""

    def __init__(self, run: ServerThread) -> None:
        self.sock = socket.create_connection((run.host, run.port), WAIT_S)

    def send(self, *lines: str) -> None:
        self.sock.sendall(b"".join(command(*line.encode().split()) for line in lines))

    def hears(self, expected: bytes) -> None:
        """This comes next."""
        came = b""
        while len(came) < len(expected):
            piece = self.sock.recv(len(expected) - len(came))
            assert piece, f"the connection has ended behind {came[-200:]!r}"
            came += piece
        assert came == expected


def wait_for(app: KeyValue, count: int) -> None:
    """So many clients wait."""
    eventually(lambda: app.store.waiting.count == count, f"{count} clients wait")


def test_a_client_is_served_by_another(app: tuple[KeyValue, ServerThread]) -> None:
    kv, run = app
    with ThreadPoolExecutor() as pool, client(run) as other:
        popped = pool.submit(client(run).blpop, ["none", "list"], 0)
        wait_for(kv, 1)
        moved = pool.submit(client(run).blmove, "source", "list", 0, "LEFT", "RIGHT")
        wait_for(kv, 2)
        assert other.rpush("source", "item") == 1
        assert moved.result(WAIT_S) == b"item"
        assert popped.result(WAIT_S) == (b"list", b"item")
        assert other.exists("list", "source") == 0


def test_a_wait_ends_with_its_time(app: tuple[KeyValue, ServerThread]) -> None:
    kv, run = app
    with client(run) as one:
        assert one.blpop(["none"], timeout=0.02) is None
        assert one.ping()
    assert kv.store.waiting.count == 0


def test_what_comes_behind_a_command_that_waits(app: tuple[KeyValue, ServerThread]) -> None:
    kv, run = app
    raw = Raw(run)
    raw.send("SET a 1", "BLPOP list 0", "GET a", "BLPOP list 0", "INCR a")
    raw.hears(b"+OK\r\n")
    wait_for(kv, 1)
    raw.sock.sendall(b"*1\r\n$4\r\nPI")
    with client(run) as other:
        assert other.set("a", 5)
        other.rpush("list", "x")
        raw.hears(b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n$1\r\n5\r\n")
        wait_for(kv, 1)
        raw.sock.sendall(b"NG\r\n")
        other.rpush("list", "y")
        raw.hears(b"*2\r\n$4\r\nlist\r\n$1\r\ny\r\n:6\r\n+PONG\r\n")
    raw.sock.close()


def test_what_comes_behind_is_bounded(app: tuple[KeyValue, ServerThread]) -> None:
    kv, run = app
    raw = Raw(run)
    raw.send("BLPOP list 0")
    wait_for(kv, 1)
    raw.sock.settimeout(0.2)
    sent, line = 0, command(b"INCR", b"a") * 1000
    with pytest.raises(TimeoutError):  # the sockets' buffers are full, and nobody reads
        while sent < 1 << 30:
            sent += raw.sock.send(line)
    (waiting,) = kv.clients.kept.values()
    on_its_way = 8 << 20  # what the engine's buffers hold until reading stops
    assert LATER_MAX < waiting.later_size < LATER_MAX + on_its_way
    raw.sock.settimeout(WAIT_S)
    with client(run) as other:
        assert other.get("a") is None
        other.rpush("list", "x")
        whole = sent // len(command(b"INCR", b"a"))
        replies = b"".join(b":%d\r\n" % number for number in range(1, whole + 1))
        raw.hears(b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n" + replies)
    raw.sock.close()


def test_what_is_no_request_ends_it_after_the_wait(app: tuple[KeyValue, ServerThread]) -> None:
    kv, run = app
    raw = Raw(run)
    raw.send("BLPOP list 0", "PING")
    raw.sock.sendall(b"*x\r\n")
    wait_for(kv, 1)
    with client(run) as other:
        other.rpush("list", "x")
    wrong = b"-ERR Protocol error: invalid multibulk length\r\n"
    raw.hears(b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n+PONG\r\n" + wrong)
    assert raw.sock.recv(1) == b""
    raw.sock.close()


def test_a_connection_that_ends_takes_nothing(app: tuple[KeyValue, ServerThread]) -> None:
    kv, run = app
    raws = [Raw(run) for _ in range(3)]
    for count, raw in enumerate(raws, 1):
        raw.send("BLPOP list 0")
        wait_for(kv, count)
    for raw in raws[:2]:
        raw.sock.close()
    wait_for(kv, 1)
    with client(run) as other:
        assert other.rpush("list", "x", "y") == 2
        raws[2].hears(b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n")
        assert other.lrange("list", 0, -1) == [b"y"]
    raws[2].sock.close()
    eventually(lambda: not kv.clients.kept, "nothing is kept of them")


def test_a_wait_is_ended_by_another_client(app: tuple[KeyValue, ServerThread]) -> None:
    kv, run = app
    raw = Raw(run)
    with client(run) as other:
        for line, reply in (("TIMEOUT", b"*-1\r\n"), ("ERROR", b"-UNBLOCKED client unblocked")):
            raw.send("CLIENT ID", "BLPOP list 0")
            wait_for(kv, 1)
            (waits,) = [each for each in other.client_list() if "b" in each["flags"]]
            raw.hears(b":%d\r\n" % int(waits["id"]))
            assert other.execute_command("CLIENT UNBLOCK", waits["id"], line) == 1
            assert other.execute_command("CLIENT UNBLOCK", waits["id"], line) == 0
            raw.hears(reply)
        raw.hears(b" via CLIENT UNBLOCK\r\n")
        raw.send("BLPOP list 0")
        wait_for(kv, 1)
        assert other.execute_command("CLIENT KILL ID", waits["id"]) == 1
        wait_for(kv, 0)
    raw.sock.close()
