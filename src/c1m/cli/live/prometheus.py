"""A running load's figures for Prometheus: what they are called, and the server that tells them.

`METRICS` is the whole list; docs/reference/metrics.md describes it for users and a test holds the
two together. The latest snapshot is read when somebody scrapes, so nothing is counted twice.
prometheus-client is imported only when a server is wanted.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from c1m.addresses import check_host
from c1m.errors import UsageError
from c1m.results.snapshot import Snapshot

HOST = "127.0.0.1"  # where no host is named: figures of a run are nobody else's business
_ADDRESS = re.compile(r"(?:(\[[0-9a-fA-F:.%\w]+\]|[^:\[\]\s]*):)?([0-9]{1,9})")
_FORMS = "Write :9100 (this machine only), 0.0.0.0:9100 (for others too) or HOST:PORT."

# The histogram's buckets end at 2**10 ns (about a microsecond) to 2**37 ns (137 s). Always the
# same ones: Prometheus cannot add up buckets that come and go.
OCTAVE_FIRST, OCTAVE_LAST = 10, 37
HISTOGRAM = "c1m_request_latency_seconds"
HISTOGRAM_HELP = "Latency of replies from when their requests were due"

Value = float | None | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One counter or gauge. `read` gives a number, None where it is not known, or one by label."""

    name: str
    kind: str  # "counter" or "gauge"
    help: str
    read: Callable[[Snapshot], Value]
    label: str = ""


def _seconds(percentiles_ns: Mapping[str, int]) -> dict[str, float]:
    return {name: value / 1e9 for name, value in percentiles_ns.items()}


METRICS = (
    Metric("c1m_elapsed_seconds", "gauge", "Time since the run began", lambda s: s.elapsed_s),
    Metric("c1m_stage", "gauge", "Number of the present stage, from 1", lambda s: s.stage_number),
    Metric("c1m_stages", "gauge", "How many stages the plan has", lambda s: s.stages),
    Metric(
        "c1m_connections_asked", "gauge", "Connections, the most that the plan has at once",
        lambda s: s.asked,
    ),
    Metric("c1m_connections_open", "gauge", "Connections open now", lambda s: s.open),
    Metric(
        "c1m_connections_attempted_total", "counter", "Connects begun", lambda s: s.attempted
    ),
    Metric("c1m_connections_opened_total", "counter", "Connects done", lambda s: s.opened),
    Metric(
        "c1m_connections_ready_total", "counter", "Connections that had their first reply",
        lambda s: s.ready,
    ),
    Metric("c1m_connections_failed_total", "counter", "Connects that failed", lambda s: s.failed),
    Metric(
        "c1m_connections_lost_total", "counter", "Open connections that ended against the plan",
        lambda s: s.lost,
    ),
    Metric(
        "c1m_connections_closed_total", "counter", "Connections closed by the plan",
        lambda s: s.closed,
    ),
    Metric(
        "c1m_connect_errors_total", "counter", "Failed and lost connections by errno",
        lambda s: s.errnos, "errno",
    ),
    Metric("c1m_requests_due_total", "counter", "Requests that fell due", lambda s: s.due),
    Metric("c1m_requests_sent_total", "counter", "Requests sent", lambda s: s.sent),
    Metric(
        "c1m_requests_unsent_total", "counter", "Requests due that were never sent",
        lambda s: s.unsent,
    ),
    Metric("c1m_requests_in_flight", "gauge", "Requests awaiting reply", lambda s: s.in_flight),
    Metric(
        "c1m_requests_asked_per_second", "gauge", "The plan's rate now; absent without one",
        lambda s: s.rate_asked_per_s,
    ),
    Metric(
        "c1m_replies_total", "counter", "Requests sent, by outcome: right, wrong, missing",
        lambda s: {"right": s.right, "wrong": s.wrong, "missing": s.missing}, "outcome",
    ),
    Metric(
        "c1m_faults_total", "counter", "Replies that were not as they should be, by kind",
        lambda s: s.faults, "kind",
    ),
    Metric(
        "c1m_request_latency_percentile_seconds", "gauge",
        "Percentiles of the whole run, from when requests were due",
        lambda s: _seconds(s.percentiles_ns), "percentile",
    ),
    Metric(
        "c1m_request_latency_recent_seconds", "gauge", "Percentiles of the last second",
        lambda s: _seconds(s.recent_ns), "percentile",
    ),
    Metric(
        "c1m_generator_lag_seconds", "gauge",
        "The generator behind its schedule, at most in the last second",
        lambda s: s.lag_max_ns / 1e9,
    ),
    Metric(
        "c1m_server_resident_bytes", "gauge", "Resident memory of the server's process",
        lambda s: s.server_rss_bytes,
    ),
    Metric(
        "c1m_client_resident_bytes", "gauge", "Resident memory of the load's process",
        lambda s: s.client_rss_bytes,
    ),
    Metric("c1m_kernel_slab_bytes", "gauge", "The kernel's slab caches", lambda s: s.slab_bytes),
    Metric(
        "c1m_machine_used_bytes", "gauge", "Memory of the machine in use, all users included",
        lambda s: s.used_bytes,
    ),
)  # fmt: skip

