"""Who was the limit of a run by several load clients, by what each of them found. Pure.

A whole is as good as its worst part: where one generator was the limit, the figures are a lower
bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from c1m.cluster.found import Found
from c1m.cluster.sentences import said_by
from c1m.results.histogram import Histogram
from c1m.results.record import Latency, RunRecord, Saturation

PAUSES_MAX = 32


def limit_of(parts: Sequence[Found], whole: RunRecord) -> Saturation:
    """Of the whole run, whose counters are known already."""
    limits = [one.record.limit for one in parts]
    who = _who([one.who for one in limits])
    lag = Histogram()
    for one in limits:
        if one.schedule_lag.count:
            lag.merge(one.schedule_lag.distribution())
    worst = [one for one in parts if one.record.limit.who == who]
    if who == "both":
        worst = [one for one in parts if one.record.limit.who in ("generator", "server", "both")]
    pauses = sorted((p for one in limits for p in one.pauses), key=lambda pause: -pause.seconds)
    return Saturation(
        who=who,
        is_lower_bound=any(one.is_lower_bound for one in limits),
        sentences=said_by(worst or parts, lambda one: one.record.limit.sentences),
        generator_cpu=_most(one.generator_cpu for one in limits),
        server_cpu=_most(one.server_cpu for one in limits),
        generator_waited=_most(one.generator_waited for one in limits),
        server_waited=_most(one.server_waited for one in limits),
        schedule_lag=Latency.of(lag),
        kernel_drops=whole.kernel_counters.get("Softnet.dropped", 0),
        pauses=sorted(pauses[:PAUSES_MAX], key=lambda pause: pause.start_s),
        generator_quota=next((q for one in limits if (q := one.generator_quota)), None),
        server_quota=next((q for one in limits if (q := one.server_quota)), None),
    )


def _who(each: Sequence[str]) -> str:
    """The worst of all."""
    ends = {end for who in each for end in ("generator", "server") if who in (end, "both")}
    if len(ends) == 2:
        return "both"
    if ends:
        return ends.pop()
    known = [who for who in each if who != "unknown"]
    return known[0] if known else "unknown"


def _most(values: Iterable[float | None]) -> float | None:
    return max((one for one in values if one is not None), default=None)
