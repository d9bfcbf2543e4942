"""Peers that send byte by byte beside a good one, on real sockets: whatever they begin has an end,
and the good one is answered meanwhile.

Each hostile peer sends one byte whenever the good one has had an answer: it is never idle.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import c1m
import certificates
from c1m.apps.kv.app import KeyValue
from c1m.protocols.http.requests import Request
from c1m.protocols.http.responses import Response, text
from c1m.protocols.proxy import Wrong
from c1m.server import proxied
from c1m.tls import reasons
from c1m.units import NS_PER_S
from c1m.web.app import WebApp
from e2e.library_runs import WAIT_S, ServerThread, serving
from proxy_headers import line

HOSTILE = 20
ENDLESS = b"GET / HTTP/1.1\r\nHost: a.example\r\nX: " + b"x" * 3_000
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
PING = b"*1\r\n$4\r\nPING\r\n"
HEADER = line(("192.0.2.7", 51000), ("198.51.100.1", 443))


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Site(WebApp):
    def on_request(self, slot: int, request: Request, server: c1m.Server) -> Response:
        return text(200, "Here.")


class Echo(c1m.App):
    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)


@contextlib.contextmanager
def hostile_peers(run: ServerThread) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as peers:
        made = []
        for _ in range(HOSTILE):
            sock = peers.enter_context(socket.create_connection((run.host, run.port), WAIT_S))
            sock.setblocking(False)
            made.append(sock)
        yield made


def drip(peers: list[socket.socket], stream: bytes, good: Callable[[], object]) -> list[bytes]:
    """Each peer sends a byte of the stream a millisecond, and waits when that is over; what each
    was told until it was closed."""
    said = dict.fromkeys(peers, b"")
    left, at, began = list(peers), 0, time.monotonic()
    while left:
        good()
        time.sleep(0.001)
        for sock in list(left):
            try:
                while piece := sock.recv(1 << 16):
                    said[sock] += piece
                left.remove(sock)
            except BlockingIOError:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sock.send(stream[at : at + 1])
            except ConnectionResetError:
                left.remove(sock)
        at += 1
        assert time.monotonic() < began + WAIT_S, "they are there for ever"
    return list(said.values())


def asks(sock: socket.socket, question: bytes, answer: bytes) -> Callable[[], None]:
    def ask() -> None:
        sock.sendall(question)
        came = b""
        while answer not in came:
            piece = sock.recv(1 << 16)
            assert piece, "a good client was dropped"
            came += piece

    return ask


def good(run: ServerThread) -> socket.socket:
    return socket.create_connection((run.host, run.port), WAIT_S)


def test_a_request_that_never_ends_is_answered_with_408(engine: str) -> None:
    with (
        serving(Site(request_s=1), engine=engine) as run,
        hostile_peers(run) as peers,
        good(run) as sock,
    ):
        told = drip(peers, ENDLESS, asks(sock, GET, b"Here."))
    assert all(b" 408 " in each or not each for each in told)  # not each: reset meanwhile


def test_a_handshake_that_never_ends_is_given_up(engine: str) -> None:
    leaf = certificates.authority().leaf("localhost", "127.0.0.1")
    tls = c1m.TLS(leaf.cert, leaf.key, handshake_timeout="1s")
    client = ssl.create_default_context(cafile=str(certificates.authority().cert))
    hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + bytes(0x4000)
    with serving(Echo(), "tls://127.0.0.1:0", engine=engine, tls=tls) as run:
        with (
            hostile_peers(run) as peers,
            client.wrap_socket(good(run), server_hostname="localhost") as sock,
        ):
            drip(peers, hello, asks(sock, b"hello", b"hello"))
        never = run.server.update_statistics().never_opened
    assert sum(never.values()) == HOSTILE
    assert all(code >= reasons.BASE for code in never)


def test_a_proxy_header_that_never_ends_is_given_up(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxied, "HEADER_NS", NS_PER_S)
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf0" + bytes(4080)  # all but the end of it
    with serving(Echo(), "tcp+proxy://127.0.0.1:0", engine=engine) as run:
        with hostile_peers(run) as peers, good(run) as sock:
            sock.sendall(HEADER)
            drip(peers, header[:-10], asks(sock, b"hello", b"hello"))
        never = run.server.update_statistics().never_opened
    assert never == {Wrong.LATE.code: HOSTILE}


def test_commands_may_come_byte_by_byte(engine: str) -> None:
    with (
        serving(KeyValue(), engine=engine) as run,
        hostile_peers(run) as peers,
        good(run) as sock,
    ):
        told = drip(peers, PING + b"QUIT\r\n", asks(sock, PING, b"+PONG\r\n"))
    assert all(each == b"+PONG\r\n+OK\r\n" for each in told)


@pytest.mark.parametrize("turn", [None, "16K"])
def test_who_floods_and_reads_nothing_is_stopped_and_loses_nothing(engine: str, turn: Any) -> None:
    """What comes of those who do not read their replies is not read, too."""
    limits = c1m.Limits(turn=turn, keepalive=60)
    with (
        serving(KeyValue(), engine=engine, limits=limits) as run,
        hostile_peers(run) as peers,
        good(run) as sock,
    ):
        floods, block = peers[:3], PING * 2048
        ask, sent = asks(sock, PING, b"+PONG\r\n"), dict.fromkeys(floods, 0)
        for _ in range(20):
            for peer in floods:
                with contextlib.suppress(BlockingIOError):
                    sent[peer] += peer.send(block[sent[peer] % len(PING) :])
            ask()
        for peer in floods:
            peer.settimeout(WAIT_S)
            replies = b"+PONG\r\n" * (sent[peer] // len(PING))
            came = b""
            while len(came) < len(replies):
                came += peer.recv(1 << 20)
            assert came == replies
