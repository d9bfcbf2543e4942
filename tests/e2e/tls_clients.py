"""Clients over TLS by Python's ssl, and what servers are given, for end-to-end tests."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

import certificates

WAIT_S = 60  # for what must come: a bound for failures, not a measurement
OURS = certificates.authority()
LEAF = OURS.leaf("localhost", "127.0.0.1")


def context(shows: certificates.Leaf | None = None, **options: Any) -> ssl.SSLContext:
    """Of a client that trusts our authority, and shows this certificate."""
    made = ssl.create_default_context(cafile=str(OURS.cert))
    if shows is not None:
        made.load_cert_chain(shows.cert, shows.key)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def connect(port: int, name: str = "localhost", by: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """A connection, its handshake done. Raises ssl.SSLError, also at an end of the stream without a
    close_notify."""
    sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
    try:
        return (by or context()).wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)
    except BaseException:
        sock.close()
        raise


def echoed(sock: ssl.SSLSocket, data: bytes) -> bytes:
    """What comes back of it, as many bytes."""
    sock.sendall(data)
    found = b""
    while len(found) < len(data):
        piece = sock.recv(len(data) - len(found))
        if not piece:
            break
        found += piece
    return found


def end(sock: ssl.SSLSocket) -> None:
    """close_notify both ways, then the end of the stream."""
    with contextlib.suppress(ssl.SSLError, OSError):
        sock.unwrap()
    sock.close()


def serial(sock: ssl.SSLSocket) -> str:
    """Of the certificate that the server has shown."""
    shown = sock.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def shown_serial(leaf: certificates.Leaf) -> str:
    """The same of a certificate that was made, as ssl has it."""
    text = f"{leaf.certificate.serial_number:X}"
    return text.zfill(len(text) + len(text) % 2)
