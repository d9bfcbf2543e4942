"""Looking at a ring for a while instead of sleeping at once."""

from __future__ import annotations

from c1m.kernel.real import Kernel
from c1m.kernel.ring import RingLike


class BusyPoll:
    """Looks before a sleep, as long as that pays.

    To be woken costs some ten microseconds and leaves cold caches. Where the next request comes
    sooner than that it is cheaper to look for it; where it does not, looking is lost time. So each
    look in vain doubles the number of sleeps until the next look, up to PAUSE_MAX, and each that
    finds something halves it.
    """

    PAUSE_MAX = 64

    def __init__(self, kernel: Kernel, time_ns: int) -> None:
        self._kernel = kernel
        self._time_ns = time_ns
        self._pause = 0  # sleeps between two looks
        self._left = 0  # until the next one

    def may_start(self) -> bool:
        """Whether to look before this sleep."""
        self._left -= 1
        return self._left < 0

    def finds(self, ring: RingLike) -> bool:
        """Look; whether there is something."""
        found = self._kernel.look(ring, self._time_ns)
        self._pause = self._pause // 2 if found else min(2 * self._pause + 1, self.PAUSE_MAX)
        self._left = self._pause
        return found
