"""gevent's StreamServer, a greenlet a connection. Usage: gevent_echo.py PORT [echo|broadcast]."""

from __future__ import annotations

import sys
from contextlib import suppress

from gevent.server import StreamServer
from gevent.socket import IPPROTO_TCP, TCP_NODELAY, socket

members: set[socket] = set()


def echo(connection: socket, address: object) -> None:
    """Sends back what comes."""
    connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    with suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(data)


def broadcast(connection: socket, address: object) -> None:
    """Sends what comes to all connections."""
    connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    members.add(connection)
    with suppress(OSError):
        while data := connection.recv(65536):
            for member in list(members):
                with suppress(OSError):
                    member.sendall(data)
    members.discard(connection)


if __name__ == "__main__":
    handle = broadcast if sys.argv[2:] == ["broadcast"] else echo
    StreamServer(("127.0.0.1", int(sys.argv[1])), handle, backlog=65535).serve_forever()
