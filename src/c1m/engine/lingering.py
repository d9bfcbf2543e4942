"""Connections that were closed while output was pending: how long each may still take. Pure.

A peer that takes its output, however slowly, gets all of it. One that takes nothing for `limit_ns`
no longer reads: its output would stay in memory, and its connection open, forever.
"""

from __future__ import annotations

from collections.abc import Callable

NEVER = 1 << 63


class Lingering:
    """Slots in the order of their deadlines; `next_ns`: nothing is due before."""

    def __init__(self, limit_ns: int) -> None:
        self.limit_ns = limit_ns
        self.next_ns = NEVER
        self._waiting: dict[int, tuple[int, int]] = {}  # slot -> deadline, bytes owed then

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: int, owed: int, now_ns: int) -> None:
        """The slot was closed with `owed` bytes pending."""
        assert owed > 0 and slot not in self._waiting
        self._waiting[slot] = now_ns + self.limit_ns, owed
        self.next_ns = min(self.next_ns, now_ns + self.limit_ns)

    def remove(self, slot: int) -> None:
        """It has ended."""
        if self._waiting.pop(slot, None) is not None and not self._waiting:
            self.next_ns = NEVER

    def expire(self, now_ns: int, owed: Callable[[int], int]) -> list[int]:
        """Take out and return the slots that have sent nothing up to their deadline.

        `owed(slot)` gives the bytes pending now: one that has sent some gets as long again, so the
        end comes one to two times `limit_ns` after the last byte went. One that has sent all is
        about to end in good order.
        """
        due = []
        for slot, (deadline_ns, before) in self._waiting.items():
            if deadline_ns > now_ns:
                break
            due.append((slot, before))
        expired = []
        for slot, before in due:
            del self._waiting[slot]
            left = owed(slot)
            if left == before:
                expired.append(slot)
            elif left:
                self.add(slot, left, now_ns)  # at the end: deadlines stay in order
        first = next(iter(self._waiting.values()), None)
        self.next_ns = NEVER if first is None else first[0]
        return expired
