"""The tally of a run at one moment, from what the load client counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from c1m.limits.reasons import errno_name
from c1m.loadgen.connections import ConnectionPool
from c1m.loadgen.phases import Phase
from c1m.loadgen.recorder import Recorder
from c1m.results.record import CONNECTION_COUNTS, REQUEST_COUNTS, Requests
from c1m.results.tally import Tally


def tally_of(connections: ConnectionPool, recorder: Recorder, phases: Sequence[Phase]) -> Tally:
    """Everything additive so far of a run with these."""
    counts: Counter[str] = Counter()
    for name in CONNECTION_COUNTS:
        counts[f"connections.{name}"] = getattr(connections.counts, name)
    counts["open"] = connections.live
    _requests(counts, "first", recorder.first_requests)
    histograms = {
        "connect": connections.latency,
        "first": recorder.first.corrected,
    }
    for number, phase in enumerate(phases):
        if phase.group is not None:
            _requests(counts, f"stage.{number}", phase.group.requests)
            histograms[f"stage.{number}.corrected"] = phase.group.corrected
            histograms[f"stage.{number}.uncorrected"] = phase.group.uncorrected
    for code, count in (connections.failures + connections.lost_errnos).items():
        counts[f"errno.{errno_name(code)}"] = count
    return Tally(counts, {name: one.copy() for name, one in histograms.items() if one.count})


def _requests(counts: Counter[str], name: str, requests: Requests) -> None:
    for each in REQUEST_COUNTS:
        counts[f"{name}.{each}"] = getattr(requests, each)
    for kind, count in requests.faults.items():
        counts[f"{name}.faults.{kind}"] = count
