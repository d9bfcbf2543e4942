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
from c1m.units import parse_number

Times = npt.NDArray[np.int64]

BLOCK = 4096  # exponential variates drawn at once


class Arrivals:
    """Arrivals from `start_ns` on for `duration_ns`, at `rate_from` to `rate_to` a second.

    Constant spacing, or Poisson where `rng` is given. The times are the plan's, whenever they are
    asked for.
    """

    def __init__(
        self,
        start_ns: int,
        duration_ns: int,
        rate_from: float,
        rate_to: float,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.start_ns = start_ns
        self.seconds = seconds = duration_ns / 1e9
        self._from, self._bend = rate_from, (rate_to - rate_from) / (2 * seconds)
        self._rng = rng
        self._passed = 0  # arrivals taken
        self._levels = np.zeros(0)  # Poisson: what N passes next
        self._drawn = 0.0  # the last level that was drawn
        self._end_level = self._level(seconds)

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
        times = self.peek(now_ns)
        self._passed += len(times)
        if self._rng is not None:
            self._levels = self._levels[len(times) :]
        return times

    def peek(self, now_ns: int) -> Times:
        """What `until` would say, and will say again."""
        t = min((now_ns - self.start_ns) / 1e9, self.seconds)
        if t < 0:
            return np.zeros(0, np.int64)
        level = self._level(t)
        if self._rng is None:
            # Level k is passed at or before t where k <= N(t), give or take what rounding to
            # nanoseconds makes of it; the end itself is no arrival.
            end = min(math.floor(level) + 2, math.ceil(self._end_level - 1e-9))
            levels = np.arange(self._passed, end, dtype=np.float64)
        else:
            # The same: what is due at a time as `next_ns` says it must be due then.
            level = self._level(min(t + 2e-9, self.seconds))
            self._draw(level)
            levels = self._levels[: int(np.searchsorted(self._levels, level, side="right"))]
        times = self._times(levels)
        return times[: int(np.searchsorted(times, now_ns, side="right"))]

    def next_ns(self) -> int | None:
        """When the next one is due; None: no more."""
        if self._rng is None:
            level = float(self._passed)
        else:
            if not len(self._levels):
                self._draw(0.0)
            level = float(self._levels[0])
        if level >= self._end_level - 1e-9:
            return None
        return int(self._times(np.array([level]))[0])

    def _draw(self, level: float) -> None:
        """Have at least one level above `level`."""
        assert self._rng is not None
        while self._drawn <= level or not len(self._levels):
            more = self._drawn + np.cumsum(self._rng.standard_exponential(BLOCK))
            self._drawn = float(more[-1])
            self._levels = np.concatenate((self._levels, more))


class Spread:
    """Which connection an arrival is for: uniform, or Zipf over their numbers.

    Zipf with exponent s: connection i gets a share of 1 / (i + 1)**s.
    """

    def __init__(
        self, connections: int, rng: np.random.Generator, zipf: float | None = None
    ) -> None:
        self._rng = rng
        self._sums: npt.NDArray[np.float64] | None = None
        if zipf is not None:
            self._sums = np.cumsum(np.arange(1, connections + 1, dtype=np.float64) ** -zipf)

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
