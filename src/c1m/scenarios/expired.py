"""Which requests were given up, so that a reply that still comes is known to be late. Pure.

A run in which a million replies are late must not keep a Python object for each. So the last
request that each connection gave up is a number in a column; only earlier ones of the same
connection, whose replies are rarely still to come, are kept in a set, and no more than EARLIER_MAX.
"""

from __future__ import annotations

import numpy as np

from c1m.scenarios.messages import Numbers

EARLIER_MAX = 1 << 18


class GivenUp:
    """Requests (number, seq) of `count` connections; what is beyond the bound is forgotten."""

    def __init__(self, count: int) -> None:
        self._last = np.zeros(count, np.uint32)  # seq + 1; 0: none
        self._earlier: set[int] = set()

    def add(self, numbers: Numbers, seqs: Numbers) -> None:
        """These are given up: int64[n] each, the same connection perhaps more than once."""
        if not len(numbers):
            return
        before = self._last[numbers]
        self._last[numbers] = seqs + 1
        had = before != 0
        if had.any():
            self._keep(numbers[had], before[had].astype(np.int64) - 1)
        is_other = self._last[numbers] != seqs + 1
        if is_other.any():
            self._keep(numbers[is_other], seqs[is_other])

    def _keep(self, numbers: Numbers, seqs: Numbers) -> None:
        room = max(EARLIER_MAX - len(self._earlier), 0)
        self._earlier.update((numbers[:room] << 32 | seqs[:room]).tolist())

    def __contains__(self, request: tuple[int, int]) -> bool:
        number, seq = request
        return int(self._last[number]) == seq + 1 or (number << 32 | seq) in self._earlier

    def discard(self, request: tuple[int, int]) -> None:
        """Its reply has come: another one would be a double."""
        number, seq = request
        if int(self._last[number]) == seq + 1:
            self._last[number] = 0
        self._earlier.discard(number << 32 | seq)
