"""Stream sockets in memory, with the rules of TCP that an engine can see.

Facts modelled (Linux)
- What arrived before a reset or a FIN is read before the error or the end of the stream is seen.
- An error is told once, by whichever call comes first; later reads give the end, writes EPIPE.
- Closing with unread data, or with SO_LINGER and a time of 0, sends a RST, else a FIN.
- A write to a peer that has closed is taken, and answered by a RST (unix sockets: EPIPE).
- A socket is writable for poll when a third of its buffer is free, though less can be written.
- When the accept queue is full (backlog + 1) further connects wait and are tried again later.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING

from c1m.addresses import AF_UNIX, Endpoint
from c1m.testing.fake_files import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, File

if TYPE_CHECKING:
    from c1m.testing.fake_network import Network


def error(code: int) -> OSError:
    """The OSError (of the subclass that fits) for an errno."""
    return OSError(code, os.strerror(code))


class Socket(File):
    """One end of a connection, or what is to become one."""

    def __init__(self, network: Network, family: int, limit: int) -> None:
        super().__init__()
        self.network = network
        self.family = family
        self.limit = limit  # bytes that may wait here to be read
        self.source: Endpoint | None = None
        self.destination: Endpoint | None = None
        self.waits_at: Listener | None = None  # connecting: the listener whose queue is full
        self.other: Socket | None = None
        self.inbox = bytearray()
        self.resets_on_close = False
        self.is_closed = False
        self.was_reset = False  # by a RST of either side or of the network
        self._connect_error = 0
        self._error = 0
        self._has_fin = False
        self._is_shut = False
        self._is_dead = False

    # --- connecting -----------------------------------------------------------------------------

    def connect(self, destination: Endpoint) -> None:
        """Raises OSError: EINPROGRESS when the answer comes later (see `connect_result`)."""
        if self.other is not None:
            raise error(errno.EISCONN)
        self.network.connect(self, destination)

    def connect_result(self) -> int | None:
        """0 or an errno; None while connecting."""
        if self._connect_error:
            return self._connect_error
        return 0 if self.other is not None else None

    def join(self, other: Socket) -> None:
        """Become one end of a connection."""
        self.other = other
        self.waits_at = None
        self.notify(POLLOUT)

    def refuse(self) -> None:
        """The connect that was waiting fails."""
        self.waits_at = None
        self._connect_error = errno.ECONNREFUSED
        self.notify(POLLERR)

    # --- bytes ----------------------------------------------------------------------------------

    def read(self, most: int) -> bytes:
        """Up to `most` bytes, b"" at the end of the stream. Raises OSError, EAGAIN among them."""
        if self.inbox:
            data = bytes(self.inbox[:most])
            was_writable = self.is_writable_for_peer()
            del self.inbox[: len(data)]
            if self.other is not None and not was_writable and self.is_writable_for_peer():
                self.other.notify(POLLOUT)
            return data
        if self._has_fin:
            return b""
        if self._error:
            code, self._error = self._error, 0
            raise error(code)
        if self._is_dead:
            return b""
        raise error(errno.EAGAIN if self.other is not None else errno.ENOTCONN)

    def write(self, data: bytes) -> int:
        """The number of bytes taken. Raises OSError, EAGAIN among them."""
        if self._error:
            code, self._error = self._error, 0
            raise error(code)
        if self._is_shut or self._is_dead:
            raise error(errno.EPIPE)
        other = self.other
        if other is None:
            raise error(errno.ENOTCONN)
        if other.is_closed:
            if self.family == AF_UNIX:
                raise error(errno.EPIPE)
            self.take_reset()
            return len(data)
        room = other.limit - len(other.inbox)
        if room <= 0:
            raise error(errno.EAGAIN)
        taken = data[:room]
        other.inbox += taken
        other.notify(POLLIN)
        return len(taken)

    def has_more(self) -> bool:
        """What a receive tells with its data: more bytes, or for TCP the FIN, are there."""
        return bool(self.inbox) or (self._has_fin and self.family != AF_UNIX)

    def is_writable_for_peer(self) -> bool:
        """Whether the peer's poll says that it can write."""
        return self.limit - len(self.inbox) >= max(self.limit // 3, 1)

    def ready(self) -> int:
        bits = POLLIN if self.inbox or self._has_fin else 0
        bits |= POLLRDHUP if self._has_fin or self._is_dead else 0
        if self._error or self._connect_error:
            bits |= POLLERR
        if self._is_dead:
            bits |= POLLIN | POLLOUT | POLLHUP
        other = self.other
        if other is not None and (other.is_closed or other.is_writable_for_peer()):
            bits |= POLLOUT
        return bits

    # --- ending ---------------------------------------------------------------------------------

    def shutdown_write(self) -> None:
        """Send a FIN; reading goes on."""
        if self.other is None:
            raise error(errno.ENOTCONN)
        if not self._is_shut and not self._is_dead:
            self._is_shut = True
            self.other.take_fin()

    def take_fin(self) -> None:
        """The peer will send no more."""
        if not self._is_dead and not self.is_closed:
            self._has_fin = True
            self.notify(POLLIN | POLLRDHUP)

    def take_reset(self) -> None:
        """A RST arrived: what is in the inbox can still be read."""
        self.was_reset = True
        if self._is_dead or self.is_closed:
            return
        self._is_dead = True
        self._error = errno.EPIPE if self._has_fin else errno.ECONNRESET
        self.notify(POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP)

    def reset_by_network(self) -> None:
        """Both ends get a RST."""
        other = self.other
        self.take_reset()
        if other is not None:
            other.take_reset()

    def release(self) -> None:
        self.is_closed = True
        if self.waits_at is not None:
            self.waits_at.waiting.remove(self)
        other = self.other
        if other is not None and not self._is_dead:
            if self.inbox or self.resets_on_close:
                self.was_reset = True
                other.take_reset()
            else:
                self._is_shut = True
                other.take_fin()
        self.network.socket_closed(self)


class Listener(File):
    """A listening socket with its accept queue."""

    def __init__(self, network: Network, endpoint: Endpoint, backlog: int) -> None:
        super().__init__()
        self.network = network
        self.endpoint = endpoint
        self.backlog = backlog
        self.queue: deque[Socket] = deque()
        self.waiting: deque[Socket] = deque()  # their SYNs were dropped: they try again

    def has_room(self) -> bool:
        """Whether one more connection can be established (Linux: queue length <= backlog)."""
        return len(self.queue) <= self.backlog

    def establish(self, client: Socket) -> None:
        """Make the connection; it waits in the queue to be accepted."""
        server = self.network.socket(client.family)
        server.source, server.destination = client.destination, client.source
        server.hold()  # the queue's
        server.join(client)
        client.join(server)
        self.queue.append(server)
        self.notify(POLLIN)

    def accept(self) -> Socket:
        """The next connection, held once for the caller. Raises OSError(EAGAIN)."""
        if not self.queue:
            raise error(errno.EAGAIN)
        return self.queue.popleft()

    def ready(self) -> int:
        return POLLIN if self.queue else 0

    def release(self) -> None:
        self.network.unbind(self)
        for server in self.queue:
            server.resets_on_close = True
            server.drop()
        self.queue.clear()
        for client in list(self.waiting):
            client.refuse()
        self.waiting.clear()
