"""What is counted and measured of requests: by group, and by second; and gaps in them. Pure.

Requests are counted in *groups*: those of one stage, those of a stampede, the connections' first
ones. So the ramp's latencies never mix with those of the steady state, and a request that is
answered in a later stage counts for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from c1m.loadgen.arrivals import Times
from c1m.results.histogram import Histogram
from c1m.results.record import WRONG_KINDS, Pause, Requests, Series
from c1m.scenarios.ledger import MISSING, OUTCOMES, RIGHT, Outcomes

FIRST = 0  # the group of connections' first requests
LATE_NS = 10_000_000  # so far behind its schedule a generator is no longer the one that was asked
STILL_NS = 500_000_000  # a sampler's interval: over less, processor time says nothing
GAPS_MAX = 32  # the longest are kept
SERIES_ROWS_MAX = 7_200  # two hours of seconds; then two are joined to one

# By column: what becomes of its values when intervals are joined.
_JOINED = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Series, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}
_JOINS: dict[str, Callable[[list[Any]], Any]] = {
    "sum": sum, "max": max, "last": lambda values: values[-1]
}  # fmt: skip


@dataclass(slots=True)
class Group:
    """Counts and distributions of requests that belong together."""

    number: int
    is_load: bool = False  # a stage's, by its rate or think time
    requests: Requests = field(default_factory=Requests)
    corrected: Histogram = field(default_factory=Histogram)  # from the intended send time
    uncorrected: Histogram = field(default_factory=Histogram)  # from the actual one

    def count(self, outcomes: Outcomes | None, count: int) -> None:
        """So many were resolved; `outcomes` None: all of them are right."""
        requests = self.requests
        if outcomes is None:
            requests.right += count
            return
        counts = np.bincount(outcomes, minlength=len(OUTCOMES)).tolist()
        requests.right += counts[RIGHT]
        requests.missing += counts[MISSING]
        for kind, wrong in zip(OUTCOMES, counts, strict=True):
            if wrong and kind in WRONG_KINDS:
                requests.wrong += wrong
                requests.faults[kind] = requests.faults.get(kind, 0) + wrong


class Recorder:
    """All groups, the time series, and the generator's lag behind its schedule.

    `are_halves`: what connections say first is half a request, which waits for their end and is
    counted with them. It is no request of the run, in the record or before.
    """

    def __init__(self, *, are_halves: bool = False) -> None:
        self._are_halves = are_halves
        self.groups: list[Group] = []
        self.first = self.group()
        self.overall = Histogram()  # corrected, right, of all stages' load: for the display
        self.lag = Histogram()  # when the generator got to a request, after it was due
        self.lag_after = Histogram()  # the same, while it caught up on what a gap had left
        self.late_after = 0  # how many it got to late then
        self.is_after_gap = False
        self.series = SeriesMaker()
        self.pushes = {"push": Histogram(), "push_last": Histogram()}

    def group(self, *, is_load: bool = False) -> Group:
        """A new group."""
        self.groups.append(Group(len(self.groups), is_load))
        return self.groups[-1]

    @property
    def first_requests(self) -> Requests:
        """The connections' first ones so far."""
        return Requests() if self._are_halves else self.first.requests

    def after_first(self) -> Requests:
        """All others so far."""
        return Requests.together([group.requests for group in self.groups[FIRST + 1 :]])

    def together(self) -> Requests:
        """All requests so far."""
        return Requests.together([self.first_requests, self.after_first()])

    def resolved(
        self,
        groups: npt.NDArray[np.uint8],
        outcomes: Outcomes | None,
        intended: Times,
        sent: Times,
        now_ns: int,
    ) -> None:
        """Requests of these groups were resolved now: latencies are recorded of the right ones."""
        if not len(groups):
            return
        first = int(groups[0])
        if not np.count_nonzero(groups != first):  # a tenth of the time of min and max
            self._resolved_of(first, outcomes, intended, sent, now_ns)
            return
        for number in np.flatnonzero(np.bincount(groups)).tolist():
            which = groups == number
            kinds = None if outcomes is None else outcomes[which]
            self._resolved_of(number, kinds, intended[which], sent[which], now_ns)

    def _resolved_of(
        self, number: int, outcomes: Outcomes | None, intended: Times, sent: Times, now_ns: int
    ) -> None:
        group = self.groups[number]
        group.count(outcomes, len(intended))
        if outcomes is not None:
            is_right = outcomes == RIGHT
            intended, sent = intended[is_right], sent[is_right]
        # What was sent in this tick may be resolved by what had come before: that took no time.
        corrected = np.maximum(now_ns - intended, 0)
        group.corrected.record(corrected)
        group.uncorrected.record(np.maximum(now_ns - sent, 0))
        if group.is_load:
            self.overall.record(corrected)
        if number != FIRST:
            self.series.recent.record(corrected)

    def answered(self, number: int, intended: int, sent: int, now_ns: int) -> None:
        """The scalar form of `resolved`: one request of this group, and its reply was right."""
        group = self.groups[number]
        group.requests.right += 1
        corrected = max(now_ns - intended, 0)
        group.corrected.record_one(corrected)
        group.uncorrected.record_one(max(now_ns - sent, 0))
        if group.is_load:
            self.overall.record_one(corrected)
        if number != FIRST:
            self.series.recent.record_one(corrected)

    def behind_one(self, group: Group, lag: int) -> None:
        """The scalar form of `behind`, where it could be sent at once."""
        is_late = lag > LATE_NS
        group.requests.late += is_late
        if self.is_after_gap:
            self.lag_after.record_one(lag)
            self.late_after += is_late
        else:
            self.lag.record_one(lag)
        if lag > self.series.lag_max_ns:
            self.series.lag_max_ns = lag

    def behind(self, group: Group, lags: Times, of_sent: Times) -> None:
        """The generator came to requests so long after they were due; `of_sent`: the lags of
        those that it could send at once."""
        late = int(np.count_nonzero(of_sent > LATE_NS))
        group.requests.late += late
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
        self._columns: dict[str, list[Any]] = {name: [] for name in _JOINED}
        self._before: dict[str, float] = {}

    def row(self, now: Mapping[str, float]) -> dict[str, int]:
        """End an interval: what is open and in flight now, and counts since the run's start.

        Returns the interval's latencies, "p50", "p99" and "max" in ns, where there were any.
        """
        recent, self.recent = self.recent, Histogram()
        p50, p99 = map(int, recent.quantiles(np.array([0.5, 0.99])))
        worst = {"p50_ns": p50, "p99_ns": p99, "max_ns": recent.max, "lag_max_ns": self.lag_max_ns}
        row = {**now, **worst}
        for name, column in self._columns.items():
            is_count = _JOINED[name] == "sum"
            column.append(row[name] - self._before.get(name, 0) if is_count else row[name])
        self._before, self.lag_max_ns = dict(now), 0
        if len(self._columns["t_s"]) >= self._rows_max:
            self._halve()
        return {"p50": p50, "p99": p99, "max": recent.max} if recent.count else {}

    def _halve(self) -> None:
        self.interval_s *= 2
        for name, column in self._columns.items():
            join = _JOINS[_JOINED[name]]
            column[:] = [join(column[i : i + 2]) for i in range(0, len(column), 2)]

    def series(self) -> Series:
        """All rows as columns."""
        return Series(interval_s=self.interval_s, **self._columns)


