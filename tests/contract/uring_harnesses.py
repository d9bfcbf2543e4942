"""Harnesses for the uring engine where it is not as usual.

fake: on the fake kernel, with peers in memory. arrays: there too, with nothing worked through one
by one however small the batch. faulty: there too, with a mix of faults, all drawn
from one seed, and small sizes of everything. small: on the real kernel with those sizes, which
makes many rings and lets every queue run full. oldest: with no more features than Linux 6.1 has.
"""

from __future__ import annotations

import errno
from types import MappingProxyType
from typing import Any

import pytest

from c1m.addresses import Endpoint, ListeningSocket
from c1m.engine.contract import Engine
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.errors import EngineUnavailable
from c1m.kernel.real import RealKernel
from c1m.kernel.uring_probe import OLDEST, probe
from c1m.testing import fake_network
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Network
from c1m.testing.manual_clock import ManualClock
from contract.guarded import guarded
from contract.harness import LOOPBACK, Given, Harness, Signal, SocketHarness
from contract.peers import Peer, PeerListener

SEED = 1
PLAIN = Tuning(capacity=1 << 14, files_per_ring=1 << 12)
ARRAYS = Tuning(capacity=1 << 14, files_per_ring=1 << 12, few=0)
SMALL = Tuning(
    capacity=1 << 14, files_per_ring=128, sq_entries=8, cq_entries=16, buffer_size=512,
    buffers_first=4, buffers_each=2, buffers_max=1 << 12, few=3,
)  # fmt: skip
# A reset is no part of it: the contract's tests say themselves which connections are reset.
FAULTS: dict[str, Any] = {
    "short_send": 0.2,
    "refuse_send": 0.1,
    "no_buffers": 0.1,
    "end_multishot": 0.1,
    "accept_error": 0.1,
    "sticky_taskrun": 0.2,
    "interrupt": 0.1,
}


class FakeHarness(Harness):
    """A fresh fake kernel for each harness, all on the same host."""

    lacks = MappingProxyType(
        {"test_a_signal_without_a_wake_does_no_harm": "a signal comes in real time, here is none"}
    )
    network = Network()
    kernels: list[FakeKernel] = []  # noqa: RUF012  # of all harnesses: what did they give back?

    def __init__(self, tuning: Tuning = PLAIN, seed: int = SEED, **options: Any) -> None:
        super().__init__()
        options.setdefault("network", self.network)
        self.kernel = FakeKernel(seed, **options)
        self.kernels.append(self.kernel)
        self._tuning = tuning
        self.gives_descriptors = self.kernel.features.descriptors

    def engine(self, **options: Any) -> Engine:
        options.setdefault("tuning", self._tuning)
        return UringEngine(kernel=self.kernel, clock=self.kernel.clock, **options)

    def hold_time(self, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
        return self.kernel.clock  # by the waits that find nothing, and by nothing else

    def network_is_done(self) -> None:
        """Nothing is ever under way."""

    def _peer(self, endpoint: Endpoint, buffers: int | None) -> Peer:
        peer = MemoryPeer()
        try:
            peer.end = self.kernel.network.peer(endpoint)
            if buffers is not None:
                peer.end.limit = buffers
        except OSError as error:
            peer.error = error.errno or errno.EIO
        return peer

    def _listener(self, endpoint: Endpoint) -> PeerListener:
        return MemoryPeerListener(self.kernel.peer_listener(endpoint, backlog=4096))

    def adoptable(self) -> tuple[int, Peer]:
        fd, end = self.kernel.pair()
        peer = MemoryPeer()
        peer.end = end
        self.peers.append(peer)
        return fd, peer

    def listening(self) -> Given:
        self.given.append(given := MemoryGiven(self.kernel))
        return given

    def signal(self) -> Signal:
        self.given.append(signal := MemorySignal(self.kernel))
        return signal

    def peer_of(self, fd: int) -> Endpoint:
        file = self.kernel.file(fd)
        assert isinstance(file, fake_network.Socket)
        assert file.destination is not None
        return file.destination

    def close_fd(self, fd: int) -> None:
        self.kernel.close(fd)

    def resources(self) -> int:
        # A kernel that no engine was made on has its doorbells open.
        return sum(kernel.open_files() for kernel in self.kernels if kernel.rings)


class GuardedHarness(FakeHarness):
    """The uring engine in a guard whose limits never bite."""

    uses = "uring-fake"

    def engine(self, **options: Any) -> Engine:
        return guarded(super().engine(**options), self.kernel.clock)


class MemoryGiven(Given):
    """A listening socket of the fake kernel that somebody else has made."""

    def __init__(self, kernel: FakeKernel) -> None:
        (self._listener,) = kernel.listen([LOOPBACK], 128)
        self.socket = ListeningSocket(self._listener.fd, self._listener.endpoint)

    def close(self) -> None:
        self._listener.close()


class MemorySignal(Signal):
    """An event of the fake kernel."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.fd, self._event = kernel.event()
        self._kernel = kernel

    def set(self) -> None:
        self._event.signal()

    def clear(self) -> None:
        self._event.read()

    def close(self) -> None:
        self._kernel.close(self.fd)


class MemoryPeer(Peer):
    """A peer on one of the fake kernel's sockets."""

    end: fake_network.Socket

    def source(self) -> Endpoint:
        source = self.end.source
        assert source is not None
        return source

    def _push(self, data: bytes) -> int:
        return self.end.send(data)

    def _pull(self, most: int) -> bytes | None:
        data = self.end.recv(most)
        return data if data or self.end.at_eof else None

    def _shutdown_write(self) -> bool:
        if not self.end.is_connected:
            return False
        self.end.shutdown_write()
        return True

    def _close(self) -> None:
        if hasattr(self, "end"):
            self.end.close()

    def _reset(self) -> None:
        self.end.reset()


class MemoryPeerListener(PeerListener):
    """A listener in the fake kernel's network."""

    def __init__(self, listener: fake_network.ListeningSocket) -> None:
        super().__init__(listener.endpoint)
        self._listener = listener

    def step(self) -> bool:
        moved = False
        while (end := self._listener.accept()) is not None:
            peer = MemoryPeer()
            peer.end = end
            self.accepted.append(peer)
            moved = True
        return moved

    def close(self) -> None:
        self._listener.drop()


def real_kernel(is_oldest: bool = False) -> RealKernel:
    """The real kernel; skips the test where it has no io_uring for us."""
    try:
        features = probe()
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    return RealKernel(OLDEST if is_oldest else features)


def make(kind: str) -> Harness:
    """The harness of a kind."""
    if kind == "fake":
        return FakeHarness(PLAIN)
    if kind == "guarded":
        return GuardedHarness(PLAIN)
    if kind == "arrays":
        return FakeHarness(ARRAYS)
    if kind == "faulty":
        return FakeHarness(SMALL, **FAULTS)
    if kind == "small":
        return SocketHarness(
            lambda **options: UringEngine(kernel=real_kernel(), **{"tuning": SMALL} | options)
        )
    assert kind == "oldest"
    return SocketHarness(
        lambda **options: UringEngine(kernel=real_kernel(True), **{"tuning": PLAIN} | options),
        gives_descriptors=False,
    )
