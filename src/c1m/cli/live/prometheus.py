"""A running load's figures for Prometheus, and the server that exports them.

What they are called and mean is said in results/snapshot.py, from which the table in
docs/reference/metrics.md is made, too. The latest snapshot is read at each scrape.
prometheus-client is imported only when a server is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from c1m.addresses import parse_url
from c1m.errors import UsageError
from c1m.results.snapshot import LIVE_FIGURES, Snapshot

HOST = "127.0.0.1"  # where no host is named: what a run shows is for this machine only
_FORMS = "Write :{0} (this machine only), 0.0.0.0:{0} (for others too) or HOST:PORT."
_USUAL = {"--metrics": 9100, "--live": 8080}

# The histogram's buckets end at 2**10 ns (about a microsecond) to 2**37 ns (137 s). Always the
# same ones: Prometheus cannot add up buckets that come and go.
OCTAVE_FIRST, OCTAVE_LAST = 10, 37
HISTOGRAM = "c1m_request_latency_seconds"
HISTOGRAM_HELP = "Latency of replies from when their requests were due"

INFO = "c1m_run_info"
INFO_HELP = "Always 1; target and scenario of the run"

METRICS: dict[str, list[str]] = {}  # a metric -> the fields of a snapshot that it is made of
for _field, _figure in LIVE_FIGURES.items():
    METRICS.setdefault(_figure.metric, []).append(_field)


def parse_address(text: str, option: str = "--metrics") -> tuple[str, int]:
    """`:9100`, `9100`, `HOST:9100`, `[::1]:9100` -> (host, port). Raises UsageError."""
    place = text
    if place.lstrip(":").isdigit() and not place.startswith("::"):
        place = f"{HOST}:{place.lstrip(':')}"
    try:
        scheme, host, port, last = parse_url(place)
    except UsageError:
        scheme = ""
    if scheme != "tcp" or port != last:
        forms = _FORMS.format(_USUAL[option])
        raise UsageError(f"{option}: {text!r} is not an address with one port.", forms)
    return host, port


def buckets(octaves: list[int]) -> list[tuple[str, float]]:
    """Counts by octave of nanoseconds -> (le in seconds, replies up to it), cumulative."""
    ends = range(OCTAVE_FIRST, OCTAVE_LAST + 1)
    found = [(repr((1 << end) / 1e9), sum(octaves[:end])) for end in ends]
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
    for name, fields in METRICS.items():
        figure = LIVE_FIGURES[fields[0]]
        kind = CounterMetricFamily if is_counter(name) else GaugeMetricFamily
        family = kind(name, figure.help, labels=[figure.label] if figure.label else [])
        for field in fields:
            for labels, value in _values(snapshot, field):
                family.add_metric(labels, value / figure.unit)
        yield family
    # A snapshot has no sum of latencies, so neither _sum nor _count is there; +Inf is the count.
    yield HistogramMetricFamily(HISTOGRAM, HISTOGRAM_HELP, buckets=buckets(snapshot.octaves))


def is_counter(metric: str) -> bool:
    """Whether a metric of this name only rises."""
    return metric.endswith("_total")


def _values(snapshot: Snapshot, field: str) -> Iterator[tuple[list[str], float]]:
    """(labels, value) for all that is known of a field."""
    value, label = attrgetter(field)(snapshot), LIVE_FIGURES[field].label_value
    if isinstance(value, dict):
        yield from (([key], count) for key, count in value.items())
    elif value is not None and math.isfinite(value):
        yield [label] if label else [], value


class Exporter:
    """Serves `latest` at http://HOST:PORT/metrics in a thread until the process ends.

    Port 0 takes a free one, which `url` names. Raises UsageError where it cannot listen there, and
    where prometheus-client is not installed.
    """

    def __init__(self, address: str) -> None:
        host, port = parse_address(address)
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise UsageError(
                "Metrics need prometheus-client, which is not installed.",
                "Install it with: pip install 'c1m[metrics]'",
            ) from None
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
        """Called by prometheus-client at each scrape."""
        return families(self.latest)
