"""Where a run stands at one moment, for whoever shows it: the dashboard, plain lines, metrics.

Plain data, made a few times a second by the generator; counts are since the start of the run.
`LIVE_FIGURES` says what the fields are that are exported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from c1m.results.counts import Count
from c1m.results.record import CONNECTION_COUNTS, REQUEST_COUNTS, Requests

# How a worker of a cluster is, the worst first.
WORKER_STATES = ("lost", "aborted", "silent", "starting", "ready", "running", "finished")
WORKERS_MAX = 32  # in a snapshot, the worst


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """How a worker of a cluster is. Rates and latencies are of the last second it told of."""

    name: str = ""
    state: str = "starting"  # of WORKER_STATES
    open: int = 0
    right_per_s: float = 0.0
    p99_ns: int | None = None  # None: no replies
    cores: float | None = None  # that its load client used
    why: str = ""  # it was lost or aborted


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a run. Rates are of the time since the snapshot before."""

    elapsed_s: float = 0.0
    target: str = ""
    scenario: str = ""
    stage: str = ""  # its text
    stage_number: int = 0
    stages: int = 0
    stage_left_s: float | None = None  # None: until it is done
    asked: int = 0
    attempted: int = 0
    connected: int = 0
    secured: int = 0
    opened: int = 0
    ready: int = 0
    open: int = 0
    failed: int = 0
    lost: int = 0
    closed: int = 0
    connects_per_s: float = 0.0
    last_step_ms: float | None = None  # what the latest 1,000 connections took
    requests: Requests = field(default_factory=Requests)  # all, also first ones and stampedes
    in_flight: int = 0
    sent_per_s: float = 0.0
    right_per_s: float = 0.0
    rate_asked_per_s: float | None = None
    is_closed_loop: bool = False  # in this stage: requests follow replies
    errnos: dict[str, int] = field(default_factory=dict)
    checks_passed: dict[str, int] = field(default_factory=dict)  # by name
    checks_failed: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)  # of HTTP
    percentiles_ns: dict[str, int] = field(default_factory=dict)
    recent_ns: dict[str, int] = field(default_factory=dict)  # "p50", "p99", "max": the last second
    octaves: list[int] = field(default_factory=list)  # replies with 2**i <= latency < 2**(i+1) ns
    lag_max_ns: int = 0
    server_rss_bytes: int | None = None
    client_rss_bytes: int | None = None
    slab_bytes: int | None = None
    used_bytes: int | None = None
    is_tls: bool = False
    is_last: bool = False
    workers: list[WorkerNow] = field(default_factory=list)  # of a cluster, by their numbers
    worker_states: dict[str, int] = field(default_factory=dict)  # how many are how, of all
    degraded: str = ""  # which workers were lost, when, and why

    @property
    def open_by_worker(self) -> dict[str, float]:
        """Open connections of each worker that is shown."""
        return self._by_worker("open")

    @property
    def right_by_worker(self) -> dict[str, float]:
        """Right replies a second of each."""
        return self._by_worker("right_per_s")

    @property
    def p99_by_worker(self) -> dict[str, float]:
        """The 99th percentile of each one's last second, in ns."""
        return self._by_worker("p99_ns")

    @property
    def cores_by_worker(self) -> dict[str, float]:
        """Cores that each one's load client used."""
        return self._by_worker("cores")

    def _by_worker(self, name: str) -> dict[str, float]:
        found = {one.name: getattr(one, name) for one in self.workers}
        return {worker: value for worker, value in found.items() if value is not None}

    def causes(self) -> list[tuple[str, int]]:
        """All that went wrong, errnos and kinds of faults, the most frequent first."""
        counts = [*self.errnos.items(), *self.requests.faults.items()]
        return sorted([pair for pair in counts if pair[1]], key=lambda pair: -pair[1])


@dataclass(frozen=True, slots=True)
class LiveFigure:
    """A field of a snapshot as a metric: a counter where its name ends in _total, else a gauge.

    `label`: a dict has a value of the metric for each of its keys, another field that of
    `label_value`. `shown` is its name on the dashboard where that is not the field's.
    """

    metric: str
    help: str
    label: str = ""
    label_value: str = ""
    unit: float = 1.0  # the metric's in the field's
    shown: str = ""


_OUTCOMES = ("right", "wrong", "missing")  # of what was sent
_OUTCOMES_HELP = f"Requests sent, by outcome: {', '.join(_OUTCOMES)}"
_NS = 1e9  # in a second
_EACH = f", by worker (of more than {WORKERS_MAX} the worst)"


