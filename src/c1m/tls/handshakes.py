"""Handshakes under way: who is next, for how long, and until when. Pure.

A handshake costs a hundred times what a message does. So those that can go on wait in a queue, from
which each tick takes what fits into a budget: those who are connected are served in between, and
each handshake has its turn before another has two. Steps of those that have begun take turns with
first steps: in a storm the first are done early, instead of all of them late. One that has said
nothing is a row here, without an ssl object. All have the same time to be done in, so the oldest is
the first that is late.

An ssl object takes some 50 KB during a handshake. What a storm of them has freed stays with the
allocator, in pieces between what is kept: so when it is over, the pages are given back.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from c1m.clock import Clock
from c1m.engine.decorated import NEVER
from c1m.tls.overheard import Overheard
from c1m.tls.session import Session
from c1m.units import NS_PER_MS, NS_PER_S

TIMEOUT_NS = 10 * NS_PER_S
MOST = 1024  # under way at a time; others wait in the kernel's queue
BUDGET_NS = 2 * NS_PER_MS  # of a tick in which nothing else came; else a tenth of it
BUSY = 10
FREED_MIN = 256  # handshakes whose memory is worth looking for
QUIET_NS = 3 * NS_PER_S  # the keys of their connections are dropped by then, too
AHEAD_MAX = 1 << 16  # bytes that may have come beyond what the handshake has looked at
SILENT = 64  # times as many may be there that have said nothing: those are rows only
STALLED_NS = NS_PER_S  # while there are too many: whose peer says nothing for so long gives way
LOOK_NS = NS_PER_S // 4


class Handshake:
    """One connection's. `came`: what it has not looked at; `waiting`: to be sent behind it."""

    __slots__ = (
        "ahead", "came", "ends_output", "has_ended", "has_spoken", "is_muted", "is_queued",
        "overheard", "session", "since_ns", "slot", "turn_ns", "waiting",
    )  # fmt: skip

    def __init__(self, slot: int, since_ns: int) -> None:
        self.slot, self.since_ns = slot, since_ns
        self.turn_ns = since_ns  # when it had its last turn
        self.session: Session | None = None
        self.came: list[bytes] = []
        self.ahead = 0  # bytes in it
        self.waiting: list[bytes] = []
        self.overheard: Overheard | None = None
        self.is_queued = self.is_muted = self.has_spoken = False
        self.has_ended = False  # the peer's stream
        self.ends_output = False

    def taken(self) -> bytes:
        """What it has not looked at, to look at."""
        came = b"".join(self.came)
        self.came.clear()
        self.ahead = 0
        return came


class HandshakeQueue:
    """Those of one engine. `most`: when so many are under way, no further should be begun.

    Those that have said nothing cost next to nothing, and anybody can open many: they do not count,
    up to SILENT times as many.
    """

    def __init__(self, clock: Clock, timeout_ns: int = TIMEOUT_NS, most: int = MOST) -> None:
        self.most = most
        self._clock = clock
        self._timeout_ns = timeout_ns
        self._all: OrderedDict[int, Handshake] = OrderedDict()  # by slot, the oldest first
        self._fresh: deque[Handshake] = deque()  # those that can go on: their first step, ...
        self._begun: deque[Handshake] = deque()  # ... and a further one
        self._is_turn_of_fresh = False
        self._speaking = 0
        self._looked_ns = 0
        self._freed = 0  # handshakes that are over, and whose memory was not given back
        self._last_ns = 0  # when the last one was

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, slot: int) -> Handshake:
        return self._all[slot]

    def get(self, slot: int) -> Handshake | None:
        """The slot's, if one is under way."""
        return self._all.get(slot)

    def begin(self, slot: int) -> Handshake:
        """One begins now."""
        shake = self._all[slot] = Handshake(slot, self._clock.now_ns())
        return shake

    def feed(self, shake: Handshake, piece: bytes) -> None:
        """Bytes came for it."""
        if not shake.has_spoken:
            shake.has_spoken = True
            self._speaking += 1
        shake.came.append(piece)
        shake.ahead += len(piece)
        self.queue(shake)

    def queue(self, shake: Handshake) -> None:
        """It can go on."""
        if not shake.is_queued:
            shake.is_queued = True
            (self._fresh if shake.session is None else self._begun).append(shake)

    def remove(self, slot: int) -> Handshake | None:
        """It is over; the one that was."""
        self._freed += 1
        self._last_ns = self._clock.now_ns()
        shake = self._all.pop(slot, None)
        if shake is not None and shake.has_spoken:
            self._speaking -= 1
        return shake

    def is_full(self, share: int = 1) -> bool:
        """Whether as many are under way as may be, or this share of it."""
        most = self.most // share
        return self._speaking >= most or len(self._all) >= SILENT * most

    def has_shrunk(self) -> bool:
        """Whether memory should be given back: a storm of handshakes is over. Once for each."""
        if self._freed < FREED_MIN or self._all:
            return False
        if self._clock.now_ns() < self._last_ns + QUIET_NS:
            return False
        self._freed = 0
        return True

    def ready(self, *, is_busy: bool) -> Iterator[Handshake]:
        """Those whose turn it is in this tick: one at least."""
        count = len(self._fresh) + len(self._begun)
        if not count:
            return
        now_ns = self._clock.now_ns()
        until_ns = now_ns + BUDGET_NS // (BUSY if is_busy else 1)
        for _ in range(count):
            shake = self._next()
            shake.is_queued = False
            if self._all.get(shake.slot) is not shake:
                continue
            shake.turn_ns = now_ns
            yield shake
            now_ns = self._clock.now_ns()
            if now_ns >= until_ns:
                return

    def _next(self) -> Handshake:
        """One of each kind in turn: so those that have begun are done, however many begin."""
        self._is_turn_of_fresh = not self._is_turn_of_fresh
        if self._fresh and (self._is_turn_of_fresh or not self._begun):
            return self._fresh.popleft()
        return self._begun.popleft()

    def late(self) -> Iterator[int]:
        """The slots of those whose time is up. The caller removes each."""
        if not self._all:
            return
        limit_ns = self._clock.now_ns() - self._timeout_ns
        for shake in [*self._all.values()] if self._oldest_ns() <= limit_ns else ():
            if shake.since_ns > limit_ns:
                return
            yield shake.slot

    def stalled(self) -> Iterator[int]:
        """While it is full: the slots of those that only wait for their peers, for too long. The
        caller removes each."""
        now_ns = self._clock.now_ns()
        if now_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now_ns
        for shake in [*self._all.values()]:
            if not shake.is_queued and now_ns - shake.turn_ns >= STALLED_NS:
                yield shake.slot

    def due_ns(self) -> int:
        """In how many nanoseconds there is something to do, if nothing comes."""
        if self._fresh or self._begun:
            return 0
        if not self._all and self._freed < FREED_MIN:
            return NEVER
        if not self._all:
            return max(self._last_ns + QUIET_NS - self._clock.now_ns(), 0)
        return max(self._oldest_ns() + self._timeout_ns - self._clock.now_ns(), 0)

    def clear(self) -> None:
        """All are over."""
        self._all.clear()
        self._fresh.clear()
        self._begun.clear()
        self._speaking = 0

    def _oldest_ns(self) -> int:
        return next(iter(self._all.values())).since_ns
