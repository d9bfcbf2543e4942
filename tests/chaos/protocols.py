"""asyncio protocols on a ProtocolServer, by real sockets: its event loop needs real descriptors, so
it cannot run on the fake kernel. Peers and what they do are drawn from a seed; what the kernel does
of it when is not, so that a seed need not fail again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from random import Random
from typing import Any

import c1m
from chaos.peers import Peer
from chaos.sabotage import Planned, Saboteur

GOOD = 0x80  # from this byte on: sent back


class RealSock:
    """What a Peer uses, of a socket."""

    def __init__(self, host: str, port: int) -> None:
        self._sock = socket.create_connection((host, port))
        self._sock.setblocking(False)
        self.at_eof = False

    def send(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def recv(self, most: int) -> bytes:
        try:
            data = self._sock.recv(most)
        except BlockingIOError:
            return b""
        self.at_eof |= not data
        return data

    def shutdown_write(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


class Wild(asyncio.Protocol):
    """Sends back what behaves; to all else anything, or it raises."""

    transport: asyncio.Transport

    def __init__(self, run: ProtocolRun) -> None:
        self.run = run
        self.is_lost = self.is_shut = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.run.live.add(self)

    def data_received(self, data: bytes) -> None:
        assert not self.is_lost
        random, transport = self.run.random, self.transport
        if data[0] >= GOOD:
            transport.write(data)
            return
        self.run.saboteur.strike()
        kind = random.randrange(8)
        if self.is_shut:
            return
        if kind == 0:
            random.choice((transport.close, transport.abort))()
        elif kind == 1:
            transport.write(bytes(200_000))
        elif kind == 2:
            transport.pause_reading()
            self.run.loop.call_later(0.001, transport.resume_reading)
        elif kind == 3 and transport.can_write_eof():
            self.is_shut = True
            transport.write_eof()
        elif kind == 4:
            transport.writelines([b"x"] * 9)

    def eof_received(self) -> bool:
        keeps = self.run.random.random() < 0.3
        if keeps:
            self.run.loop.call_later(0.001, self.transport.close)
        return keeps

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.is_lost, "an end is told twice"
        self.is_lost = True
        self.run.live.remove(self)


class ProtocolRun:
    """One server, and its peers."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.saboteur = Saboteur(random, random.choice((0, 0, 0.1)))
        self.live: set[Wild] = set()
        self.peers: list[Peer] = []
        self.odd: list[Any] = []  # what the loop's exception handler was told, but for what we did
        self.server = c1m.ProtocolServer(
            lambda: Wild(self), "tcp://127.0.0.1:0",
            engine=random.choice(("epoll", "epoll", "epoll", "uring")),
            outbox_high=random.choice((None, 1000)), drain_ns=random.choice((0, 50_000_000)),
            on_error=self._noted,
        )  # fmt: skip
        self.loop = self.server.loop

    def _noted(self, failure: c1m.Failure) -> str:
        if not isinstance(failure.error, Planned):
            self.odd.append(failure)
        return "close"

    def peer(self) -> Peer:
        random, place = self.random, self.server.endpoints[0]
        sock = RealSock(place.host, place.port)
        if random.random() < 0.4:
            stream = bytes(random.choices(range(GOOD, 256), k=random.choice((1, 100, 20_000))))
            return Peer(random, sock, stream, stream)
        return Peer(random, sock, bytes(random.choices(range(1, GOOD), k=random.choice((1, 3000)))))

    def iterate(self, count: int = 1) -> None:
        """Iterations of the loop."""
        for _ in range(count):
            self.loop.run_until_complete(asyncio.sleep(0))

    def steps(self) -> None:
        """Peers come and do something."""
        for _ in range(self.random.choice((10, 40))):
            if len(self.peers) < 8 and self.random.random() < 0.35:
                self.peers.append(self.peer())
            for peer in self.peers:
                if self.random.random() < 0.6:
                    peer.step()
            self.iterate(self.random.randrange(3))

    def finish(self) -> None:
        """Those that behave get all, however long the machine takes."""
        waiting = [peer for peer in self.peers if peer.is_good]
        for peer in waiting:
            peer.sizes, peer.read_sizes = (100_000,), (1 << 20,)
        while waiting := [peer for peer in waiting if not peer.is_over]:
            for peer in waiting:
                peer.send()
                peer.receive()
            self.iterate()
        for peer in self.peers:
            peer.check(must_have_all=True)

    def end(self) -> None:
        """The server stops, and nothing is left."""
        self.server.stop()
        self.server.run()
        for peer in self.peers:
            peer.check(must_have_all=False)
            peer.leave()
        counts = self.server.statistics
        assert counts.live == 0
        assert counts.opened == sum(counts.closed.values())
        assert not self.live, "connection_lost was not called"
        assert not self.server._streams.transports()
        assert not self.odd, self.odd[0].error
        assert sum(counts.failed.values()) == self.saboteur.raised
        assert counts.closed[c1m.CloseReason.APP] <= self.saboteur.raised


def run(seed: int) -> dict[str, int]:
    """Returns what happened, in numbers."""
    before = set(os.listdir("/proc/self/fd"))
    logger = logging.getLogger("asyncio")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        this = ProtocolRun(seed)
        try:
            this.steps()
            if this.random.random() < 0.6:
                this.finish()
            this.end()
        finally:
            this.server.shutdown()
            for peer in this.peers:
                peer.leave()
    finally:
        logger.disabled = was_disabled
    assert set(os.listdir("/proc/self/fd")) == before, "a descriptor is left"
    counts = this.server.statistics
    good = [peer for peer in this.peers if peer.is_good]
    return {
        "opened": counts.opened,
        "bytes": counts.received_bytes,
        "failed callbacks": this.saboteur.raised,
        "behaved": len(good),
        "got all": sum(peer.has_all() for peer in good),
    }
