"""The parts of a record that tell of requests: stages, series, faults, the limit, thresholds.

Plain data, as all of a record: `record.py` puts it together, and its rules hold here too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from c1m.errors import UsageError

if TYPE_CHECKING:  # load fills records and may import this module
    import numpy.typing as npt

    from c1m.results.histogram import Histogram

# What can be wrong with a reply, by name. The first three are requests that were answered wrongly
# (together `wrong`); the others are replies beyond those that were due.
WRONG_KINDS = {
    "garbled": "bytes that are not the reply",
    "crossed": "the reply came on another connection",
    "reordered": "the reply came after that of a later request",
}
EXTRA_KINDS = {
    "doubled": "a reply that had come already",
    "late": "a reply after its request was given up or answered wrongly",
    "unasked": "bytes that nobody had asked for",
}


LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True, slots=True)
class Count:
    """What a field counts, described once: thresholds, comparisons, the verdict, live metrics, the
    schema and the reference all read it."""

    help: str
    better: str = LOWER  # or HIGHER; "": neither
    name: str = ""  # as a metric; "": the field's
    shortfall: str = ""  # what the verdict says where there is any; "": it is none


def counted(help: str, *, better: str = LOWER, name: str = "", shortfall: str = "") -> Any:
    """A field of a record that is such a count."""
    return field(default=0, metadata={"count": Count(help, better, name, shortfall)})


def counts_of(kind: type) -> dict[str, Count]:
    """The counts of a part of a record, by field."""
    return {f.name: f.metadata["count"] for f in fields(kind) if "count" in f.metadata}


@dataclass(frozen=True, slots=True)
class Latency:
    """One distribution; `percentiles_ns` has only those that the count carries."""

    count: int = 0
    min_ns: int = 0
    mean_ns: float = 0.0
    max_ns: int = 0
    percentiles_ns: dict[str, int] = field(default_factory=dict)
    histogram: dict[str, Any] = field(default_factory=dict)  # Histogram.to_json()

    @classmethod
    def of(cls, histogram: Histogram) -> Latency:
        """Everything from a c1m.results.histogram.Histogram of nanoseconds."""
        return cls(
            count=histogram.count,
            min_ns=histogram.min,
            mean_ns=histogram.mean,
            max_ns=histogram.max,
            percentiles_ns=histogram.percentiles(),
            histogram=histogram.to_json(),
        )

    def distribution(self) -> Histogram:
        """The whole of it, for any quantile in ns: `latency.distribution().quantile(0.95)`.

        Raises UsageError where the record's is of a layout that this c1m does not know.
        """
        from c1m.results.histogram import Histogram  # NumPy: who only shows a record needs none

        return Histogram.from_json(self.histogram) if self.histogram else Histogram()


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of requests: of a stage, of all stages with load, the first ones, a stampede."""

    LAWS: ClassVar[tuple[str, ...]] = (
        "due = sent + unsent",
        "sent = right + wrong + missing",
        f"wrong = {' + '.join(WRONG_KINDS)}",
        "waited <= sent",
        "late <= sent",
    )

    due: int = counted("requests due, by the schedule or after a think time", better="")
    sent: int = counted("requests sent", better=HIGHER)
    right: int = counted("requests answered right", better=HIGHER)
    wrong: int = counted(
        "requests answered wrong", shortfall="{wrong} of {sent} replies were wrong{kinds}."
    )
    missing: int = counted(
        "requests without a reply: it took too long, or the connection or the run ended",
        shortfall="{missing} of {sent} requests had no reply.",
    )
    unsent: int = counted(
        "requests due and never sent: the connection was busy, or it or the stage ended",
        shortfall="{unsent} of {due} requests that were due were not sent.",
    )
    waited: int = counted("requests sent later than due because their connection was busy")
    late: int = counted(
        "requests sent over 10 ms late because the generator was behind", name="sent_late"
    )
    faults: dict[str, int] = field(default_factory=dict)  # by kind, also extra replies
    in_flight_peak: int = 0  # the most that were in flight at one moment
    seconds: float = 0.0  # how long the stages took in which they were due

    @classmethod
    def together(cls, several: Sequence[Requests]) -> Requests:
        """The sum of several stages' requests; of their peaks the highest."""
        faults: Counter[str] = Counter()
        for one in several:
            faults.update(one.faults)
        return cls(
            **{name: sum(getattr(one, name) for one in several) for name in REQUEST_COUNTS},
            faults=dict(faults),
            in_flight_peak=max((one.in_flight_peak for one in several), default=0),
            seconds=sum(one.seconds for one in several),
        )


