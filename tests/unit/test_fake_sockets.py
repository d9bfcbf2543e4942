"""The fake network: TCP's rules as an engine sees them."""

from __future__ import annotations

import errno
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint
from c1m.testing.fake_network import ListeningSocket, Network, Socket

LOOPBACK = Endpoint(AF_INET, "127.0.0.1", 0)


def listen(network: Network, endpoint: Endpoint = LOOPBACK, backlog: int = 16) -> ListeningSocket:
    listener = network.listen(endpoint, backlog)
    listener.hold()
    return listener


def pair(limit: int = 1000) -> tuple[Socket, Socket]:
    """The two ends of a connection."""
    network = Network(limit, 100)
    listener = listen(network)
    client = network.peer(listener.endpoint)
    server = listener.accept()
    assert server is not None
    return client, server


def failing(code: int) -> AbstractContextManager[object]:
    return pytest.raises(OSError, match=rf"Errno {code}\b")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60))
def test_bytes_arrive_in_order_through_a_bounded_buffer(steps: list[tuple[bool, int]]) -> None:
    client, server = pair(limit=50)
    sent = received = b""
    for is_send, size in steps:
        if is_send:
            data = bytes((len(sent) + i) % 251 for i in range(size))
            sent += data[: client.send(data)]
        else:
            received += server.recv(size)
        assert len(sent) - len(received) <= 50
    received += server.recv()
    assert received == sent


def test_a_full_buffer_takes_nothing_and_then_the_rest() -> None:
    client, server = pair(limit=10)
    assert client.send(b"0123456789abc") == 10
    assert client.send(b"abc") == 0
    assert server.recv(4) == b"0123"
    assert client.send(b"abc") == 3


def test_half_close() -> None:
    client, server = pair()
    client.send(b"question")
    client.shutdown_write()
    assert server.recv() == b"question"
    assert not server.at_eof
    assert server.recv() == b""
    assert server.at_eof
    assert server.send(b"answer") == 6
    assert client.recv() == b"answer"
    with failing(errno.EPIPE):
        client.send(b"more")


def test_a_reset_comes_after_the_data_and_once() -> None:
    client, server = pair()
    client.send(b"last words")
    client.reset()
    assert server.recv() == b"last words"
    with failing(errno.ECONNRESET):
        server.recv()
    assert server.recv() == b""
    with failing(errno.EPIPE):
        server.send(b"hello?")
    assert server.was_reset


def test_closing_with_unread_data_resets() -> None:
    client, server = pair()
    client.send(b"unread")
    server.close()
    with failing(errno.ECONNRESET):
        client.recv()


def test_a_write_to_a_closed_peer_is_taken_and_then_fails() -> None:
    client, server = pair()
    server.close()
    assert client.recv() == b""
    assert client.send(b"anybody?") == 8
    for _ in range(2):
        with failing(errno.EPIPE):
            client.send(b"anybody?")


def test_a_connect_beyond_the_backlog_waits() -> None:
    network = Network(1000, 100)
    listener = listen(network, backlog=1)
    clients = [network.peer(listener.endpoint) for _ in range(4)]
    assert [client.is_connected for client in clients] == [True, True, False, False]
    assert clients[3].send(b"too early") == 0
    assert len(listener.queue) + len(listener.waiting) == 4
    clients[2].close()
    assert not network.advance()
    listener.accept()
    assert network.advance()
    assert clients[3].is_connected


def test_who_waits_when_the_listener_closes() -> None:
    network = Network(1000, 100)
    listener = listen(network, backlog=0)
    queued = network.peer(listener.endpoint)
    waiting = network.peer(listener.endpoint)
    listener.drop()
    with failing(errno.ECONNRESET):
        queued.recv()
    with failing(errno.ECONNREFUSED):
        _ = waiting.is_connected
    with failing(errno.ECONNREFUSED):
        network.peer(listener.endpoint)


def test_where_can_be_listened() -> None:
    network = Network(1000, 100)
    first = listen(network, Endpoint(AF_INET, "0.0.0.0", 80))
    for host in ("127.0.0.1", "0.0.0.0"):
        with failing(errno.EADDRINUSE):
            listen(network, Endpoint(AF_INET, host, 80))
    listen(network, Endpoint(AF_INET6, "::1", 80))
    with failing(errno.EADDRNOTAVAIL):
        listen(network, Endpoint(AF_INET, "192.0.2.1", 80))
    assert network.peer(Endpoint(AF_INET, "127.3.4.5", 80)).is_connected
    first.drop()
    listen(network, Endpoint(AF_INET, "127.0.0.1", 80))


def test_ports_run_out_for_each_source_and_come_back() -> None:
    network = Network(1000, 3)
    listener = listen(network)
    peers = [network.peer(listener.endpoint) for _ in range(3)]
    with failing(errno.EADDRNOTAVAIL):
        network.peer(listener.endpoint)
    other = Endpoint(AF_INET, "127.0.0.2", 0)
    source = network.peer(listener.endpoint, other).source
    assert source is not None and source.host == "127.0.0.2"
    peers[1].close()
    assert network.peer(listener.endpoint).source == peers[1].source
    with failing(errno.EADDRINUSE):
        network.peer(listener.endpoint, peers[0].source)
    with failing(errno.EADDRNOTAVAIL):
        network.peer(listener.endpoint, Endpoint(AF_INET, "192.0.2.1", 0))


def test_unix_sockets(tmp_path: Path) -> None:
    network = Network(1000, 100)
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    with failing(errno.ENOENT):
        network.peer(endpoint)
    listener = listen(network, endpoint)
    with failing(errno.EADDRINUSE):
        listen(network, endpoint)
    client = network.peer(endpoint)
    accepted = listener.accept()
    assert accepted is not None
    accepted.close()
    with failing(errno.EPIPE):
        client.send(b"anybody?")
    listener.drop()
    assert not (tmp_path / "socket").exists()
