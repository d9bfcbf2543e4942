"""The records of a run's load clients as the one of the whole run. Pure.

Counts and histograms are added; percentiles, the verdict and the thresholds are of the sum. What
belongs to a machine (its memory, its kernel's counters) is taken from one load client of each. The
series and the most that were open at one moment come from the frames. In which order the parts are
given makes no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from c1m.bounds import RAMP_STEP
from c1m.cluster import machines
from c1m.cluster.found import Found
from c1m.cluster.frames import Whole
from c1m.cluster.head import Head
from c1m.cluster.limit import limit_of
from c1m.cluster.sentences import explained, said_by, shortfalls_of
from c1m.limits.reasons import WORKER_LOST
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.ramp import RampTimes
from c1m.results.record import (
    CONNECTION_COUNTS,
    FAN_OUT_COUNTS,
    Check,
    Connections,
    Failure,
    FanOut,
    Latency,
    Ramp,
    Requests,
    RunRecord,
    Share,
    Span,
    StageResult,
    TlsUsed,
)
from c1m.results.samples import memory_of
from c1m.results.thresholds import evaluate, parse
from c1m.results.verdict import judge
from c1m.results.workers import Loss, WorkerPart
from c1m.units import format_number_of

FAULTS_OF_A_KIND = 3  # are shown
_SHARE_COUNTS = ("connections", "sent", "right", "wrong", "missing")


def merged(
    asked: LoadOptions,
    found: Iterable[Found],
    whole: Whole,
    command: Sequence[str] = (),
    also: Sequence[str] = (),
) -> RunRecord:
    """Of all attempts at all parts, and the sum of their frames; `asked`: of the whole run, `also`:
    sentences of what else was short."""
    parts = sorted(found, key=lambda one: (one.head.part, one.head.attempt))
    assert parts, "nothing was found"
    records = [one.record for one in parts]
    first, series = records[0], whole.series()
    stages = _stages(parts)
    samples = machines.samples_of(parts)
    record = replace(
        first,
        started=min((one.started for one in records if one.started), default=""),
        command=list(command),
        asked=asked,
        connections=_connections(records, stages, whole),
        failures=_failures(records),
        phases=_phases(records, stages),
        ramp=_ramp(records),
        latencies=_latencies(records),
        samples=samples,
        memory=memory_of(samples),
        kernel_counters=machines.counters_of(parts),
        requests=Requests.together([s.requests for s in stages if not s.is_stampede]),
        first=_of_parts([one.first for one in records]),
        stampede=Requests.together([s.requests for s in stages if s.is_stampede]),
        stages=stages,
        series=series,
        faults=_faults(records),
        fan_out=_fan_out(records),
        tls=_tls(records),
        checks=_checks(records),
        shares=_shares(records),
        statuses=_summed(one.statuses for one in records),
        notes=[*said_by(parts, lambda one: one.record.notes), *unheard(parts)],
        doubts=list(dict.fromkeys(text for one in records for text in one.doubts)),
        explanations=explained(parts),
        workers=[_worker(one) for one in parts],
        degraded=_losses(parts),
        thresholds=[],
    )
    record = replace(record, limit=limit_of(parts, record))
    also = [*also, *shortfalls_of(parts), *record.notes]
    record = replace(record, verdict=judge(record, also))
    record.thresholds.extend(evaluate(record, [parse(text) for text in asked.require]))
    return record


# --- counts ---------------------------------------------------------------------------------------


def _connections(
    records: Sequence[RunRecord], stages: Sequence[StageResult], whole: Whole
) -> Connections:
    """The sum; the most at one moment are those at the end of a second, or of a stage, in which
    all had come so far."""
    totals = {name: sum(getattr(one.connections, name) for one in records) for name in
              CONNECTION_COUNTS}  # fmt: skip
    moments = [whole.rows.peak_open, totals["open_at_end"], *(one.open_at_end for one in stages)]
    return Connections(**totals | {"peak_open": min(max(moments), totals["peak_open"])})


def _failures(records: Sequence[RunRecord]) -> list[Failure]:
    """By phase, the most frequent first; their words are those of the first."""
    order = {"connect": 0, "tls": 1, "handshake": 2, "open": 3}
    rows: dict[tuple[str, str], Failure] = {}
    for one in (failure for record in records for failure in record.failures):
        before = rows.get((one.phase, one.errno))
        rows[one.phase, one.errno] = (
            one if before is None else replace(before, count=before.count + one.count)
        )
    return sorted(rows.values(), key=lambda one: (order.get(one.phase, 9), -one.count, one.errno))


def _of_parts(several: Sequence[Requests]) -> Requests:
    """Requests of the same time: the time is the longest, what was in flight at most adds up."""
    return replace(
        Requests.together(several),
        in_flight_peak=sum(one.in_flight_peak for one in several),
        seconds=max((one.seconds for one in several), default=0.0),
    )


def _latency(several: Iterable[Latency]) -> Latency:
    histogram = Histogram()
    for one in several:
        if one.count:
            histogram.merge(one.distribution())
    return Latency.of(histogram)


def _latencies(records: Sequence[RunRecord]) -> dict[str, Latency]:
    names = dict.fromkeys(name for one in records for name in one.latencies)
    return {
        name: _latency(one.latencies[name] for one in records if name in one.latencies)
        for name in names
    }


def _summed(several: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in several:
        total.update(one)
    return dict(sorted(total.items()))


def _checks(records: Sequence[RunRecord]) -> list[Check]:
    rows: dict[str, Check] = {}
    for one in (check for record in records for check in record.checks):
        before = rows.get(one.name, Check(one.name))
        rows[one.name] = Check(
            one.name, before.passed + one.passed, before.failed + one.failed,
            before.first or one.first,
        )  # fmt: skip
    return list(rows.values())


def _shares(records: Sequence[RunRecord]) -> list[Share]:
    names = dict.fromkeys(share.name for one in records for share in one.shares)
    rows = {name: [s for one in records for s in one.shares if s.name == name] for name in names}
    return [
        Share(name, **{n: sum(getattr(one, n) for one in own) for n in _SHARE_COUNTS})
        for name, own in rows.items()
    ]


def _fan_out(records: Sequence[RunRecord]) -> FanOut | None:
    several = [one.fan_out for one in records if one.fan_out is not None]
    if not several:
        return None
    return FanOut(**{n: sum(getattr(one, n) for one in several) for n in FAN_OUT_COUNTS})


def unheard(parts: Sequence[Found]) -> list[str]:
    """What was published by one part and reached no connection of another, which therefore cannot
    say what it has missed; where a part was lost, that is not known."""
    fan_out = _fan_out([one.record for one in parts])
    if fan_out is None or any(one.lost for one in parts):
        return []
    left = (len(parts) - 1) * fan_out.published - fan_out.elsewhere
    if left <= 0:
        return []
    what = format_number_of(left, "publication")
    return [f"{what} of one worker reached no connection of another."]


def _tls(records: Sequence[RunRecord]) -> TlsUsed | None:
    several = [one.tls for one in records if one.tls is not None]
    if not several:
        return None
    spoken = next((one for one in several if one.version), several[0])
    used = [one.client_cpu_s for one in several if one.client_cpu_s is not None]
    servers = [one.server_cpu_s for one in several if one.server_cpu_s is not None]
    return replace(
        spoken,
        handed_off=sum(one.handed_off for one in several),
        resumed=sum(one.resumed for one in several),
        seconds=max(one.seconds for one in several),
        server_cpu_s=max(servers, default=None),
        client_cpu_s=sum(used) if used else None,
    )


def _faults(records: Sequence[RunRecord]) -> list[Any]:
    """The first of each kind."""
    kept: Counter[str] = Counter()
    rows = []
    for one in sorted((f for record in records for f in record.faults), key=lambda f: f.t_s):
        kept[one.kind] += 1
        if kept[one.kind] <= FAULTS_OF_A_KIND:
            rows.append(one)
    return rows


# --- times ----------------------------------------------------------------------------------------


def _stages(parts: Sequence[Found]) -> list[StageResult]:
    """Each stage of all who took part in it."""
    count = max(len(one.record.stages) for one in parts)
    each = [[one for one in parts if len(one.record.stages) > n] for n in range(count)]
    return [_stage([(one.head, one.record.stages[n]) for one in own]) for n, own in enumerate(each)]


def _stage(several: Sequence[tuple[Head, StageResult]]) -> StageResult:
    """Of one that takes another's place the stages before are empty, and begin when it did."""
    results = [stage for _, stage in several]
    timed = [stage for head, stage in several if not head.attempt] or results
    last = {head.part: stage for head, stage in several}.values()  # one attempt a part
    # A part's attempts are never open together: a later one opens again what an earlier one had.
    open_of = dict[int, int]()
    for head, stage in several:
        open_of[head.part] = max(open_of.get(head.part, 0), stage.open_at_end)

    def rate(name: str) -> float | None:
        rates = [value for stage in last if (value := getattr(stage, name)) is not None]
        return sum(rates) if rates else None

    return replace(
        timed[0],
        start_s=min(one.start_s for one in timed),
        end_s=max(one.end_s for one in timed),
        connections_from=sum(one.connections_from for one in last),
        connections_to=sum(one.connections_to for one in last),
        open_at_end=sum(open_of.values()),
        rate_from_per_s=rate("rate_from_per_s"),
        rate_to_per_s=rate("rate_to_per_s"),
        stood_still_s=max(one.stood_still_s for one in results),
        requests=_of_parts([one.requests for one in results]),
        latency=_latency(one.latency for one in results),
        uncorrected=_latency(one.uncorrected for one in results),
    )


