"""TLS of c1m.Server as programs use it, on both engines: by ssl, and handed off."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect as connect_websocket

import c1m
import certificates
from c1m.apps.echo import Echo
from c1m.tls.reasons import HANDSHAKE_TIMEOUT
from e2e import tls_clients
from e2e.library_runs import ServerThread, eventually, serving
from e2e.tls_clients import LEAF, OURS, WAIT_S, echoed, end

Serve = Callable[..., ServerThread]
TLS12 = ssl.TLSVersion.TLSv1_2


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["ssl", "handed"])
def handoff(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def serve(engine: str, handoff: bool) -> Iterator[Serve]:
    """Makes a server that runs in a thread; it must end in good order, its counts adding up."""
    runs: list[ServerThread] = []

    def make(app: Any, listen: Any = "tls://127.0.0.1:0", **options: Any) -> ServerThread:
        own = {"cert": LEAF.cert, "key": LEAF.key, "handoff": handoff}
        tls = c1m.TLS(**{**own, **options})
        runs.append(ServerThread(c1m.Server(app, listen, engine=engine, tls=tls)))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


def handshakes(run: ServerThread) -> Any:
    security = run.server.security
    assert security is not None and security.engine is not None
    return security.engine.handshakes


class Whose(c1m.App):
    """Answers with the subject of the client's certificate."""

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        for slot in batch.slots:
            peer = server.peer_certificate(slot)
            server.send(slot, b"nobody" if peer is None else peer.subject.encode())


@pytest.mark.parametrize("version", [TLS12, ssl.TLSVersion.TLSv1_3])
def test_bytes_come_back_small_and_large(
    serve: Serve, version: ssl.TLSVersion, handoff: bool
) -> None:
    run = serve(Echo())
    by = tls_clients.context(maximum_version=version)
    socks = [tls_clients.connect(run.port, by=by) for _ in range(20)]
    for number, sock in enumerate(socks):
        assert echoed(sock, b"hello %d" % number) == b"hello %d" % number
    large = bytes(range(256)) * 512
    assert echoed(socks[0], large) == large
    for sock in socks:
        end(sock)
    statistics = run.stop()
    assert statistics.opened == 20
    assert statistics.closed[c1m.CloseReason.PEER_EOF] == 20
    counts = handshakes(run)
    assert (counts.done, counts.under_way, counts.failed.total()) == (20, 0, 0)
    assert counts.handed == (20 if handoff and version is not TLS12 else 0)


def test_whom_a_client_is(serve: Serve) -> None:
    run = serve(Whose(), client_ca=OURS.cert, client_optional=True)
    alice, bob = (OURS.leaf(name, client=True) for name in ("alice", "bob"))
    by_alice, by_bob = map(tls_clients.context, (alice, bob))
    socks = [tls_clients.connect(run.port, by=by) for by in (by_alice, by_bob, None)]
    for sock, subject in zip(socks, (b"CN=alice", b"CN=bob", b"nobody"), strict=True):
        assert echoed(sock, subject) == subject
        sock.close()
    eventually(lambda: not run.server.statistics.live, "all have ended")
    server = run.server
    assert isinstance(server, c1m.Server)
    assert all(server.peer_certificate(slot) is None for slot in range(100))


def test_a_client_without_a_certificate_is_refused_where_one_is_needed(serve: Serve) -> None:
    run = serve(Echo(), client_ca=OURS.cert)
    stranger = certificates.authority("another").leaf("alice", client=True)
    for shows in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            sock = tls_clients.connect(run.port, by=tls_clients.context(shows))
            with sock:
                sock.recv(1)  # in TLS 1.3 the client learns it behind its handshake
    eventually(lambda: handshakes(run).failed.total() == 2, "both are counted")
    statistics = run.stop()
    assert statistics.opened == 0
    assert sum(statistics.never_opened.values()) == 2


