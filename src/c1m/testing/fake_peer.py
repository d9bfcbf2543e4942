"""The other end of the fake kernel's connections: what a client or a server outside would do.

Nothing waits: `send` takes what fits, `recv` gives what is there.
"""

from __future__ import annotations

import contextlib
import errno

from c1m.addresses import Endpoint
from c1m.testing.fake_network import Network
from c1m.testing.fake_sockets import Listener, Socket


class Peer:
    """One end of a connection, outside of the engine."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self.at_eof = False  # the other end's FIN has been read

    @classmethod
    def connect(cls, network: Network, endpoint: Endpoint, source: Endpoint | None) -> Peer:
        """Raises OSError (ECONNREFUSED); with the accept queue full, see `is_connected`."""
        sock = network.socket(endpoint.family)
        sock.hold()
        if source is not None:
            network.bind(sock, source)
        with contextlib.suppress(BlockingIOError):  # connected when there is room
            sock.connect(endpoint)
        return cls(sock)

    @property
    def is_connected(self) -> bool:
        """Established; raises OSError when the connect failed."""
        result = self._sock.connect_result()
        if result:
            raise OSError(result, "connect")
        return result == 0

    @property
    def source(self) -> Endpoint | None:
        """Its own address."""
        return self._sock.source

    @property
    def destination(self) -> Endpoint | None:
        """The engine's address, as seen from here."""
        return self._sock.destination

    @property
    def was_reset(self) -> bool:
        """Whether a RST ended it, from whichever side or by a fault."""
        other = self._sock.other
        return self._sock.was_reset or (other is not None and other.was_reset)

    @property
    def is_closed(self) -> bool:
        """Whether this end was closed."""
        return self._sock.is_closed

    def limit_inbox(self, size: int) -> None:
        """Let no more than `size` bytes wait here to be read."""
        self._sock.limit = size

    def send(self, data: bytes) -> int:
        """Bytes taken, 0 when there is no room. Raises OSError (EPIPE, ECONNRESET)."""
        try:
            return self._sock.write(data)
        except BlockingIOError:
            return 0
        except OSError as problem:
            if problem.errno == errno.ENOTCONN:
                return 0
            raise

    def recv(self, most: int = 1 << 20) -> bytes:
        """What is there, b"" when nothing is (or `at_eof`). Raises OSError (ECONNRESET)."""
        try:
            data = self._sock.read(most)
        except BlockingIOError:
            return b""
        except OSError as problem:
            if problem.errno == errno.ENOTCONN:
                return b""
            raise
        self.at_eof |= not data
        return data

    def shutdown_write(self) -> None:
        """Send a FIN and go on reading."""
        self._sock.shutdown_write()

    def close(self) -> None:
        """Close: a FIN, or a RST when there is unread data."""
        if not self._sock.is_closed:
            self._sock.drop()

    def reset(self) -> None:
        """Close with a RST."""
        self._sock.resets_on_close = True
        self.close()


class PeerListener:
    """A listener outside of the engine."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        listener.hold()
        self.endpoint = listener.endpoint

    def accept(self) -> Peer | None:
        """The next connection, if there is one."""
        try:
            return Peer(self._listener.accept())
        except BlockingIOError:
            return None

    def waiting(self) -> int:
        """Connections in the accept queue and beyond it."""
        return len(self._listener.queue) + len(self._listener.waiting)

    def close(self) -> None:
        """Stop listening: what was not accepted is reset or refused."""
        self._listener.drop()
