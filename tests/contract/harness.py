"""How the contract's tests get an engine and peers for it: one harness a kind of engine.

An engine in engine/choose.py is tested on kernel sockets. One that needs other peers has a Harness
of its own in HARNESSES. The tests use nothing else.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from c1m.addresses import AF_INET, Endpoint, ListeningSocket
from c1m.clock import SystemClock
from c1m.engine import checks
from c1m.engine.choose import ENGINES, EngineKind
from c1m.engine.contract import Engine, EventBatch
from c1m.testing.manual_clock import ManualClock
from contract.guarded import guarded
from contract.peers import Peer, PeerListener, SocketPeer, SocketPeerListener

checks.COSTLY = True  # in all engines that tests with harnesses make

LOOPBACK = Endpoint(AF_INET, "127.0.0.1", 0)


class Signal(ABC):
    """A descriptor for an engine to watch."""

    fd: int

    @abstractmethod
    def set(self) -> None:
        """It is readable from now on."""

    @abstractmethod
    def clear(self) -> None:
        """It is not."""

    @abstractmethod
    def close(self) -> None: ...


class Given(ABC):
    """A listening socket that is not the engine's."""

    socket: ListeningSocket

    @abstractmethod
    def close(self) -> None: ...


class EventFd(Signal):
    """An eventfd."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        os.eventfd_read(self.fd)

    def close(self) -> None:
        os.close(self.fd)


class GivenSocket(Given):
    """A listening socket of the kernel."""

    def __init__(self) -> None:
        self._socket = socket.create_server((LOOPBACK.host, 0), backlog=128)
        self._socket.setblocking(False)
        endpoint = replace(LOOPBACK, port=self._socket.getsockname()[1])
        self.socket = ListeningSocket(self._socket.fileno(), endpoint)

    def close(self) -> None:
        self._socket.close()


class Harness(ABC):
    """Makes engines, and peers in the same world. `lacks`: tests it cannot run, and why."""

    lacks: Mapping[str, str] = MappingProxyType({})
    gives_descriptors = True  # of connections, and their peers' addresses
    uses = ""  # the engine inside, where it is not that of the harness's name

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.listeners: list[PeerListener] = []
        self.given: list[Given | Signal] = []  # closed in the end

    @abstractmethod
    def engine(self, **options: Any) -> Engine:
        """A new engine; options as for all engines: live_max, outbox_high."""

    @abstractmethod
    def _peer(self, endpoint: Endpoint, buffers: int | None) -> Peer: ...

    @abstractmethod
    def _listener(self, endpoint: Endpoint) -> PeerListener: ...

    def on_wire(self, size: int) -> object:
        """What is equal to the bytes that an engine counts where `size` are handed over."""
        return size

    @abstractmethod
    def resources(self) -> int:
        """What an engine must give back at shutdown, counted now (descriptors)."""

    def peer(self, endpoint: Endpoint, *, buffers: int | None = None) -> Peer:
        """A peer that starts to connect; small `buffers` make it a slow one."""
        peer = self._peer(endpoint, buffers)
        self.peers.append(peer)
        return peer

    def peer_listener(self, endpoint: Endpoint = LOOPBACK) -> PeerListener:
        """Somebody for the engine to connect to."""
        listener = self._listener(endpoint)
        self.listeners.append(listener)
        return listener

    @abstractmethod
    def adoptable(self) -> tuple[int, Peer]:
        """A connected stream socket that an engine may adopt, and its other end."""

    @abstractmethod
    def listening(self) -> Given:
        """A socket that listens already, which an engine is to accept from."""

    @abstractmethod
    def signal(self) -> Signal:
        """A descriptor that is readable while it is told to be."""

    @abstractmethod
    def peer_of(self, fd: int) -> Endpoint:
        """The peer's address of a descriptor that an engine has made of a connection."""

    @abstractmethod
    def close_fd(self, fd: int) -> None:
        """Close such a descriptor."""

    @abstractmethod
    def hold_time(self, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
        """The engine's clock, which goes on by what the test does and not by a busy machine."""

    def wait(self, engine: Engine, timeout_ns: int) -> EventBatch:
        """One wait of the engine."""
        return engine.wait(timeout_ns)

    @abstractmethod
    def network_is_done(self) -> None:
        """Return when what was sent before has come to where it goes."""

    def step(self) -> bool:
        """Let the world outside the engine go on; False if nothing moved."""
        moved = False
        for listener in self.listeners:
            moved |= listener.step()
        for peer in self.all_peers():
            moved |= peer.step()
        return moved

    def all_peers(self) -> list[Peer]:
        """Those that connected and those that were accepted."""
        return self.peers + [peer for listener in self.listeners for peer in listener.accepted]

    def close(self) -> None:
        """End the world."""
        for peer in self.all_peers():
            peer.close()
        for listener in self.listeners:
            listener.close()
        for each in self.given:
            each.close()


@functools.cache
def _canary() -> tuple[socket.socket, socket.socket]:
    """A connection over loopback, for the whole run."""
    with socket.create_server((LOOPBACK.host, 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return near, listener.accept()[0]


class SocketHarness(Harness):
    """An engine on the real kernel, and kernel sockets on loopback as its peers."""

    def __init__(self, make: Callable[..., Engine], gives_descriptors: bool = True) -> None:
        super().__init__()
        self._make = make
        self._near, self._far = _canary()
        self._holds_time = False
        self.gives_descriptors = gives_descriptors

    def hold_time(self, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
        clock = ManualClock(SystemClock.now_ns())
        monkeypatch.setattr(SystemClock, "now_ns", clock.now_ns)
        self._holds_time = True
        return clock

    def wait(self, engine: Engine, timeout_ns: int) -> EventBatch:
        if not self._holds_time:
            return engine.wait(timeout_ns)
        batch = engine.wait(0)  # it would wait for the end of a time that stands still
        if not len(batch):
            time.sleep(timeout_ns / 1e9)
        return batch

    def network_is_done(self) -> None:
        # On a busy machine a kernel thread delivers, one packet after the other.
        self._near.send(b"?")
        self._far.recv(1)

    def engine(self, **options: Any) -> Engine:
        return self._make(**options)

    def _peer(self, endpoint: Endpoint, buffers: int | None) -> Peer:
        return SocketPeer.connecting(endpoint, buffers)

    def _listener(self, endpoint: Endpoint) -> PeerListener:
        return SocketPeerListener(endpoint)

    def adoptable(self) -> tuple[int, Peer]:
        with socket.create_server((LOOPBACK.host, 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            ours.setblocking(False)
            self.peers.append(SocketPeer(listener.accept()[0]))
        return ours.detach(), self.peers[-1]

    def listening(self) -> Given:
        self.given.append(given := GivenSocket())
        return given

    def signal(self) -> Signal:
        self.given.append(signal := EventFd())
        return signal

    def peer_of(self, fd: int) -> Endpoint:
        with socket.socket(fileno=os.dup(fd)) as sock:
            host, port = sock.getpeername()[:2]
            return Endpoint(int(sock.family), host, port)

    def close_fd(self, fd: int) -> None:
        os.close(fd)

    def resources(self) -> int:
        return len(os.listdir("/proc/self/fd"))


def _on_sockets(kind: EngineKind) -> Callable[[], Harness]:
    """A harness for an engine on the real kernel."""
    return lambda: SocketHarness(kind.make)


def _tiered(**options: Any) -> Engine:
    """Both engines as one, of which the first holds few connections, so that both have some."""
    from c1m.engine.epoll import EpollEngine
    from c1m.engine.tiered import TieredEngine
    from c1m.engine.uring.engine import UringEngine

    few = EpollEngine(**options | {"live_max": 2})
    return TieredEngine(few, UringEngine(**options), live_max=options.get("live_max"))


class GuardedHarness(SocketHarness):
    """The epoll engine in a guard whose limits never bite."""

    uses = "epoll"

    def engine(self, **options: Any) -> Engine:
        return guarded(super().engine(**options))


def _on_uring(kind: str) -> Callable[[], Harness]:
    """A harness for the uring engine with unusual sizes, features or kernels."""
    return lambda: importlib.import_module("contract.uring_harnesses").make(kind)


def _tls(inner: str, *, handoff: bool) -> Callable[[], Harness]:
    """A harness for TLS, by ssl or handed off, around an engine on the real kernel."""
    return lambda: importlib.import_module("contract.tls_harness").TlsHarness(
        inner, handoff=handoff
    )


HARNESSES: dict[str, Callable[[], Harness]] = {
    **{name: _on_sockets(kind) for name, kind in ENGINES.items()},
    "guarded": lambda: GuardedHarness(ENGINES["epoll"].make),
    "guarded-fake": _on_uring("guarded"),
    "tiered": lambda: SocketHarness(_tiered),
    "tls": _tls("epoll", handoff=False),
    "tls-handoff": _tls("epoll", handoff=True),
    "tls-uring": _tls("uring", handoff=True),
    "uring-fake": _on_uring("fake"),
    "uring-arrays": _on_uring("arrays"),
    "uring-faulty": _on_uring("faulty"),
    "uring-oldest": _on_uring("oldest"),
    "uring-small": _on_uring("small"),
}

# Where the files of tests are that bear on more than what another harness has tested already.
ONLY = {
    "tls-handoff": (
        "accept", "connect", "data", "ends", "output", "pieces", "random", "reported_ends",
    ),
    "tls-uring": ("data", "ends", "output", "pieces"),
}  # fmt: skip
