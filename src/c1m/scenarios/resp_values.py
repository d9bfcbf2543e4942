"""The replies to INCR of one shared counter: each value once, and none left out. Pure."""

from __future__ import annotations

import numpy as np

from c1m.scenarios.messages import Numbers

KEPT = 1 << 16  # values that wait to be put into the runs


class CountedValues:
    """Integers of which each should come once, kept as runs of neighbours.

    A counter's replies are nearly gapless, so the memory is that of the gaps, not of the values.
    The slow form: a Counter of all values; `doubled` is sum(count - 1), `gaps` how many integers
    between the lowest and the highest are not in it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first_doubled: int | None = None
        self._doubled = 0
        self._starts = np.zeros(0, np.int64)
        self._ends = np.zeros(0, np.int64)  # behind the last of each run
        self._waiting: list[Numbers] = []
        self._waiting_count = 0

    def add(self, values: Numbers) -> None:
        """Values that came: int64[n]."""
        self.count += len(values)
        self._waiting.append(values)
        self._waiting_count += len(values)
        if self._waiting_count >= KEPT:
            self.settle()

    def settle(self) -> None:
        """Put what waits into the runs."""
        if not self._waiting_count:
            return
        values = np.sort(np.concatenate(self._waiting))
        self._waiting, self._waiting_count = [], 0
        is_again = np.zeros(len(values), np.bool_)
        is_again[1:] = values[1:] == values[:-1]
        run = np.searchsorted(self._starts, values, side="right") - 1
        known = run >= 0
        known[known] = values[known] < self._ends[run[known]]
        again = values[is_again | known]
        if len(again):
            self._doubled += len(again)
            if self.first_doubled is None:
                self.first_doubled = int(again[0])
        new = values[~(is_again | known)]
        starts = np.concatenate((self._starts, new))
        ends = np.concatenate((self._ends, new + 1))
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        is_start = np.ones(len(starts), np.bool_)
        is_start[1:] = starts[1:] != ends[:-1]
        is_end = np.ones(len(starts), np.bool_)
        is_end[:-1] = is_start[1:]
        self._starts, self._ends = starts[is_start], ends[is_end]

    @property
    def doubled(self) -> int:
        """How many came that had come already; the first that was seen is `first_doubled`."""
        self.settle()
        return self._doubled

    @property
    def gaps(self) -> int:
        """How many integers between the lowest and the highest did not come."""
        self.settle()
        return int((self._starts[1:] - self._ends[:-1]).sum())

    @property
    def lowest(self) -> int | None:
        """The lowest value; None: none came."""
        self.settle()
        return int(self._starts[0]) if len(self._starts) else None

    @property
    def highest(self) -> int | None:
        """The highest value; None: none came."""
        self.settle()
        return int(self._ends[-1]) - 1 if len(self._ends) else None
