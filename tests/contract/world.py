"""One engine, its peers and the log of what it told, pumped in turns by one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from c1m.addresses import Endpoint, ListeningSocket, SockAddrs
from c1m.engine.contract import EventBatch
from c1m.engine.ragged import Ragged
from c1m.testing.manual_clock import ManualClock
from contract.harness import LOOPBACK, Harness
from contract.log import Conn, Log
from contract.peers import Peer

IDLE_NS = 5_000_000  # how long one wait may sleep when nothing moved
IDLE_ROUNDS_MAX = 4000  # such rounds before a test gives up: a window probe may be 13 s away
SETTLED_ROUNDS = 5  # rounds in which nothing moved before the world counts as settled
LATE_ROUNDS_MAX = 30  # in which the machine did other things: these do not count as well

App = Callable[[EventBatch], None]


class World:
    """What a test of the contract works with."""

    def __init__(self, harness: Harness, **options: Any) -> None:
        self.harness = harness
        self.engine = harness.engine(**options)
        self.log = Log()
        self.app: App | None = None  # is called with each batch, after the log has taken it
        self.endpoint = LOOPBACK
        self.handed_bytes = 0  # to send
        self._clock: ManualClock | None = None
        self._kept: list[Ragged] = []  # rule 3: unchanged until the next wait returns

    # the engine's calls, with the log kept up to date

    def listen(self, *endpoints: Endpoint | ListeningSocket, backlog: int = 4096) -> list[Endpoint]:
        """Listen on the endpoints, or else on a port of the kernel's choice."""
        bound = self.engine.listen(endpoints or (LOOPBACK,), backlog)
        self.endpoint = bound[0]
        return bound

    def send(self, slots: Sequence[int] | np.ndarray, pieces: Sequence[bytes] | Ragged) -> None:
        """Send pieces[i] to slots[i]."""
        data = pieces if isinstance(pieces, Ragged) else Ragged.of(pieces)
        self.handed_bytes += data.nbytes()
        self.engine.send(np.array(slots, np.int32), data)

    def send_each(self, slots: list[int], pieces: list[bytes]) -> None:
        """The same by Python's own lists."""
        self.handed_bytes += sum(map(len, pieces))
        self.engine.send_each(slots, pieces)

    def close(self, *conns: Conn, abort: bool = False, drop: bool = False) -> None:
        """Close connections; the log makes sure that no event follows, but their ends."""
        for conn in conns:
            self.log.forget(conn.slot, abort=abort)
        self.engine.close(np.array([c.slot for c in conns], np.int32), abort=abort, drop=drop)

    def report_ends(self) -> None:
        """From now on the engine reports them."""
        self.engine.reports_ends = self.log.reports_ends = True

    def adopt(self) -> tuple[Peer, Conn]:
        """A connection that was made elsewhere, and its peer."""
        fd, peer = self.harness.adoptable()
        return peer, self.log.adopted(self.engine.adopt(fd))

    def receive(self, *conns: Conn, on: bool) -> None:
        """Turn receiving off or on."""
        self.engine.receive(np.array([c.slot for c in conns], np.int32), on)

    def connect(self, destinations: SockAddrs, sources: SockAddrs | None = None) -> list[int]:
        """Start connects."""
        slots = self.engine.connect(sources, destinations)
        assert slots.dtype == np.int32
        assert len({*slots.tolist()}) == len(destinations)
        assert (slots < self.engine.capacity).all()
        self.log.connecting.update(slots.tolist())
        return list(slots.tolist())

    def on_wire(self, size: int) -> object:
        """Equal to what the engine counts where so many bytes are handed over."""
        return self.harness.on_wire(size)

    # turns

    def turn(self, timeout_ns: int = 0) -> bool:
        """One step of the peers and one wait; False if nothing moved."""
        moved = self.harness.step()
        batch = self.harness.wait(self.engine, timeout_ns)
        self.log.add(batch)
        if self.app is not None:
            self.app(batch)
        self.check_law()
        return moved or len(batch) > 0

    def pump(self, until: Callable[[], bool]) -> None:
        """Take turns until the condition holds; AssertionError when nothing moves any more."""
        idle = 0
        while not until():
            if self.turn(IDLE_NS if idle else 0):
                idle = 0
            else:
                idle += 1
            assert idle < IDLE_ROUNDS_MAX, "nothing moves and the condition does not hold"

    def settle(self) -> None:
        """Take turns until nothing moves any more."""
        idle, late = 0, 0
        while idle < SETTLED_ROUNDS:
            begin_ns = time.monotonic_ns()
            if self.turn(IDLE_NS if idle else 0):
                idle = 0
            elif time.monotonic_ns() - begin_ns > 2 * IDLE_NS and late < LATE_ROUNDS_MAX:
                late += 1  # whoever is to move something may be waiting for a processor as well
            else:
                idle = 0 if self.engine.statistics().opening else idle + 1
            self.harness.network_is_done()

    def hold_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on the engine's time goes on by `pass_time`."""
        self._clock = self.harness.hold_time(monkeypatch)

    def pass_time(self, duration_ns: int) -> None:
        """So long later; the engine takes note."""
        assert self._clock is not None, "time is not held"
        self._clock.advance(duration_ns)
        self.turn()

    # what most tests begin with

    def open(
        self, *, buffers: int | None = None, endpoint: Endpoint | None = None
    ) -> tuple[Peer, Conn]:
        """A peer that has connected, and the connection it got."""
        before = len(self.log.conns)
        peer = self.harness.peer(endpoint or self.endpoint, buffers=buffers)
        self.pump(lambda: len(self.log.conns) > before)
        return peer, self.log.conns[before]

    def open_many(self, count: int) -> list[tuple[Peer, Conn]]:
        """The same `count` times; who is who is found out by an index that each peer sends."""
        before = len(self.log.conns)
        peers = [self.harness.peer(self.endpoint) for _ in range(count)]
        for index, peer in enumerate(peers):
            peer.send(index.to_bytes(4, "big"))
        self.pump(lambda: sum(len(c.data) == 4 for c in self.log.conns[before:]) == count)
        conns: dict[int, Conn] = {}
        for conn in self.log.conns[before:]:
            conns[int.from_bytes(conn.data, "big")] = conn
            conn.data.clear()
        return [(peer, conns[index]) for index, peer in enumerate(peers)]

    # laws

    def check_law(self) -> None:
        """Rule 9, and that the gauges say what the log knows."""
        now = self.engine.statistics()
        assert now.accepted + now.connected == now.live + now.lingering + now.closed
        assert now.connecting == len(self.log.connecting)
        assert now.live == len(self.log.at)
        assert now.outbox_bytes >= 0
        if self.log.reports_ends:
            assert now.lingering <= len(self.log.ending)

    def end(self) -> None:
        """Shut the engine down, twice, and check what must hold then."""
        self.check_law()
        self.engine.shutdown()
        self.engine.shutdown()
        self.log.at.clear()
        self.log.ending.clear()
        self.log.connecting.clear()
        now = self.engine.statistics()
        assert (now.live, now.lingering, now.connecting, now.outbox_bytes) == (0, 0, 0, 0)
        assert now.accepted + now.connected == now.closed
        assert now.sent_bytes + now.unsent_bytes == self.on_wire(self.handed_bytes)
        assert now.received_bytes >= self.log.received_bytes


def echo(world: World) -> App:
    """Echo with backpressure: what a server does."""

    def app(batch: EventBatch) -> None:
        world.send(batch.data_slots, batch.data)
        if len(batch.blocked):
            world.engine.receive(batch.blocked, False)
        if len(batch.drained):
            world.engine.receive(batch.drained, True)
        eof = [slot for slot in batch.eof.tolist() if slot in world.log.at]
        if eof:
            world.close(*(world.log.at[slot] for slot in eof))

    return app
