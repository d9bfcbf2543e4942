"""Output that the kernel has not taken yet: sparse, in order, bounded. Pure.

Only slots with something to send are in it. A slot passes the high watermark once (`append` says
so) and falls to the low one, a quarter of it, once (`consume` says so); what to do then is up to
the caller.

When more than `total_max` bytes are pending in all, every slot that has some passes at once, and
until three quarters of that are left each slot that adds some passes too and none falls back before
its last byte has gone. So a caller that stops reading from those that have passed adds, beyond the
bound, no more than it has read already and one piece for each slot that had nothing pending.

Bytes are copied into chunks, so that many small pieces take the memory of their bytes and no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from c1m.bounds import OUTBOX_TOTAL_MAX, OUTBOX_TRIM_MIN

CHUNK = 1 << 16  # bytes: the first chunk of a slot is kept whole until its last byte has gone


class _Pending:
    """The output of one slot: `size` bytes, from byte `start` of the first chunk on."""

    __slots__ = ("chunks", "size", "start")

    def __init__(self) -> None:
        self.chunks: deque[bytearray] = deque()
        self.size = 0
        self.start = 0

    def append(self, data: memoryview) -> None:
        at = 0
        if self.chunks and len(self.chunks[-1]) < CHUNK:
            at = CHUNK - len(self.chunks[-1])
            self.chunks[-1] += data[:at]
        while at < len(data):
            self.chunks.append(bytearray(data[at : at + CHUNK]))
            at += CHUNK
        self.size += len(data)

    def head(self, most: int) -> bytes:
        taken: list[memoryview] = []
        start, room = self.start, most
        for chunk in self.chunks:
            taken.append(memoryview(chunk)[start : start + room])
            room -= len(taken[-1])
            start = 0
            if room == 0:
                break
        return b"".join(taken)

    def consume(self, count: int) -> None:
        assert 0 <= count <= self.size
        self.size -= count
        self.start += count
        while self.chunks and self.start >= len(self.chunks[0]):
            self.start -= len(self.chunks.popleft())


class Outbox:
    """Pending output by slot; `total` bytes in all."""

    def __init__(self, high: int, total_max: int = OUTBOX_TOTAL_MAX) -> None:
        self.high = high
        self.total_max = total_max
        self.low = high // 4
        self.total = 0
        self._pending: dict[int, _Pending] = {}
        self._limits: dict[int, tuple[int, int]] = {}  # slot -> low, high, where not the usual
        self._over: set[int] = set()
        self._is_full = False  # total_max was passed, and more than three quarters are left
        self._most = 0  # bytes pending at once since memory was last given back

    def __len__(self) -> int:
        """Slots that have output pending."""
        return len(self._pending)

    def __contains__(self, slot: int) -> bool:
        return slot in self._pending

    def size(self, slot: int) -> int:
        """Bytes pending for the slot."""
        pending = self._pending.get(slot)
        return pending.size if pending is not None else 0

    def is_over(self, slot: int) -> bool:
        """Whether the slot passed the high watermark and has not fallen to the low one yet."""
        return slot in self._over

    def slots(self) -> list[int]:
        """The slots that have output pending."""
        return list(self._pending)

    def sizes(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The same slots, and how much each has."""
        count, pending = len(self._pending), self._pending
        sizes = (each.size for each in pending.values())
        return np.fromiter(pending, np.int32, count), np.fromiter(sizes, np.int64, count)

    def limit(self, slot: int, low: int, high: int) -> None:
        """From now on other watermarks for this slot, until `forget_limits`."""
        self._limits[slot] = low, high
        if self.size(slot) > high:
            self._over.add(slot)

    def forget_limits(self, slots: Iterable[int]) -> None:
        """These slots' watermarks are the usual ones again: their connections have ended."""
        if self._limits:
            for slot in slots:
                self._limits.pop(int(slot), None)

    def append(self, slot: int, data: bytes | memoryview) -> Sequence[int]:
        """Queue a copy of data (bytes, or a view of bytes) behind what is there.

        Returns the slots that pass the high watermark by this: none, this one, or where it takes
        the total above its bound all that have output pending.
        """
        if not len(data):
            return ()
        pending = self._pending.get(slot)
        if pending is None:
            pending = self._pending[slot] = _Pending()
        pending.append(memoryview(data))
        self.total += len(data)
        self._most = max(self._most, self.total)
        if self.total > self.total_max and not self._is_full:
            self._is_full = True
            passed = [each for each in self._pending if each not in self._over]
            self._over.update(passed)
            return passed
        high = self._limits[slot][1] if slot in self._limits else self.high
        if (pending.size > high or self._is_full) and slot not in self._over:
            self._over.add(slot)
            return (slot,)
        return ()

    def head(self, slot: int, most: int) -> bytes:
        """The first bytes pending, at most `most`; they stay until `consume`."""
        return self._pending[slot].head(most)

    def consume(self, slot: int, count: int) -> bool:
        """Forget the first `count` bytes; True when this falls to the low watermark."""
        pending = self._pending[slot]
        pending.consume(count)
        self._went(count)
        if pending.size == 0:
            del self._pending[slot]
        if slot not in self._over:
            return False
        low = self._limits[slot][0] if slot in self._limits else self.low
        may_fall = pending.size == 0 if self._is_full else pending.size <= low
        if may_fall:
            self._over.remove(slot)
        return may_fall

    def drop(self, slot: int) -> int:
        """Forget all that is pending for the slot; returns how many bytes that was."""
        pending = self._pending.pop(slot, None)
        self._over.discard(slot)
        if pending is None:
            return 0
        self._went(pending.size)
        return pending.size

    def _went(self, count: int) -> None:
        self.total -= count
        if self.total <= self.total_max // 4 * 3:
            self._is_full = False

    def has_shrunk(self) -> bool:
        """Whether so much has gone since the last True that its memory should be given back.

        Freed memory stays with the allocator where memory in use lies behind it.
        """
        if self._most - self.total < OUTBOX_TRIM_MIN or self.total > self._most // 4:
            return False
        self._most = self.total
        return True

    def check(self) -> None:
        """A costly check: what is counted is what is there."""
        assert self.total == sum(pending.size for pending in self._pending.values())
        for pending in self._pending.values():
            assert pending.size == sum(map(len, pending.chunks)) - pending.start > 0
        assert self._over <= self._pending.keys()
