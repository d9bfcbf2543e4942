"""What is counted and measured of requests: by stage, and by second. Pure.

A *purpose* is what a request was sent for: the first one of a connection, a stage's load, a
stampede. Each has its own counts and distributions, so that the ramp's latencies never mix with
those of the steady state, and a request that is answered in a later stage counts for its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from c1m.results.histogram import Histogram
from c1m.results.record import REQUEST_COUNTS, WRONG_KINDS, Requests, Series
from c1m.scenarios.ledger import MISSING, OUTCOMES, RIGHT, Outcomes

Times = npt.NDArray[np.int64]

FIRST = 0  # the purpose of connections' first requests
LATE_NS = 10_000_000  # so far behind its schedule a generator is no longer the one that was asked
SERIES_ROWS_MAX = 7_200  # two hours of seconds; then two are joined to one

_COUNTS = ("opened", "failed", "lost", "closed", "due", "sent", "right", "bad")
_GAUGES = ("open", "in_flight")
_WORST = ("p50_ns", "p99_ns", "max_ns", "lag_max_ns")


@dataclass(slots=True)
class Tally:
    """Counts and distributions of the requests of one purpose."""

    name: str
    due: int = 0
    sent: int = 0
    unsent: int = 0
    waited: int = 0
    late: int = 0
    in_flight_peak: int = 0
    outcomes: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(OUTCOMES), np.int64)
    )
    corrected: Histogram = field(default_factory=Histogram)  # from the intended send time
    uncorrected: Histogram = field(default_factory=Histogram)  # from the actual one

    @property
    def right(self) -> int:
        """Right replies."""
        return int(self.outcomes[RIGHT])

    @property
    def missing(self) -> int:
        """Replies that will not come."""
        return int(self.outcomes[MISSING])

    @property
    def wrong(self) -> int:
        """Wrong replies of all kinds."""
        return int(self.outcomes.sum()) - self.right - self.missing

    def requests(self, seconds: float = 0.0, extras: Mapping[str, int] | None = None) -> Requests:
        """The record's: they were due over so many seconds; `extras`: replies beyond those due."""
        outcomes = dict(zip(OUTCOMES, self.outcomes.tolist(), strict=True))
        faults = {kind: outcomes[kind] for kind in WRONG_KINDS} | dict(extras or {})
        return Requests(
            **{name: getattr(self, name) for name in REQUEST_COUNTS},
            faults={kind: count for kind, count in faults.items() if count},
            in_flight_peak=self.in_flight_peak,
            seconds=seconds if self.due else 0.0,
        )

    @property
    def in_flight(self) -> int:
        """Sent, and not resolved."""
        return self.sent - int(self.outcomes.sum())


