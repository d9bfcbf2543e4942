"""Whose turn it is: a queue of connections, taken from and added to by whole batches. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


class Turns:
    """First in, first out, over a ring of int32[n]; begins with all of `numbers`, in that order.

    The slow form: a deque, `popleft` for `take` and `append` for `put`.
    """

    def __init__(self, numbers: npt.NDArray[np.integer]) -> None:
        self._ring = numbers.astype(np.int32)
        self._head = 0  # where the next one is taken
        self._count = len(numbers)

    def __len__(self) -> int:
        return self._count

    def take(self, count: int) -> Numbers:
        """The next `count`, or as many as there are: int64[n]."""
        count = min(count, self._count)
        size, head = len(self._ring), self._head
        end = head + count
        if end <= size:
            taken = self._ring[head:end].astype(np.int64)
        else:
            taken = np.concatenate((self._ring[head:], self._ring[: end - size])).astype(np.int64)
        self._head = end % size if size else 0
        self._count -= count
        return taken

    def put(self, numbers: npt.NDArray[np.integer]) -> None:
        """To the end, in this order. Never more than were taken."""
        size, count = len(self._ring), len(numbers)
        assert self._count + count <= size
        if not count:
            return
        at = (self._head + self._count) % size
        first = min(count, size - at)
        self._ring[at : at + first] = numbers[:first]
        self._ring[: count - first] = numbers[first:]
        self._count += count
