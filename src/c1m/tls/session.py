"""A connection's TLS by Python's ssl, over memory: bytes in, bytes out. Touches no socket.

Facts. With the default read_ahead of OpenSSL, off, a record's header and then its body are taken
from the incoming BIO: what is behind the handshake's last record is still there when it is done. A
server's tickets go out with the answer to the client's Finished, under the application's keys.
"""

from __future__ import annotations

import contextlib
import ssl

from c1m.tls.overheard import Overheard

READ_MAX = 1 << 14  # a record's worth


class Session:
    """One connection. `listener`, `since_ns` and `is_queued` are for its owner, `brings` for the
    connector."""

    __slots__ = (
        "_incoming", "_outgoing", "brings", "came", "is_done", "is_eof", "is_queued", "is_resuming",
        "listener", "object", "overheard", "since_ns",
    )  # fmt: skip

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self._incoming, self._outgoing, server_side, server_name, session
        )
        self.is_done = self.is_eof = self.is_queued = self.brings = False
        self.is_resuming = session is not None
        self.listener = 0
        self.since_ns = 0
        self.came = b""  # since the last step
        self.overheard = Overheard(is_client=not server_side)

    def feed(self, data: bytes) -> None:
        """Bytes that came."""
        self._incoming.write(data)
        if not self.is_done:
            self.came += data

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done. Raises ssl.SSLError where it has failed."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_done = True
        return True

    def read(self) -> list[bytes]:
        """Plain text that came. Raises ssl.SSLError; sets `is_eof` at the peer's close_notify."""
        found: list[bytes] = []
        try:
            while True:
                piece = self.object.read(READ_MAX)
                if not piece:
                    self.is_eof = True
                    break
                found.append(piece)
                if not self._incoming.pending and not self.object.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_eof = True
        return found

    def write(self, data: bytes) -> bytes:
        """Plain text -> records."""
        at, size = 0, len(data)
        while at < size:
            at += self.object.write(data[at:] if at else data)
        return self.said()

    def said(self) -> bytes:
        """What is to be sent, records of the handshake and alerts among it."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def leftover(self) -> bytes:
        """What came and has not been looked at."""
        return self._incoming.read() if self._incoming.pending else b""

    def close_notify(self) -> bytes:
        """The alert that says: nothing more will come."""
        with contextlib.suppress(ssl.SSLError):
            self.object.unwrap()
        return self.said()