class Recorder:
    """All tallies, the time series, and the generator's lag behind its schedule."""

    def __init__(self) -> None:
        self.tallies: list[Tally] = []
        self.overall = Histogram()  # corrected, right, of all stages' load: for whoever looks on
        self.lag = Histogram()  # when the generator got to a request, after it was due
        self.lag_after = Histogram()  # the same, while it caught up on what a gap had left
        self.late_after = 0  # how many it got to late then
        self.is_after_gap = False
        self.series = SeriesMaker()
        self.pushes = {"push": Histogram(), "push_last": Histogram()}
        self._loads: set[int] = set()

    def purpose(self, name: str, *, is_load: bool) -> int:
        """A new purpose's number. `is_load`: it belongs to a stage's requests."""
        self.tallies.append(Tally(name))
        if is_load:
            self._loads.add(len(self.tallies) - 1)
        return len(self.tallies) - 1

    def is_load(self, purpose: int) -> bool:
        """Whether it belongs to a stage's requests."""
        return purpose in self._loads

    def loads(self) -> list[Tally]:
        """The tallies of the stages' requests."""
        return [self.tallies[i] for i in sorted(self._loads)]

    def resolved(
        self,
        purposes: npt.NDArray[np.uint8],
        outcomes: Outcomes | None,
        intended: Times,
        sent: Times,
        now_ns: int,
    ) -> None:
        """Requests that were resolved now: latencies are recorded of those that are right."""
        if not len(purposes):
            return
        first = int(purposes[0])
        if not np.count_nonzero(purposes != first):  # a tenth of the time of min and max
            self._resolved_of(first, outcomes, intended, sent, now_ns)
            return
        for purpose in np.flatnonzero(np.bincount(purposes)).tolist():
            which = purposes == purpose
            kinds = None if outcomes is None else outcomes[which]
            self._resolved_of(purpose, kinds, intended[which], sent[which], now_ns)

    def _resolved_of(
        self, purpose: int, outcomes: Outcomes | None, intended: Times, sent: Times, now_ns: int
    ) -> None:
        tally = self.tallies[purpose]
        if outcomes is None:
            tally.outcomes[RIGHT] += len(intended)
        else:
            tally.outcomes += np.bincount(outcomes, minlength=len(OUTCOMES))
            is_right = outcomes == RIGHT
            intended, sent = intended[is_right], sent[is_right]
        corrected = now_ns - intended
        tally.corrected.record(corrected)
        tally.uncorrected.record(now_ns - sent)
        if purpose in self._loads:
            self.overall.record(corrected)
        if purpose != FIRST:
            self.series.recent.record(corrected)

    def behind(self, tally: Tally, lags: Times, of_sent: Times) -> None:
        """The generator has got to requests so long after they were due; `of_sent`: the lags of
        those that it could send then."""
        late = int(np.count_nonzero(of_sent > LATE_NS))
        tally.late += late
        if self.is_after_gap:
            self.lag_after.record(lags)
            self.late_after += late
        else:
            self.lag.record(lags)
        self.series.lag_max_ns = max(self.series.lag_max_ns, int(lags.max(initial=0)))


class SeriesMaker:
    """One row an interval, from running totals; bounded: full, every two rows become one."""

    def __init__(self, rows_max: int = SERIES_ROWS_MAX) -> None:
        self.recent = Histogram()
        self.lag_max_ns = 0
        self.interval_s = 1.0
        self._rows_max = rows_max
        self._columns: dict[str, list[float]] = {
            name: [] for name in ("t_s", *_GAUGES, *_COUNTS, *_WORST)
        }
        self._before: Sequence[int] = [0] * len(_COUNTS)

    def row(self, t_s: float, gauges: Sequence[int], totals: Sequence[int]) -> dict[str, int]:
        """End an interval: `gauges` (open, in flight) now, `totals` of _COUNTS since the start.

        Returns the interval's latencies, "p50", "p99" and "max" in ns, where there were any.
        """
        recent, self.recent = self.recent, Histogram()
        p50, p99 = recent.quantiles(np.array([0.5, 0.99])).tolist()
        worst = (p50, p99, recent.max, self.lag_max_ns)
        counts = [now - before for now, before in zip(totals, self._before, strict=True)]
        self._before = list(totals)
        self.lag_max_ns = 0
        names = ("t_s", *_GAUGES, *_COUNTS, *_WORST)
        values = (round(t_s, 3), *gauges, *counts, *worst)
        for name, value in zip(names, values, strict=True):
            self._columns[name].append(value)
        if len(self._columns["t_s"]) >= self._rows_max:
            self._halve()
        return {"p50": p50, "p99": p99, "max": recent.max} if recent.count else {}

    def _halve(self) -> None:
        self.interval_s *= 2
        for name, column in self._columns.items():
            pairs = [column[i : i + 2] for i in range(0, len(column), 2)]  # the last may be alone
            if name in _COUNTS:
                self._columns[name] = [sum(pair) for pair in pairs]
            elif name in _WORST:
                self._columns[name] = [max(pair) for pair in pairs]
            else:
                self._columns[name] = [pair[-1] for pair in pairs]

    def series(self) -> Series:
        """All rows as columns."""
        columns = {
            name: column if name == "t_s" else [int(v) for v in column]
            for name, column in self._columns.items()
        }
        return Series(interval_s=self.interval_s, **columns)  # type: ignore[arg-type]
