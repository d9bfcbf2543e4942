"""How many may come now, where so many may in a second: a bucket that tokens drip into. Pure.

It holds `burst` tokens at most, and may be overdrawn: who has come cannot be sent back, and what
was too much is waited for. So over any time no more come than its share and a burst.
"""

from __future__ import annotations

from c1m.units import NS_PER_S


class Bucket:
    """Full at first. Times are nanoseconds of a clock that does not go back."""

    def __init__(self, rate: float, burst: float, now_ns: int) -> None:
        self._per_ns = rate / NS_PER_S
        self._burst = max(burst, 1.0)
        self._tokens = self._burst
        self._then_ns = now_ns

    def tokens(self, now_ns: int) -> int:
        """Whole tokens that there are; fewer than none where it is overdrawn."""
        if now_ns > self._then_ns:
            dripped = (now_ns - self._then_ns) * self._per_ns
            self._tokens = min(self._tokens + dripped, self._burst)
            self._then_ns = now_ns
        return int(self._tokens // 1)

    def take(self, count: int) -> None:
        """So many have come."""
        self._tokens -= count

    def due_ns(self, count: int) -> int:
        """In how many nanoseconds there are so many, or as many as it holds."""
        missing = min(count, self._burst) - self._tokens
        return max(int(missing / self._per_ns) + 1, 0) if missing > 0 else 0
