"""The fake kernel's network: who listens where, which ports are taken, connects that wait."""

from __future__ import annotations

import errno
import ipaddress
import os

from c1m.addresses import AF_UNIX, Endpoint, family_of
from c1m.testing.fake_sockets import Listener, Socket, error

_ANY = ("0.0.0.0", "::")
_FIRST_PORT = 32768
Tuple = tuple[str, str, int]  # source host, destination host, destination port


class Network:
    """One host that has only loopback addresses, with `ports` ephemeral ports."""

    def __init__(self, socket_buffer: int, ports: int) -> None:
        self.socket_buffer = socket_buffer
        self._ports = ports
        self._listeners: dict[Endpoint, Listener] = {}
        self._taken: dict[Tuple, set[int]] = {}
        self._next_port = 1024

    # --- listening ------------------------------------------------------------------------------

    def listen(self, endpoint: Endpoint, backlog: int) -> Listener:
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
        listener = Listener(self, endpoint, backlog)
        self._listeners[endpoint] = listener
        return listener

    def unbind(self, listener: Listener) -> None:
        """Its endpoint is free again."""
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
        """Whether a socket can be bound to this address."""
        return host in _ANY or (family_of(host) is not None and _address(host).is_loopback)

    # --- connecting -----------------------------------------------------------------------------

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

    def _find(self, destination: Endpoint) -> Listener | None:
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
