"""Requests that are due on connections that cannot send yet: a queue for each connection. Pure.

A list for each connection would be a Python object for each. These are chains through one pool of
nodes, so a connection without a queue costs eight bytes, and a batch goes in or out as arrays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.scenarios.messages import Numbers

NONE = -1


class Backlog:
    """First in, first out, for each of `connections`; `len` is what waits in all."""

    def __init__(self, connections: int) -> None:
        self._begin(connections)

    def _begin(self, connections: int) -> None:
        self._head = np.full(connections, NONE, np.int32)
        self._tail = np.full(connections, NONE, np.int32)
        self._times = np.zeros(1024, np.int64)
        self._next = np.zeros(1024, np.int32)
        self._free = np.arange(1023, NONE, -1, dtype=np.int32)  # a stack of nodes
        self._free_count = 1024  # its height
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def push(self, numbers: Numbers, times: npt.NDArray[np.int64]) -> None:
        """times[i] waits on numbers[i], behind what waits there; a number may be there often."""
        if not len(numbers):
            return
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        nodes = self._allocate(len(numbers))
        self._times[nodes] = times[order]
        is_first = np.ones(len(numbers), np.bool_)
        is_first[1:] = numbers[1:] != numbers[:-1]
        is_last = np.roll(is_first, -1)
        self._next[nodes] = np.where(is_last, NONE, np.roll(nodes, -1))
        owners, firsts = numbers[is_first], nodes[is_first]
        tails = self._tail[owners]
        has = tails != NONE
        self._next[tails[has]] = firsts[has]
        self._head[owners[~has]] = firsts[~has]
        self._tail[owners] = nodes[is_last]
        self._waiting += len(numbers)

    def pop(self, numbers: Numbers) -> tuple[Numbers, npt.NDArray[np.int64]]:
        """The first of each of these (distinct) numbers that has one: numbers, times."""
        nodes = self._head.take(numbers)
        has = nodes != NONE
        numbers, nodes = numbers[has], nodes[has]
        if not len(numbers):
            return numbers, np.zeros(0, np.int64)
        following = self._next[nodes]
        self._head[numbers] = following
        self._tail[numbers[following == NONE]] = NONE
        self._give_back(nodes)
        return numbers, self._times[nodes]

    def has(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """On which of these something waits: bool[n]."""
        waits: npt.NDArray[np.bool_] = self._head.take(numbers) != NONE
        return waits

    def drop(self, numbers: Numbers) -> int:
        """Forget what waits on these (distinct) numbers; returns how many that were."""
        dropped = 0
        while self._waiting and len(numbers):
            numbers, _ = self.pop(numbers)
            dropped += len(numbers)
        return dropped

    def clear(self) -> int:
        """Forget everything; returns how many that were."""
        count = self._waiting
        if count:
            self._begin(len(self._head))
        return count

    def _allocate(self, count: int) -> npt.NDArray[np.int32]:
        if count > self._free_count:
            size = len(self._times)
            grown = max(2 * size, size + count)
            self._times = np.resize(self._times, grown)
            self._next = np.resize(self._next, grown)
            unused, self._free = self._free[: self._free_count], np.zeros(grown, np.int32)
            self._free_count += grown - size
            self._free[: grown - size] = np.arange(grown - 1, size - 1, -1)
            self._free[grown - size : self._free_count] = unused
        self._free_count -= count
        return self._free[self._free_count : self._free_count + count][::-1].copy()

    def _give_back(self, nodes: npt.NDArray[np.int32]) -> None:
        self._free[self._free_count : self._free_count + len(nodes)] = nodes
        self._free_count += len(nodes)
        self._waiting -= len(nodes)
