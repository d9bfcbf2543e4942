"""The record of a run: everything that was asked, measured and concluded, as versioned JSON.

Plain data without computing; every field has a default, so a record can be filled piece by piece.
Times within a record are seconds since the run's start, latencies and the times in `asked`
nanoseconds, sizes bytes.

Within schema "c1m-run/2" fields may be added, never renamed or given another meaning.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from c1m import files
from c1m.bounds import RECORD_BYTES_MAX
from c1m.errors import UsageError
from c1m.results import codec, record_1
from c1m.results.counts import HIGHER, counted, counts_of
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.outcomes import FAN_OUT_COUNTS as FAN_OUT_COUNTS
from c1m.results.outcomes import Check as Check
from c1m.results.outcomes import FanOut as FanOut
from c1m.results.outcomes import Share as Share
from c1m.results.workers import Loss, WorkerPart

SCHEMA = "c1m-run/2"
LAG_SAID = "p99 of its lag"  # in the sentence of a generator that was the limit by its lag
# The ways in which a connect can end without a connection.
NOT_OPENED = (
    "refused", "reset", "timed_out", "unreachable", "failed_otherwise", "tls_failed",
    "handshake_failed", "unfinished",
)  # fmt: skip

# What can be wrong with a reply, by name. The first are requests that were answered wrongly
# (together `wrong`); the others are replies beyond those that were due.
WRONG_KINDS = {
    "garbled": "bytes that are not the reply",
    "crossed": "the reply came on another connection",
    "reordered": "the reply came after that of a later request",
    "stale": "a reply that was right for an earlier request",
    "moved": "the key is another node's of a Redis Cluster",
}
EXTRA_KINDS = {
    "doubled": "a reply that had come already",
    "late": "a reply after its request was given up or answered wrongly",
    "unasked": "bytes that nobody had asked for",
}


@dataclass(frozen=True, slots=True)
class EngineUsed:
    """The engine that ran, why this one, and its own figures by name."""

    name: str = ""
    reason: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The conditions: figures of two records compare only where these agree."""

    kernel: str = ""
    cpu: str = ""
    cores: int = 0
    memory_bytes: int = 0
    python: str = ""
    numpy: str = ""
    c1m: str = ""
    nofile_soft: int = 0
    nofile_hard: int = 0
    sysctls: dict[str, str] = field(default_factory=dict)
    engine: EngineUsed = field(default_factory=EngineUsed)
    redis_nodes: int = 0  # of the Redis Cluster that the targets are of; 0: of none


# Not frozen: the load client counts in it, as in Requests.
@dataclass(slots=True)
class Connections:
    """Where every connection went."""

    LAWS: ClassVar[tuple[str, ...]] = (
        f"attempted = opened + {' + '.join(NOT_OPENED)}",
        "opened = open_at_end + lost + closed + ended + renewed",
        "peak_open <= opened",
        "ready <= opened",
        "connected <= attempted",
        "secured <= connected",
    )

    attempted: int = counted("connects begun", better=HIGHER)
    opened: int = counted("connections that opened", better=HIGHER)
    peak_open: int = counted("most connections open at one moment", better=HIGHER, name="peak")
    open_at_end: int = counted(
        "connections open when the run began to end", better=HIGHER, name="open"
    )
    refused: int = counted("connects that were refused")
    reset: int = counted("connects that were reset")
    timed_out: int = counted("connects that timed out")
    unreachable: int = counted("connects to an address that cannot be reached")
    failed_otherwise: int = counted("connects that failed with any other errno")
    handshake_failed: int = counted(
        "connects whose handshake (WebSocket, server-sent events, MQTT, AUTH of Redis) failed or "
        "was not answered"
    )
    unfinished: int = counted("connects not finished when the run was stopped")
    lost: int = counted(
        "connections that ended before the run closed them",
        shortfall="{lost} of {opened} open connections were lost before the run closed them.",
    )
    closed: int = counted(
        "connections closed by the plan: churn, storms, a stage with fewer", better=""
    )
    ended: int = counted(
        "connections ended by the server, where the scenario waits for that", better=HIGHER
    )
    renewed: int = counted(
        "connections that the server ended between requests, as HTTP lets it: opened again",
        better="",
    )
    ready: int = counted("connections whose first reply was right", better=HIGHER)
    connected: int = counted("connects that the server's kernel answered", better=HIGHER)
    secured: int = counted("connections whose TLS handshake was done", better=HIGHER)
    tls_failed: int = counted("connections whose TLS handshake failed or was not done in time")


