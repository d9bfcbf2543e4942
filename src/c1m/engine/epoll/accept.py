"""The listening side of the epoll engine: which endpoints are listened on, and when not to accept.

Facts
- A listener with connections waiting is reported by every epoll_wait (level-triggered). When they
  cannot be accepted (no descriptor is left: EMFILE, ENFILE) it must be taken out of the epoll set,
  or the loop spins.
- Connections that are not accepted wait in the accept queue; their handshake is done, and what the
  peer sends meanwhile is kept by the kernel.
- accept(2) also returns errors of the connection itself (ECONNABORTED, EPROTO, EHOSTUNREACH...):
  they concern nobody else, and the next call takes the next connection.
- What is accepted may still be refused by epoll (max_user_watches, memory).

Choice: whatever is refused, accepting pauses (`shortage`): the listeners leave the set until a
connection has ended or the pause is over. One that epoll refused is kept, and is the first then.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import replace

from c1m.addresses import Endpoint
from c1m.clock import SystemClock
from c1m.engine.shortage import Shortage
from c1m.errors import InternalError
from c1m.kernel import socket_calls
from c1m.kernel.refusals import ERRNOS, refusal
from c1m.kernel.sockets import bound_endpoint, close_listeners, open_listeners

ACCEPTS_MAX = 256  # connections that one listener may bring in one tick (fairness)

_OUR_BUGS = frozenset((errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EFAULT))


class Acceptor:
    """The listeners of one engine, in its epoll set only while connections may come in.

    `shortage`: what accepting lacks; while its `until_ns` is not 0 nobody is accepted.
    """

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._sockets: dict[Endpoint, socket.socket] = {}  # as bound, in the caller's order
        self.indices: dict[int, int] = {}  # descriptor -> index in the caller's list
        self.is_armed = False  # the listeners are in the epoll set
        self.shortage = Shortage()
        self.turned_away = 0
        self._held: dict[int, int] = {}  # listener -> accepted by it, and not in the epoll set yet

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Endpoint]:
        """Listen on exactly these; see Engine.listen. Those that are listened on already stay.

        Raises UsageError when one cannot be opened; then all is as it was before.
        """
        dropped = dict(self._sockets)
        kept = [dropped.pop(endpoint, None) for endpoint in endpoints]
        wanted = [e for e, sock in zip(endpoints, kept, strict=True) if sock is None]
        fresh = iter(open_listeners(wanted, backlog))
        self.disarm()
        for sock in dropped.values():
            self._drop_held(sock.fileno())
        close_listeners(dropped.values())
        sockets = [next(fresh) if sock is None else sock for sock in kept]
        bound = []
        for endpoint, sock in zip(endpoints, sockets, strict=True):
            sock.listen(backlog)  # a second time sets the backlog anew
            bound.append(replace(endpoint, port=bound_endpoint(sock, endpoint.family).port))
        self._sockets = dict(zip(bound, sockets, strict=True))
        self.indices = {sock.fileno(): index for index, sock in enumerate(sockets)}
        return bound

    def update(self, room: int) -> None:
        """Arm or disarm the listeners; `room` connections are welcome."""
        if room > 0 and not self.shortage.until_ns:
            self._arm()
        else:
            self.disarm()

    def waiting(self) -> list[int]:
        """Listeners with somebody who is accepted and not in the epoll set yet."""
        return list(self._held) if self.is_armed else []

    def accept(self, listener: int, room: int, capacity: int) -> list[int]:
        """New connections, at most `room` and ACCEPTS_MAX, in the epoll set and waiting for input.

        One whose descriptor is not below `capacity` (RLIMIT_NOFILE was raised since) is closed
        again and counted as turned away.
        """
        fds: list[int] = []
        for _ in range(min(room, ACCEPTS_MAX)):
            if self.shortage.until_ns:
                break
            fd = self._held.pop(listener, -1)
            if fd < 0:
                fd = socket_calls.accept(listener)
            if fd >= capacity:
                os.close(fd)
                self.turned_away += 1
                self._refused("further connection", errno.EMFILE)
            elif fd >= 0:
                if not self._watch(fd):
                    self._held[listener] = fd
                    break
                fds.append(fd)
            elif -fd == errno.EAGAIN:
                break
            elif -fd in ERRNOS:
                self._refused("further connection", -fd)
            elif -fd in _OUR_BUGS:
                raise InternalError(f"accept on listener {listener} failed: {os.strerror(-fd)}.")
        if fds and not self.shortage.until_ns:
            self.shortage.ends()
        return fds

    def _refused(self, what: str, code: int) -> None:
        text, remedy = refusal(what, code)
        self.shortage.refused(what.split()[-1], text, remedy, SystemClock.now_ns())

    def _watch(self, fd: int) -> bool:
        try:
            self._epoll.register(fd, select.EPOLLIN)
        except OSError as error:
            self._refused("further epoll watch", error.errno or errno.EIO)
            return False
        return True

    def _arm(self) -> None:
        """All listeners, or none where epoll refuses one."""
        if self.is_armed:
            return
        for count, fd in enumerate(self.indices):
            if not self._watch(fd):
                for armed in list(self.indices)[:count]:
                    self._epoll.unregister(armed)
                return
        self.is_armed = True

    def disarm(self) -> None:
        """Take the listeners out of the epoll set; connections wait in the accept queues."""
        if self.is_armed:
            for fd in self.indices:
                self._epoll.unregister(fd)
            self.is_armed = False

    def _drop_held(self, listener: int) -> None:
        fd = self._held.pop(listener, -1)
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Close all listeners."""
        self.disarm()
        for listener in list(self._held):
            self._drop_held(listener)
        close_listeners(self._sockets.values())
        self._sockets = {}
        self.indices = {}
