"""TLS on real sockets, where one of both sides does not do what is expected, or not at once."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import c1m
from c1m.apps.echo import Echo
from c1m.tls import reasons
from e2e import tls_clients
from e2e.library_runs import ServerThread, eventually
from e2e.tls_clients import LEAF, WAIT_S, echoed, end


@pytest.fixture(params=["epoll", "uring"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["ssl", "handed"])
def run(engine: str, request: pytest.FixtureRequest) -> Iterator[ServerThread]:
    """An echo server; when it ends, all that was accepted is accounted for."""
    tls = c1m.TLS(cert=LEAF.cert, key=LEAF.key, handoff=request.param, handshakes_max=8)
    run = ServerThread(c1m.Server(Echo(), "tls://127.0.0.1:0", engine=engine, tls=tls))
    yield run
    found = run.stop()
    assert found.opened == sum(found.closed.values())
    assert handshakes(run).done == found.opened


def handshakes(run: ServerThread) -> Any:
    security = run.server.security
    assert security is not None and security.engine is not None
    return security.engine.handshakes


class Dripping:
    """A client over memory, whose bytes the test passes on as it likes."""

    def __init__(self, run: ServerThread) -> None:
        self.socket = socket.create_connection((run.host, run.port), WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls_clients.context().wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost"
        )

    def drip(self, most: int, seed: int = 0) -> None:
        """Send what is to be sent, in pieces of no more than so many bytes."""
        chance, data, at = random.Random(seed), self.outgoing.read(), 0
        while at < len(data):
            size = chance.randint(1, most)
            self.socket.sendall(data[at : at + size])
            at += size

    def take(self) -> None:
        piece = self.socket.recv(1 << 16)
        assert piece, "the server has ended it"
        self.incoming.write(piece)

    def shake(self, most: int) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.drip(most)
                self.take()
            else:
                self.drip(most)
                return

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                found += self.tls.read(size - len(found))
            except ssl.SSLWantReadError:
                self.take()
        return found


@pytest.mark.parametrize("most", [1, 7, 300])
def test_bytes_that_come_one_by_one(run: ServerThread, most: int) -> None:
    client = Dripping(run)
    with client.socket:
        client.shake(most)
        data = bytes(range(256)) * 8
        client.tls.write(data)
        client.drip(most)
        assert client.read(len(data)) == data


def test_much_is_sent_while_nobody_reads_and_all_of_it_comes_back(run: ServerThread) -> None:
    size = 4 << 20
    data = random.Random(5).randbytes(size)
    with tls_clients.connect(run.port) as sock:
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()  # it is stuck when the server reads no more, until we read
        found = bytearray()
        while len(found) < size:
            piece = sock.recv(1 << 16)
            assert piece
            found += piece
        sender.join(WAIT_S)
    assert found == data


def test_a_storm_of_those_who_go_away_leaves_the_others_in(run: ServerThread) -> None:
    with tls_clients.connect(run.port) as sock:
        strangers = []
        for index in range(60):
            each = socket.create_connection((run.host, run.port), WAIT_S)
            strangers.append(each)
            if index % 3 == 0:
                each.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a hello
            elif index % 3 == 1:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.close()
        assert echoed(sock, b"still served") == b"still served"
        for each in strangers:
            each.close()
        with tls_clients.connect(run.port) as other:
            assert echoed(other, b"and let in") == b"and let in"
        eventually(lambda: handshakes(run).under_way == 0, "all others are refused")
    assert handshakes(run).done == 2


def test_what_is_no_tls_is_counted_as_that(run: ServerThread) -> None:
    for said in (b"*1\r\n$4\r\nPING\r\n", bytes(300), b"SSH-2.0-client\r\n"):
        with socket.create_connection((run.host, run.port), WAIT_S) as sock:
            sock.sendall(said)
            while sock.recv(1 << 16):
                pass
    failed = handshakes(run).failed
    eventually(lambda: failed.total() == 3, "all three are refused")
    assert failed == {reasons.NOT_TLS: 3}


def test_a_client_that_does_not_trust_says_so(run: ServerThread) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        tls_clients.connect(run.port, by=ssl.create_default_context())
    eventually(lambda: handshakes(run).failed.total() == 1, "it is refused")
    assert handshakes(run).failed == {reasons.ALERT + 48: 1}


def test_half_closed_by_the_client_all_is_answered(run: ServerThread) -> None:
    client = Dripping(run)
    with client.socket:
        client.shake(1 << 14)
        client.tls.write(b"question" * 1000)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.drip(1 << 14)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read(8000) == b"question" * 1000
        with pytest.raises(ssl.SSLZeroReturnError):
            client.read(1)


def test_renegotiation_is_refused_and_the_connection_goes_on(run: ServerThread) -> None:
    old = tls_clients.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    sock = tls_clients.connect(run.port, by=old)
    assert echoed(sock, b"as ever") == b"as ever"
    engine = run.server.security
    assert engine is not None and engine.engine is not None
    accepted = engine.engine._acceptor
    assert accepted is not None
    assert all(each.options & ssl.OP_NO_RENEGOTIATION for each in accepted.all())
    end(sock)