CONNECTION_COUNTS = counts_of(Connections)


@dataclass(frozen=True, slots=True)
class Failure:
    """One errno in one phase ("connect": it never opened; "tls": it did, and no TLS came of it;
    "handshake": it was not accepted in the protocol's own words; "open": it was lost)."""

    phase: str
    errno: str  # its name: "ECONNREFUSED"; or a protocol's word: "HTTP 403", "certificate expired"
    count: int
    text: str = ""  # the kernel's reason in words
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the run: each stage by its name, then "settle" and "close"."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class TlsUsed:
    """What the connections of a run over TLS came to, as the first of them did."""

    version: str = ""  # "TLSv1.3"
    cipher: str = ""
    protocol: str = ""  # by ALPN
    subject: str = ""  # of the server's certificate
    expires: str = ""  # and when that is, in UTC: ISO 8601
    handed_off: int = 0  # connections whose records were c1m's own
    resumed: int = 0  # handshakes that took up a session
    seconds: float = 0.0  # from the run's start until the last handshake of all was done
    server_cpu_s: float | None = None  # processor time of the first stage, which opens connections
    client_cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ramp:
    """How long connecting took: element i is the time that block i of the connections took."""

    per_1000_s: list[float] = field(default_factory=list)
    per_50000_s: list[float] = field(default_factory=list)
    seconds: float = 0.0  # from the first connect until the last one had opened or failed
    connects_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProcessColumns:
    """One process over time; None where it was gone. CPU seconds count since the process began.

    `waited_s`: how long its threads were ready to run and waited for a CPU, added up from the first
    sample on. Of a load client its one busy thread, of a server up to 16 threads, the oldest.
    """

    rss_bytes: list[int | None] = field(default_factory=list)
    user_s: list[float | None] = field(default_factory=list)
    system_s: list[float | None] = field(default_factory=list)
    waited_s: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KernelColumns:
    """The machine over time. `used_bytes` is MemTotal - MemAvailable, all users included;
    `idle_s` the CPU seconds that all cores together were idle since the machine started.
    """

    slab_bytes: list[int] = field(default_factory=list)
    tcp_mem_bytes: list[int] = field(default_factory=list)
    used_bytes: list[int] = field(default_factory=list)
    idle_s: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Samples:
    """Columns of equal length over time; `server` is None where its process is not known."""

    t_s: list[float] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    server: ProcessColumns | None = None
    client: ProcessColumns = field(default_factory=ProcessColumns)
    kernel: KernelColumns = field(default_factory=KernelColumns)


