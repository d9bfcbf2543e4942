"""The host around the fake kernel's rings: files, sockets in memory, their network and peers.

Facts modelled (Linux)
- What arrived before a reset or a FIN is read before the error or the end of the stream is seen.
- An error is reported once, by whichever call comes first; later reads give the end, writes EPIPE.
- Closing with unread data, or after the association was dissolved, sends a RST, else a FIN.
- A write to a peer that has closed is taken, and answered by a RST (unix sockets: EPIPE).
- A socket is writable for poll when a third of its buffer is free, though less can be written.
- A connection that a RST has ended has no peer's name any more.
- When the accept queue is full (backlog + 1) further connects wait and are tried again later.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
from collections import deque
from typing import Protocol

from c1m.addresses import AF_UNIX, Endpoint, family_of, pack
from c1m.kernel.uring_abi import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP

_ALWAYS = POLLERR | POLLHUP
_ANY = ("0.0.0.0", "::")
_FIRST_PORT = 32768
Tuple = tuple[str, str, int]  # source host, destination host, destination port


def error(code: int) -> OSError:
    """The OSError (of the subclass that fits) for an errno."""
    return OSError(code, os.strerror(code))


class Waiter(Protocol):
    """Something that wants to know when a file becomes ready."""

    def wake(self) -> None: ...


class File:
    """A file lives while a descriptor, a table or a request holds it: `release` ends it."""

    def __init__(self) -> None:
        self._references = 0
        self._waiters: dict[Waiter, int] = {}

    def hold(self) -> None:
        self._references += 1

    def drop(self) -> None:
        assert self._references > 0
        self._references -= 1
        if self._references == 0:
            self.release()

    def release(self) -> None:
        """Nobody holds it any more."""

    def ready(self) -> int:
        return 0

    def watch(self, waiter: Waiter, events: int) -> None:
        """Wake `waiter` at every event of these kinds, errors in any case."""
        self._waiters[waiter] = events | _ALWAYS

    def forget(self, waiter: Waiter) -> None:
        self._waiters.pop(waiter, None)

    def notify(self, events: int) -> None:
        for waiter, wanted in list(self._waiters.items()):
            if wanted & events:
                waiter.wake()


class Event(File):
    """An eventfd. Nobody reads it: it stays readable, and each signal is an event of its own.

    `has_rung` is what an edge-triggered epoll sees: set by a signal, cleared by a look.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_rung = False
        self._count = 0

    def signal(self) -> None:
        self._count += 1
        self.has_rung = True
        self.notify(POLLIN)

    def take(self) -> bool:
        """Whether there was a signal since the last look."""
        rang, self.has_rung = self.has_rung, False
        return rang

    def read(self) -> None:
        """Somebody reads it after all."""
        self._count = 0

    def ready(self) -> int:
        return POLLIN if self._count else 0


