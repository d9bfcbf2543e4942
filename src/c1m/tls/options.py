"""How a server speaks TLS: certificates, and what is asked of clients."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from c1m.tls.engine import Acceptor


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """A certificate (with its chain) and its key, as files in PEM, and options.

    `handoff` (experimental): behind the handshake of TLS 1.3 the traffic keys are taken over, and a
    connection is a row of about a hundred bytes.
    """

    cert: str
    key: str
    handoff: bool = False

    def acceptor(self) -> Acceptor:
        """What connections are accepted with."""
        from c1m.tls.engine import Acceptor

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return Acceptor(context)
