"""What the kernel had no memory for, and is asked for again about once a second.

Nobody is lost by it: who sent or read goes on, and what was closed is closed.

Fact: where TCP's memory is used up (net.ipv4.tcp_mem), a socket with room in its buffer says EAGAIN
as well, and with nothing on its way nothing wakes who waits for room. So who waits is tried again,
too, with little.
"""

from __future__ import annotations

import errno

import numpy as np
import numpy.typing as npt

from c1m.engine.shortage import Shortage
from c1m.engine.states import ConnState
from c1m.engine.uring.submissions import GENERATION_SHIFT
from c1m.kernel.ring import Completions

_NO_MEMORY = (1 << 32) - errno.ENOMEM  # as a result without a sign


class Late:
    """Slots, by what is to be done for them; true while something is short."""

    def __init__(self, shortage: Shortage) -> None:
        self.receives: set[int] = set()
        self.sends: dict[int, None] = {}  # in the order in which they were refused
        self.waits: dict[int, None] = {}  # the same, of sends that were told EAGAIN
        self._closes: dict[int, int] = {}  # the generation of each when it was closed
        self._shortage = shortage

    def __bool__(self) -> bool:
        return bool(self.receives or self.sends or self._closes)

    def refused(self, kind: str, code: int) -> None:
        """Count it, for statistics."""
        self._shortage.refused(kind, f"memory for a {kind}", code)

    def send_over(self, slot: int) -> None:
        """It has gone, or nobody waits for it any more."""
        self.sends.pop(slot, None)
        self.waits.pop(slot, None)

    def take_sends(self, most: int) -> list[int]:
        """Those that are to be tried again, at most so many of each kind."""
        taken = [*self.sends][:most] + [*self.waits][:most]
        for slot in taken:
            self.send_over(slot)
        return taken

    def closes_failed(self, closes: Completions) -> None:
        """Completions of closes that have failed: before Linux 6.13 they take memory."""
        for slot, tag, result, _ in closes.tolist():
            if result == _NO_MEMORY:
                self.refused("close", errno.ENOMEM)
                self._closes[slot] = tag >> GENERATION_SHIFT

    def take_closes(
        self, states: npt.NDArray[np.uint8], generations: npt.NDArray[np.uint16]
    ) -> list[int]:
        """Those whose place nobody has been given since: who was has replaced the file."""
        closes, self._closes = self._closes, {}
        return [
            slot for slot, before in closes.items()
            if states[slot] == ConnState.FREE and generations[slot] == (before + 1) & 0xFFFF
        ]  # fmt: skip

    def forget(self) -> None:
        """Nobody is connected, and the rings are closed."""
        self.receives.clear()
        self.sends.clear()
        self.waits.clear()
        self._closes.clear()


def sooner(timeout_ns: int, other_ns: int) -> int:
    """The shorter of two sleeps, where the first may be without end (below zero)."""
    other_ns = max(other_ns, 1)
    return other_ns if timeout_ns < 0 else min(timeout_ns, other_ns)