class Socket(File):
    """One end of a connection, or what is to become one.

    A ring's operations use `read` and `write`; a test, at the other end, `send` and `recv`.
    """

    def __init__(self, network: Network, family: int, limit: int) -> None:
        super().__init__()
        self.network = network
        self.family = family
        self.limit = limit  # bytes that may wait here to be read
        self.source: Endpoint | None = None
        self.destination: Endpoint | None = None
        self.waits_at: ListeningSocket | None = None  # connecting: the listener whose queue is full
        self.other: Socket | None = None
        self.inbox = bytearray()
        self.resets_on_close = False
        self.has_nodelay = False
        self.is_closed = False
        self.at_eof = False  # the other end's FIN has been received
        self._was_reset = False
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
        self.other = other
        self.waits_at = None
        self.notify(POLLOUT)

    def refuse(self) -> None:
        self.waits_at = None
        self._connect_error = errno.ECONNREFUSED
        self.notify(POLLERR)

    def peer_name(self) -> bytes:
        """The peer's struct sockaddr; raises OSError(ENOTCONN)."""
        if self.other is None or self._is_dead or self.destination is None:
            raise error(errno.ENOTCONN)
        if self.family == AF_UNIX:
            return AF_UNIX.to_bytes(2, "little")
        return pack(self.destination)

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
        raise error(errno.EAGAIN)  # as while connecting

    def write(self, data: bytes) -> int:
        """The number of bytes taken. Raises OSError, EAGAIN among them."""
        if self._error:
            code, self._error = self._error, 0
            raise error(code)
        if self._is_shut or self._is_dead:
            raise error(errno.EPIPE)
        other = self.other
        if other is None:
            raise error(errno.EAGAIN)  # connecting
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
        """What a receive reports with its data: more bytes, or for TCP the FIN, are there."""
        return bool(self.inbox) or (self._has_fin and self.family != AF_UNIX)

    def is_writable_for_peer(self) -> bool:
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
        if not self._is_dead and not self.is_closed:
            self._has_fin = True
            self.notify(POLLIN | POLLRDHUP)

    def take_reset(self) -> None:
        """A RST arrived: what is in the inbox can still be read."""
        self._was_reset = True
        if self._is_dead or self.is_closed:
            return
        self._is_dead = True
        self._error = errno.EPIPE if self._has_fin else errno.ECONNRESET
        self.notify(POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP)

    def reset_by_network(self) -> None:
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
                self._was_reset = True
                other.take_reset()
            else:
                self._is_shut = True
                other.take_fin()
        self.network.socket_closed(self)

    # --- a test's end ---------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Established; raises OSError when the connect failed."""
        result = self.connect_result()
        if result:
            raise error(result)
        return result == 0

    @property
    def was_reset(self) -> bool:
        """Whether a RST ended it, from whichever side or by a fault."""
        return self._was_reset or (self.other is not None and self.other._was_reset)

    def send(self, data: bytes) -> int:
        """Bytes taken, 0 when there is no room or no connection. Raises OSError (EPIPE)."""
        try:
            return self.write(data)
        except BlockingIOError:
            return 0

    def recv(self, most: int = 1 << 20) -> bytes:
        """What is there, b"" when nothing is (or `at_eof`). Raises OSError (ECONNRESET)."""
        try:
            data = self.read(most)
        except BlockingIOError:
            return b""
        self.at_eof |= not data
        return data

    def close(self) -> None:
        """Close: a FIN, or a RST when there is unread data."""
        if not self.is_closed:
            self.drop()

    def reset(self) -> None:
        self.resets_on_close = True
        self.close()


class ListeningSocket(File):
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

    def accept(self) -> Socket | None:
        """The next connection, held once for the caller."""
        return self.queue.popleft() if self.queue else None

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