class Watch:
    """Notices when the server, the path to it or the generator itself stands still.

    The generator sets when what last happened, in monotonic nanoseconds. A *ramp* stands still
    when connects are due or under way and no further one has come to an end for its timeout: then
    the stage is over (`reach`, `is_still`). The server (or the path) stood still when no reply came
    on any connection for STILL_NS though some were waited for, the generator when it was not awake
    for so long. Both are kept as gaps; results/saturation.py decides which of them are reported.
    """

    def __init__(self, start_ns: int) -> None:
        self.gaps: list[Pause] = []
        self.recovers_ns = start_ns  # until then lateness may be a result of the server's gap
        self._start_ns = start_ns
        self.begin(start_ns)
        self.heard_ns = start_ns  # last whole reply, or when the first was waited for since
        self.broken_ns = 0  # when a long silence ended of which it is not clear whose it was
        self.ticked_ns = start_ns  # when the generator was last awake
        self.gave_up = False  # something since the last reply

    def begin(self, now_ns: int) -> None:
        """A stage begins to wait: for connects, or for replies."""
        self.moved_ns = now_ns  # its last progress
        self.ramped_ns = now_ns  # that of a ramp, or when nothing was waited for
        self.is_still = False
        self._reached = 0

    def hear(self, now_ns: int) -> None:
        """A reply came, or nothing is waited for."""
        self.heard_ns, self.broken_ns = now_ns, 0

    def reach(self, count: int, is_waiting: bool, now_ns: int) -> None:
        """So many connections have opened (and were answered) or failed. Where the server ends some
        as often as others open, that comes and goes, and is no progress."""
        if count > self._reached or not is_waiting:
            self._reached = max(count, self._reached)
            self.ramped_ns = now_ns

    def keep(self, is_ours: bool, start_ns: int, end_ns: int, waiting: int) -> None:
        """A gap is over, or the run is, with so many requests in flight."""
        start_s, seconds = (start_ns - self._start_ns) / 1e9, (end_ns - start_ns) / 1e9
        self.gaps.append(Pause("generator" if is_ours else "server", start_s, seconds, waiting))
        if not is_ours:
            self.recovers_ns = 2 * end_ns - start_ns
        if len(self.gaps) > GAPS_MAX:
            self.gaps.remove(min(self.gaps, key=lambda gap: gap.seconds))
