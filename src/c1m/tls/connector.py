"""What a client connects with: its context, the names it expects, the sessions it resumes.

Resumption. A ticket is what a server sends behind a handshake of TLS 1.3 (RFC 8446, 4.6.1), or
within one of TLS 1.2. One for each name is kept, from the first connection that got one, and later
connections offer it. Those that are to bring one stay with ssl, which alone can read it. A server
may send none, so only a few of them are waited with.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from c1m.tls.session import Session

BRINGERS_MAX = 64  # connections for each name that stay with ssl until there is a ticket


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a handshake came to. `certificate`: the server's, in DER."""

    version: str = ""
    cipher: str = ""
    protocol: str = ""  # by ALPN
    certificate: bytes = b""


@dataclass(slots=True)
class Connector:
    """`server_name` is that of all connections, or `name_of` says it by slot: the name that the
    certificate must have. `resumes`: sessions are taken up again. The rest is what came of it."""

    context: ssl.SSLContext
    server_name: str | None = None
    name_of: Callable[[int], str] | None = None
    names: Collection[str] = ()  # all that `name_of` may say
    resumes: bool = False
    first: Agreed | None = None
    resumed: int = 0  # handshakes
    handed: int = 0  # connections that went on without ssl
    _tickets: dict[str, ssl.SSLSession] = field(default_factory=dict)
    _bringers: Counter[str] = field(default_factory=Counter)

    @property
    def awaited(self) -> int:
        """Names of which a ticket may still come: who begins now gains nothing by it."""
        if not self.resumes:
            return 0
        names = self.names or [self.server_name or ""]
        return sum(n not in self._tickets and self._bringers[n] < BRINGERS_MAX for n in names)

    def begin(self, slot: int) -> Session:
        """A connection that begins its handshake."""
        name = self.server_name if self.name_of is None else self.name_of(slot)
        ticket = self._tickets.get(name or "") if self.resumes else None
        return Session(self.context, server_side=False, server_name=name, session=ticket)

    def done(self, session: Session) -> None:
        """Its handshake is done. With `session.brings` it stays with ssl."""
        found = session.object
        self.resumed += bool(found.session_reused)
        if self.first is None:
            cipher, certificate = found.cipher(), found.getpeercert(True)
            self.first = Agreed(
                found.version() or "",
                cipher[0] if cipher else "",
                found.selected_alpn_protocol() or "",
                certificate or b"",
            )
        name = found.server_hostname or ""
        if not self.resumes or found.session_reused or self._bringers[name] >= BRINGERS_MAX:
            return
        if session.is_resuming:  # the server does not know that ticket any more
            self._tickets.pop(name, None)
        if name not in self._tickets:
            self._bringers[name] += 1
            session.brings = True
            self.took(session)

    def took(self, session: Session) -> None:
        """One that is to bring a ticket has read something."""
        found = session.object.session
        if found is None:
            return
        if found.has_ticket or (session.object.version() != "TLSv1.3" and found.id):
            self._tickets[session.object.server_hostname or ""] = found
            session.brings = False
