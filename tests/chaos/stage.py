"""A server on a fake kernel whose faults, sizes and limits are drawn from one seed, and its laws.

`Watch` stands where the server looks at its engine, and holds every batch to the rules that it can
see from there; `Stage.tick` adds those of the server's counts, and `Stage.end` what must be left
at the end, which is nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

import c1m
import c1m.apps.kv.app
import c1m.apps.push.app
import c1m.web.requests
from c1m.addresses import AF_INET, Endpoint
from c1m.clock import unix_time_ms
from c1m.engine import checks
from c1m.engine.contract import NOTHING, EventBatch, Pieces, Slots
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.server.server import Server
from c1m.testing.fake_host import CALLS, COMMANDS
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Network, Socket
from c1m.units import NS_PER_MS, NS_PER_S
from kv_session import START_MS

PORT = 8001
TUNINGS = (
    Tuning(capacity=512, files_per_ring=128),
    Tuning(capacity=512, files_per_ring=128, few=0),
    Tuning(capacity=192, files_per_ring=32, sq_entries=8, cq_entries=16, buffer_size=512,
           buffers_first=4, buffers_each=2, buffers_max=1 << 10, few=3),
)  # fmt: skip
FAULTS = {
    "short_send": 0.3, "refuse_send": 0.2, "no_buffers": 0.2, "end_multishot": 0.2,
    "accept_error": 0.2, "sticky_taskrun": 0.2, "interrupt": 0.2, "reset": 0.02,
}  # fmt: skip
STEPS_NS = (0, 0, 0, NS_PER_MS, 20 * NS_PER_MS, NS_PER_S, 7 * NS_PER_S)
LIMITS: dict[str, tuple[Any, ...]] = {
    "per_source": (1, 3), "accept_rate": ("5/s", "1000/s"), "first_byte_timeout": ("1s", "20s"),
    "idle_timeout": ("2s", "30s"), "unread_timeout": ("1s", "20s"), "unsent_max": (20_000,),
    "unsent_soft": (10_000,), "unsent_total": (30_000,), "turn": (1024, 5000),
    "deny": (["127.0.0.3"],), "allow": (["127.0.0.0/29"],), "when_full": ("wait", "refuse"),
}  # fmt: skip


class Watch:
    """Looks at what an engine tells its caller, and at what it is asked for."""

    def __init__(self, server: Server) -> None:
        self.engine = server.engine
        self.live: set[int] = set()
        self.at_eof: set[int] = set()
        self._wait, self._close = self.engine.wait, self.engine.close
        self.engine.wait = self.wait  # type: ignore[method-assign]
        self.engine.close = self.close  # type: ignore[method-assign]

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        self.live.difference_update(slots.tolist())
        self.at_eof.difference_update(slots.tolist())
        self._close(slots, abort=abort, drop=drop)

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        at = 0 if pieces is None else len(pieces)
        batch = self._wait(timeout_ns, pieces)
        live, at_eof = self.live, self.at_eof
        opened = batch.opened.tolist()
        came = {*batch.data_slots.tolist()}
        assert live.isdisjoint(batch.expired.tolist()), "one expired that is open"
        if batch is not NOTHING:
            batch.check(self.engine.capacity)
            assert live.isdisjoint(opened), "a slot is given twice"
            live.update(opened)
        elif pieces is None or len(pieces) == at:
            return batch
        if pieces is not None:
            fresh = {slot for slot, _ in pieces[at:]}
            assert fresh.isdisjoint(opened), "data that comes first is nobody's yet"
            came |= fresh
        assert came <= live, "data of a connection that is not open"
        assert came.isdisjoint(at_eof), "data behind the end"
        for slots in (batch.eof, batch.blocked, batch.drained, batch.closed):
            assert live.issuperset(slots.tolist()), "an event of a connection that is not open"
        at_eof.update(batch.eof.tolist())
        ended = batch.closed.tolist()
        live.difference_update(ended)
        at_eof.difference_update(ended)
        self.check()
        return batch

    def check(self) -> None:
        """Rule 9 of the contract."""
        now = self.engine.statistics()
        assert now.accepted + now.connected == now.live + now.lingering + now.closed
        assert now.live == len(self.live), (now.live, self.live)
        assert now.outbox_bytes >= 0
        assert now.opening >= 0


class Stage:
    """`finishes`: nothing that befalls this run may end or shorten a connection that behaves."""

    def __init__(self, random: Random, app: Any, scheme: str = "tcp", **options: Any) -> None:
        self.random = random
        is_faulty, is_limited = random.random() < 0.8, random.random() < 0.3
        chances: dict[str, Any] = {
            name: random.choice((0.0, most / 4, most))
            for name, most in FAULTS.items()
            if is_faulty and random.random() < 0.6
        }
        network = Network(socket_buffer=random.choice((300, 5000, 65_536)))
        self.kernel = FakeKernel(random.randrange(1 << 30), network=network, **chances)
        self.clock = self.kernel.clock
        limits = self.limits = drawn_limits(random) if is_limited else None
        before, checks.COSTLY = checks.COSTLY, random.random() < 0.15
        outbox_high = random.choice((1000, 20_000, 1 << 20))
        linger_ns = random.choice((NS_PER_MS, NS_PER_S, 100 * NS_PER_S))
        live_max = random.choice((None, None, None, 1, 5))
        engine = UringEngine(
            kernel=self.kernel, clock=self.clock, tuning=random.choice(TUNINGS),
            outbox_high=outbox_high, linger_ns=linger_ns, live_max=live_max,
        )  # fmt: skip
        self.server = Server(
            app, f"{scheme}://127.0.0.1:{PORT}", engine=engine, clock=self.clock, limits=limits,
            outbox_high=outbox_high, drain_ns=random.choice((0, NS_PER_S // 10, 5 * NS_PER_S)),
            linger_ns=linger_ns, backlog=random.choice((1, 128)), **options,
        )  # fmt: skip
        checks.COSTLY = before
        self.inner = engine
        self.watch = Watch(self.server)
        self.is_calm = random.random() < 0.4  # no time passes in which somebody would be late
        self.finishes = limits is None and not chances.get("reset")
        if random.random() < 0.3:
            self._refuse()
        self.server.app.on_start(self.server)

    def _refuse(self) -> None:
        refusals, random = self.kernel.refusals, self.random
        for call in random.sample((*CALLS, *COMMANDS), random.randrange(1, 4)):
            first = refusals.calls[call] + 1 + random.choice((0, 0, 1, 5))
            refusals.refuse(call, first, random.choice((1, 3, 1000)), random.choice((12, 24, 105)))

    @contextlib.contextmanager
    def own_time(self) -> Iterator[None]:
        """The servers' wall clock is the fake kernel's: a seed replays."""
        modules = [vars(each) for each in (c1m.apps.kv.app, c1m.apps.push.app, c1m.web.requests)]
        for names in modules:
            names["unix_time_ms"] = lambda: START_MS + self.clock.now_ns() // NS_PER_MS
        try:
            yield
        finally:
            for names in modules:
                names["unix_time_ms"] = unix_time_ms

    def connect(self, port: int = PORT) -> Socket:
        """A peer from one of a few addresses."""
        host = f"127.0.0.{self.random.choice((1, 1, 1, 2, 3, 9))}"
        source = Endpoint(AF_INET, host, 0)
        return self.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", port), source)

    def pass_time(self) -> None:
        """Some, or none."""
        self.clock.advance(self.random.choice(STEPS_NS[:5] if self.is_calm else STEPS_NS))

    def tick(self, count: int = 1) -> None:
        """So many, and the server's law behind each."""
        for _ in range(count):
            self.kernel.network.advance()
            self.server.tick(0)
            self.check()

    def check(self) -> None:
        """opened = live + closed by reason, as the engine has it."""
        now = self.server.statistics
        assert now.opened == now.live + sum(now.closed.values())
        assert min(now.closed.values()) >= 0
        assert now.live == len(self.watch.live)
        assert now.opened == self.server.engine.statistics().accepted

    def leaves_nobody(self) -> None:
        """All peers have gone: soon nobody is connected, and nothing is held of anybody."""
        self.kernel.refusals.lift()
        for _ in range(300):
            self.tick(2)
            now = self.server.engine.statistics()
            if not (now.live or now.lingering or now.opening or self._waits()):
                break
            self.clock.advance(NS_PER_S)
        self.tick(4)
        now = self.server.engine.statistics()
        assert (now.live, now.lingering, now.opening, now.outbox_bytes) == (0, 0, 0, 0), now
        places = self.inner._rings.places
        assert all(place.buffers.owned == place.buffers.free for place in places), "a buffer is out"
        assert not self.inner.table.states[: self.inner._rings.top()].any()
        assert not (self.server._live.any() or self.server._holds.any())

    def _waits(self) -> bool:
        """Whether connections wait in an accept queue."""
        return any(each.queue or each.waiting for each in self.kernel.network._listeners.values())

    def drain(self) -> None:
        """As `Server.run` does it; time goes on while the server sleeps."""
        self.server.drain()
        self.server.tick(0)  # what was on its way to those who have ended is looked at in a tick
        # One whose TLS handshake or PROXY header ends just now may have come: the shutdown ends it.
        may_come = self.server.security is not None or any(
            each.is_proxied for each in self.server.endpoints
        )
        assert self.server.statistics.live == 0 or may_come

    def end(self) -> None:
        """Shut it down, and look at what must hold then."""
        self.server.shutdown()
        self.server.shutdown()
        now, engine = self.server.statistics, self.server.engine.statistics()
        assert now.live == 0
        assert now.opened == sum(now.closed.values())
        assert (engine.live, engine.lingering, engine.connecting, engine.outbox_bytes) == (0,) * 4
        assert engine.accepted + engine.connected == engine.closed
        assert self.kernel.open_files() == 0, "a file is open"


def drawn_limits(random: Random) -> c1m.Limits:
    """Some of all."""
    names = random.sample(sorted(LIMITS), random.randrange(1, 5))
    given = {name: random.choice(LIMITS[name]) for name in names}
    if "unsent_soft" in given and random.random() < 0.5:
        given["unsent_soft_time"] = "2s"
    return c1m.Limits(**given)


def slots_of(numbers: list[int]) -> Slots:
    """As servers take them."""
    return np.array(numbers, np.int32)
