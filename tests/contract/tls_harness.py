"""The contract over TLS: an engine that speaks it around one on the real kernel, and peers that do.

Every listener and every connect of the engine speaks TLS; what it adopts does not.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ssl
from dataclasses import dataclass
from typing import Any

import certificates
from c1m.addresses import Endpoint
from c1m.clock import SystemClock
from c1m.engine.choose import ENGINES
from c1m.engine.contract import Engine
from c1m.engine.decorated import NEVER
from c1m.tls.connector import Connector
from c1m.tls.engine import Acceptor, TlsEngine
from contract.harness import SocketHarness
from contract.peers import Peer, PeerListener, SocketPeer, SocketPeerListener

CHUNK = 1 << 14


@functools.cache
def server_context(whose: str) -> ssl.SSLContext:
    """What engines, or peers, accept with: the hand-off has an engine's to itself."""
    leaf = certificates.authority().leaf("localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    context.num_tickets = 0  # what a peer has not read when it closes makes a reset of that
    return context


@functools.cache
def client_context(whose: str) -> ssl.SSLContext:
    """What they connect with."""
    return ssl.create_default_context(cafile=str(certificates.authority().cert))


class AllTls(TlsEngine):
    """Also listeners whose endpoint does not say so."""

    def _holds(self, listener: int) -> bool:
        return True


class TlsPeer(SocketPeer):
    """A peer that speaks TLS by ssl. `has_notify`: the engine has said that it is the end."""

    is_server = False

    def _begin(self) -> None:
        self._incoming, self._sealed = ssl.MemoryBIO(), bytearray()
        self._from_ssl = ssl.MemoryBIO()
        context = (server_context if self.is_server else client_context)("peer")
        name = None if self.is_server else "localhost"
        self._tls = context.wrap_bio(self._incoming, self._from_ssl, self.is_server, name)
        self._is_shaken = self.has_notify = self._has_said_goodbye = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._begin()

    def unsent(self) -> int:
        return super().unsent() + len(self._sealed)

    def _flush(self) -> bool:
        """Whether all that was sealed is on its way."""
        self._sealed += self._from_ssl.read()
        while self._sealed:
            taken = super()._push(bytes(self._sealed[:CHUNK]))
            if not taken:
                return False
            del self._sealed[:taken]
        return True

    def _shake(self) -> bool:
        """Whether the handshake is done."""
        while not self._is_shaken:
            try:
                self._tls.do_handshake()
                self._is_shaken = True
            except ssl.SSLWantReadError:
                if not self._flush():
                    return False
                data = super()._pull(CHUNK)
                if data is None:
                    return False
                if not data:
                    raise OSError(errno.ECONNRESET, "ended in the handshake") from None
                self._incoming.write(data)
            except ssl.SSLError as error:
                self._flush()
                raise OSError(errno.EPROTO, str(error)) from None
        return True

    def _step_out(self) -> bool:
        before = self._is_shaken, len(self._sealed)
        self._shake()
        self._flush()
        return super()._step_out() or before != (self._is_shaken, len(self._sealed))

    def _push(self, data: bytes) -> int:
        if not self._is_shaken or not self._flush():
            return 0
        taken = self._tls.write(data[:CHUNK])
        self._flush()
        return taken

    def _pull(self, most: int) -> bytes | None:
        if not self._is_shaken:
            return None
        while True:
            try:
                data = self._tls.read(most)
                self.has_notify |= not data
                return data
            except ssl.SSLZeroReturnError:
                self.has_notify = True
                return b""
            except ssl.SSLWantReadError:
                came = super()._pull(most)
                if not came:
                    return came
                self._incoming.write(came)
            except ssl.SSLError as error:
                raise OSError(errno.EPROTO, str(error)) from None
            finally:
                self._flush()

    def _shutdown_write(self) -> bool:
        if not self._is_shaken:
            return False
        self._say_goodbye()
        return self._flush() and super()._shutdown_write()

    def _say_goodbye(self) -> None:
        if self._is_shaken and not self._has_said_goodbye:
            self._has_said_goodbye = True
            rest = self._incoming.read()  # `unwrap` takes what comes behind it for an error
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._incoming.write(rest)

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._say_goodbye()
            self._flush()
        super()._close()


class TlsServerPeer(TlsPeer):
    """One that the engine has connected to."""

    is_server = True


class TlsPeerListener(SocketPeerListener):
    """A listener of these."""

    peer = TlsServerPeer


@dataclass
class _AtLeast:
    size: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and other >= self.size


class TlsHarness(SocketHarness):
    """An engine that speaks TLS around one of the real kernel's."""

    def __init__(self, inner: str, *, handoff: bool) -> None:
        super().__init__(ENGINES[inner].make)
        self.uses = inner
        self._handoff = handoff

    def on_wire(self, size: int) -> object:
        """Records have a header and a tag; handshakes and what a peer cannot open yet are counted,
        too."""
        return _AtLeast(size)

    def engine(self, **options: Any) -> Engine:
        return AllTls(
            self._make(**options),
            SystemClock,
            acceptor=Acceptor(server_context("engine")),
            connector=Connector(client_context("engine"), "localhost"),
            handoff=self._handoff,
            handshake_ns=NEVER,
        )

    def _peer(self, endpoint: Endpoint, buffers: int | None) -> Peer:
        return TlsPeer.connecting(endpoint, buffers)

    def _listener(self, endpoint: Endpoint) -> PeerListener:
        return TlsPeerListener(endpoint)
