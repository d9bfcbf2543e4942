"""Output that the kernel has not taken yet: sparse, in order, with two watermarks. Pure.

Only slots with something to send are in it. A slot passes the high watermark once (`append` says
so) and falls to the low one, a quarter of it, once (`consume` says so); what to do then is the
caller's business. While more than `total_max` bytes are pending in all, every slot that adds to
them passes as well, so that memory stays bounded with many slow readers too.
"""

from __future__ import annotations

from collections import deque

from c1m.limits import OUTBOX_TOTAL_MAX


class Outbox:
    """Pending output by slot; `total` bytes in all."""

    def __init__(self, high: int, total_max: int = OUTBOX_TOTAL_MAX) -> None:
        self.high = high
        self.total_max = total_max
        self.low = high // 4
        self.total = 0
        self._pieces: dict[int, deque[memoryview]] = {}
        self._sizes: dict[int, int] = {}
        self._over: set[int] = set()

    def begin_afresh(self) -> None:
        """Nothing is pending: give back the room that it once took."""
        assert not self._sizes
        self._pieces.clear()
        self._sizes.clear()
        self._over.clear()

    def __len__(self) -> int:
        """Slots that have output pending."""
        return len(self._sizes)

    def __contains__(self, slot: int) -> bool:
        return slot in self._sizes

    def size(self, slot: int) -> int:
        """Bytes pending for the slot."""
        return self._sizes.get(slot, 0)

    def is_over(self, slot: int) -> bool:
        """Whether the slot passed the high watermark and has not fallen to the low one yet."""
        return slot in self._over

    def slots(self) -> list[int]:
        """The slots that have output pending."""
        return list(self._sizes)

    def append(self, slot: int, data: bytes | memoryview) -> bool:
        """Queue data behind what is there; True when this passes the high watermark."""
        size = self._sizes.get(slot, 0) + len(data)
        if not data:
            return False
        self._pieces.setdefault(slot, deque()).append(memoryview(data))
        self._sizes[slot] = size
        self.total += len(data)
        if (size > self.high or self.total > self.total_max) and slot not in self._over:
            self._over.add(slot)
            return True
        return False

    def head(self, slot: int, most: int) -> bytes:
        """The first bytes pending, at most `most`; they stay until `consume`."""
        taken: list[memoryview] = []
        room = most
        for piece in self._pieces[slot]:
            taken.append(piece[:room])
            room -= len(taken[-1])
            if room == 0:
                break
        return b"".join(taken)

    def consume(self, slot: int, count: int) -> bool:
        """Forget the first `count` bytes; True when this falls to the low watermark."""
        pieces = self._pieces[slot]
        self.total -= count
        self._sizes[slot] -= count
        left = count
        while left:
            piece = pieces[0]
            if len(piece) > left:
                pieces[0] = piece[left:]
                break
            left -= len(piece)
            pieces.popleft()
        size = self._sizes[slot]
        if size == 0:
            del self._pieces[slot], self._sizes[slot]
        if size <= self.low and slot in self._over:
            self._over.remove(slot)
            return True
        return False

    def drop(self, slot: int) -> int:
        """Forget all that is pending for the slot; returns how many bytes that was."""
        size = self._sizes.pop(slot, 0)
        self._pieces.pop(slot, None)
        self._over.discard(slot)
        self.total -= size
        return size
