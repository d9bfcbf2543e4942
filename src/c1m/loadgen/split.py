"""The stages of a run split over several load clients: connections, rates, turns. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from c1m.loadgen.stages import Stage
from c1m.results.share import Share, Stretch

ZIPF_NEAR = 1 << 12  # ranks that are added up one by one


@dataclass(frozen=True, slots=True)
class Split:
    """How the stages of a run are split: this part's `share`, `publishers` of the whole (None: all
    connections ask), and the exponent of `--spread zipf` (None: uniform).

    The first connections publish, in the whole and in each part. So publishers are split, and all
    others, each by the share; and whoever asks brings its part of the rate along.
    """

    share: Share
    publishers: int | None = None
    zipf: float | None = None

    def stretch(self, total: int) -> Stretch:
        """Which of `total` connections are this part's."""
        few = min(self.publishers or 0, total)
        share = self.share
        first = share.first(few) + share.first(total - few)
        return Stretch(first, self.connections(total), total, share)

    def connections(self, total: int) -> int:
        """How many of `total` are this part's."""
        few = min(self.publishers or 0, total)
        return self.share.count(few) + self.share.count(total - few)

    def stages(self, stages: Sequence[Stage]) -> list[Stage]:
        """The stages of this part: of each its connections, and of its rates as much as these
        are to have. What has nothing of a rate has none."""
        return list(stages) if self.share.is_whole else [self._stage(stage) for stage in stages]

    def _stage(self, stage: Stage) -> Stage:
        low, high = stage.connections_from, stage.connections_to
        ours = self.connections(low), self.connections(high)
        opened = _ratio(ours[1] - ours[0], high - low) if high > low else _ratio(ours[1], high)
        before, asks = self._asking(high)
        rates = [None if rate is None else rate * asks for rate in (stage.rate_from, stage.rate_to)]
        is_asked = asks > 0
        return replace(
            stage,
            connections_from=ours[0],
            connections_to=ours[1],
            connect_rate=_times(stage.connect_rate, opened),
            rate_from=rates[0] if is_asked else None,
            rate_to=rates[1] if is_asked else None,
            think_ns=stage.think_ns if is_asked else None,
            churn_rate=_times(stage.churn_rate, _ratio(ours[1], high)),
            phase=before,
        )

    def _asking(self, total: int) -> tuple[float, float]:
        """Which part of the requests comes before this part's, and which is this part's, where
        `total` connections are there."""
        share = self.share
        if self.publishers is not None:
            total = min(self.publishers, total)
        if self.zipf is None or not total:
            return _ratio(share.first(total), total), _ratio(share.count(total), total)
        each = _zipf_weights(share.of, total, self.zipf)
        whole = sum(each)
        return sum(each[: share.index]) / whole, each[share.index] / whole


@lru_cache(maxsize=8)
def _zipf_weights(of: int, total: int, exponent: float) -> list[float]:
    return [zipf_weight(Share(index, of), total, exponent) for index in range(of)]


def zipf_weight(share: Share, total: int, exponent: float) -> float:
    """The sum of 1 / (rank + 1)**exponent of a part's connections, of which the k-th has the rank
    k * of + index: those who send often are dealt out. What is far behind is an integral (by the
    midpoint rule, which is right to 1e-7 there)."""
    count, step, start = share.count(total), share.of, share.index + 1
    near = min(count, ZIPF_NEAR)
    ranks = np.arange(near, dtype=np.float64) * step + start
    weight = float((ranks**-exponent).sum())
    if count > near:
        low, high = ((k - 0.5) * step + start for k in (near, count))
        if exponent == 1:
            weight += math.log(high / low) / step
        else:
            power = 1 - exponent
            weight += (high**power - low**power) / (power * step)
    return weight


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _times(rate: float | None, by: float) -> float | None:
    """A rate of which this much is to come; None where nothing is."""
    return None if rate is None or not by else rate * by