REQUEST_COUNTS = counts_of(Requests)  # those of the stages add up to the run's


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage of the plan, from what was asked to what came of it. Times since the start.

    The requests of a stampede are a stage's, too: the record sums them up apart (`stampede`).
    """

    name: str  # "ramp", "hold", "spike", "drain", "stampede", "storm"
    text: str = ""  # as the user wrote it
    start_s: float = 0.0
    end_s: float = 0.0
    connections_from: int = 0
    connections_to: int = 0
    open_at_end: int = 0
    rate_from_per_s: float | None = None  # None: no open loop in this stage
    rate_to_per_s: float | None = None
    stood_still_s: float = 0.0  # it was ended since nothing had come for so long; 0: it was not
    requests: Requests = field(default_factory=Requests)
    latency: Latency = field(default_factory=Latency)  # corrected: from the intended send time
    uncorrected: Latency = field(default_factory=Latency)  # from the actual send time

    @property
    def is_stampede(self) -> bool:
        """Whether its requests are a stampede's, and not the load's."""
        return self.name == "stampede"


@dataclass(frozen=True, slots=True)
class Series:
    """What happened in each interval of `interval_s` seconds; columns of equal length.

    Counts are of the interval, `open` and `in_flight` at its end; latencies are corrected and of
    the replies that came in it (0: none). Connections' first requests are left out, but for those
    that went wrong. Where intervals were joined to bound their number, counts are sums and
    latencies the worst.
    """

    interval_s: float = 1.0
    t_s: list[float] = field(default_factory=list)  # the interval's end, since the run's start
    open: list[int] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    due: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)  # wrong and missing
    p50_ns: list[int] = field(default_factory=list)
    p99_ns: list[int] = field(default_factory=list)
    max_ns: list[int] = field(default_factory=list)
    lag_max_ns: list[int] = field(default_factory=list)  # the generator behind its schedule

    def array(self, name: str) -> npt.NDArray[Any]:
        """A column by name, float64[n] of `t_s`, int64[n] of others. Raises UsageError."""
        import numpy as np  # who only shows a record needs none

        column = getattr(self, name, None)
        if not isinstance(column, list):
            names = ", ".join(each.name for each in fields(self) if each.name != "interval_s")
            raise UsageError(f"The series has no column {name!r}.", f"There are: {names}.")
        return np.array(column, np.float64 if name == "t_s" else np.int64)


@dataclass(frozen=True, slots=True)
class FaultSeen:
    """A reply that was not as it should be; the bytes as Python's repr, cut where long."""

    kind: str
    t_s: float
    connection: int
    seq: int  # which request of this connection, from 0
    expected: str
    received: str
    note: str = ""  # what a scenario of the user's own says about it


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which one end stood still, while requests ran; seconds since the run's start."""

    who: str = "server"  # or "generator"
    start_s: float = 0.0
    seconds: float = 0.0
    waiting: int = 0  # requests in flight at its end
    cpu: float | None = None  # cores that its process used meanwhile; None: not known


@dataclass(frozen=True, slots=True)
class Throttling:
    """A CPU quota that stopped a process during the run: of its cgroup, or one above it."""

    group: str = ""  # the cgroup's directory
    cores: float = 0.0  # the quota
    period_s: float = 0.0
    periods: int = 0  # in which the group ran
    throttled: int = 0  # in which it was stopped, its quota used up
    stopped_s: float = 0.0  # of all its cores together


@dataclass(frozen=True, slots=True)
class Limit:
    """Whether the generator or the server bounded what was measured.

    `who` is "generator", "server", "both", "neither" (the plan was kept and both had time to spare)
    or "unknown". `is_lower_bound`: the server may be able to do more than these figures say.
    """

    who: str = "unknown"
    is_lower_bound: bool = False
    sentences: list[str] = field(default_factory=list)
    generator_cpu: float | None = None  # share of one core while requests ran; 1.0: all of it
    server_cpu: float | None = None
    schedule_lag: Latency = field(default_factory=Latency)  # how late it got to each request
    kernel_drops: int = 0  # packets dropped from this machine's backlogs
    pauses: list[Pause] = field(default_factory=list)  # the longest, the earliest first
    generator_quota: Throttling | None = None  # None: no CPU quota stopped it
    server_quota: Throttling | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """One --require: its text, what was measured, whether it holds.

    `value` None: the run has no such figure (too few samples for that percentile, say), which is
    not holding; `why` says so.
    """

    text: str
    metric: str = ""
    value: float | None = None  # in the metric's own unit: ns, count, per second, share
    shown: str = ""  # the value for people
    holds: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why connections (or packets) are missing: how many, the cause, the remedy."""

    count: int
    what: str  # "12 x ECONNREFUSED while connecting", "stopped at 28,232"
    cause: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class FanOut:
    """Scenario publish: expected = received + missing; reach = received / expected."""

    LAWS: ClassVar[tuple[str, ...]] = ("received <= expected",)

    published: int = 0
    expected: int = 0
    received: int = 0
    reach: float = 0.0
    doubled: int = 0
    garbled: int = 0
    push: Latency = field(default_factory=Latency)  # publication to each receipt
    last: Latency = field(default_factory=Latency)  # publication to its last receipt
