"""Many parts' records as the one of the whole run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from c1m.results.histogram import Histogram
from c1m.results.record import CONNECTION_COUNTS, Connections, Latency, Requests, RunRecord


def merged(records: Sequence[RunRecord]) -> RunRecord:
    """The whole run's."""
    first = records[0]
    connections = Connections(
        **{n: sum(getattr(one.connections, n) for one in records) for n in CONNECTION_COUNTS}
    )
    names = dict.fromkeys(name for one in records for name in one.latencies)
    latencies = {}
    for name in names:
        histogram = Histogram()
        for one in records:
            if name in one.latencies:
                histogram.merge(one.latencies[name].distribution())
        latencies[name] = Latency.of(histogram)
    return replace(
        first,
        connections=connections,
        latencies=latencies,
        requests=Requests.together([one.requests for one in records]),
        first=Requests.together([one.first for one in records]),
        stampede=Requests.together([one.stampede for one in records]),
    )