class Network:
    """One host that has only loopback addresses.

    socket_buffer: bytes that wait in a socket. ports: ephemeral ports for each source, destination
    and port.
    """

    def __init__(self, socket_buffer: int = 65_536, ports: int = 28_232) -> None:
        self.socket_buffer = socket_buffer
        self._ports = ports
        self._listeners: dict[Endpoint, ListeningSocket] = {}
        self._taken: dict[Tuple, set[int]] = {}
        self._next_port = 1024

    # --- listening ------------------------------------------------------------------------------

    def listen(self, endpoint: Endpoint, backlog: int) -> ListeningSocket:
        """Raises OSError: EADDRINUSE, EADDRNOTAVAIL."""
        if endpoint.family != AF_UNIX:
            if not self.is_local(endpoint.host):
                raise error(errno.EADDRNOTAVAIL)
            if endpoint.port == 0:
                endpoint = Endpoint(endpoint.family, endpoint.host, self._free_port())
        if any(self._collide(endpoint, taken) for taken in self._listeners):
            raise error(errno.EADDRINUSE)
        if endpoint.family == AF_UNIX:
            _make_file(endpoint.path)
        listener = ListeningSocket(self, endpoint, backlog)
        self._listeners[endpoint] = listener
        return listener

    def unbind(self, listener: ListeningSocket) -> None:
        del self._listeners[listener.endpoint]
        if listener.endpoint.family == AF_UNIX:
            os.unlink(listener.endpoint.path)

    def _free_port(self) -> int:
        used = {endpoint.port for endpoint in self._listeners}
        while self._next_port in used:
            self._next_port += 1
        self._next_port += 1
        return self._next_port - 1

    @staticmethod
    def _collide(one: Endpoint, two: Endpoint) -> bool:
        if one.family != two.family:
            return False
        if one.family == AF_UNIX:
            return one.path == two.path
        same_host = one.host == two.host or one.host in _ANY or two.host in _ANY
        return one.port == two.port and same_host

    @staticmethod
    def is_local(host: str) -> bool:
        return host in _ANY or (family_of(host) is not None and _address(host).is_loopback)

    # --- connecting -----------------------------------------------------------------------------

    def peer(self, endpoint: Endpoint, source: Endpoint | None = None) -> Socket:
        """A test's end of a connection. Raises OSError (ECONNREFUSED).

        With the accept queue full it is connected when there is room: see `is_connected`.
        """
        sock = self.socket(endpoint.family)
        sock.hold()
        if source is not None:
            self.bind(sock, source)
        with contextlib.suppress(BlockingIOError):
            sock.connect(endpoint)
        return sock

    def socket(self, family: int) -> Socket:
        """A new socket that nobody holds yet."""
        return Socket(self, family, self.socket_buffer)

    def bind(self, sock: Socket, source: Endpoint) -> None:
        """Raises OSError(EADDRNOTAVAIL) for an address of another host."""
        if source.family != sock.family:
            raise error(errno.EAFNOSUPPORT)
        if source.family != AF_UNIX and not self.is_local(source.host):
            raise error(errno.EADDRNOTAVAIL)
        sock.source = source

    def connect(self, sock: Socket, destination: Endpoint) -> None:
        """Raises OSError: EINPROGRESS when the answer comes later."""
        if destination.host in _ANY:
            host = "127.0.0.1" if destination.host == _ANY[0] else "::1"
            destination = Endpoint(destination.family, host, destination.port)
        sock.destination = destination
        if destination.family != AF_UNIX:
            self._take_port(sock, destination)
        listener = self._find(destination)
        if listener is None:
            self.socket_closed(sock)  # gives the port back
            code = errno.ENOENT if destination.family == AF_UNIX else errno.ECONNREFUSED
            raise error(code)
        if listener.has_room():
            listener.establish(sock)
            return
        sock.waits_at = listener
        listener.waiting.append(sock)
        raise error(errno.EINPROGRESS)

    def _find(self, destination: Endpoint) -> ListeningSocket | None:
        exact = self._listeners.get(destination)
        if exact is not None or destination.family == AF_UNIX:
            return exact
        anywhere = _ANY[0] if ":" not in destination.host else _ANY[1]
        return self._listeners.get(Endpoint(destination.family, anywhere, destination.port))

    def _take_port(self, sock: Socket, destination: Endpoint) -> None:
        source = sock.source
        host = source.host if source is not None and source.host not in _ANY else "127.0.0.1"
        if source is None or source.host in _ANY:
            host = destination.host  # the kernel prefers the same address on loopback
        used = self._taken.setdefault((host, destination.host, destination.port), set())
        port = source.port if source is not None else 0
        if port == 0:
            free = (p for p in range(_FIRST_PORT, _FIRST_PORT + self._ports) if p not in used)
            found = next(free, None)
            if found is None:
                raise error(errno.EADDRNOTAVAIL)
            port = found
        elif port in used:
            raise error(errno.EADDRINUSE)
        used.add(port)
        sock.source = Endpoint(sock.family, host, port)

    def socket_closed(self, sock: Socket) -> None:
        """Give the port back that a connect took. (The fake has no TIME_WAIT.)"""
        source, destination = sock.source, sock.destination
        if source is not None and destination is not None:
            used = self._taken.get((source.host, destination.host, destination.port))
            if used is not None:
                used.discard(source.port)

    def advance(self) -> bool:
        """What happens while nobody runs: waiting connects try again. True if one got through."""
        progress = False
        for listener in list(self._listeners.values()):
            while listener.waiting and listener.has_room():
                listener.establish(listener.waiting.popleft())
                progress = True
        return progress


def _make_file(path: str) -> None:
    """The file that stands for a unix listener: the one thing here that is not in memory."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise error(errno.EADDRINUSE) from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])
