"""Peers that begin handshakes and do not go on: others are served nevertheless, long before those
have run out of time."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack

import pytest

import c1m
from c1m.apps.echo import Echo
from c1m.tls.reasons import HANDSHAKE_TIMEOUT
from e2e import tls_clients
from e2e.library_runs import eventually, serving
from e2e.tls_clients import LEAF, WAIT_S, echoed

MOST = 4


def client_hello() -> bytes:
    said = ssl.MemoryBIO()
    client = tls_clients.context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


def is_served(port: int) -> bool:
    """One who goes on at once; on a busy machine he may be taken for one who does not."""
    try:
        with tls_clients.connect(port) as other:
            return echoed(other, b"hello") == b"hello"
    except OSError:
        return False


@pytest.mark.parametrize("engine", ["uring", "epoll"])
@pytest.mark.parametrize("said", [b"", client_hello()[:100], client_hello()], ids=len)
def test_who_does_not_go_on_gives_way(engine: str, said: bytes) -> None:
    tls = c1m.TLS(LEAF.cert, LEAF.key, handshake_timeout="1h", handshakes_max=MOST)
    with ExitStack() as stack:
        run = stack.enter_context(serving(Echo(), "tls://127.0.0.1:0", tls=tls, engine=engine))
        crowd = []
        for _ in range(3 * MOST):
            sock = socket.create_connection(("127.0.0.1", run.port), WAIT_S)
            crowd.append(stack.enter_context(sock))
            sock.sendall(said)
        statistics = run.server.engine.statistics
        eventually(lambda: statistics().opening >= MOST, "there are as many as may be")
        eventually(lambda: is_served(run.port), "another one is served")
        assert statistics().never_opened.keys() <= {HANDSHAKE_TIMEOUT}
        if not said:
            assert (statistics().opening, statistics().never_opened) == (3 * MOST, {})
        for sock in crowd:
            sock.close()
        eventually(lambda: not statistics().opening, "they have gone")