INFO = "c1m_run_info"
INFO_HELP = "Always 1; target and scenario of the run"


def parse_address(text: str) -> tuple[str, int]:
    """`:9100`, `9100`, `HOST:9100`, `[::1]:9100` -> (host, port). Raises UsageError."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no address for metrics.", _FORMS)
    port = int(match[2])
    if port > 65535:
        raise UsageError(f"Port {port} for metrics is above 65535.", _FORMS)
    host = (match[1] or HOST).strip("[]")
    check_host(host)
    return host, port


def check_available() -> None:
    """Raise UsageError where prometheus-client is not installed: to be asked before a run."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise UsageError(
            "Metrics need prometheus-client, which is not installed.",
            "Install it with: pip install 'c1m[metrics]'",
        )


def buckets(octaves: list[int]) -> list[tuple[str, float]]:
    """Counts by octave of nanoseconds -> (le in seconds, replies up to it), cumulative.

    The slow form: the replies of every octave that ends at or below `le`; +Inf has all of them.
    """
    below = sum(octaves[:OCTAVE_FIRST])
    found: list[tuple[str, float]] = [(repr((1 << OCTAVE_FIRST) / 1e9), below)]
    for end in range(OCTAVE_FIRST + 1, OCTAVE_LAST + 1):
        below += sum(octaves[end - 1 : end])
        found.append((repr((1 << end) / 1e9), below))
    return [*found, ("+Inf", sum(octaves))]


def families(snapshot: Snapshot) -> Iterator[Any]:
    """Everything as prometheus-client's metric families."""
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    info = GaugeMetricFamily(INFO, INFO_HELP, labels=["target", "scenario"])
    info.add_metric([snapshot.target, snapshot.scenario], 1)
    yield info
    for metric in METRICS:
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=[metric.label] if metric.label else [])
        value = metric.read(snapshot)
        if isinstance(value, Mapping):
            for label, count in value.items():
                family.add_metric([label], count)
        elif value is not None and math.isfinite(value):
            family.add_metric([], value)
        yield family
    # A snapshot has no sum of latencies, so neither _sum nor _count is told; +Inf is the count.
    yield HistogramMetricFamily(HISTOGRAM, HISTOGRAM_HELP, buckets=buckets(snapshot.octaves))


class Exporter:
    """Serves `latest` at http://HOST:PORT/metrics in a thread until the process ends.

    Port 0 takes a free one; `url` tells which. Raises UsageError where it cannot listen there.
    """

    def __init__(self, address: str) -> None:
        from prometheus_client import CollectorRegistry, start_http_server

        host, port = parse_address(address)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        self.latest = Snapshot()
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UsageError(
                f"Metrics cannot be served at {address}: {why}.",
                "Give another address with --metrics.",
            ) from None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def collect(self) -> Iterator[Any]:
        """What prometheus-client asks for at each scrape."""
        return families(self.latest)
