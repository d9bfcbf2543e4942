"""Two engines as one: the first connections in an epoll set, the further ones in rings.

With few connections, and with many that say little, the kernel's way through epoll_wait, recv and
send is shorter than through a ring (ADR 19); with many busy ones whose data stays in arrays, and
for every connection beyond the descriptors there are, the ring is ahead. So a small server is
served by the one alone, and a large one by the other, of which the first connections are a small
part.

Slots: those below `few.capacity` are the epoll engine's, the others are the rings', counted from
there. Both are given the same listeners; `_share` says who may accept. A `wait` returns what one of
them brought: the rings' sleep also ends when the epoll set has something, which the next wait
returns.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import numpy as np

from c1m.addresses import Endpoint, ListeningSocket, SockAddrs
from c1m.clock import SystemClock
from c1m.engine.choose import FEW
from c1m.engine.contract import NOTHING, EngineStatistics, EventBatch, Owed, Pieces, Slots
from c1m.engine.epoll import EpollEngine
from c1m.engine.lingering import NEVER
from c1m.engine.ragged import Ragged
from c1m.engine.uring.engine import UringEngine

PART = 4  # of the descriptors, one in so many may be a connection's


class TieredEngine:
    """See engine.contract.Engine. Takes over both engines."""

    name = "uring"
    sends_in_wait = True
    uses_descriptors = False

    def __init__(
        self,
        few: EpollEngine,
        many: UringEngine,
        *,
        live_max: int | None = None,
        few_max: int = FEW,
    ) -> None:
        self._few = few
        self._many = many
        self._base = few.capacity
        self.capacity = few.capacity + many.capacity
        self._few_max = max(min(few_max, few.capacity // PART, few.live_max), 1)
        self._live_max = self.capacity if live_max is None else live_max
        self.reason = f"{many.reason}; the first {self._few_max:,} connections are in an epoll set"
        self._is_split = False  # rings are, or may soon be, in use
        self._few_is_next = False  # the epoll set has something
        self.watched_is_ready = False
        self._ticks = 0
        self._share()

    @property
    def live_max(self) -> int:
        """See Engine.live_max."""
        return self._live_max

    @live_max.setter
    def live_max(self, value: int) -> None:
        self._live_max = value
        self._share()

    @property
    def reports_ends(self) -> bool:
        """See Engine.reports_ends."""
        return self._few.reports_ends

    @reports_ends.setter
    def reports_ends(self, value: bool) -> None:
        self._few.reports_ends = self._many.reports_ends = value

    @property
    def thread(self) -> int | None:
        """See Engine.thread."""
        return self._many.thread

    def room(self) -> int:
        """See Engine.room."""
        return min(self._few_max + self._many.places(), self._live_max)

    def _share(self) -> None:
        """Who may accept: the rings while the epoll set is full, else the epoll engine.

        The epoll engine begins again when half of its connections have gone, so that no listener
        goes to and fro between the two; at once where the kernel gives no further ring.
        """
        few = self._few.live()
        is_full = few >= self._few_max or self._few.is_short()
        goes_on = few > self._few_max // 2 and not self._many.is_short()
        if is_full or (self._is_split and goes_on and self._many.live_max):
            self._split()
            self._few.live_max = 0  # it keeps those it has
            most = max(self._live_max - few, 0)
        else:
            room = min(self._few_max, self._live_max - self._many.live())
            self._few_is_next |= self._few.live_max != room  # its next wait takes note
            self._few.live_max = room
            most = 0
        if self._many.live_max != most:
            self._many.live_max = most

    # --- what the caller asks for -----------------------------------------------------------------

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        self._many.listen([], 0)  # an accept under way would keep a port taken
        try:
            return self._few.listen(endpoints, backlog)
        finally:
            self._many.listen(self._few.listening(), 0)
            self._few_is_next = True  # its next wait begins to accept

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        if self._few.live() + len(destinations) <= self._few_max:
            return self._few.connect(sources, destinations)
        self._split()
        return self._many.connect(sources, destinations) + np.int32(self._base)

    def _split(self) -> None:
        if not self._is_split:
            self._is_split = True
            self._many.watch(self._few.fileno())

    def send(self, slots: Slots, data: Ragged) -> None:
        if not self._is_split:
            self._few.send(slots, data)
            return
        is_many = slots >= self._base
        count = np.count_nonzero(is_many)
        if count < len(slots):
            self._few.send(slots[~is_many], data.take(~is_many)) if count else (
                self._few.send(slots, data)
            )
        if count:
            if count < len(slots):
                slots, data = slots[is_many], data.take(is_many)
            self._many.send(slots - np.int32(self._base), data)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        if not self._is_split:
            self._few.send_each(slots, pieces)
            return
        base = self._base
        is_few = [slot < base for slot in slots]
        if any(is_few):
            self._few.send_each(
                list(itertools.compress(slots, is_few)), list(itertools.compress(pieces, is_few))
            )
            many = [not each for each in is_few]
            slots = list(itertools.compress(slots, many))
            pieces = list(itertools.compress(pieces, many))
        if slots:
            self._many.send_each([slot - base for slot in slots], pieces)

    def flush(self) -> None:
        if self._is_split:
            self._many.flush()

    def unsent(self, slot: int) -> int:
        engine, own = self._of(slot)
        return engine.unsent(own)

    def owed(self) -> Owed:
        few, many = self._few.owed(), self._many.owed()
        slots = np.concatenate((few[0], many[0] + np.int32(self._base)))
        return slots, np.concatenate((few[1], many[1]))

    def failure(self, slot: int) -> int:
        engine, own = self._of(slot)
        return engine.failure(own)

    def limit_output(self, slot: int, low: int, high: int) -> None:
        engine, own = self._of(slot)
        engine.limit_output(own, low, high)

    def end_output(self, slot: int) -> None:
        engine, own = self._of(slot)
        engine.end_output(own)

    def descriptor(self, slot: int) -> int:
        engine, own = self._of(slot)
        return engine.descriptor(own)

    def _of(self, slot: int) -> tuple[EpollEngine | UringEngine, int]:
        return (self._few, slot) if slot < self._base else (self._many, slot - self._base)

    def _parts(self, slots: Slots) -> tuple[Slots, Slots]:
        """The epoll engine's, and the rings' as they count them."""
        is_many = slots >= self._base
        return slots[~is_many], slots[is_many] - np.int32(self._base)

    def receive(self, slots: Slots, on: bool) -> None:
        few, many = self._parts(slots)
        self._few.receive(few, on)
        if len(many):
            self._many.receive(many, on)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        few, many = self._parts(slots)
        self._few.close(few, abort=abort, drop=drop)
        if len(many):
            self._many.close(many, abort=abort, drop=drop)

    def adopt(self, fd: int) -> int:
        if self._few.live() < self._few_max:
            return self._few.adopt(fd)
        self._split()
        return self._many.adopt(fd) + self._base

    def peers(self, slots: Slots, family: int) -> list[bytes]:
        few, many = self._parts(slots)
        found = dict(zip(few.tolist(), self._few.peers(few, family), strict=True))
        if len(many):
            theirs = self._many.peers(many, family)
            found.update(zip((many + np.int32(self._base)).tolist(), theirs, strict=True))
        return [found[slot] for slot in slots.tolist()]

    def watch(self, fd: int) -> None:
        self._few.watch(fd)

    def wake(self) -> None:
        self._few.wake()

    # --- the tick ---------------------------------------------------------------------------------

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        self._ticks += 1
        if not self._is_split:
            batch = self._few.wait(timeout_ns, pieces)
            self.watched_is_ready = self._few.watched_is_ready
            if batch is NOTHING or batch.is_plain:
                return batch
            if len(batch.opened) or self._few.is_short():
                self._share()
            return batch
        if self._few_is_next or self._few.has_work():
            # The epoll engine reads into memory that the rings may still be asked to send from.
            self._few_is_next = False
            self._many.flush()
            return self._wait_few(pieces)
        if self._few.due_ns() < NEVER:
            left_ns = max(self._few.due_ns() - SystemClock.now_ns(), 0)
            timeout_ns = left_ns if timeout_ns < 0 else min(timeout_ns, left_ns)
        batch = self._many.wait(timeout_ns)
        self.watched_is_ready = False
        self._few_is_next = self._many.watched_is_ready
        if len(batch):
            self._number(batch)
        elif self._few_is_next:
            self._few_is_next = False
            return self._wait_few(pieces)
        self._share()
        if not self._many.live_max and self._many.is_at_rest():
            self._is_split = False
            self._many.watch(-1)
        return batch

    def _wait_few(self, pieces: Pieces | None) -> EventBatch:
        batch = self._few.wait(0, pieces)
        self.watched_is_ready = self._few.watched_is_ready
        if batch is not NOTHING and not batch.is_plain:
            self._share()
        return batch

    def _number(self, batch: EventBatch) -> None:
        """The rings' slots as the caller knows them."""
        base = np.int32(self._base)
        batch.data_slots = batch.data_slots + base
        if batch.is_plain:
            return
        for kind in (
            "opened", "connected", "failed", "eof", "closed", "blocked", "drained", "expired",
            "ended",
        ):  # fmt: skip
            slots = getattr(batch, kind)
            if len(slots):
                setattr(batch, kind, slots + base)

    def statistics(self) -> EngineStatistics:
        few, many = self._few.statistics(), self._many.statistics()
        both = EngineStatistics(ticks=self._ticks)
        for name in (
            "accepted", "connected", "connect_failed", "closed", "live", "lingering", "connecting",
            "received_bytes", "sent_bytes", "unsent_bytes", "outbox_bytes",
        ):  # fmt: skip
            setattr(both, name, getattr(few, name) + getattr(many, name))
        both.extra = {**many.extra, "in_epoll": few.live}
        both.refused = {
            what: few.refused.get(what, 0) + many.refused.get(what, 0)
            for what in {*few.refused, *many.refused}
        }
        both.refusal = many.refusal or few.refusal
        return both

    def shutdown(self) -> None:
        self._many.shutdown()
        self._few.shutdown()
