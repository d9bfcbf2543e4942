"""Who does not read is bounded, and dropped by policy: Redis's client-output-buffer-limit.

What the kernel's socket buffers take (some megabytes a connection) is not counted here. What it
does not take waits in the engine, which says whose output passed its high watermark. Only of those
is asked how much it is, a few times a second:

hard   more than so many bytes: the connection is dropped. A limit below the watermark (--outbox)
       counts from there on
soft   more than so many bytes for longer than so many seconds: it is dropped
total  all subscribers together more than OUTBOX_TOTAL_MAX: those who are owed most are dropped,
       until three quarters of that are left

Who said MONITOR is bounded as a subscriber is. No message is left out for anybody who stays. Who
is dropped is counted, by the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from c1m.bounds import OUTBOX_TOTAL_MAX
from c1m.engine.contract import Slots
from c1m.kv.outbox import Outbox
from c1m.kv.rows import IS_SUBSCRIBER
from c1m.kv.settings import Settings

SETTING = "client-output-buffer-limit"
LOOK_BYTES = 1 << 20  # sent to many before it is asked how much is unsent in all
LOOK_NS = 100_000_000  # how often those that are over the watermark are asked about
NS_PER_S = 1_000_000_000
NOT_OVER = 0


class Limit(NamedTuple):
    """Of one class of clients; 0 bytes: none."""

    hard: int
    soft: int
    soft_ns: int


def limits_of(text: str) -> dict[str, Limit]:
    """By class: what CONFIG GET client-output-buffer-limit shows."""
    words = text.split()
    return {
        kind: Limit(int(hard), int(soft), int(seconds) * NS_PER_S)
        for kind, hard, soft, seconds in zip(*(words[i::4] for i in range(4)), strict=True)
    }


class OutputLimits:
    """Looks after the connections whose output the engine reported as blocked.

    `unsent` is the engine's; `states` are the rows of Clients; `monitors` those who said MONITOR.
    """

    def __init__(
        self,
        out: Outbox,
        unsent: Callable[[int], int],
        states: npt.NDArray[np.uint8],
        settings: Settings,
        total_max: int = OUTBOX_TOTAL_MAX,
        monitors: Sequence[int] = (),
    ) -> None:
        self.total_max = total_max
        self._monitors = monitors
        self._out = out
        self._unsent = unsent
        self._states = states
        self._blocked: dict[int, int] = {}  # slot -> since when it is over its soft limit (ns)
        self._due_ns = 0
        self._free_ns = 0  # until then `relieve` need not look
        self.set(settings[SETTING])
        settings.effects[SETTING] = self.set

    def set(self, text: str) -> None:
        """Other limits from now on."""
        limits = limits_of(text)
        self._normal, self._pubsub = limits["normal"], limits["pubsub"]

    def blocked(self, slots: list[int]) -> None:
        """The output of these has passed the high watermark."""
        for slot in slots:
            self._blocked.setdefault(slot, NOT_OVER)

    def forget(self, slots: list[int]) -> None:
        """The output of these has drained, or they have ended."""
        if self._blocked:
            for slot in slots:
                self._blocked.pop(slot, None)

    def enforce(self, now_ns: int) -> None:
        """Drop whoever is over a limit, if it is time to look."""
        if not self._blocked or now_ns < self._due_ns:
            return
        self._due_ns = now_ns + LOOK_NS
        subscribers: dict[int, int] = {}  # how much they are owed
        for slot, since in list(self._blocked.items()):
            owed, limit = self._unsent(slot), self._normal
            if not owed:
                del self._blocked[slot]
                continue
            if self._is_subscriber(slot):
                subscribers[slot], limit = owed, self._pubsub
            is_over = 0 < limit.soft < owed
            self._blocked[slot] = (since or now_ns) if is_over else NOT_OVER
            if 0 < limit.hard < owed:
                self._drop(slot, "hard")
            elif is_over and since and now_ns - since > limit.soft_ns:
                self._drop(slot, "soft")
        self._enforce_total({s: n for s, n in subscribers.items() if s in self._blocked})

    def relieve(self, slots: Slots, now_ns: int) -> None:
        """More than `total_max` is unsent after a payload to these: drop who is owed most of it.

        In the middle of a tick: nothing has been reported yet of those who do not read, and the
        next payload would add to what they are owed.
        """
        if now_ns < self._free_ns:
            return
        self.blocked([slot for slot in slots.tolist() if self._unsent(slot)])
        before = len(self._out.killed)
        self._enforce_total({s: self._unsent(s) for s in self._blocked if self._is_subscriber(s)})
        if len(self._out.killed) == before:  # others are owed it, and those are not read from
            self._free_ns = now_ns + LOOK_NS

    def _enforce_total(self, owed: dict[int, int]) -> None:
        total = sum(owed.values())
        if total > self.total_max:
            for slot in sorted(owed, key=owed.__getitem__, reverse=True):
                if total <= self.total_max // 4 * 3:
                    break
                total -= owed[slot]
                self._drop(slot, "total")

    def _is_subscriber(self, slot: int) -> bool:
        return bool(self._states[slot] & IS_SUBSCRIBER) or slot in self._monitors

    def _drop(self, slot: int, reason: str) -> None:
        self._out.killed.append(slot)
        self._out.dropped[reason] += 1
        del self._blocked[slot]
