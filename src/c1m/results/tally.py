"""Everything additive of a load run: counts and histograms, by name. Pure.

The difference of two tallies of a run is what happened in between; tallies of several parts of a
run add up to the whole's. So nothing in here is a mean, a quantile or a highest value: those are
computed once, of the sum.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from c1m.results.histogram import Histogram


@dataclass(slots=True)
class Tally:
    """Counts by dotted name ("connections.opened", "stage.1.right"), and histograms (of ns)."""

    counts: Counter[str] = field(default_factory=Counter)
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Take another one's counts and values in."""
        for name, count in other.counts.items():
            self.counts[name] += count
        for name, histogram in other.histograms.items():
            self.histograms.setdefault(name, Histogram()).merge(histogram)

    def since(self, before: Tally) -> Tally:
        """What was counted since `before`, an earlier tally of the same run."""
        counts = {
            name: count - before.counts[name]
            for name, count in self.counts.items()
            if count != before.counts[name]
        }
        histograms = {}
        for name, histogram in self.histograms.items():
            earlier = before.histograms.get(name)
            new = histogram if earlier is None else histogram.since(earlier)
            if new.count:
                histograms[name] = new
        return Tally(Counter(counts), histograms)

    def encode(self) -> bytes:
        """As bytes, to be sent and kept."""
        histograms = {name: one.to_json() for name, one in self.histograms.items()}
        return json.dumps({"counts": self.counts, "histograms": histograms}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Tally:
        """What `encode` gave."""
        found: Mapping[str, Mapping[str, object]] = json.loads(data)
        histograms = {
            name: Histogram.from_json(one)  # type: ignore[arg-type]
            for name, one in found["histograms"].items()
        }
        return cls(Counter(found["counts"]), histograms)
