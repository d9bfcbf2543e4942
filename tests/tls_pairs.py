"""Connections of TLS 1.3 in memory, between ssl objects and our records."""

from __future__ import annotations

import _ssl
import ctypes
import functools
import ssl
from dataclasses import dataclass

import certificates
from c1m.engine.contract import Pieces
from c1m.tls.handoff import HandOff
from c1m.tls.overheard import Overheard
from c1m.tls.records import Opened, Records
from c1m.tls.session import Session
from c1m.tls.suites import SUITES

SLOT = 3
CAPACITY = 8


@functools.cache
def server_context(tickets: int = 2) -> ssl.SSLContext:
    """Of "localhost"."""
    served = certificates.authority().leaf("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served.cert, served.key)
    context.num_tickets = tickets
    return context


@functools.cache
def client_context(suite: int = 0) -> ssl.SSLContext:
    """That offers this suite of SUITES only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.authority().cert)
    offer(context, SUITES[suite].name)
    return context


def offer(context: ssl.SSLContext, suites: str) -> None:
    """SSL_CTX_set_ciphersuites, which Python 3.11 has no way to. The pointer is the first field."""
    library = ctypes.CDLL(_ssl.__file__)  # a symbol is also found in what it was linked with
    call = library.SSL_CTX_set_ciphersuites
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_char_p), ctypes.c_int
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    assert call(pointer, suites.encode()) == 1


@dataclass
class End:
    """One end of a handshake: its ssl object, what was overheard, what its last step has said."""

    session: Session
    overheard: Overheard
    last: bytes = b""
    is_done: bool = False

    def step(self, came: bytes) -> bytes:
        """Go on with what came; what is to be sent."""
        self.session.incoming.write(came)
        if not self.is_done:
            self.is_done = self.session.shake()
        self.last = self.session.said()
        self.overheard.step(came, self.last)
        return self.last


def begun(
    client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[End, End]:
    """A client's end, which may resume, and a server's."""
    asking = Session(client, server_side=False, server_name="localhost", session=session)
    answering = Session(server, server_side=True)
    return End(asking, Overheard(is_client=True)), End(answering, Overheard(is_client=False))


def shaken(client: End, server: End, came: bytes = b"") -> None:
    """Do the handshake. A server's tickets are fed to the client, which has not read them."""
    said = client.step(came)
    while not server.is_done:
        said = client.step(server.step(said))


class Handed:
    """A connection that was taken over, as far as a test asks it for something."""

    def __init__(self, end: End, handoff: HandOff | None = None, behind: bytes = b"") -> None:
        """`behind`: what came together with the end of the handshake."""
        if behind:
            end.session.incoming.write(behind)
        self.handoff = handoff or HandOff(CAPACITY)
        self.records: Records = self.handoff.records
        rest = self.handoff.take_over(SLOT, end.session, end.overheard, end.last)
        assert rest is not None
        self.first = self.open(rest) if rest else Opened()

    def open(self, data: bytes) -> Opened:
        """Take what came."""
        return self.records.open_many([(SLOT, data)])

    def seal(self, data: bytes) -> bytes:
        """Plain text -> records."""
        return self.records.seal(SLOT, data)


def pair(suite: int = 0, records_max: int = 1 << 62) -> tuple[Records, Records]:
    """A client's records and a server's, of one connection in SLOT, without any handshake."""
    size = SUITES[suite].secret_size
    ours, theirs = bytes(range(size)), bytes(range(1, size + 1))
    client = Records(CAPACITY, records_max=records_max)
    server = Records(CAPACITY, records_max=records_max)
    client.take_over(SLOT, suite, theirs, ours, is_client=True)
    server.take_over(SLOT, suite, ours, theirs)
    return client, server


def read(session: Session, came: bytes = b"") -> bytes:
    """All plain text that ssl finds."""
    found: Pieces = []
    session.incoming.write(came)
    session.read(SLOT, found)
    return text(found)


def text(pieces: Pieces) -> bytes:
    """All plain text."""
    return b"".join([piece for _, piece in pieces])