def _phases(records: Sequence[RunRecord], stages: Sequence[StageResult]) -> list[Span]:
    spans = [Span(one.name, one.start_s, one.end_s) for one in stages]
    for name in ("settle", "close"):
        own = [one for record in records for one in record.phases[-2:] if one.name == name]
        if own:
            spans.append(Span(name, min(o.start_s for o in own), max(o.end_s for o in own)))
    return spans


def _ramp(records: Sequence[RunRecord]) -> Ramp:
    """Blocks of all, by when those of each were there."""
    arrivals: list[tuple[float, float]] = []  # when, how many
    for ramp in (one.ramp for one in records):
        at, done = 0.0, 0
        for seconds in ramp.per_1000_s:
            at, done = at + seconds, done + RAMP_STEP
            arrivals.append((at, RAMP_STEP))
        rest = round(ramp.connects_per_s * ramp.seconds) - done
        if rest > 0:
            arrivals.append((ramp.seconds, rest))
    times = RampTimes(0)
    for at, count in sorted(arrivals):
        times.add(round(count), round(at * 1e9))
    return times.result()


# --- who did it -----------------------------------------------------------------------------------


def _worker(one: Found) -> WorkerPart:
    head, record, frames = one.head, one.record, one.frames
    connections, everything = record.connections, record.all_requests
    client = record.samples.client
    latency = next((record.latencies[n] for n in ("request", "push", "first")
                    if n in record.latencies), Latency())  # fmt: skip
    return WorkerPart(
        name=head.worker,
        host=head.host,
        address=head.address,
        part=head.part,
        attempt=head.attempt,
        asked=record.asked.connections,
        opened=connections.opened,
        peak_open=connections.peak_open,
        open_at_end=connections.open_at_end,
        lost_connections=connections.lost,
        sent=everything.sent,
        right=everything.right,
        wrong=everything.wrong,
        missing=everything.missing,
        p50_ns=latency.percentiles_ns.get("p50"),
        p99_ns=latency.percentiles_ns.get("p99"),
        lag_p99_ns=record.limit.schedule_lag.percentiles_ns.get("p99"),
        user_s=_grown(client.user_s),
        system_s=_grown(client.system_s),
        rss_bytes=max((n for n in client.rss_bytes if n is not None), default=None),
        clock_offset_s=one.clock_offset_s,
        clock_uncertain_s=one.clock_uncertain_s,
        start_errors_s=one.start_errors_s,
        frames=frames.got,
        frames_missing=len(frames.missing),
        limit=record.limit.who,
        lost=one.lost,
        lost_s=one.lost_s if one.lost else None,
        series=frames.series(),
    )


def _grown(column: Sequence[float | None]) -> float | None:
    known = [value for value in column if value is not None]
    return round(known[-1] - known[0], 3) if known else None


def _losses(parts: Sequence[Found]) -> list[Loss]:
    return [
        Loss(
            t_s=one.lost_s,
            worker=one.head.worker,
            part=one.head.part,
            attempt=one.head.attempt,
            why=one.lost,
            connections=one.frames.counts.get(f"failed.open.{WORKER_LOST}", 0),
        )
        for one in sorted((one for one in parts if one.lost), key=lambda one: one.lost_s)
    ]
