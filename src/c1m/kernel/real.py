"""The real kernel as the uring engine sees it: rings, listeners, sockets and a doorbell.

`testing.fake_kernel` has the same shape with sockets in memory and seeded faults; this protocol is
the seam between them.
"""

from __future__ import annotations

import mmap
import os
import resource
import select
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

import numpy as np

from c1m.addresses import Endpoint, unpack
from c1m.clock import SystemClock
from c1m.errors import EngineUnavailable
from c1m.kernel import libc
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import anonymous
from c1m.kernel.libc import IP_BIND_ADDRESS_NO_PORT
from c1m.kernel.limits import descriptors_left, left_to_lock
from c1m.kernel.refusals import refusal
from c1m.kernel.ring import Ring, RingLike, register_file
from c1m.kernel.sleeping import poll
from c1m.kernel.sockets import Listener, open_listeners
from c1m.kernel.uring_probe import Features

TIDY_NS, TIDY_PASSES = 10_000_000, 5  # what a closed ring locked counts for some 30 ms longer
RESERVE = 16  # descriptors that no ring may take: listeners, files that are read for a moment


class Kernel(Protocol):
    """What the uring engine needs outside of the rings."""

    features: Features

    def files_max(self) -> int:
        """How many direct descriptors one ring may have."""

    def ring(self, index: int, sq_entries: int, cq_entries: int, at_rest: bool = False) -> RingLike:
        """A new ring, which with `at_rest` must be started before it is used; raises OSError."""

    def rings_left(self, ring: RingLike, locked_bytes: int) -> int:
        """How many more rings limits allow that lock so much memory each, buffer rings included.

        `ring` is an existing one.
        """

    def memory(self, length: int) -> mmap.mmap:
        """Page-aligned memory for buffers; raises OSError."""

    def watch(self, ring: RingLike) -> None:
        """From now on `sleep` also ends when this ring has something."""

    def sleep(self, timeout_ns: int) -> bool:
        """Sleep until a watched ring has something, `wake` or the timeout; True for `wake`."""

    def look(self, ring: RingLike, time_ns: int) -> bool:
        """Look at a ring again and again, for so long at most; whether it has something."""

    def wake(self) -> None:
        """End the current or next sleep; from any thread."""

    def wake_fd(self) -> int:
        """A descriptor that becomes readable by `wake`, for a ring to poll."""

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Listener]:
        """All or none; raises UsageError."""

    def socket(self, family: int, source: bytes | None) -> int:
        """A stream socket bound to a source address without a port; raises OSError."""

    def move_in(self, ring: RingLike, fd: int, file: int) -> None:
        """Put a descriptor into the ring's table and close it; raises OSError."""

    def shut_writing(self, fd: int) -> None:
        """Send a FIN behind what was sent; no error where the connection is gone."""

    def close(self, fd: int) -> None:
        """Close a descriptor."""

    def shutdown(self) -> None:
        """Give the doorbell back."""


class RealKernel:
    """Linux.

    Facts: polling the descriptor of a DEFER_TASKRUN ring does not wake a sleeper, because nothing
    is in its queue until the thread itself enters; an eventfd registered with the ring does, at
    every first piece of deferred work. One eventfd serves all rings. In an edge-triggered epoll it
    never needs to be read.

    Raises EngineUnavailable where there is no descriptor for the doorbell.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        with ExitStack() as made:
            try:
                self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                made.callback(os.close, self._bell)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                made.callback(os.close, self._wake)
                self._epoll = made.enter_context(select.epoll())
                self._epoll.register(self._bell, select.EPOLLIN | select.EPOLLET)
                self._epoll.register(self._wake, select.EPOLLIN | select.EPOLLET)
            except OSError as error:
                raise EngineUnavailable(*refusal("doorbell for io_uring", error)) from None
            made.pop_all()

    def files_max(self) -> int:
        # Kernel: a table larger than the soft RLIMIT_NOFILE is refused with EMFILE.
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return abi.FILES_MAX if soft == resource.RLIM_INFINITY else min(soft, abi.FILES_MAX)

    def ring(self, index: int, sq_entries: int, cq_entries: int, at_rest: bool = False) -> RingLike:
        return Ring(index, sq_entries, cq_entries, self.features.no_sqarray, at_rest)

    def rings_left(self, ring: RingLike, locked_bytes: int) -> int:
        left = max(descriptors_left() - RESERVE, 0)
        lockable = left_to_lock(ring)
        if lockable is None:
            return left
        for _ in range(TIDY_PASSES):  # the small ring of the probe, say, is given back only then
            self.sleep(TIDY_NS)
            lockable = max(lockable, left_to_lock(ring) or 0)
        return min(left, lockable // locked_bytes)

    def memory(self, length: int) -> mmap.mmap:
        return anonymous(length)

    def watch(self, ring: RingLike) -> None:
        ring.register(abi.REGISTER_EVENTFD, np.array([self._bell], np.int32), 1)

    def sleep(self, timeout_ns: int) -> bool:
        return any(fd == self._wake for fd, _ in poll(self._epoll, timeout_ns, 2))

    def look(self, ring: RingLike, time_ns: int) -> bool:
        now, wants_attention = SystemClock().now_ns, ring.wants_attention
        end = now() + time_ns
        while not wants_attention():
            if now() >= end:
                return False
        return True

    def wake(self) -> None:
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def wake_fd(self) -> int:
        return self._wake

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Listener]:
        return open_listeners(endpoints, backlog)

    def socket(self, family: int, source: bytes | None) -> int:
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        if family != socket.AF_UNIX:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            try:
                made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                endpoint = unpack(family, source)
                made.bind((endpoint.host, endpoint.port))
            except OSError:
                made.close()
                raise
        return made.detach()

    def move_in(self, ring: RingLike, fd: int, file: int) -> None:
        try:
            # On a socket that does not block a multishot receive ends where it should wait.
            os.set_blocking(fd, True)
            register_file(ring, file, fd)
        finally:
            os.close(fd)

    def shut_writing(self, fd: int) -> None:
        libc.shut_writing(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def shutdown(self) -> None:
        if self._wake < 0:
            return
        self._epoll.close()
        os.close(self._bell)
        os.close(self._wake)
        self._wake = -1
