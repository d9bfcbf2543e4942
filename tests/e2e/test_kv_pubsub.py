"""Publish and subscribe with clients that people use, and subscribers that do not read."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from c1m.apps.kv.app import KeyValue
from c1m.protocols.resp.replies import command
from e2e.debian_servers import program
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving

MEGABYTE = b"x" * (1 << 20)


@pytest.fixture(params=["uring", "epoll"])
def app(request: pytest.FixtureRequest) -> Iterator[tuple[KeyValue, ServerThread]]:
    app = KeyValue()
    with serving(app, engine=request.param) as run:
        eventually(lambda: hasattr(app, "store"), "it has begun")
        yield app, run


def client(run: ServerThread, protocol: int = 2) -> redis.Redis:
    return redis.Redis(run.host, run.port, protocol=protocol, socket_timeout=WAIT_S)


def heard(subscriber: Any) -> tuple[str, bytes, bytes]:
    """The next message: its kind, channel and data."""
    message = subscriber.get_message(timeout=WAIT_S)
    assert message is not None
    return message["type"], message["channel"], message["data"]


def subscribed(run: ServerThread, channel: str) -> socket.socket:
    """A plain connection that is subscribed, and has not read its confirmation."""
    sock = socket.create_connection((run.host, run.port), WAIT_S)
    sock.sendall(command(b"SUBSCRIBE", channel.encode()))
    return sock


def is_closed(sock: socket.socket) -> bool:
    """Whether the server ends it, behind what was on its way."""
    try:
        while sock.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(app: tuple[KeyValue, ServerThread], protocol: int) -> None:
    _, run = app
    with client(run, protocol) as one, client(run, protocol) as other:
        subscriber = one.pubsub()
        subscriber.subscribe("news")
        subscriber.psubscribe("n*")
        assert [heard(subscriber)[0] for _ in range(2)] == ["subscribe", "psubscribe"]
        assert other.publish("news", "hello") == 2
        assert other.publish("nothing", "more") == 1
        assert [heard(subscriber) for _ in range(3)] == [
            ("message", b"news", b"hello"),
            ("pmessage", b"news", b"hello"),
            ("pmessage", b"nothing", b"more"),
        ]
        assert other.pubsub_channels() == [b"news"]
        assert other.pubsub_numsub("news", "none") == [(b"news", 1), (b"none", 0)]
        assert other.pubsub_numpat() == 1
        subscriber.unsubscribe()
        assert heard(subscriber)[0] == "unsubscribe"
        assert other.publish("news", "bye") == 1
        subscriber.close()
        eventually(lambda: other.pubsub_numpat() == 0, "its connection's end is known")


def test_who_ends_is_subscribed_no_longer(app: tuple[KeyValue, ServerThread]) -> None:
    _, run = app
    socks = [subscribed(run, "news") for _ in range(30)]
    with client(run) as other:
        eventually(lambda: other.publish("news", "x") == 30, "all are subscribed")
        for sock in socks[::2]:
            sock.close()
        eventually(lambda: other.publish("news", "y") == 15, "half of them have gone")
    for sock in socks:
        sock.close()


def test_redis_cli(app: tuple[KeyValue, ServerThread]) -> None:
    _, run = app
    cli = [program("redis-cli", "redis-tools"), "-h", run.host, "-p", str(run.port), "-3"]
    with subprocess.Popen([*cli, "SUBSCRIBE", "news"], stdout=subprocess.PIPE) as listening:
        assert listening.stdout is not None
        read = listening.stdout.readline
        try:
            assert b"".join(read() for _ in range(3)) == b"subscribe\nnews\n1\n"
            said = subprocess.run(
                [*cli, "PUBLISH", "news", "hello"], capture_output=True, check=True, timeout=WAIT_S
            )
            assert said.stdout == b"1\n"
            assert b"".join(read() for _ in range(3)) == b"message\nnews\nhello\n"
        finally:
            listening.kill()


def test_order_of_messages_and_replies_while_messages_go_out_in_slices(
    app: tuple[KeyValue, ServerThread],
) -> None:
    """Who publishes and is subscribed itself has its message, then the reply, as with Redis."""
    kv, run = app
    kv.store.out.deliveries.slice = 7
    with contextlib.ExitStack() as stack, client(run) as other:
        socks = [
            stack.enter_context(socket.create_connection((run.host, run.port), WAIT_S))
            for _ in range(60)
        ]
        for sock in socks:
            sock.sendall(command(b"HELLO", b"3") + command(b"SUBSCRIBE", b"news"))
        eventually(lambda: other.pubsub_numsub("news") == [(b"news", 60)], "all are subscribed")
        for number, sock in enumerate(socks):
            name = b"<%d>" % number
            sock.sendall(
                command(b"PUBLISH", b"news", name) + command(b"ECHO", name) + command(b"QUIT")
                if number % 2
                else command(b"PUBLISH", b"news", name) + command(b"ECHO", name)
            )
        eventually(lambda: other.pubsub_numsub("news") == [(b"news", 30)], "half have left")
        orders = []
        for number, sock in enumerate(socks):
            if not number % 2:
                sock.sendall(command(b"QUIT"))
            with sock.makefile("rb") as stream:
                said = stream.read()
            name = b"<%d>" % number
            message = said.index(b"$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n%s" % (len(name), name))
            reply = said.index(b"\n:", message)  # of PUBLISH: a number
            echo = said.index(b"\n$%d\r\n%s\r\n" % (len(name), name), reply)
            assert message < reply < echo
            orders.append(re.findall(rb"message\r\n\$4\r\nnews\r\n\$\d+\r\n(<\d+>)", said))
        whole = orders[0]
        assert len(whole) == 60
        assert all(whole[: len(order)] == order for order in orders)  # those who quit have less


def test_who_does_not_read_is_dropped_and_slows_nobody(app: tuple[KeyValue, ServerThread]) -> None:
    """Beyond the hard limit of 32 MB; those who read miss nothing, and neither does who is slow."""
    kv, run = app
    deaf = subscribed(run, "news")
    with client(run) as other, client(run) as publisher:
        subscriber = other.pubsub()
        subscriber.subscribe("news")
        assert heard(subscriber)[0] == "subscribe"
        eventually(lambda: publisher.publish("news", "") == 2, "both are subscribed")
        while heard(subscriber)[2]:
            pass
        for number in range(80):
            publisher.publish("news", b"%d " % number + MEGABYTE)
            assert heard(subscriber)[2].startswith(b"%d " % number)
        eventually(lambda: publisher.pubsub_numsub("news") == [(b"news", 1)], "it is dropped")
        assert publisher.info("stats")["client_output_buffer_limit_disconnections"] == 1
        assert kv.store.out.dropped == {"hard": 1}
        subscriber.close()
    assert is_closed(deaf)
    deaf.close()


def test_all_together_have_a_bound(app: tuple[KeyValue, ServerThread]) -> None:
    """In one tick, before the engine has reported anybody: a pipeline of long messages."""
    kv, run = app
    kv.limits.total_max = 20 << 20
    deaf = [subscribed(run, "news") for _ in range(10)]
    with client(run) as publisher:
        eventually(lambda: publisher.publish("news", "") == 10, "all are subscribed")
        pipeline = publisher.pipeline(transaction=False)
        for _ in range(16):
            pipeline.publish("news", MEGABYTE)
        pipeline.execute()
        dropped = kv.store.out.dropped
        assert dropped["total"] > 0
        eventually(
            lambda: publisher.pubsub_numsub("news")[0][1] + dropped.total() == 10,
            "who was dropped is subscribed no longer",
        )
        statistics = run.server.engine.statistics
        eventually(lambda: statistics().outbox_bytes <= 20 << 20, "the bound holds")
    for sock in deaf:
        sock.close()
