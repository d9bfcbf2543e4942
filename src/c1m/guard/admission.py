"""Who is let in, and how many may be accepted now. Decides; the guard's engine carries it out.

Of an address that is in no allowed network, or in a denied one, nobody is let in; `deny` is
stronger. By a unix socket all may come that its file lets. A client of TCP without an address (it
has gone already, or a proxy does not say) is let in only where all are: what it has sent would be
read.

Who may not be accepted yet waits in the kernel's accept queue. That is said by a number, `live_max`
of the engine inside, so waiting costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from c1m.engine.contract import Slots
from c1m.engine.decorated import NEVER
from c1m.guard.bucket import Bucket
from c1m.guard.networks import NO_ADDRESS, Networks, number_of
from c1m.guard.options import REFUSE, Limits
from c1m.guard.reasons import Why
from c1m.guard.sources import Sources
from c1m.units import NS_PER_MS, NS_PER_S

PLACES = 64  # for those who are refused, until they have gone
REFUSALS_PER_S = 1_000  # so that a flood of them leaves time for those who are in
BURST = 10  # where none is given: of a second's accepts one in so many
CHUNK_NS = 5 * NS_PER_MS  # accepting begins again with what comes in this time
MEMORY_NS = 250 * NS_PER_MS  # how often it is looked at


@dataclass(slots=True)
class Room:
    """How many may be accepted, and in what time to ask again if that is too few by a limit."""

    count: int
    due_ns: int = NEVER


class Admission:
    """Asked when connections were accepted, and before further ones may be."""

    def __init__(
        self, limits: Limits, capacity: int, now_ns: int, memory: Callable[[], int]
    ) -> None:
        self.refuses = limits.when_full == REFUSE
        self.limited: Counter[str] = Counter()  # see `counted`
        self._pausing, self._counted_ns = "", now_ns  # the option that accepting pauses for
        allow, deny = limits.networks()
        self._allow, self._deny = Networks(allow), Networks(deny)
        self._has_networks = bool(allow or deny)
        most = limits.value("per_source")
        self._sources = None if most is None else Sources(most, capacity, *limits.source_widths())
        self.asks_names = self._has_networks or self._sources is not None
        rate, burst = limits.value("accept_rate"), limits.value("accept_burst")
        self._bucket = None if rate is None else Bucket(rate, burst or rate / BURST, now_ns)
        self._chunk = max(int((rate or 0) * CHUNK_NS / NS_PER_S), 1)
        self._refusals = Bucket(REFUSALS_PER_S, PLACES, now_ns)
        self._memory = memory
        self._memory_max = limits.value("memory_max")
        self._is_over = False
        self.memory_ns = now_ns if self._memory_max is not None else NEVER  # when to look at it

    # --- who --------------------------------------------------------------------------------------

    def why_not(self, slot: int, name: bytes, is_unix: bool) -> Why | None:
        """Why one with this struct sockaddr is not let in; None: it is, and counts from now on.

        `is_unix`: it came by a unix socket; by a proxy it may have an address nevertheless.
        """
        number = number_of(name)
        if number == NO_ADDRESS:
            return Why.NO_ADDRESS if self._has_networks and not is_unix else None
        if self._has_networks and not self._lets_in(number):
            return Why.DENIED
        if self._sources is not None and not self._sources.take(slot, number):
            return Why.PER_SOURCE
        return None

    def _lets_in(self, number: int) -> bool:
        return not self._deny.have(number) and (not self._allow or self._allow.have(number))

    def check(self) -> None:
        """A costly check of what is counted."""
        if self._sources is not None:
            self._sources.check()

    def gone(self, slots: Slots) -> None:
        """Nothing is left of these."""
        if self._sources is not None:
            self._sources.give_back(slots)

    # --- how many ---------------------------------------------------------------------------------

    def accepted(self, count: int) -> None:
        """So many more were, whatever becomes of them."""
        if self._bucket is not None:
            self._bucket.take(count)

    def room(self, free: int, refusing: int, now_ns: int) -> Room:
        """How many may be accepted: `free` places are left, so many are being refused."""
        why, room = "", Room(max(free, 0))
        if self._is_memory_over(now_ns):
            why, room = "memory_max", Room(0, MEMORY_NS)
        elif self.refuses:
            tokens = self._refusals.tokens(now_ns)
            room.count += max(min(PLACES - refusing, tokens), 0)
            if tokens < 1:
                room.due_ns = self._refusals.due_ns(PLACES // 8)
        elif not room.count:
            why = "connections_max"
        if self._bucket is not None and room.count:
            tokens = max(self._bucket.tokens(now_ns), 0)
            if tokens < min(room.count, self._chunk):
                room.due_ns = min(room.due_ns, self._bucket.due_ns(self._chunk))
            if not tokens:
                why = "accept_rate"
            room.count = min(room.count, tokens)
        if why != self._pausing:
            self._count(now_ns)
            self._pausing, self._counted_ns = why, now_ns
            if why:
                self.limited[why] += 1
        return room

    def counted(self, now_ns: int) -> Counter[str]:
        """How often accepting paused, and for how many seconds after the first of each time, by
        the option that it was for."""
        self._count(now_ns)
        return self.limited

    def _count(self, now_ns: int) -> None:
        seconds = (now_ns - self._counted_ns) // NS_PER_S
        if self._pausing and seconds:
            self.limited[self._pausing] += seconds
            self._counted_ns += seconds * NS_PER_S

    def refused(self, count: int) -> None:
        """So many were told that the server is full."""
        self._refusals.take(count)

    def _is_memory_over(self, now_ns: int) -> bool:
        if now_ns >= self.memory_ns:
            self.memory_ns = now_ns + MEMORY_NS
            self._is_over = self._memory() > self._memory_max
        return self._is_over
