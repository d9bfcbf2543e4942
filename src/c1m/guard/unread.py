"""Who does not read is bounded, and dropped by policy: one way for all servers. Pure.

The guard has one with the server's limits (`stay.py`); the key-value server has one with those of
Redis's classes of clients, and what speaks HTTP one whose clients are told why.

What the kernel's socket buffers take (some megabytes a connection) is not counted here. What it
does not take waits in the engine, which says whose output passed its high watermark. Only of those
is asked how much it is, a few times a second:

hard   more than so many bytes: the connection is dropped. A limit below the watermark (--outbox)
       counts from there on
soft   more than so many bytes for longer than so many seconds: it is dropped
unread over the watermark, and nothing of it is taken for so long: it is dropped
total  all together more than `total_max`: those who are owed most are dropped, until three quarters
       of that are left. Looked at as soon as it is passed

No message is left out for anybody who stays. Who is dropped is counted, by the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from c1m.bounds import OUTBOX_TOTAL_MAX
from c1m.engine.contract import Slots
from c1m.units import NS_PER_MS

LOOK_BYTES = 1 << 20  # sent to many before it is asked how much is unsent in all
LOOK_NS = 100 * NS_PER_MS  # how often those that are over the watermark are asked about
NOT_OVER = 0
NOT_ASKED = -1


class Limit(NamedTuple):
    """Of one class of connections; 0 bytes: none."""

    hard: int
    soft: int
    soft_ns: int
    in_total: bool = True  # it counts in the total
    unread_ns: int = 0  # 0: it may take nothing for as long as it likes


@dataclass(slots=True)
class _Blocked:
    """One whose output is over the watermark."""

    over_ns: int = NOT_OVER  # since when it is over its soft limit
    left: int = NOT_ASKED  # bytes that it would be owed had it taken nothing since `took_ns`
    took_ns: int = 0


class Unread:
    """Looks after the connections whose output the engine reported as blocked.

    `unsent` is the engine's; `limit_of` says what bounds a connection; `dropped` counts by reason.
    """

    def __init__(
        self,
        unsent: Callable[[int], int],
        limit_of: Callable[[int], Limit],
        *,
        total_max: int = OUTBOX_TOTAL_MAX,
        dropped: Counter[str] | None = None,
    ) -> None:
        self.total_max = total_max
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        self._unsent = unsent
        self._limit_of = limit_of
        self._blocked: dict[int, _Blocked] = {}
        self._leaving: set[int] = set()  # dropped, and closed behind what they are owed
        self._due_ns = 0
        self._sent_bytes = 0  # since the total was asked for
        self._free_ns = 0  # until then nobody can be dropped for the total

    def __bool__(self) -> bool:
        """Whether there is anybody to look after."""
        return bool(self._blocked or self._leaving)

    def blocked(self, slots: Iterable[int]) -> None:
        """The output of these has passed the high watermark."""
        for slot in slots:
            if slot not in self._blocked:
                self._blocked[slot] = _Blocked()
                self._free_ns = 0

    def sent(self, slots: Slots, size: int, total: Callable[[], int]) -> None:
        """So many bytes were sent to these; `total` asks how many are unsent in all.

        If that is too much, those of them that are owed anything are looked after, too: many that
        do not read may be owed too much together, and none of them so much that it is reported.
        """
        self._sent_bytes += size
        if self._sent_bytes >= LOOK_BYTES:
            self._sent_bytes = 0
            if total() > self.total_max:
                self.blocked(slot for slot in slots.tolist() if self._unsent(slot))

    def handed(self, slots: Iterable[int], sizes: Iterable[int]) -> None:
        """So many bytes more were sent to each: where a limit has `unread_ns`."""
        for slot, size in zip(slots, sizes, strict=True):
            each = self._blocked.get(slot)
            if each is not None and each.left != NOT_ASKED:
                each.left += size

    def forget(self, slots: Iterable[int]) -> None:
        """The output of these has drained, or they have ended, or are others' slots now."""
        if self._blocked or self._leaving:
            for slot in slots:
                self._blocked.pop(slot, None)
                self._leaving.discard(slot)

    def leave(self, slots: Iterable[int]) -> None:
        """These are closed, and what they are owed still counts until it has gone."""
        self._leaving.update(slots)

    def leaving(self) -> set[int]:
        """Those who leave."""
        return set(self._leaving)

    def enforce(self, now_ns: int, total: int) -> dict[int, str]:
        """Whom to drop, and why, if it is time to look; `total` bytes are unsent in all.

        For "total" at once, whatever they are owed; that may also be one who leaves.
        """
        is_full = total > self.total_max and now_ns >= self._free_ns
        if not (self._blocked or self._leaving) or (now_ns < self._due_ns and not is_full):
            return {}
        self._due_ns = now_ns + LOOK_NS
        found: dict[int, str] = {}
        counted: dict[int, int] = {}  # how much they are owed
        for slot, each in list(self._blocked.items()):
            owed, limit = self._unsent(slot), self._limit_of(slot)
            if not owed:
                del self._blocked[slot]
                continue
            since, is_over = each.over_ns, 0 < limit.soft < owed
            each.over_ns = (since or now_ns) if is_over else NOT_OVER
            if owed < each.left or each.left == NOT_ASKED:
                each.left, each.took_ns = owed, now_ns
            if 0 < limit.hard < owed:
                found[slot] = "hard"
            elif is_over and since and now_ns - since > limit.soft_ns:
                found[slot] = "soft"
            elif 0 < limit.unread_ns <= now_ns - each.took_ns:
                found[slot] = "unread"
            elif limit.in_total:
                counted[slot] = owed
        self.dropped.update(found.values())
        self._enforce_total(counted, found)
        for slot in found:
            self._blocked.pop(slot, None)
            self._leaving.discard(slot)
        if is_full and not found:  # others are owed it, and those are not read from
            self._free_ns = now_ns + LOOK_NS
        return found

    def _enforce_total(self, counted: dict[int, int], found: dict[int, str]) -> None:
        leaving = {slot: owed for slot in self._leaving if (owed := self._unsent(slot))}
        self._leaving = set(leaving)
        total = sum(counted.values()) + sum(leaving.values())
        if total <= self.total_max:
            return
        for those in (leaving, counted):
            for slot in sorted(those, key=those.__getitem__, reverse=True):
                if total <= self.total_max // 4 * 3:
                    return
                total -= those[slot]
                found[slot] = "total"
                if those is counted:  # the others are counted already
                    self.dropped["total"] += 1
