"""When requests are due: the open loop's schedule. Pure.

The rate may change linearly over a stage: N(t) = r0 t + (r1 - r0) t^2 / 2T arrivals are due up to
t. Evenly spaced arrivals are where N passes 0, 1, 2, ...; a Poisson process is where it passes the
sums of exponential variates of mean 1 (the time change of an inhomogeneous Poisson process: Cinlar,
Introduction to Stochastic Processes, 1975, 4.7). So both are one inversion of N.
"""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from c1m.errors import UsageError
from c1m.results.share import WHOLE, Share
from c1m.units import parse_number

Times = npt.NDArray[np.int64]

BLOCK = 256  # arrivals whose times are worked out at once, or more where more are due
DRAWN = 64  # connections that are drawn at once where they are taken one by one


class Arrivals:
    """Arrivals from `start_ns` on for `duration_ns`, at `rate_from` to `rate_to` a second.

    Constant spacing, or Poisson where `rng` is given. Where several take turns, `phase` (below 1)
    is how much of the way to the second one the first one is, in constant spacing. The times are
    the plan's, whenever they are asked for. They are worked out in blocks, and read from these as
    an array or one by one.
    """

    def __init__(
        self,
        start_ns: int,
        duration_ns: int,
        rate_from: float,
        rate_to: float,
        rng: np.random.Generator | None = None,
        phase: float = 0.0,
    ) -> None:
        self.start_ns = start_ns
        self.seconds = seconds = duration_ns / 1e9
        self._from, self._bend = rate_from, (rate_to - rate_from) / (2 * seconds)
        self._rng = rng
        self._end_level = self._level(seconds) - 1e-9  # the end itself is no arrival
        # Poisson: the last level of the block; else the one behind it.
        self._passed = phase if rng is None else 0.0
        self._use(np.zeros(0, np.int64))

    def _use(self, block: Times) -> None:
        """These come next."""
        self._block, self._block_at, self._at = block, block.data, 0

    def _level(self, t: float) -> float:
        return (self._from + self._bend * t) * t

    def _times(self, levels: npt.NDArray[np.float64]) -> Times:
        """When N passes these levels, in ns. The form of the root that loses no digits."""
        if not self._bend:  # a constant rate, as most are: a tenth of the time
            return self.start_ns + np.rint(levels * (1e9 / self._from)).astype(np.int64)
        root = np.sqrt(np.maximum(self._from**2 + 4 * self._bend * levels, 0.0))
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.where(levels > 0, 2 * levels / (self._from + root), 0.0)
        return self.start_ns + np.rint(t * 1e9).astype(np.int64)

    def until(self, now_ns: int) -> Times:
        """The arrivals since the last call that are due now, ascending: int64[n]."""
        parts: list[Times] = []
        while self._at < len(self._block) or self._go_on(now_ns):
            end = int(np.searchsorted(self._block, now_ns, side="right"))
            parts.append(self._block[self._at : end])
            self._at = end
            if end < len(self._block):
                break
        return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else self._block[:0]

    def next_ns(self) -> int | None:
        """When the next one is due; None: no more."""
        if self._at == len(self._block) and not self._go_on(self.start_ns):
            return None
        return self._block_at[self._at]

    def take(self) -> None:
        """The one that `next_ns` has named is taken: the scalar form of `until`."""
        self._at += 1

    def are_few(self, now_ns: int, most: int) -> bool:
        """Whether at most so many are due; False, too, where the block does not say."""
        at = self._at + most
        return at < len(self._block) and self._block_at[at] > now_ns

    def _go_on(self, now_ns: int) -> bool:
        """The next block, when one is used up: to `now_ns`, or further. Whether there is any."""
        if self._passed >= self._end_level:
            return False
        t = min(max((now_ns - self.start_ns) / 1e9, 0.0), self.seconds)
        ahead = max(math.ceil(self._level(t) - self._passed), 0) + BLOCK
        if self._rng is None:
            count = min(ahead, math.ceil(self._end_level - self._passed))
            levels = self._passed + np.arange(count, dtype=np.float64)
            self._passed += count
        else:
            steps = self._rng.standard_exponential(ahead)
            # One sum behind the other: in whatever blocks, they are rounded alike.
            levels = np.cumsum(np.concatenate(([self._passed], steps)))[1:]
            self._passed = float(levels[-1])
            levels = levels[levels < self._end_level]
        self._use(self._times(levels))
        return len(levels) > 0


class Spread:
    """Which connection an arrival is for: uniform, or Zipf over their numbers.

    Zipf with exponent s: connection i gets a share of 1 / (i + 1)**s. Of a `share` of a run it has
    the rank i * of + index, in the place of i: those of all parts are once each rank.
    """

    def __init__(
        self, connections: int, rng: np.random.Generator, zipf: float | None = None,
        share: Share = WHOLE,
    ) -> None:  # fmt: skip
        self._rng = rng
        self._ahead: list[int] = []  # drawn for `one`, of those below
        self._below = 0
        self._sums: npt.NDArray[np.float64] | None = None
        if zipf is not None:
            ranks = np.arange(connections, dtype=np.float64) * share.of + (share.index + 1)
            self._sums = np.cumsum(ranks**-zipf)

    def one(self, below: int) -> int:
        """The scalar form of `draw`."""
        if below != self._below or not self._ahead:
            self._below, self._ahead = below, self.draw(DRAWN, below).tolist()
        return self._ahead.pop()

    def draw(self, count: int, below: int) -> npt.NDArray[np.int64]:
        """`count` connections of those with numbers below `below`: int64[count]."""
        if self._sums is None:
            return self._rng.integers(0, below, count)
        wanted = self._rng.random(count) * self._sums[below - 1]
        drawn: npt.NDArray[np.int64] = np.searchsorted(self._sums[:below], wanted, side="right")
        return np.minimum(drawn, below - 1)  # a share just below 1 may be rounded to the whole sum


def parse_spread(text: str) -> float | None:
    """`uniform` -> None, `zipf` -> 1.0, `zipf:1.2` -> 1.2. Raises UsageError."""
    if text == "uniform":
        return None
    kind, colon, exponent = text.partition(":")
    with suppress(UsageError):
        value = parse_number(exponent) if colon else 1.0
        if kind == "zipf" and value > 0:
            return value
    raise UsageError(f"There is no spread {text!r}.", "Choose uniform, zipf or zipf:1.2.")
