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

from c1m.addresses import Endpoint
from c1m.engine.shortage import Shortage
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.rings import Place, RingSet
from c1m.engine.uring.user_data import Op, pack_one
from c1m.errors import LimitError
from c1m.kernel.real import Listener
from c1m.kernel.refusals import ERRNOS, refusal

SINGLES_MAX = 64  # single accepts armed on one listener
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
        self.positions = np.zeros(0, np.int32)
        self.is_stale = False  # something changed that `arm` should look at
        self.shortage = Shortage()  # of what an accept needs
        self.retry_ns = 0  # arm again then, for what was refused; 0: nothing is missing

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Endpoint]:
        """See Engine.listen."""
        keep = {a.listener.endpoint for a in self._listeners if a is not None}
        added = self._rings.kernel.listen([e for e in endpoints if e not in keep], backlog)
        gone = [
            index
            for index, armed in enumerate(self._listeners)
            if armed is not None and armed.listener.endpoint not in endpoints
        ]
        self._unlisten(gone)
        self._listeners.extend(Armed(listener) for listener in added)
        self.is_stale = True
        bound = iter(added)
        result = [e if e in keep else next(bound).endpoint for e in endpoints]
        self.positions = np.full(len(self._listeners), -1, np.int32)
        for index, armed in enumerate(self._listeners):
            if armed is not None:
                self.positions[index] = result.index(armed.listener.endpoint)
        return result

    def _unlisten(self, indices: list[int]) -> None:
        """Stop: a pending accept would keep the port taken, so it is cancelled first."""
        for index in indices:
            armed = self._listeners[index]
            assert armed is not None
            if armed.ring >= 0:
                self._cancel(index, armed)
                self._rings.places[armed.ring].ring.submit()
            self._rings.kernel.unlisten([armed.listener])
            self._listeners[index] = None

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
        for index, armed in listening:
            if armed.ring >= 0 and armed.singles == 0 and not armed.cancelled:
                place = self._rings.places[armed.ring]
                if min(place.free, room) < self._bound(place, len(listening)):
                    self._cancel(index, armed)
        now = self._rings.clock.now_ns()
        if self.shortage.holds(now):
            self.retry_ns = self.shortage.until_ns
            return
        singles = sum(a.singles for _, a in listening)
        for index, armed in listening:
            if armed.ring < 0:
                singles += self._arm_one(index, armed, room - singles, len(listening))
        if room > 0 and any(a.ring < 0 for _, a in listening) and self._rings.shortage.holds(now):
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

    def succeeded(self) -> None:
        """Somebody was accepted: nothing is short."""
        self.is_stale = True
        self.shortage.ends()

    def room_came(self) -> None:
        """A connection has ended."""
        self.is_stale = True
        self.shortage.may_be_over()

    def ended(self, index: int, code: int) -> None:
        """A listener's accept has ended, one of its single ones maybe, with this errno or 0.

        An errno that tells of no shortage concerned one connection only.
        """
        self.is_stale = True
        if code in ERRNOS:
            text, remedy = refusal("further connection", code)
            self.shortage.refused(ACCEPT, text, remedy, self._rings.clock.now_ns())
        armed = self._listeners[index]
        if armed is None:
            return
        if armed.singles > 1:
            armed.singles -= 1
            return
        armed.ring, armed.singles, armed.cancelled = -1, 0, False
