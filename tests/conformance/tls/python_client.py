"""Python's ssl with blocking sockets, and `websockets` over it, as clients of our servers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from websockets.sync.client import connect

from .cases import CLIENT, Case
from .stage import PATIENCE_S, SIZES, Failed, Stage, payload

PEER = "Python ssl"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def version() -> str:
    """As it says it."""
    return ssl.OPENSSL_VERSION


def _context(stage: Stage, protocol: str = "1.3", *, shows: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=stage.ca)
    context.minimum_version = context.maximum_version = VERSIONS[protocol]
    if shows:
        context.load_cert_chain(stage.client.cert, stage.client.key)
    return context


def _connected(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    return context.wrap_socket(plain, server_hostname="localhost", session=session)


def _echo(sock: ssl.SSLSocket, sent: bytes) -> None:
    # The server takes up to a megabyte before it waits for who reads; so nobody waits for another.
    sock.sendall(sent)
    came = bytearray()
    while len(came) < len(sent) and (piece := sock.recv(1 << 16)):
        came += piece
    if came != sent:
        raise Failed(f"an echo of {len(sent)} bytes was wrong: {len(came)} bytes came")


def _exchange(port: int, context: ssl.SSLContext) -> ssl.SSLSession | None:
    """A connection with all sizes; its session."""
    sock = _connected(port, context)
    for size in SIZES:
        _echo(sock, payload(size))
    session = sock.session
    sock.unwrap().close()  # raises where the other half does not end by close_notify
    return session


def echoes(stage: Stage, protocol: str) -> None:
    """All sizes, and close_notify both ways."""
    _exchange(stage.serve(), _context(stage, protocol))


def shown(stage: Stage, protocol: str) -> None:
    """A client's certificate."""
    port = stage.serve("echo", "--tls-client-ca", stage.ca)
    _exchange(port, _context(stage, protocol, shows=True))


def resumed(stage: Stage, protocol: str) -> None:
    """By the session of the connection before."""
    context, port = _context(stage, protocol), stage.serve()
    again = _connected(port, context, _exchange(port, context))
    _echo(again, b"again")
    if not again.session_reused:
        raise Failed("its second connection did not resume the first one's session")
    again.unwrap().close()


def cut(stage: Stage) -> None:
    """An end of the stream without close_notify, half a record before it: others go on."""
    context, port = _context(stage), stage.serve()
    for said in (b"", b"\x17\x03\x03\x01\x00half"):
        sock = _connected(port, context)
        _echo(sock, b"before")
        plain = socket.socket(fileno=sock.detach())
        plain.settimeout(PATIENCE_S)
        plain.sendall(said)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(1 << 16):
            pass
        plain.close()
    _exchange(port, context)


def websocket(stage: Stage) -> None:
    """`websockets`, and what it publishes comes to it and to another."""
    url = f"wss://localhost:{stage.serve('push')}/connect?channel=python"
    context = ssl.create_default_context(cafile=stage.ca)
    with connect(url, ssl=context) as one, connect(url, ssl=context) as other:
        for size in (1, 125, 126, 16_384, 50_000):
            text = payload(size).hex()[:size]
            one.send(text)
            for who in (one, other):
                if (came := who.recv(PATIENCE_S)) != text:
                    raise Failed(f"a message of {size} was wrong: {len(came)} came")


def cases() -> list[Case]:
    """All of them."""

    def case(what: str, function: Callable[..., None], *more: object, peer: str = PEER) -> Case:
        return Case(peer, CLIENT, what, lambda stage: function(stage, *more))

    found = []
    for protocol in VERSIONS:
        found.append(case(f"TLS {protocol}", echoes, protocol))
        found.append(case(f"resumption, TLS {protocol}", resumed, protocol))
        found.append(case(f"a client certificate, TLS {protocol}", shown, protocol))
    found.append(case("no close_notify, half a record", cut))
    found.append(case("wss://", websocket, peer="websockets"))
    return found