@dataclass(frozen=True, slots=True)
class MemoryPerConnection:
    """Growth from the first sample to the full number of connections, for each of them.

    User memory is resident memory at its highest. The kernel's is the growth of the machine's used
    memory less that of the known processes, so it counts both ends where both are on this machine.
    """

    server_user_bytes_per_connection: float | None = None
    client_user_bytes_per_connection: float | None = None
    kernel_bytes_per_connection: float | None = None
    slab_bytes_per_connection: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all was as asked; if not, one sentence for each thing that was short."""

    complete: bool = False
    shortfalls: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Latency:
    """One distribution; `percentiles_ns` has only those that the count carries."""

    count: int = 0
    min_ns: int = 0
    mean_ns: float = 0.0
    max_ns: int = 0
    percentiles_ns: dict[str, int] = field(default_factory=dict)
    histogram: dict[str, Any] = field(default_factory=dict)  # a histogram

    @classmethod
    def of(cls, histogram: Histogram) -> Latency:
        """Everything from a histogram of nanoseconds."""
        if not histogram.count:
            return cls()
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
        return Histogram.from_json(self.histogram) if self.histogram else Histogram()


# Not frozen: the load client counts in it. A new count is a field here and the line that counts it.
@dataclass(slots=True)
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
    sent: int = counted("requests sent", better=HIGHER, of="due")
    right: int = counted("requests answered right", better=HIGHER, of="sent")
    wrong: int = counted(
        "requests answered wrong",
        of="sent",
        shortfall="{wrong} of {sent} replies were wrong{kinds}.",
    )
    missing: int = counted(
        "no reply in time, or the connection ended",
        of="sent",
        shortfall="{missing} of {sent} requests had no reply.",
    )
    unsent: int = counted(
        "due, not sent before the stage ended",
        of="due",
        shortfall="{unsent} of {due} requests that were due were not sent.",
    )
    waited: int = counted("sent later than due: the connection was busy", of="due")
    late: int = counted(
        "sent over 10 ms late: the generator was behind", of="due", name="sent_late"
    )
    repeated: int = counted(
        "said once more, on a new connection: the server had ended the other one unanswered",
        better="",
    )
    faults: dict[str, int] = field(default_factory=dict)  # by kind, also extra replies
    in_flight_peak: int = 0  # the most that were in flight at one moment
    seconds: float = 0.0  # how long the stages took in which they were due

    @property
    def in_flight(self) -> int:
        """Sent, and not resolved."""
        return self.sent - self.right - self.wrong - self.missing

    @property
    def bad(self) -> int:
        """Wrong and missing."""
        return self.wrong + self.missing

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
    stood_still_s: float = 0.0  # seconds without progress after which it was ended; 0: it was not
    requests: Requests = field(default_factory=Requests)
    latency: Latency = field(default_factory=Latency)  # corrected: from the intended send time
    uncorrected: Latency = field(default_factory=Latency)  # from the actual send time

    @property
    def is_stampede(self) -> bool:
        """Whether its requests are a stampede's, and not the load's."""
        return self.name == "stampede"


# A column of a series, and what becomes of its values where intervals are joined.
_Count = Annotated[list[int], "sum"]
_Gauge = Annotated[list[int], "last"]
_Worst = Annotated[list[int], "max"]
_Times = Annotated[list[float], "last"]


@dataclass(frozen=True, slots=True)
class Series:
    """What happened in each interval of `interval_s` seconds; columns of equal length.

    Counts are of the interval, `open` and `in_flight` at its end; latencies are corrected and of
    the replies that came in it (0: none). Connections' first requests are left out, but for those
    that went wrong. Where intervals were joined to bound their number, counts are sums and
    latencies the worst.
    """

    interval_s: float = 1.0
    t_s: _Times = field(default_factory=list)  # the interval's end, since the run's start
    open: _Gauge = field(default_factory=list)
    in_flight: _Gauge = field(default_factory=list)
    opened: _Count = field(default_factory=list)
    secured: _Count = field(default_factory=list)  # TLS handshakes done
    failed: _Count = field(default_factory=list)
    lost: _Count = field(default_factory=list)
    closed: _Count = field(default_factory=list)
    due: _Count = field(default_factory=list)
    sent: _Count = field(default_factory=list)
    right: _Count = field(default_factory=list)
    bad: _Count = field(default_factory=list)  # wrong and missing
    p50_ns: _Worst = field(default_factory=list)
    p99_ns: _Worst = field(default_factory=list)
    max_ns: _Worst = field(default_factory=list)
    lag_max_ns: _Worst = field(default_factory=list)  # the generator behind its schedule

    def array(self, name: str) -> npt.NDArray[Any]:
        """A column by name, float64[n] of `t_s`, int64[n] of others. Raises UsageError."""
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
    note: str = ""  # what its scenario says about it


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
class Saturation:
    """Whether the generator or the server bounded what was measured.

    `who` is "generator", "server", "both", "neither" (the plan was kept and both had time to spare)
    or "unknown". `is_lower_bound`: the server may be able to do more than these figures say.
    """

    who: str = "unknown"
    is_lower_bound: bool = False
    sentences: list[str] = field(default_factory=list)
    generator_cpu: float | None = None  # share of one core while requests ran; 1.0: all of it
    server_cpu: float | None = None
    generator_waited: float | None = None  # ready to run without a CPU; 1.0: all the time
    server_waited: float | None = None  # of several threads added up
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
    errno: str = ""  # of the failure that it explains


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of one run."""

    schema: str = SCHEMA
    started: str = ""  # ISO 8601, UTC
    command: list[str] = field(default_factory=list)
    target: str = ""
    scenario: str = ""
    asked: LoadOptions = field(default_factory=LoadOptions)
    assumed: str = ""  # what of it is so because nothing else was asked
    metadata: Metadata = field(default_factory=Metadata)
    connections: Connections = field(default_factory=Connections)
    failures: list[Failure] = field(default_factory=list)
    phases: list[Span] = field(default_factory=list)
    ramp: Ramp = field(default_factory=Ramp)
    latencies: dict[str, Latency] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    memory: MemoryPerConnection = field(default_factory=MemoryPerConnection)
    kernel_counters: dict[str, int] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    thresholds: list[Threshold] = field(default_factory=list)
    requests: Requests = field(default_factory=Requests)  # the load's, of all stages
    first: Requests = field(default_factory=Requests)  # each connection's first
    stampede: Requests = field(default_factory=Requests)  # of all stampedes
    stages: list[StageResult] = field(default_factory=list)
    series: Series = field(default_factory=Series)
    faults: list[FaultSeen] = field(default_factory=list)  # the first of each kind
    limit: Saturation = field(default_factory=Saturation)
    explanations: list[Explanation] = field(default_factory=list)  # of what is missing
    fan_out: FanOut | None = None
    tls: TlsUsed | None = None  # None: without TLS
    checks: list[Check] = field(default_factory=list)  # in the order of their first time
    shares: list[Share] = field(default_factory=list)  # of several scenarios; of one: none
    statuses: dict[str, int] = field(default_factory=dict)  # responses of HTTP by their status
    notes: list[str] = field(default_factory=list)  # what a scenario found at the end
    doubts: list[str] = field(default_factory=list)  # why what was wrong may be named wrongly
    workers: list[WorkerPart] = field(default_factory=list)  # of several load clients; of one: none
    degraded: list[Loss] = field(default_factory=list)  # which of them were lost on the way

    @property
    def all_requests(self) -> Requests:
        """Of the load, each connection's first, and of stampedes, together."""
        return Requests.together([self.requests, self.first, self.stampede])

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        data: dict[str, Any] = codec.encode(self)
        return data

    def text(self) -> str:
        """The record as a line of JSON."""
        return json.dumps(self.to_json(), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, data: Any) -> RunRecord:
        """What `to_json` gave, of schema 1, too. Raises UsageError for another schema or damage."""
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema not in (SCHEMA, record_1.SCHEMA):
            what = "has no schema" if schema is None else f"is of schema {schema!r}"
            raise UsageError(
                f"The record {what}; this c1m reads {SCHEMA!r} and {record_1.SCHEMA!r}.",
                "Give a file that `c1m load --json FILE` wrote.",
            )
        try:
            if schema == record_1.SCHEMA:
                data = record_1.upgraded(data)
            record = codec.decode(cls, data)
            codec.check_columns(record.samples)
            for series in (record.series, *(worker.series for worker in record.workers)):
                codec.check_columns(series)
            return record
        except ValueError as error:
            raise UsageError(
                f"The record is damaged: {error}.", "Run again to make a new one."
            ) from error

    def write(self, path: str | Path) -> None:
        """Write as JSON (`-`: to standard output). Raises UsageError where that cannot be done."""
        files.write_text(path, self.text())

    @classmethod
    def read(cls, path: str | Path) -> RunRecord:
        """Read what `write` wrote (`-`: standard input). Raises UsageError for anything else."""
        data = files.read_json(path, RECORD_BYTES_MAX)
        try:
            return cls.from_json(data)
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", error.remedy) from error
