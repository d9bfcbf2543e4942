"""The listening side of the epoll engine: which endpoints are listened on, and when not to accept.

Facts
- A listener with connections waiting is reported by every epoll_wait (level-triggered). When they
  cannot be accepted (no descriptor is left: EMFILE, ENFILE) it must be taken out of the epoll set,
  or the loop spins.
- Connections that are not accepted wait in the accept queue; their handshake is done, and what the
  peer sends meanwhile is kept by the kernel.
- accept(2) also returns errors of the connection itself (ECONNABORTED, EPROTO, EHOSTUNREACH...):
  they concern nobody else, and the next call takes the next connection.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import replace

from c1m.addresses import Endpoint
from c1m.errors import InternalError
from c1m.kernel import socket_calls
from c1m.kernel.sockets import bound_endpoint, close_listeners, open_listeners

ACCEPTS_MAX = 256  # connections that one listener may bring in one tick (fairness)

_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_OUR_BUGS = frozenset((errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EFAULT))


class Acceptor:
    """The listeners of one engine, in its epoll set only while connections may come in."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._sockets: dict[Endpoint, socket.socket] = {}  # as bound, in the caller's order
        self.indices: dict[int, int] = {}  # descriptor -> index in the caller's list
        self.is_armed = False  # the listeners are in the epoll set
        self._is_short = False
        self.shortages = 0
        self.turned_away = 0

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Endpoint]:
        """Listen on exactly these; see Engine.listen. Those that are listened on already stay.

        Raises UsageError when one cannot be opened; then all is as it was before.
        """
        dropped = dict(self._sockets)
        kept = [dropped.pop(endpoint, None) for endpoint in endpoints]
        wanted = [e for e, sock in zip(endpoints, kept, strict=True) if sock is None]
        fresh = iter(open_listeners(wanted, backlog))
        self.disarm()
        close_listeners(dropped.values())
        sockets = [next(fresh) if sock is None else sock for sock in kept]
        bound = []
        for endpoint, sock in zip(endpoints, sockets, strict=True):
            sock.listen(backlog)  # a second time sets the backlog anew
            bound.append(replace(endpoint, port=bound_endpoint(sock, endpoint.family).port))
        self._sockets = dict(zip(bound, sockets, strict=True))
        self.indices = {sock.fileno(): index for index, sock in enumerate(sockets)}
        return bound

    def update(self, room: int, *, retry: bool) -> None:
        """Arm or disarm the listeners; `room` connections are welcome.

        After a shortage of descriptors they stay out until `retry` says that it may be over.
        """
        if retry:
            self._is_short = False
        if room > 0 and not self._is_short:
            self._arm()
        else:
            self.disarm()

    def accept(self, listener: int, room: int, capacity: int) -> list[int]:
        """New connections, at most `room` and ACCEPTS_MAX, in the epoll set and waiting for input.

        One that cannot be had there (epoll's max_user_watches, RLIMIT_NOFILE raised above
        `capacity` since) is closed again and counted as turned away.
        """
        fds: list[int] = []
        for _ in range(min(room, ACCEPTS_MAX)):
            fd = socket_calls.accept(listener)
            if fd >= 0 and (fd >= capacity or not self._watch(fd)):
                os.close(fd)
                self.turned_away += 1
                self._is_short = True
                break
            if fd >= 0:
                fds.append(fd)
            elif -fd == errno.EAGAIN:
                break
            elif -fd in _SHORTAGES:
                self.shortages += 1
                self._is_short = True
                break
            elif -fd in _OUR_BUGS:
                raise InternalError(f"accept on listener {listener} failed: {os.strerror(-fd)}.")
        return fds

    def _watch(self, fd: int) -> bool:
        try:
            self._epoll.register(fd, select.EPOLLIN)
        except OSError:
            return False
        return True

    def _arm(self) -> None:
        if not self.is_armed:
            for fd in self.indices:
                self._epoll.register(fd, select.EPOLLIN)
            self.is_armed = True

    def disarm(self) -> None:
        """Take the listeners out of the epoll set; connections wait in the accept queues."""
        if self.is_armed:
            for fd in self.indices:
                self._epoll.unregister(fd)
            self.is_armed = False

    def close(self) -> None:
        """Close all listeners."""
        self.disarm()
        close_listeners(self._sockets.values())
        self._sockets = {}
        self.indices = {}
