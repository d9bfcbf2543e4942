"""A kernel in memory on which the real uring engine runs, with faults drawn from one seed.

Satisfies kernel.real.Kernel. Rings follow io_uring's rules (fake_ring, fake_operations), sockets
those of TCP (fake_network); pointers are real: data is read from and written to the engine's own
memory. Nothing sleeps: time is `clock`, which moves on when there is nothing to do. The same seed
and the same calls give the same run.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from c1m.addresses import AF_INET, Endpoint, unpack
from c1m.errors import UsageError
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import anonymous
from c1m.kernel.ring import RingLike, register_file
from c1m.kernel.sockets import Listener
from c1m.kernel.uring_probe import Features
from c1m.testing import fake_network
from c1m.testing.fake_host import Chance, Faults, Host
from c1m.testing.fake_network import Event, Network
from c1m.testing.fake_ring import FakeRing

if TYPE_CHECKING:
    import mmap


RINGS_MAX = 1 << 16  # more than an engine makes


class FakeListener(Listener):
    """A listening socket of the fake kernel, as the engine holds it."""

    def __init__(self, kernel: FakeKernel, fd: int, file: fake_network.ListeningSocket) -> None:
        self.endpoint = file.endpoint
        self.fd = fd
        self._kernel = kernel
        self._listening = file

    def set_backlog(self, backlog: int) -> None:
        self._listening.backlog = backlog

    def close(self) -> None:
        self._kernel.close(self.fd)


class FakeKernel(Host):
    """One seed, one run. Keyword arguments named in `Faults` are probabilities.

    files_max: direct descriptors of one ring. network: another kernel's, to be on the same host.
    What an engine needs may be refused at any call: `refusals`.
    `chance.counts` says what happened: faults by their name, and "dropped_accepts" (connections
    lost to a full table), "replaced_files", "bad_files", "out_of_buffers",
    "full_submission_queue", "overflowed_completions", "ended_by_overflow".
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        files_max: int = 20_000,
        features: Features | None = None,
        network: Network | None = None,
        **faults: float,
    ) -> None:
        super().__init__(files_max, Chance(seed, Faults(**faults)), network or Network())
        self.features = features or Features()
        self.rings: list[FakeRing] = []  # those that are closed, too
        self._bell = Event()
        self._bell_fd = self.install(self._bell)
        self._wake_fd = self.install(self._wake)

    # --- the seam: kernel.real.Kernel -----------------------------------------------------------

    def ring(self, index: int, sq_entries: int, cq_entries: int, at_rest: bool = False) -> FakeRing:
        self.refusals.call("ring")
        ring = FakeRing(self, index, sq_entries, cq_entries, at_rest)
        self.rings.append(ring)
        return ring

    def rings_left(self, ring: RingLike, locked_bytes: int) -> int:
        return RINGS_MAX

    def memory(self, length: int) -> mmap.mmap:
        self.refusals.call("memory")
        return anonymous(length)

    def watch(self, ring: RingLike) -> None:
        ring.register(abi.REGISTER_EVENTFD, np.array([self._bell_fd], np.int32), 1)

    def look(self, ring: RingLike, time_ns: int) -> bool:
        return ring.wants_attention()

    def sleep(self, timeout_ns: int) -> bool:
        if not self.chance.strikes("interrupt"):
            self.idle_until(lambda: self._bell.has_rung or self._wake.has_rung, timeout_ns)
        self._bell.take()
        return self._wake.take()

    def wake_fd(self) -> int:
        return self._wake_fd

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Listener]:
        opened: list[Listener] = []
        for endpoint in endpoints:
            try:
                listener = self.network.listen(endpoint, backlog)
            except OSError as problem:
                for before in opened:
                    before.close()
                raise _refused(endpoint, problem) from None
            opened.append(FakeListener(self, self.install(listener), listener))
        return opened

    def socket(self, family: int, source: bytes | None) -> int:
        self.refusals.call("socket")
        made = self.network.socket(family)
        made.has_nodelay = True
        if source is not None:
            self.network.bind(made, unpack(family, source))
        return self.install(made)

    def move_in(self, ring: RingLike, fd: int, file: int) -> None:
        try:
            register_file(ring, file, fd)
        finally:
            self.close(fd)

    def shut_writing(self, fd: int) -> None:
        file = self.file(fd)
        assert isinstance(file, fake_network.Socket)
        with suppress(OSError):  # ENOTCONN
            file.shutdown_write()

    def shutdown(self) -> None:
        for fd in (self._bell_fd, self._wake_fd):
            if fd in self._files:
                self.close(fd)

    # --- what tests use -------------------------------------------------------------------------

    def peer_listener(
        self, endpoint: Endpoint | None = None, backlog: int = 128
    ) -> fake_network.ListeningSocket:
        """Listen outside, for the engine to connect to (default: 127.0.0.1, a free port)."""
        listener = self.network.listen(endpoint or Endpoint(AF_INET, "127.0.0.1", 0), backlog)
        listener.hold()
        return listener

    def pair(self) -> tuple[int, fake_network.Socket]:
        """A connected socket, as a descriptor, and its other end."""
        listener = self.peer_listener()
        ours = self.network.socket(AF_INET)
        fd = self.install(ours)
        ours.connect(listener.endpoint)
        other = listener.accept()
        assert other is not None
        listener.drop()
        return fd, other

    def event(self) -> tuple[int, Event]:
        """Something that is readable when it is signalled, as a descriptor."""
        event = Event()
        return self.install(event), event

    def open_files(self) -> int:
        """Descriptors and direct descriptors in use: what a test expects to be 0 at the end."""
        return len(self._files) + sum(len(r.table) for r in self.rings)


def _refused(endpoint: Endpoint, problem: OSError) -> UsageError:
    asked = f"{endpoint} cannot be listened on"
    if problem.errno == errno.EADDRINUSE:
        return UsageError(f"{asked}: it is in use.", "Stop that one, or use another port.")
    return UsageError(f"{asked}: {problem.strerror}.")
