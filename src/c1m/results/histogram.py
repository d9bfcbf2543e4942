"""A latency histogram in HDR layout: whole batches in, quantiles within 0.1 % out.

The layout is HdrHistogram's with 3 significant digits (hdrhistogram.org): 2,048 sub-buckets, that
is 1,024 a doubling, so a bucket is at most 1/1,024 = 0.098 % of its values wide; values below 2,048
have a bucket each and are exact. Memory is constant (352 KiB of counts, a buffer of 512 KiB).

Facts. The float64 of an integer below 2**53 is exact, and the top bits of its representation are
exponent and mantissa: shifted right by 42 they count buckets of 1,024 a doubling. One shift and one
subtraction therefore place a whole array. `np.bincount` costs microseconds however few the values,
so small batches wait in a buffer.

Not here: what is measured and when (the caller's business), time, and output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.errors import UsageError

Values = npt.NDArray[np.int64]

LAYOUT = "hdr-1024"  # the name of this layout in JSON: histograms of another do not merge

VALUE_MAX = (1 << 53) - 1  # the last integer whose float64 is exact; 104 days in nanoseconds
RELATIVE_ERROR_MAX = 1 / 1024  # a quantile is at most this much above the recorded value

_MANTISSA_SHIFT = 52 - 10  # keep 10 of the mantissa's bits: 1,024 buckets a doubling
_EXACT_BELOW = 1024  # smaller values are their own bucket number
_BIAS = 1032 * 1024  # makes 1,024 (exponent 1023 + 10) bucket 1,024
_BUCKETS = 44 * 1024  # VALUE_MAX is in the last one
_DELTAS_MAX = 16  # deltas that wait; of more the arrays would be slower to get than to add
_FOLD_AT = 1 << 16  # values that wait in the buffer, and the most that are placed at once

# name, quantile, samples that it takes: at least ten beyond it, 10 / (1 - quantile)
PERCENTILES = (
    ("p50", 0.5, 20),
    ("p90", 0.9, 100),
    ("p99", 0.99, 1_000),
    ("p99.9", 0.999, 10_000),
    ("p99.99", 0.9999, 100_000),
    ("p99.999", 0.99999, 1_000_000),
)


def buckets_of(values: Values) -> npt.NDArray[np.int64]:
    """The bucket of each value (int64[n], 0 to VALUE_MAX).

    The slow form: value // 2**e + 1024 * e, with e = max(0, value.bit_length() - 11).
    """
    bits: npt.NDArray[np.int64] = values.astype(np.float64).view(np.int64)
    placed = (bits >> _MANTISSA_SHIFT) - _BIAS
    return np.where(values < _EXACT_BELOW, values, placed)


def bounds_of(buckets: Values) -> tuple[Values, Values]:
    """The lowest and the highest value that fall into each bucket (int64[n])."""
    shifts = np.maximum(0, buckets // 1024 - 1)
    lows = (buckets - 1024 * shifts) << shifts
    return lows, lows + (1 << shifts) - 1


class Histogram:
    """Counts of non-negative int64 values (nanoseconds, by convention).

    `count`, `min`, `max`, `mean` are exact; quantiles are the highest value of their bucket, so
    never below the recorded value and at most 0.098 % above. Values above VALUE_MAX count as
    VALUE_MAX, and `clamped` says how many they are. An empty histogram says 0 everywhere.
    """

    __slots__ = (
        "_buffer", "_buffer_at", "_clamped", "_counts", "_deltas", "_max", "_min", "_placed",
        "_sum", "_waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._buffer = np.zeros(_FOLD_AT, np.int64)
        self._buffer_at = self._buffer.data
        self._waiting = 0  # values in the buffer, not counted yet
        self._deltas: list[Delta] = []  # nor are these
        self._placed: int | None = 0  # values that are counted; None: to be summed up
        self._sum = 0  # a Python int: exact, however many
        self._min = VALUE_MAX
        self._max = 0
        self._clamped = 0

    def record(self, values: Values) -> None:
        """Count int64[n] values: about 4 ns each, or 0.4 us for a small batch.

        Raises ValueError for a negative value, at the latest when a figure is read (looking at
        once would treble the cost of a batch of one); what waited with it is then not counted.
        """
        end = self._waiting + len(values)
        if end <= _FOLD_AT:
            self._buffer[self._waiting : end] = values
            self._waiting = end
            return
        self._fold()
        for start in range(0, len(values), _FOLD_AT):
            self._place(values[start : start + _FOLD_AT])

    def record_one(self, value: int) -> None:
        """The scalar form of `record`."""
        if self._waiting == _FOLD_AT:
            self._fold()
        self._buffer_at[self._waiting] = value
        self._waiting += 1

    def _fold(self) -> None:
        """Count what waits in the buffer, and deltas."""
        if self._waiting:
            waiting, self._waiting = self._waiting, 0
            self._place(self._buffer[:waiting])
        if self._deltas:
            self._join()

    def _place(self, values: Values) -> None:
        """Count at most _FOLD_AT values at once."""
        lowest, highest = int(values.min()), int(values.max())
        if lowest < 0:
            raise ValueError(f"a histogram takes no negative value, was given {lowest}")
        if highest > VALUE_MAX:
            self._clamped += int(np.count_nonzero(values > VALUE_MAX))
            values = np.minimum(values, VALUE_MAX)
            highest = VALUE_MAX
        self._min = min(self._min, lowest)
        self._max = max(self._max, highest)
        if self._placed is not None:
            self._placed += len(values)
        self._sum += _exact_sum(values, highest)
        buckets = buckets_of(values)
        first = int(buckets.min())  # count from there: bincount's array is then short
        counted = np.bincount(buckets - first)
        self._counts[first : first + len(counted)] += counted

    def merge(self, other: Histogram) -> None:
        """Add another's counts; the same as if its values had been recorded here."""
        self._fold()
        other._fold()
        self._counts += other._counts
        self._add(other._sum, other._min, other._max, other._clamped)

    def add(self, delta: Delta) -> None:
        """The same of what another one has recorded in a time."""
        self._deltas.append(delta)
        if len(self._deltas) == _DELTAS_MAX:
            self._join()

    def _join(self) -> None:
        """Count the deltas: many at once take half the time."""
        deltas, self._deltas = self._deltas, []
        buckets = np.concatenate([one.buckets for one in deltas], dtype=np.intp, casting="unsafe")
        counts = np.concatenate([one.counts for one in deltas], dtype=np.int64, casting="unsafe")
        np.add.at(self._counts, buckets, counts)
        self._add(
            sum(one.sum for one in deltas),
            min(one.min for one in deltas),
            max(one.max for one in deltas),
            sum(one.clamped for one in deltas),
        )

    def _add(self, total: int, least: int, most: int, clamped: int) -> None:
        self._placed = None
        self._sum += total
        self._min = min(self._min, least)
        self._max = max(self._max, most)
        self._clamped += clamped

    @property
    def count(self) -> int:
        """Values recorded."""
        self._fold()
        if self._placed is None:
            self._placed = int(self._counts.sum())
        return self._placed

    @property
    def min(self) -> int:
        """The smallest value."""
        return self._min if self.count else 0

    @property
    def max(self) -> int:
        """The largest value."""
        return self._max if self.count else 0

    @property
    def mean(self) -> float:
        """The mean of the values (of the clamped ones, VALUE_MAX)."""
        count = self.count
        return self._sum / count if count else 0.0

    @property
    def clamped(self) -> int:
        """How many were above VALUE_MAX."""
        self._fold()
        return self._clamped

    def quantile(self, q: float) -> int:
        """The value that a share `q` (0 to 1) of all values does not pass; 0 when empty.

        The ceil(q * count)-th smallest, at least the first (NumPy's method 'inverted_cdf').
        """
        return int(self.quantiles(np.array([q]))[0])

    def quantiles(self, qs: npt.NDArray[np.float64]) -> Values:
        """Many quantiles at once: float64[n] -> int64[n]."""
        if not ((qs >= 0) & (qs <= 1)).all():
            raise ValueError(f"quantiles lie between 0 and 1, was given {qs}")
        self._fold()
        if not self.count:
            return np.zeros(len(qs), np.int64)
        _, tops = bounds_of(_ranked(self._counts, qs))
        return tops.clip(self._min, self._max)

    def percentiles(self) -> dict[str, int]:
        """'p50' to 'p99.999' -> value, only those with at least ten samples beyond them."""
        count = self.count
        carried = [(name, q) for name, q, needed in PERCENTILES if count >= needed]
        values = self.quantiles(np.array([q for _, q in carried], np.float64))
        return {name: int(value) for (name, _), value in zip(carried, values, strict=True)}

    def buckets(self) -> tuple[Values, Values, Values]:
        """(lowest value, highest value, how many values) of each bucket in use, int64[n] each."""
        self._fold()
        used = np.flatnonzero(self._counts)
        lows, tops = bounds_of(used)
        return lows, tops, self._counts[used]

    def octaves(self) -> list[int]:
        """How many values are in [2**i, 2**(i+1)), element i; 0 counts with 1. For a picture."""
        self._fold()
        above = self._counts[1024:].reshape(-1, 1024).sum(axis=1)
        edges = np.array([0, *(1 << i for i in range(1, 10))])
        return [*np.add.reduceat(self._counts[:1024], edges).tolist(), *above.tolist()]

    def to_json(self) -> dict[str, Any]:
        """Sparse and exact: the numbers of the buckets in use, as steps, and their counts."""
        self._fold()
        used = np.flatnonzero(self._counts)
        return {
            "layout": LAYOUT,
            "count": self.count,
            "min": self.min,
            "max": self.max,
            "sum": self._sum,
            "clamped": self._clamped,
            "steps": np.diff(used, prepend=0).tolist(),
            "counts": self._counts[used].tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """What `to_json` gave. Raises UsageError for anything else."""
        if not isinstance(data, Mapping) or data.get("layout") != LAYOUT:
            layout = data.get("layout") if isinstance(data, Mapping) else type(data).__name__
            raise UsageError(
                f"A histogram of layout {layout!r} cannot be read; this c1m knows {LAYOUT!r}.",
                "Read it with the c1m that wrote it.",
            )
        histogram = cls()
        try:
            used = np.cumsum(np.array(data["steps"], np.int64))
            counts = np.array(data["counts"], np.int64)
            if len(used) != len(counts) or (used < 0).any() or (counts < 0).any():
                raise ValueError("steps and counts do not fit together")
            np.add.at(histogram._counts, used, counts)
            histogram._placed = int(counts.sum())
            if histogram.count != data["count"]:
                raise ValueError(f"its counts add up to {histogram.count}, not {data['count']}")
            least, most, total, clamped = (data[n] for n in ("min", "max", "sum", "clamped"))
            if not all(type(n) is int and n >= 0 for n in (least, most, total, clamped)):
                raise ValueError("min, max, sum and clamped are no counts")
            if len(used):
                if not least <= most <= VALUE_MAX:
                    raise ValueError(f"it goes from {least} to {most}")
                histogram._min, histogram._max = least, most
            histogram._sum, histogram._clamped = total, clamped
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise UsageError(
                f"A histogram is damaged: {error}.", "Make the record again."
            ) from error
        return histogram


@dataclass(slots=True, eq=False)  # frozen, one would take three times as long to make
class Delta:
    """What a histogram has recorded in a time: `counts` (integers[n], none is 0) of the values in
    `buckets` (integers[n], rising), and their sum.

    `min` and `max` are those of all that was recorded until then: added up, deltas give the whole.
    """

    buckets: npt.NDArray[np.integer]
    counts: npt.NDArray[np.integer]
    sum: int = 0
    min: int = VALUE_MAX
    max: int = 0
    clamped: int = 0

    @property
    def count(self) -> int:
        """Values recorded."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> int:
        """The scalar form of `quantiles`, in a fifth of its time."""
        if not len(self.counts):
            return 0
        passed = self.counts.cumsum(dtype=np.int64)  # as float64, unsigned ones would be sought
        rank = max(1, math.ceil(q * int(passed[-1]) * (1 - 2**-51)))
        return self._top_of(int(self.buckets[passed.searchsorted(rank)]))

    @property
    def highest(self) -> int:
        """`quantile(1.0)`, at once."""
        return self._top_of(int(self.buckets[-1])) if len(self.buckets) else 0

    def _top_of(self, bucket: int) -> int:
        shift = max(0, bucket // 1024 - 1)
        top = ((bucket - 1024 * shift) << shift) + (1 << shift) - 1
        return min(max(top, self.min), self.max)

    def quantiles(self, qs: npt.NDArray[np.float64]) -> Values:
        """As `Histogram.quantiles`, of these values; of none: 0."""
        if not len(self.counts):
            return np.zeros(len(qs), np.int64)
        which = _ranked(self.counts, qs)
        _, tops = bounds_of(self.buckets[which].astype(np.int64))
        return tops.clip(self.min, self.max)


class Increments:
    """What a histogram records from one look at it to the next."""

    __slots__ = ("_before", "_clamped", "_histogram", "_placed", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._before = np.zeros(_BUCKETS, np.int64)  # only what is in use becomes memory
        self._placed = self._sum = self._clamped = 0

    def take(self) -> Delta | None:
        """Since the last time; None: nothing."""
        histogram = self._histogram
        if histogram.count == self._placed:
            return None
        new = histogram._counts - self._before
        buckets = np.flatnonzero(new)
        delta = Delta(
            buckets, new[buckets], histogram._sum - self._sum,
            histogram._min, histogram._max, histogram._clamped - self._clamped,
        )  # fmt: skip
        self._before[buckets] = histogram._counts[buckets]
        self._placed, self._sum = histogram.count, histogram._sum
        self._clamped = histogram._clamped
        return delta


def _ranked(counts: npt.NDArray[np.integer], qs: npt.NDArray[np.float64]) -> Values:
    """Which element of `counts` the value of each quantile is in."""
    passed = np.cumsum(counts, dtype=np.int64)
    count = int(passed[-1])
    # 0.07 * 100 is 7.000000000000001 in floating point: a hair less keeps it the 7th
    ranks = [max(1, math.ceil(q * count * (1 - 2**-51))) for q in qs.tolist()]
    return np.searchsorted(passed, ranks, side="left")


def _exact_sum(values: Values, highest: int) -> int:
    """The sum as a Python int; int64 would overflow from 1,024 values of VALUE_MAX on."""
    if highest < 1 << (62 - _FOLD_AT.bit_length()):
        return int(values.sum())
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