def worst(workers: Sequence[WorkerNow], most: int) -> list[WorkerNow]:
    """At most so many, in their order: those that are not as they should be, then those with the
    highest p99."""

    def badness(number: int) -> tuple[int, int, int]:
        one = workers[number]
        return WORKER_STATES.index(one.state), -(one.p99_ns or 0), one.open

    chosen = sorted(range(len(workers)), key=badness)[:most]
    return [workers[number] for number in sorted(chosen)]


def _counter(group: str, name: str, counts: Mapping[str, Count], shown: str = "") -> LiveFigure:
    """A count of the record as it rises."""
    count = counts[name]
    metric = f"c1m_{group}_{count.name or name}_total"
    return LiveFigure(metric, count.help[0].upper() + count.help[1:], shown=shown)


LIVE_FIGURES = {
    "elapsed_s": LiveFigure("c1m_elapsed_seconds", "Time since the run began"),
    "stage_number": LiveFigure("c1m_stage", "Number of the present stage, from 1"),
    "stages": LiveFigure("c1m_stages", "How many stages the plan has"),
    "asked": LiveFigure("c1m_connections_asked", "Connections, the most that the plan has at once"),
    "open": LiveFigure("c1m_connections_open", "Connections open now", shown="open now"),
    "attempted": _counter("connections", "attempted", CONNECTION_COUNTS),
    "opened": _counter("connections", "opened", CONNECTION_COUNTS, shown="connected"),
    "connected": _counter("connections", "connected", CONNECTION_COUNTS),
    "secured": _counter("connections", "secured", CONNECTION_COUNTS),
    "ready": _counter("connections", "ready", CONNECTION_COUNTS),
    "failed": LiveFigure("c1m_connections_failed_total", "Connects and handshakes that failed"),
    "lost": _counter("connections", "lost", CONNECTION_COUNTS),
    "closed": _counter("connections", "closed", CONNECTION_COUNTS),
    "errnos": LiveFigure(
        "c1m_connect_errors_total", "Failed and lost connections by errno", "errno"
    ),
    **{
        f"requests.{name}": _counter("requests", name, REQUEST_COUNTS)
        for name in REQUEST_COUNTS
        if name not in _OUTCOMES
    },
    "in_flight": LiveFigure("c1m_requests_in_flight", "Requests awaiting reply", shown="in flight"),
    "rate_asked_per_s": LiveFigure(
        "c1m_requests_asked_per_second", "The plan's rate now; absent without one"
    ),
    **{
        f"requests.{name}": LiveFigure("c1m_replies_total", _OUTCOMES_HELP, "outcome", name)
        for name in _OUTCOMES
    },
    "requests.faults": LiveFigure(
        "c1m_faults_total", "Replies that were not as they should be, by kind", "kind"
    ),
    "checks_passed": LiveFigure(
        "c1m_checks_passed_total", "What the scenario checked and held, by name", "check"
    ),
    "checks_failed": LiveFigure(
        "c1m_checks_failed_total", "What the scenario checked and did not hold, by name", "check"
    ),
    "statuses": LiveFigure("c1m_responses_total", "Responses of HTTP, by status", "status"),
    "percentiles_ns": LiveFigure(
        "c1m_request_latency_percentile_seconds",
        "Percentiles of the whole run, from when requests were due",
        "percentile",
        unit=_NS,
    ),
    "recent_ns": LiveFigure(
        "c1m_request_latency_recent_seconds",
        "Percentiles of the last second",
        "percentile",
        unit=_NS,
    ),
    "lag_max_ns": LiveFigure(
        "c1m_generator_lag_seconds",
        "The generator behind its schedule, at most in the last second",
        unit=_NS,
    ),
    "server_rss_bytes": LiveFigure(
        "c1m_server_resident_bytes", "Resident memory of the server's process", shown="server"
    ),
    "client_rss_bytes": LiveFigure(
        "c1m_client_resident_bytes", "Resident memory of the load's process", shown="client"
    ),
    "slab_bytes": LiveFigure("c1m_kernel_slab_bytes", "The kernel's slab caches", shown="slab"),
    "used_bytes": LiveFigure(
        "c1m_machine_used_bytes",
        "Memory of the machine in use, all users included",
        shown="machine",
    ),
    "worker_states": LiveFigure("c1m_workers", "Workers of the cluster by state", "state"),
    "open_by_worker": LiveFigure(
        "c1m_worker_connections_open", f"Connections open now{_EACH}", "worker"
    ),
    "right_by_worker": LiveFigure(
        "c1m_worker_right_per_second", f"Right replies in the last second{_EACH}", "worker"
    ),
    "p99_by_worker": LiveFigure(
        "c1m_worker_request_latency_p99_seconds",
        f"99th percentile of the last second{_EACH}",
        "worker",
        unit=_NS,
    ),
    "cores_by_worker": LiveFigure(
        "c1m_worker_cores", f"Cores that the load client used{_EACH}", "worker"
    ),
}
