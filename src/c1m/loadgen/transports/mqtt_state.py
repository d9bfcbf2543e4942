"""What MQTT keeps of each connection, as columns: acknowledgements, and signs of life. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from c1m.loadgen.transports.base import Where
from c1m.scenarios.ledger import Repeats
from c1m.scenarios.messages import Numbers

ID_MAX = 65_535
TICKS = 128  # of a keep-alive
PARTS = 16  # of all connections: each is looked at once in PARTS ticks
SILENT_TICKS = TICKS * 3 // 4  # from then on a connection is asked for a sign of life


class Acknowledgements:
    """Packet identifiers of what is published (MQTT 5, 2.2.1), and their PUBACKs.

    A connection counts its identifiers up; those behind `acked` up to `last` are awaited. Servers
    acknowledge in order; what comes before its turn is kept apart.
    """

    def __init__(self, count: int) -> None:
        self._last = np.zeros(count, np.uint16)
        self._acked = np.zeros(count, np.uint16)
        self._early: dict[int, set[int]] = {}
        self._repeats = Repeats(count)
        self.awaited = 0
        self.stray = 0  # PUBACKs that nobody awaited

    def begin(self, numbers: Numbers, first: int) -> None:
        """These have used identifiers up to `first`, and await nothing."""
        self._last[numbers] = self._acked[numbers] = first

    def next(self, numbers: Numbers) -> Numbers:
        """An identifier for each of these (distinct) connections: int64[n]."""
        ids: Numbers = self._last.take(numbers).astype(np.int64) % ID_MAX + 1
        self._last[numbers] = ids
        self.awaited += len(numbers)
        return ids

    def take(self, numbers: Numbers, ids: Numbers) -> None:
        """PUBACKs that came, in order; of a connection perhaps several."""
        while len(numbers):
            is_first = self._repeats.first(numbers)
            self._take(numbers[is_first], ids[is_first])
            numbers, ids = numbers[~is_first], ids[~is_first]

    def _take(self, numbers: Numbers, ids: Numbers) -> None:
        acked = self._acked.take(numbers).astype(np.int64)
        is_next = (acked % ID_MAX + 1 == ids) & (acked != self._last.take(numbers))
        self._acked[numbers[is_next]] = ids[is_next]
        self.awaited -= int(np.count_nonzero(is_next))
        if not is_next.all():
            pairs = zip(numbers[~is_next].tolist(), ids[~is_next].tolist(), strict=True)
            for number, id_ in pairs:
                self._take_odd(number, id_)
        for number in [n for n in numbers.tolist() if n in self._early] if self._early else ():
            self._catch_up(number)

    def _take_odd(self, number: int, id_: int) -> None:
        """One that is not the next: awaited, but before its turn, or nobody's."""
        acked, early = int(self._acked[number]), self._early.setdefault(number, set())
        if (id_ - acked) % ID_MAX <= (int(self._last[number]) - acked) % ID_MAX and (
            id_ not in early and id_ != acked
        ):
            early.add(id_)
            self.awaited -= 1
        else:
            self.stray += 1
        self._catch_up(number)

    def _catch_up(self, number: int) -> None:
        early = self._early[number]
        while (following := int(self._acked[number]) % ID_MAX + 1) in early:
            early.remove(following)
            self._acked[number] = following
        if not early:
            del self._early[number]

    def gone(self, numbers: Numbers) -> None:
        """These have ended: nothing is awaited on them."""
        left = self._last.take(numbers).astype(np.int64) - self._acked.take(numbers)
        self.awaited -= int((left % ID_MAX).sum())
        for number in numbers.tolist() if self._early else ():
            self.awaited += len(self._early.pop(number, ()))
        self._acked[numbers] = self._last[numbers]


class KeepAlive:
    """Who has said nothing for three quarters of the keep-alive, and whose PINGRESP is missing.

    Times are counted in ticks, modulo 65,536. Each tick looks at one of PARTS parts of all
    connections, so that pings are spread, and each is asked before 7/8 of the keep-alive are over.
    """

    def __init__(self, count: int, keep_alive_s: int, timeout_ns: int) -> None:
        self.tick_ns = keep_alive_s * 1_000_000_000 // TICKS
        self._count = count if keep_alive_s else 0
        self._timeout = min(max(timeout_ns // (self.tick_ns or 1), 1), 60_000)
        self._silent = SILENT_TICKS
        self._parts = PARTS
        self._keep_alive_s = keep_alive_s
        self._start_ns: int | None = None
        self._tick = 0
        self._said = np.zeros(self._count, np.uint16)  # when something was said last
        self._asked = np.zeros(self._count, np.uint16)  # when a PINGREQ was, unanswered; 0: none

    def said(self, numbers: Numbers) -> None:
        """These connections say something now."""
        if self._count:
            self._said[numbers] = self._tick & 0xFFFF

    def answered(self, numbers: Numbers) -> None:
        """PINGRESPs came on these."""
        if self._count and len(numbers):
            self._asked[numbers] = 0

    gone = answered

    def shorten(self, keep_alive_s: int) -> None:
        """The server wants to hear of its clients more often (MQTT 5, 3.2.2.3.14)."""
        if self._count and 0 < keep_alive_s < self._keep_alive_s:
            self._keep_alive_s, self._parts = keep_alive_s, 1
            self._silent = max(keep_alive_s * 1_000_000_000 * 3 // 4 // self.tick_ns - 1, 1)

    def parts(self, now_ns: int) -> Iterator[slice]:
        """Go on to now: the connections that are to be looked at."""
        if self._start_ns is None:
            self._start_ns = now_ns
        before, self._tick = self._tick, (now_ns - self._start_ns) // self.tick_ns
        for tick in range(max(before + 1, self._tick - self._parts + 1), self._tick + 1):
            part = tick % self._parts
            first = self._count * part // self._parts
            yield slice(first, self._count * (part + 1) // self._parts)

    def look_at(self, part: slice, are_open: Where) -> tuple[Numbers, Numbers]:
        """Who of these is to say PINGREQ now, and who has waited too long for a PINGRESP."""
        now = np.uint16(self._tick & 0xFFFF)
        asked = self._asked[part]
        has_failed = are_open & (asked != 0) & (now - asked > self._timeout)
        is_silent = are_open & (now - self._said[part] >= self._silent) & ~has_failed
        pinging = np.flatnonzero(is_silent) + part.start
        self._said[pinging] = now
        first = pinging[self._asked[pinging] == 0]
        self._asked[first] = now | np.uint16(1)
        return pinging, np.flatnonzero(has_failed) + part.start