def test_certificates_are_read_anew_and_nobody_is_disconnected(
    serve: Serve, tmp_path: Path
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def put(leaf: certificates.Leaf) -> None:
        shutil.copy(leaf.cert, cert)
        shutil.copy(leaf.key, key)

    first, second = (OURS.leaf("localhost", again=n) for n in ("first", "second"))
    put(first)
    run = serve(Echo(), cert=cert, key=key)
    before = tls_clients.connect(run.port)
    assert tls_clients.serial(before) == tls_clients.shown_serial(first)
    put(second)
    run.server.reload_tls()
    after = tls_clients.connect(run.port)
    assert tls_clients.serial(after) == tls_clients.shown_serial(second)
    shutil.copy(first.key, key)
    with pytest.raises(c1m.UsageError, match="does not fit"):
        run.server.reload_tls()
    still = tls_clients.connect(run.port)
    assert tls_clients.serial(still) == tls_clients.shown_serial(second)
    for sock in (before, after, still):
        assert echoed(sock, b"here") == b"here"
        end(sock)


def test_one_that_has_begun_keeps_what_it_began_with(serve: Serve, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    first, second = (OURS.leaf("localhost", again=n) for n in ("first", "second"))
    shutil.copy(first.cert, cert)
    shutil.copy(first.key, key)
    run = serve(Echo(), cert=cert, key=key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls_clients.context().wrap_bio(to_client, to_server, server_hostname="localhost")
    with socket.create_connection((run.host, run.port), WAIT_S) as sock:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        sock.sendall(to_server.read())
        to_client.write(sock.recv(1))  # the server's answer has begun
        shutil.copy(second.cert, cert)
        shutil.copy(second.key, key)
        run.server.reload_tls()
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                to_client.write(sock.recv(1 << 16))
        shown = client.getpeercert()
        assert shown is not None
        assert shown["serialNumber"] == tls_clients.shown_serial(first)
        sock.sendall(to_server.read())


def test_who_connects_while_certificates_are_read_anew(serve: Serve) -> None:
    run = serve(Echo())
    failed: list[Exception] = []
    socks: list[ssl.SSLSocket] = []

    def connect_many() -> None:
        try:
            for _ in range(30):
                socks.append(tls_clients.connect(run.port))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=connect_many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        run.server.reload_tls()
    for thread in threads:
        thread.join(WAIT_S)
    assert failed == []
    for number, sock in enumerate(socks):
        assert echoed(sock, b"%d" % number) == b"%d" % number
        end(sock)
    assert len(socks) == run.stop().opened == 90


def test_a_certificate_by_name(serve: Serve) -> None:
    leaves = [LEAF, OURS.leaf("a.example"), OURS.leaf("*.b.example")]
    run = serve(Echo(), cert=[leaf.cert for leaf in leaves], key=[leaf.key for leaf in leaves])
    for name, leaf in (("localhost", 0), ("a.example", 1), ("x.b.example", 2)):
        sock = tls_clients.connect(run.port, name)
        assert tls_clients.serial(sock) == tls_clients.shown_serial(leaves[leaf])
        assert echoed(sock, name.encode()) == name.encode()
        end(sock)


@pytest.mark.parametrize("tickets", [0, 1])
def test_clients_resume_where_there_are_tickets(serve: Serve, tickets: int) -> None:
    run = serve(Echo(), tickets=tickets)
    by = tls_clients.context()
    first = tls_clients.connect(run.port, by=by)
    assert echoed(first, b"x") == b"x"  # the ticket has come with it
    session = first.session
    end(first)
    with socket.create_connection((run.host, run.port), WAIT_S) as sock:
        again = by.wrap_socket(sock, server_hostname="localhost", session=session)
        assert echoed(again, b"y") == b"y"
        assert again.session_reused is bool(tickets)
        end(again)
    assert handshakes(run).resumed == tickets


def test_plain_http_on_a_listener_with_tls_is_answered_and_counted(serve: Serve) -> None:
    run = serve(Echo(), "https://127.0.0.1:0")
    with socket.create_connection((run.host, run.port), WAIT_S) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b""
        while piece := sock.recv(1 << 16):
            said += piece
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"speaks TLS" in said
    assert run.stop().opened == 0
    assert handshakes(run).failed.total() == 1


def test_who_does_not_finish_the_handshake_is_closed(serve: Serve) -> None:
    run = serve(Echo(), handshake_timeout="100ms")
    for said in (b"", b"\x16\x03\x01"):
        with (
            contextlib.suppress(ConnectionError),  # on a busy machine it is closed before
            socket.create_connection((run.host, run.port), WAIT_S) as sock,
        ):
            sock.sendall(said)
            assert sock.recv(100) == b""
    statistics = run.stop()
    assert statistics.opened == 0
    assert statistics.never_opened == {HANDSHAKE_TIMEOUT: 2}


def test_an_end_without_close_notify_is_its_own_reason(serve: Serve) -> None:
    run = serve(Echo())
    sock = tls_clients.connect(run.port)
    assert echoed(sock, b"x") == b"x"
    sock.close()  # ssl sends nothing
    closed = run.server.statistics.closed
    eventually(lambda: closed[c1m.CloseReason.TRUNCATED], "it is counted")
    sock = tls_clients.connect(run.port)
    assert echoed(sock, b"x") == b"x"
    with socket.socket(fileno=sock.detach()) as plain:
        plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody has sealed
        eventually(lambda: closed[c1m.CloseReason.TLS], "it is counted")
    assert sum(run.stop().closed.values()) == 2


def test_a_stop_says_goodbye_to_all(serve: Serve) -> None:
    run = serve(Echo())
    socks = [tls_clients.connect(run.port) for _ in range(3)]
    for sock in socks:
        assert echoed(sock, b"x") == b"x"
    assert run.stop().closed[c1m.CloseReason.DRAIN] == 3
    for sock in socks:
        assert sock.recv(1) == b""
        sock.close()


def test_listeners_with_and_without_tls_on_one_server(serve: Serve) -> None:
    run = serve(Echo(), ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"])
    plain, secured = run.server.endpoints
    assert str(secured).startswith("tls://")
    with socket.create_connection((plain.host, plain.port), WAIT_S) as sock:
        sock.sendall(b"plain")
        assert sock.recv(5, socket.MSG_WAITALL) == b"plain"
        other = tls_clients.connect(secured.port)
        assert echoed(other, b"secret") == b"secret"
        end(other)


class Rooms(c1m.WebSocketApp):
    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        for slot in batch.slots:
            peer = server.peer_certificate(slot)
            server.send_text(slot, "nobody" if peer is None else peer.common_name)


def test_websockets(serve: Serve) -> None:
    run = serve(Rooms(), "https://127.0.0.1:0", client_ca=OURS.cert, client_optional=True)
    for shows, name in ((OURS.leaf("alice", client=True), "alice"), (None, "nobody")):
        url, by = f"wss://localhost:{run.port}/", tls_clients.context(shows)
        with connect_websocket(url, ssl=by, open_timeout=WAIT_S) as sock:
            sock.send("who am I?")
            assert sock.recv(WAIT_S) == name


def test_tls_spoken_on_a_plain_listener_of_http_is_counted(engine: str) -> None:
    with serving(Rooms(), "http://127.0.0.1:0", engine=engine) as run:
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            tls_clients.connect(run.port)
        assert run.server.statistics.spoke_tls == 1


# --- what else may be given, and what may not -----------------------------------------------------


def test_a_context_of_the_program(engine: str) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(LEAF.cert, LEAF.key)
    own.load_verify_locations(OURS.cert)
    own.verify_mode = ssl.CERT_OPTIONAL
    with serving(Whose(), "tls://127.0.0.1:0", engine=engine, tls=own) as run:
        sock = tls_clients.connect(
            run.port, by=tls_clients.context(OURS.leaf("alice", client=True))
        )
        assert echoed(sock, b"CN=alice") == b"CN=alice"
        end(sock)
        with pytest.raises(c1m.UsageError, match="the program's own"):
            run.server.reload_tls()


@pytest.mark.parametrize(
    ("listen", "tls", "said"),
    [
        ("tcp://127.0.0.1:0", c1m.TLS(LEAF.cert, LEAF.key), "nothing is listened on with TLS"),
        ("tls://127.0.0.1:0", None, "there is no certificate"),
        ("tls://127.0.0.1:0", "cert.pem", "tls is 'cert.pem'"),
        ("tls://127.0.0.1:0", ssl.create_default_context(), "a context for clients"),
        ("tls://127.0.0.1:0", c1m.TLS(LEAF.cert, OURS.leaf("other").key), "does not fit"),
        ("tls://127.0.0.1:0", c1m.TLS("none.pem"), "none.pem cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(listen: str, tls: Any, said: str) -> None:
    for app in (Echo(), asyncio.Protocol):
        with pytest.raises(c1m.UsageError, match=said):
            c1m.serve(app, listen, tls=tls)


def test_a_server_without_tls_has_nothing_to_read_anew() -> None:
    with serving(Echo()) as run:
        assert run.server.peer_certificate(0) is None
        with pytest.raises(c1m.UsageError, match="no TLS"):
            run.server.reload_tls()


# --- protocols of asyncio -------------------------------------------------------------------------


class WhoseProtocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        shown = self.transport.get_extra_info("peercert")
        name = dict(each[0] for each in shown["subject"])["commonName"] if shown else "nobody"
        self.transport.write(data + b" of " + name.encode())


def test_protocols_have_the_tls_of_asyncio(engine: str, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    first, second = (OURS.leaf("localhost", again=n) for n in ("first", "second"))
    shutil.copy(first.cert, cert)
    shutil.copy(first.key, key)
    tls = c1m.TLS(cert, key, client_ca=OURS.cert, client_optional=True)
    listen = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]
    by = tls_clients.context(OURS.leaf("alice", client=True))
    with serving(WhoseProtocol, listen, engine=engine, tls=tls) as run:
        plain = run.server.endpoints[1]
        sock = tls_clients.connect(run.port, by=by)
        assert echoed(sock, b"data").startswith(b"data")
        with socket.create_connection((plain.host, plain.port), WAIT_S) as other:
            other.sendall(b"data")
            assert other.recv(14, socket.MSG_WAITALL) == b"data of nobody"
        shutil.copy(second.cert, cert)
        shutil.copy(second.key, key)
        run.server.reload_tls()
        again = tls_clients.connect(run.port)
        assert tls_clients.serial(again) == tls_clients.shown_serial(second)
        end(again)
        run.server.stop()
        while sock.recv(100):  # to the server's close_notify
            pass
        end(sock)


def test_protocols_are_not_handed_off() -> None:
    tls = c1m.TLS(LEAF.cert, LEAF.key, handoff=True)
    with pytest.raises(c1m.UsageError, match="not handed off"):
        c1m.serve(WhoseProtocol, "tls://127.0.0.1:0", tls=tls)
