"""A connection's TLS by Python's ssl, over memory: bytes in, bytes out. Touches no socket.

Facts. With the default read_ahead of OpenSSL, off, a record's header and then its body are taken
from the incoming BIO: what is behind the handshake's last record is still there when it is done. A
server's tickets go out with the answer to the client's Finished, under the application's keys. A
read of READ_MAX takes a record whole: nothing is left of it inside of OpenSSL. To write is possible
behind the peer's close_notify, and to read behind ours.
"""

from __future__ import annotations

import contextlib
import ssl

from c1m.engine.contract import Pieces

READ_MAX = 1 << 14  # a record's worth


class Session:
    """One connection. `brings` is for the connector."""

    __slots__ = ("brings", "incoming", "is_eof", "is_resuming", "object", "outgoing")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self.incoming, self.outgoing, server_side, server_name, session
        )
        self.is_eof = self.brings = False
        self.is_resuming = session is not None

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done. Raises ssl.SSLError where it has failed."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self, slot: int, found: Pieces) -> None:
        """Add plain text of what is in `incoming`, as the slot's. Sets `is_eof` at the peer's
        close_notify, behind which all is ignored. Raises ssl.SSLError."""
        incoming, read = self.incoming, self.object.read
        try:
            while incoming.pending and not self.is_eof:
                piece = read(READ_MAX)
                if piece:
                    found.append((slot, piece))
                else:
                    self.is_eof = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_eof = True

    def write(self, data: bytes) -> bytes:
        """Plain text -> records. Raises ssl.SSLError."""
        write, size = self.object.write, len(data)
        at = write(data)
        if at < size:
            view = memoryview(data)
            while at < size:
                at += write(view[at:])
        return self.outgoing.read()

    def said(self) -> bytes:
        """What is to be sent, records of the handshake and alerts among it."""
        return self.outgoing.read() if self.outgoing.pending else b""

    def leftover(self) -> bytes:
        """What came and has not been looked at."""
        return self.incoming.read() if self.incoming.pending else b""

    def close_notify(self) -> bytes:
        """The alert that says: nothing more will come."""
        rest = self.leftover()  # `unwrap` takes what comes behind it for an error
        with contextlib.suppress(ssl.SSLError):
            self.object.unwrap()
        self.incoming.write(rest)
        return self.said()
