"""How many connections each source has: an address of IPv4, a /64 of IPv6, or wider. Pure.

A site has a /64 of IPv6 at least, and may use each address in it. What a source is called is 64
bits: so a connection takes 8 bytes, where there is such a limit, and a source an entry in a dict.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from c1m.engine.contract import Slots

NOBODY = 0
V4_BITS, V6_BITS = 32, 64  # of an address that say whose it is: at most
_V4 = 1 << 32  # names from 0:1::/32 on, which is nobody's (RFC 4291, 2.4: reserved)


class Sources:
    """Counts by source. `most` of each may be open at once; a source is all that has the same first
    bits of its address."""

    def __init__(
        self, most: int, capacity: int, v4_bits: int = V4_BITS, v6_bits: int = V6_BITS
    ) -> None:
        self._most = most
        self._v4_shift = V4_BITS - v4_bits
        self._v6_shift = V6_BITS - v6_bits
        self._counts: dict[int, int] = {}
        self._of = np.zeros(capacity, np.uint64)  # by slot; no memory where nobody has been
        self._of_one = self._of.data  # the same, quick for one

    def __len__(self) -> int:
        return len(self._counts)

    def check(self) -> None:
        """A costly check: each connection that has a source counts, and nobody else."""
        there = int(np.count_nonzero(self._of))
        assert sum(self._counts.values()) == there, "sources are miscounted"

    def source_of(self, number: int) -> int:
        """What the source of an address is called (networks.number_of)."""
        if number >> 128:
            return _V4 | (number & _V4 - 1) >> self._v4_shift << self._v4_shift
        return number >> 64 >> self._v6_shift << self._v6_shift or 1

    def take(self, slot: int, number: int) -> bool:
        """Whether a connection from this address may stay; it counts from now on."""
        source = self.source_of(number)
        count = self._counts.get(source, 0)
        if count >= self._most:
            return False
        self._counts[source] = count + 1
        self._of_one[slot] = source
        return True

    def give_back(self, slots: Slots) -> None:
        """They have ended."""
        names = self._of.take(slots)
        if names.any():
            self._of[slots] = NOBODY
            self._give_back(names.tolist())

    def _give_back(self, sources: Iterable[int]) -> None:
        counts = self._counts
        for source in sources:
            if source != NOBODY:
                count = counts[source] - 1
                if count:
                    counts[source] = count
                else:
                    del counts[source]
