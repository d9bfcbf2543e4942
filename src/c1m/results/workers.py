"""What the load clients of one run had of it each, where there were several; plain data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WorkerSeries:
    """A load client over time; columns of equal length, of at most 120 intervals."""

    t_s: list[float] = field(default_factory=list)  # the interval's end, since the run's start
    open: list[int] = field(default_factory=list)  # at its end
    sent: list[int] = field(default_factory=list)  # in it, without connections' first requests
    right: list[int] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # cores that its process used


@dataclass(frozen=True, slots=True)
class WorkerPart:
    """One attempt of a load client at its part of a run. Requests are all: of the load, each
    connection's first, and of stampedes; latencies are the load's, from when requests were due.
    """

    name: str = ""
    host: str = ""
    address: str = ""
    part: int = 0
    attempt: int = 0  # from 0: a further one took the place of one that was lost
    asked: int = 0  # connections
    opened: int = 0
    peak_open: int = 0
    open_at_end: int = 0
    lost_connections: int = 0
    sent: int = 0
    right: int = 0
    wrong: int = 0
    missing: int = 0
    p50_ns: int | None = None  # None: no request was answered
    p99_ns: int | None = None
    lag_p99_ns: int | None = None  # of the generator behind its schedule
    user_s: float | None = None  # processor time
    system_s: float | None = None
    rss_bytes: int | None = None  # resident memory, at its highest
    clock_offset_s: float | None = None  # its machine's clock less the controller's
    clock_uncertain_s: float | None = None  # how far that may be wrong
    start_errors_s: list[float] = field(default_factory=list)  # by stage, after the common start
    frames: int = 0  # that came
    frames_missing: int = 0  # that did not: what happened then is not in the run's series
    limit: str = "unknown"  # as in `limit.who`
    lost: str = ""  # why nothing more came of it; "": it came to its end
    lost_s: float | None = None  # when, since the run's start
    series: WorkerSeries = field(default_factory=WorkerSeries)


@dataclass(frozen=True, slots=True)
class Loss:
    """A load client that was lost on the way: since then the run was not the one asked for."""

    t_s: float = 0.0  # since the run's start
    worker: str = ""
    part: int = 0
    attempt: int = 0
    why: str = ""
    connections: int = 0  # open then
