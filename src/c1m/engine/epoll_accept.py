"""Accepting in the epoll engine: the listeners, and when they pause."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Sequence

from c1m.addresses import Endpoint, ListeningSocket
from c1m.clock import SystemClock
from c1m.engine.shortage import Shortage
from c1m.errors import InternalError
from c1m.kernel import libc
from c1m.kernel.refusals import ERRNOS
from c1m.kernel.sockets import Listener, open_listeners, renew

ACCEPTS_MAX = 256  # connections that one listener may bring in one tick (fairness)

_OUR_BUGS = frozenset((errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EFAULT))


class Acceptor:
    """The listeners, in the epoll set only while connections may come in: not in a `shortage`."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._listeners: list[Listener] = []  # in the caller's order
        self.indices: dict[int, int] = {}  # descriptor -> index in the caller's list
        self.is_armed = False  # the listeners are in the epoll set
        self.shortage = Shortage(SystemClock())
        self.turned_away = 0
        self.held: dict[int, int] = {}  # listener -> accepted by it, and not in the epoll set yet

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        """See Engine.listen."""
        wanted, dropped = renew(self._listeners, endpoints, backlog, open_listeners)
        self.disarm()
        for listener in dropped:
            held = self.held.pop(listener.fd, -1)
            if held >= 0:
                os.close(held)
            listener.close()
        self._listeners = wanted
        self.indices = {listener.fd: index for index, listener in enumerate(wanted)}
        return [listener.endpoint for listener in wanted]

    def listening(self) -> list[ListeningSocket]:
        """What is listened on, for somebody else to accept from as well."""
        return [ListeningSocket(each.fd, each.endpoint) for each in self._listeners]

    def update(self, room: int) -> list[int]:
        """Arm or disarm the listeners; `room` more connections are welcome.

        Returns those listeners that have a connection to begin with, which epoll refused before:
        it is accepted already, and counts whether or not further ones are welcome.
        """
        if room <= 0 or self.shortage.until_ns:
            self.disarm()
        elif not self.is_armed:
            self._arm()
        return [] if self.shortage.until_ns else list(self.held)

    def accept(self, listener: int, room: int, capacity: int) -> list[int]:
        """New connections, at most `room` and ACCEPTS_MAX, in the epoll set and waiting for input.

        One whose descriptor is not below `capacity` (RLIMIT_NOFILE was raised since) is closed
        again and counted as turned away.
        """
        fds: list[int] = []
        for _ in range(max(min(room, ACCEPTS_MAX), listener in self.held)):
            if self.shortage.until_ns:
                break
            fd = self.held.pop(listener, -1)
            if fd < 0:
                fd = libc.accept(listener)
            if fd >= capacity:
                os.close(fd)
                self.turned_away += 1
                self.shortage.refused("connection", "further connection", errno.EMFILE)
            elif fd >= 0:
                if not self._watch(fd):
                    self.held[listener] = fd
                    break
                fds.append(fd)
            elif -fd == errno.EAGAIN:
                break
            elif -fd in ERRNOS:
                self.shortage.refused("connection", "further connection", -fd)
            elif -fd in _OUR_BUGS:
                raise InternalError(f"accept on listener {listener} failed: {os.strerror(-fd)}.")
        if fds and not self.shortage.until_ns:
            self.shortage.ends()
        return fds

    def _watch(self, fd: int) -> bool:
        try:
            self._epoll.register(fd, select.EPOLLIN)
        except OSError as error:
            self.shortage.refused("watch", "further epoll watch", error)
            return False
        return True

    def _arm(self) -> None:
        """All listeners, or none where epoll refuses one."""
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
