"""Accepting in the uring engine: which listener accepts into which ring, and when it pauses.

Facts
- An accept into a full table takes the connection and then closes it: that client is lost. So no
  accept may be armed where it could find the table full.
- A multishot accept takes connections in a loop, each with a completion of its own, until the
  accept queue is empty or the completion queue is full (then it ends, with one last result). So in
  one enter the listeners armed on a ring take at most cq_entries + listeners connections.
- With two rings armed on one listener the first to run takes everything.

- An accept may be refused for want of memory or of open files (ENOMEM, ENOBUFS, ENFILE, EMFILE).
  Nobody is lost by that, but the next one is likely to end at once in the same way.

Choice: a listener is armed as multishot on one ring that has more free places than that bound. Near
the end (of the last table or of live_max) it is armed as single accepts, at most as many as may
still come. With none left it is not armed, and connections wait in the kernel's accept queue.

What a burst has left of a table is used up by single accepts before there is a further ring, where
it is more than an eighth of the table: tables are small where RLIMIT_NOFILE is, and rings are dear.
A ring or an accept that was refused is asked for again after a pause (`retry_ns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c1m.addresses import AF_UNIX, Endpoint, ListeningSocket
from c1m.engine.contract import Slots
from c1m.engine.shortage import Shortage
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.rings import Place, RingSet
from c1m.engine.uring.submissions import GENERATION_SHIFT, Op, pack_one
from c1m.errors import LimitError
from c1m.kernel import uring_abi as abi
from c1m.kernel.refusals import ERRNOS
from c1m.kernel.ring import Completions, RingLike
from c1m.kernel.sockets import Listener, renew

SINGLES_MAX = 64  # single accepts armed on one listener
LET_GO_PASSES = SINGLES_MAX // 16  # each runs at least 20 pieces of deferred work
ACCEPT = "connection"  # what is short, in a Shortage


@dataclass(slots=True)
class Armed:
    """A listener and how it accepts: on which ring, how many single accepts (0: multishot)."""

    listener: Listener
    ring: int = -1  # not armed
    singles: int = 0
    cancelled: bool = False


class Acceptor:
    """Arms and disarms the listeners."""

    def __init__(self, rings: RingSet) -> None:
        self._rings = rings
        self._listeners: list[Armed | None] = []  # by index; None: no longer listened on
        # Our indices only grow; here is where each stands in the caller's latest list (-1: gone).
        self._positions = np.zeros(0, np.int32)
        self._are_unix = np.zeros(0, bool)
        self.unix = np.zeros(0, np.int32)  # of the last accepted, those over unix sockets
        self.is_stale = False  # something changed: call `arm`
        self.shortage = Shortage(rings.clock)  # of what an accept needs
        self.retry_ns = 0  # arm again then, for what was refused; 0: nothing is missing

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        """See Engine.listen."""
        there = [armed.listener for armed in self._listeners if armed is not None]
        wanted, dropped = renew(there, endpoints, backlog, self._rings.kernel.listen)
        rings = set()
        for index, armed in enumerate(self._listeners):
            if armed is not None and armed.listener in dropped:
                self._listeners[index] = None
                if armed.ring >= 0:
                    self._cancel(index, armed)
                    rings.add(armed.ring)
        for ring in rings:
            self._let_go(self._rings.places[ring].ring)
        for listener in dropped:
            listener.close()
        self._listeners.extend(Armed(listener) for listener in wanted if listener not in there)
        self._positions = np.array(
            [-1 if armed is None else wanted.index(armed.listener) for armed in self._listeners],
            np.int32,
        )
        self._are_unix = np.array(
            [each is not None and each.listener.endpoint.family == AF_UNIX
             for each in self._listeners],
            bool,
        )  # fmt: skip
        self.is_stale = True
        return [listener.endpoint for listener in wanted]

    @staticmethod
    def _let_go(ring: RingLike) -> None:
        """Have accepts that were cancelled end now: until then they keep their ports taken.

        They end in deferred work. What this brings is taken up in the next pass.
        """
        ring.submit()
        for _ in range(LET_GO_PASSES):
            ring.drain(ring.cq_entries, 0, 0)

    def _cancel(self, index: int, armed: Armed) -> None:
        target = np.array([pack_one(index, armed.ring, Op.ACCEPT)], np.uint64)
        ring = self._rings.places[armed.ring].ring
        ring.push(sub.cancel(target, everyone=True))
        armed.cancelled = True

    def disarm(self) -> None:
        """Accept nobody until the next `arm`: each listener's accept is cancelled."""
        for index, armed in enumerate(self._listeners):
            if armed is not None and armed.ring >= 0 and not armed.cancelled:
                self._cancel(index, armed)

    def is_disarmed(self) -> bool:
        """Whether all accepts have ended."""
        return all(armed is None or armed.ring < 0 for armed in self._listeners)

    def arm(self, room: int) -> None:
        """Bring the listeners into the state that fits; `room` more connections may be live."""
        self.is_stale = False
        self.retry_ns = 0
        listening = [(i, a) for i, a in enumerate(self._listeners) if a is not None]
        too_many = sum(a.singles for _, a in listening) > max(room, 0)  # it was larger
        for index, armed in listening:
            if armed.ring >= 0 and not armed.cancelled:
                place = self._rings.places[armed.ring]
                most = min(place.free, room)
                if too_many if armed.singles else most < self._bound(place, len(listening)):
                    self._cancel(index, armed)
        if self.shortage.holds():
            self.retry_ns = self.shortage.until_ns
            return
        singles = sum(a.singles for _, a in listening)
        for index, armed in listening:
            if armed.ring < 0:
                singles += self._arm_one(index, armed, room - singles, len(listening))
        if room > 0 and any(a.ring < 0 for _, a in listening) and self._rings.shortage.holds():
            self.retry_ns = self._rings.shortage.until_ns

    @staticmethod
    def _bound(place: Place, listeners: int) -> int:
        """Connections that one enter can bring: a full completion queue and one more each."""
        return place.ring.cq_entries + listeners

    def _arm_one(self, index: int, armed: Armed, room: int, listeners: int) -> int:
        """Arm one listener; returns the number of single accepts this took."""
        place = self._find(room, listeners)
        if place is None:
            return 0
        is_trial = self.shortage.lasts
        multishot = not is_trial and min(place.free, room) >= self._bound(place, listeners)
        taken = sum(
            a.singles for a in self._listeners if a is not None and a.ring == place.ring.index
        )
        count = 1
        if not multishot:
            left = min(place.free - taken, room)
            count = min(max(left // listeners, 1), left, 1 if is_trial else SINGLES_MAX)
            if count <= 0:
                return 0
        data = pack_one(index, place.ring.index, Op.ACCEPT)
        place.ring.push(sub.accept(armed.listener.fd, count, multishot, data))
        armed.ring = place.ring.index
        armed.singles = 0 if multishot else count
        armed.cancelled = False
        return armed.singles

    def _find(self, room: int, listeners: int) -> Place | None:
        """The first ring with room for a whole burst, else the emptiest or a new one."""
        accepting = [p for p in self._rings.places if p.accepts]
        if room <= 0:
            return None
        for place in accepting:
            if place.free >= self._bound(place, listeners):
                return place
        emptiest = max(accepting, key=lambda p: p.free, default=None)
        if emptiest is not None and emptiest.free > self._rings.files_per_ring // 8:
            return emptiest
        if self._rings.may_add():
            try:
                return self._rings.add(accepts=True)
            except LimitError:  # the kernel gives no more: make do with what there is
                pass
        return emptiest

    def room_came(self) -> None:
        """A connection has ended."""
        self.is_stale = True
        self.shortage.may_be_over()

    def accepted(self, accepts: Completions) -> tuple[Slots, Slots]:
        """Completions of accepts -> the slots of new connections, and the listener of each."""
        self.is_stale = True
        results = accepts[:, 2].view(np.int32)
        done = accepts[results >= 0]
        if len(done):
            self.shortage.ends()
        for index, _, result, _ in accepts[(accepts[:, 3] & abi.CQE_MORE) == 0].tolist():
            self._ended(index, (1 << 32) - result if result >> 31 else 0)
        rings = (done[:, 1] >> GENERATION_SHIFT).astype(np.int32)
        files = done[:, 2].view(np.int32)
        assert not len(files) or int(files.max()) < self._rings.files_per_ring
        for index, count in enumerate(np.bincount(rings).tolist()):
            self._rings.places[index].free -= count
            assert self._rings.places[index].free >= 0, "an accept into a full table"
        slots = rings * np.int32(self._rings.files_per_ring) + files
        self.unix = slots[self._are_unix[done[:, 0]]]
        return slots, self._positions[done[:, 0]]

    def _ended(self, index: int, code: int) -> None:
        """A listener's accept has ended, perhaps one of its single ones, with this errno or 0.

        An errno that means no shortage concerned one connection only.
        """
        if code in ERRNOS:
            self.shortage.refused(ACCEPT, "further connection", code)
        armed = self._listeners[index]
        if armed is None:
            return
        if armed.singles > 1:
            armed.singles -= 1
            return
        armed.ring, armed.singles, armed.cancelled = -1, 0, False
