"""The record of a run: everything that was asked, measured and concluded, as versioned JSON.

Plain data without computing; every field has a default, so a record can be filled piece by piece.
`derive.py` makes the derived pieces (verdict, ramp, memory), `text.py` and `html.py` show a record.
All times within a record are seconds since the run's start, latencies nanoseconds, sizes bytes.

Within schema "c1m-run/2" fields may be added, never renamed or given another meaning.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

from c1m import files
from c1m.bounds import RECORD_BYTES_MAX
from c1m.errors import UsageError
from c1m.results import codec, record_1
from c1m.results.requests import (
    HIGHER,
    Explanation,
    FanOut,
    FaultSeen,
    Latency,
    Limit,
    Requests,
    Series,
    StageResult,
    Threshold,
    counted,
    counts_of,
)

__all__ = [
    "Asked", "Connections", "EngineUsed", "Explanation", "Failure", "FanOut", "FaultSeen",
    "KernelColumns", "Latency", "Limit", "Memory", "Metadata", "Phase", "ProcessColumns", "Ramp",
    "Requests", "RunRecord", "Samples", "Series", "StageResult",
    "Threshold", "Verdict",
]  # fmt: skip

SCHEMA = "c1m-run/2"
# The ways in which a connect can end without a connection.
NOT_OPENED = ("refused", "reset", "timed_out", "unreachable", "failed_otherwise", "unfinished")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the run was told to do."""

    connections: int = 0
    connect_rate_per_s: float | None = None  # None: as fast as it can
    hold_s: float = 0.0
    message: str = ""  # as typed, with {n} for the connection's number
    engine: str = "auto"
    expect: str = ""  # the reply's template where it is not the message
    stages: list[str] = field(default_factory=list)  # the plan as stages, in the order of the run
    rate_per_s: float | None = None  # the open loop's; None: closed loop or quiet
    arrivals: str = ""  # "constant" or "poisson"
    spread: str = ""  # "uniform" or "zipf:1.1"
    think_s: float | None = None  # the closed loop's; None: no closed loop
    churn_per_s: float | None = None
    pipeline: int = 1
    timeout_s: float = 0.0
    seed: int = 0
    spin: bool = False  # looked for replies instead of sleeping


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


@dataclass(frozen=True, slots=True)
class Connections:
    """Where every connection went."""

    LAWS: ClassVar[tuple[str, ...]] = (
        f"attempted = opened + {' + '.join(NOT_OPENED)}",
        "opened = open_at_end + lost + closed + ended",
        "peak_open <= opened",
        "ready <= opened",
    )

    attempted: int = counted("connects begun", better=HIGHER)
    opened: int = counted("connections that opened", better=HIGHER)
    peak_open: int = counted("most that were open at one moment", better=HIGHER, name="peak")
    open_at_end: int = counted("open when the run began to end", better=HIGHER, name="open")
    refused: int = counted("connects that were refused")
    reset: int = counted("connects that were reset")
    timed_out: int = counted("connects that timed out")
    unreachable: int = counted("connects to an address that cannot be reached")
    failed_otherwise: int = counted("connects that failed with any other errno")
    unfinished: int = counted("still connecting when the run was stopped")
    lost: int = counted(
        "opened, and ended before the run closed them",
        shortfall="{lost} of {opened} open connections were lost before the run closed them.",
    )
    closed: int = counted("closed by the plan: churn, storms, a stage with fewer", better="")
    ended: int = counted("ended by the server, where the scenario waits for that", better=HIGHER)
    ready: int = counted("had their first reply, and it was right", better=HIGHER)


CONNECTION_COUNTS = counts_of(Connections)


@dataclass(frozen=True, slots=True)
class Failure:
    """One errno in one phase ("connect": it never opened; "open": it was lost)."""

    phase: str
    errno: str  # its name: "ECONNREFUSED"
    count: int
    text: str = ""  # the kernel's reason in words
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the run: each stage by its name, then "settle" and "close"."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Ramp:
    """How long connecting took: element i is the time for the connections after i blocks."""

    per_1000_s: list[float] = field(default_factory=list)
    per_50000_s: list[float] = field(default_factory=list)
    seconds: float = 0.0  # from the first connect until the last one had opened or failed
    connects_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProcessColumns:
    """One process over time; None where it was gone. CPU seconds count since the process began."""

    rss_bytes: list[int | None] = field(default_factory=list)
    user_s: list[float | None] = field(default_factory=list)
    system_s: list[float | None] = field(default_factory=list)


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
class Memory:
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
class RunRecord:
    """A whole run. Make it at the end, or an unfinished one with what is known."""

    schema: str = SCHEMA
    started: str = ""  # ISO 8601, UTC: `metadata.started_text()`
    command: list[str] = field(default_factory=list)
    target: str = ""
    scenario: str = ""
    asked: Asked = field(default_factory=Asked)
    metadata: Metadata = field(default_factory=Metadata)
    connections: Connections = field(default_factory=Connections)
    failures: list[Failure] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    ramp: Ramp = field(default_factory=Ramp)
    latencies: dict[str, Latency] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    memory: Memory = field(default_factory=Memory)
    kernel_counters: dict[str, int] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    thresholds: list[Threshold] = field(default_factory=list)
    requests: Requests = field(default_factory=Requests)  # the load's, of all stages
    first: Requests = field(default_factory=Requests)  # each connection's first
    stampede: Requests = field(default_factory=Requests)  # of all stampedes
    stages: list[StageResult] = field(default_factory=list)
    series: Series = field(default_factory=Series)
    faults: list[FaultSeen] = field(default_factory=list)  # the first of each kind
    limit: Limit = field(default_factory=Limit)
    explanations: list[Explanation] = field(default_factory=list)  # of what is missing
    fan_out: FanOut | None = None
    notes: list[str] = field(default_factory=list)  # what a scenario found at the end
    doubts: list[str] = field(default_factory=list)  # why what was wrong may be named wrongly

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
            _check_columns(record.samples)
            _check_columns(record.series)
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


def _check_columns(table: Any, rows: int = 0) -> None:
    """Columns over time are of one length, or empty: an earlier c1m did not have all of them.

    Raises ValueError. `rows`: the length, where the table is part of another.
    """
    for name in (column.name for column in fields(table)):
        column = getattr(table, name)
        if isinstance(column, list) and column:
            rows = rows or len(column)
            if len(column) != rows:
                raise ValueError(f"the column {name} has {len(column)} rows, not {rows}")
        elif is_dataclass(column):
            _check_columns(column, rows)
