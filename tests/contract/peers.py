"""The other end of an engine's connections, as the contract's tests see it.

A peer never blocks: `send` queues, `step` moves what can be moved in both directions and says
whether anything did. So one thread can step the peers and the engine in turns. `Peer` and
`PeerListener` are what the tests use; a harness gives them a transport (a kernel socket, or
something in memory).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from abc import ABC, abstractmethod

from c1m.addresses import AF_INET6, AF_UNIX, Endpoint

CHUNK = 1 << 16


class Peer(ABC):
    """One remote end.

    `received`: all bytes so far; `is_eof`: the engine's side has ended in good order;
    `error`: the errno it ended with otherwise (ECONNREFUSED, ECONNRESET), or 0;
    `is_reading`: set to False to let the engine's output pile up.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.is_eof = False
        self.error = 0
        self.is_reading = True
        self._outgoing = bytearray()
        self._shuts_after = False
        self._is_closed = False

    # what tests do

    def send(self, data: bytes) -> None:
        """Send in the background of `step`."""
        self._outgoing += data
        self.step()

    def shutdown_write(self) -> None:
        """Send the FIN as soon as all has been sent; go on reading."""
        self._shuts_after = True
        self.step()

    def close(self) -> None:
        """Close at once, in good order if nothing is unread."""
        if not self._is_closed:
            self._is_closed = True
            self._close()

    def reset(self) -> None:
        """Close with a RST."""
        if not self._is_closed:
            self._is_closed = True
            self._reset()

    def has_ended(self) -> bool:
        """Whether the engine's side has ended the connection, in whatever way."""
        return self.is_eof or self.error != 0

    def unsent(self) -> int:
        """Bytes queued that the transport has not taken."""
        return len(self._outgoing)

    def step(self) -> bool:
        """Move what can be moved now; False if that was nothing."""
        if self._is_closed or self.error:
            return False
        try:
            moved = self._step_out()
            return (self._step_in() if self.is_reading and not self.is_eof else False) or moved
        except OSError as error:
            self.error = error.errno or errno.EIO
            self._outgoing.clear()
            return True

    def _step_out(self) -> bool:
        moved = False
        while self._outgoing:
            taken = self._push(bytes(self._outgoing[:CHUNK]))
            if taken == 0:
                return moved
            del self._outgoing[:taken]
            moved = True
        if self._shuts_after and self._shutdown_write():
            self._shuts_after = False
            moved = True
        return moved

    def _step_in(self) -> bool:
        data = self._pull(CHUNK)
        if data is None:
            return False
        self.received += data
        self.is_eof = not data
        return True

    # what a transport does

    @abstractmethod
    def source(self) -> Endpoint:
        """This end's own address."""

    @abstractmethod
    def _push(self, data: bytes) -> int:
        """Bytes taken (0: not now). Raises OSError when the connection has failed."""

    @abstractmethod
    def _pull(self, most: int) -> bytes | None:
        """Bytes that have come; None: not now; b'': the end. Raises OSError."""

    @abstractmethod
    def _shutdown_write(self) -> bool:
        """Send the FIN; False: not now."""

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _reset(self) -> None: ...


class PeerListener(ABC):
    """Somebody the engine can connect to; `accepted` in the order they came."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.accepted: list[Peer] = []

    @abstractmethod
    def step(self) -> bool:
        """Accept who is waiting; False if that was nobody."""

    @abstractmethod
    def close(self) -> None: ...


class SocketPeer(Peer):
    """A peer on a non-blocking kernel socket."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
        sock.setblocking(False)

    @classmethod
    def connecting(cls, endpoint: Endpoint, buffers: int | None = None) -> SocketPeer:
        """Start to connect; `buffers` sets the size of both of the kernel's buffers."""
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        peer = cls(sock)
        if buffers is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        if endpoint.family != AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(_address(endpoint))
        peer.error = 0 if code == errno.EINPROGRESS else code
        return peer

    def source(self) -> Endpoint:
        name = self._socket.getsockname()
        return Endpoint(int(self._socket.family), name[0], name[1])

    def _push(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def _pull(self, most: int) -> bytes | None:
        try:
            return self._socket.recv(most)
        except BlockingIOError:
            return None

    def _shutdown_write(self) -> bool:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return False
            raise
        return True

    def _close(self) -> None:
        self._socket.close()

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()


class SocketPeerListener(PeerListener):
    """A listener on a non-blocking kernel socket."""

    peer: type[SocketPeer] = SocketPeer

    def __init__(self, endpoint: Endpoint) -> None:
        self._socket = socket.socket(endpoint.family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(_address(endpoint))
        self._socket.listen(4096)
        self._socket.setblocking(False)
        if endpoint.family != AF_UNIX:
            host, port = self._socket.getsockname()[:2]
            endpoint = Endpoint(endpoint.family, host, port)
        super().__init__(endpoint)

    def step(self) -> bool:
        moved = False
        while True:
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                return moved
            self.accepted.append(self.peer(sock))
            moved = True

    def close(self) -> None:
        self._socket.close()
        if self.endpoint.family == AF_UNIX and os.path.exists(self.endpoint.path):
            os.unlink(self.endpoint.path)


def _address(endpoint: Endpoint) -> str | tuple[str, int] | tuple[str, int, int, int]:
    if endpoint.family == AF_UNIX:
        return endpoint.path
    if endpoint.family == AF_INET6:
        return (endpoint.host, endpoint.port, 0, 0)
    return (endpoint.host, endpoint.port)
