"""TLS of a server: what its listeners accept with, and certificates that are read anew."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from c1m.addresses import Endpoint
from c1m.clock import Clock
from c1m.engine.contract import Engine
from c1m.errors import UsageError
from c1m.kernel.terminal import has_terminal
from c1m.tls.contexts import Contexts, contexts_of
from c1m.tls.credentials import PeerCertificate
from c1m.tls.engine import TlsEngine
from c1m.tls.options import HANDSHAKE_NS, TLS
from c1m.units import NS_PER_S


class Security:
    """For the endpoints of a server, one of which has TLS at least. Raises UsageError."""

    def __init__(self, given: TLS | ssl.SSLContext, endpoints: Sequence[Endpoint]) -> None:
        self._given = given
        self._endpoints = list(endpoints)
        self.contexts: Contexts = contexts_of(given, endpoints)
        self.engine: TlsEngine | None = None

    def around(self, engine: Engine, clock: Clock) -> TlsEngine:
        """The engine, with TLS."""
        given, acceptor = self._given, self.contexts.acceptor
        if isinstance(given, TLS):
            self.engine = TlsEngine(
                engine, clock, acceptor=acceptor, handoff=given.handoff,
                handshake_ns=given.handshake_ns, handshakes_max=given.handshakes_max,
            )  # fmt: skip
        else:
            self.engine = TlsEngine(engine, clock, acceptor=acceptor)
        return self.engine

    def context_of(self, listener: int) -> ssl.SSLContext:
        """What a connection of this one is accepted with now."""
        acceptor = self.contexts.acceptor
        return acceptor.by_listener.get(listener, acceptor.context)

    @property
    def handshake_s(self) -> float:
        """How long a handshake may take."""
        given = self._given
        return (given.handshake_ns if isinstance(given, TLS) else HANDSHAKE_NS) / NS_PER_S

    def reload(self) -> list[str]:
        """See Server.reload_tls."""
        if not isinstance(self._given, TLS):
            raise UsageError(
                "The certificates of a context are the program's own.",
                "Call load_cert_chain of that context: connections from then on get the new ones.",
            )
        contexts = contexts_of(self._given, self._endpoints)
        if self.engine is not None:
            self.engine.accept_with(contexts.acceptor)
        self.contexts = contexts
        return contexts.notes

    def peer_certificate(self, slot: int) -> PeerCertificate | None:
        """See Server.peer_certificate."""
        der = None if self.engine is None else self.engine.peer_certificate(slot)
        return None if der is None else PeerCertificate.of(der)


def security_of(given: Any, endpoints: Sequence[Endpoint]) -> Security | None:
    """Where one of them has TLS. Raises UsageError for TLS without a certificate, and reverse."""
    named = next((e for e in endpoints if e.is_tls), None)
    if named is None:
        if given is not None:
            raise UsageError(
                "A certificate was given, and nothing is listened on with TLS.",
                "Listen on tls://HOST:PORT, https://HOST:PORT or rediss://HOST:PORT.",
            )
        return None
    if given is None:
        raise UsageError(
            f"{named} is to speak TLS, and there is no certificate.",
            "Give --tls-cert FILE and --tls-key FILE (in Python: tls=c1m.TLS(cert, key)).",
        )
    return Security(given, endpoints)


def reloads_at_hangup(server: Any, around: Callable[[], Any] = nullcontext) -> Callable[[], bool]:
    """What SIGHUP is to a server with TLS: reading its certificates anew, in an `around()`.

    The function is called by the signal's handler and returns whether that was meant: where the
    terminal has gone it was not, and the server is to stop.
    """
    had_terminal = has_terminal()

    def reload() -> None:
        try:
            with around():
                notes = server.reload_tls()
        except UsageError as error:
            said = f"{error.message} {error.remedy} The certificates stay those that there were."
            server.log.say("tls-reload", said, logging.WARNING)
            return
        for line in (*notes, "The certificates were read anew, for connections from now on."):
            server.log.say("tls-reload", line, logging.WARNING)

    def hung_up() -> bool:
        if had_terminal and not has_terminal():
            return False
        server.call_soon(reload)
        return True

    return hung_up
