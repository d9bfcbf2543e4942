"""What the dashboard remembers of a run, in bounded memory. Pure: it reads no clock."""

from __future__ import annotations

from collections.abc import Sequence

from c1m.results.snapshot import Snapshot

POINTS_MAX = 2048  # a screen is narrower; beyond it neighbours are joined

# Ends of the time axis in seconds: a picture that rarely changes its scale is easier to read.
_SPANS = (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800)


class History:
    """Open connections and right replies over the run, and when the present stage began."""

    def __init__(self) -> None:
        self.t_s: list[float] = []
        self.open: list[float] = []
        self.right_per_s: list[float] = []
        self._stage = 0
        self._stage_start_s = 0.0

    def add(self, snapshot: Snapshot) -> None:
        """Remember a snapshot; one that is not later than the last one replaces it."""
        if self.t_s and snapshot.elapsed_s <= self.t_s[-1]:
            self.open[-1], self.right_per_s[-1] = snapshot.open, snapshot.right_per_s
        else:
            self.t_s.append(snapshot.elapsed_s)
            self.open.append(snapshot.open)
            self.right_per_s.append(snapshot.right_per_s)
        if snapshot.stage_number != self._stage:
            self._stage, self._stage_start_s = snapshot.stage_number, snapshot.elapsed_s
        if len(self.t_s) > POINTS_MAX:
            self.t_s = self.t_s[1::2]
            self.open, self.right_per_s = _joined(self.open), _joined(self.right_per_s)

    def stage_share(self, snapshot: Snapshot) -> float | None:
        """How much of the stage is over (0 to 1); None where its end is not known."""
        if snapshot.is_last:
            return 1.0
        if snapshot.stage_left_s is None:
            return None
        gone = snapshot.elapsed_s - self._stage_start_s
        whole = gone + snapshot.stage_left_s
        return gone / whole if whole > 0 else 1.0

    def span_s(self) -> float:
        """The end of the time axis that holds the run so far."""
        last = self.t_s[-1] if self.t_s else 0.0
        return next((float(span) for span in _SPANS if last <= span), last)

    def columns(self, values: Sequence[float], count: int) -> list[float | None]:
        """One of the series as `count` columns from 0 to `span_s()`: the mean within each.

        A column without points repeats the one before; columns after the last point are None.
        """
        sums, points = [0.0] * count, [0] * count
        last = -1
        per_s = count / self.span_s()
        for t_s, value in zip(self.t_s, values, strict=True):
            last = min(int(t_s * per_s), count - 1)
            sums[last] += value
            points[last] += 1
        columns: list[float | None] = [None] * count
        held = 0.0
        for i in range(last + 1):
            held = sums[i] / points[i] if points[i] else held
            columns[i] = held
        return columns


def _joined(values: list[float]) -> list[float]:
    """The means of pairs of neighbours; an odd one at the end is dropped, as in `t_s[1::2]`."""
    return [(a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=False)]
