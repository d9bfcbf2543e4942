"""The record of a run, from what the generator counted and measured."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from c1m.limits.diagnosis import explanations, server_ended
from c1m.limits.limit import Evidence, Silence
from c1m.limits.reasons import failures_of
from c1m.loadgen.connections import ConnectionPool
from c1m.loadgen.generator import Generator
from c1m.loadgen.phases import Phase
from c1m.loadgen.recorder import Group
from c1m.loadgen.schemes.base import shown
from c1m.loadgen.targets import is_here
from c1m.results.histogram import Histogram
from c1m.results.record import (
    Failure,
    FaultSeen,
    Latency,
    Metadata,
    ProcessColumns,
    Requests,
    RunRecord,
    Samples,
    Saturation,
    Span,
    StageResult,
    TlsUsed,
)
from c1m.results.samples import cpu_share, cpu_used, idle_cores, memory_of, waited_share
from c1m.results.saturation import Facts, judge_limit, pauses_of
from c1m.results.thresholds import Required, evaluate
from c1m.results.verdict import judge
from c1m.tls import certificates
from c1m.tls.connector import Agreed
from c1m.units import format_count


def conclude(
    generator: Generator,
    conditions: Metadata,
    started: str,
    thresholds: Sequence[Required],
    server_nofile: int = 0,
) -> RunRecord:
    """Everything that was asked, measured and found, with thresholds judged last."""
    plan, asked, connections = generator.plan, generator.plan.asked, generator.connections
    scenario = plan.scenario
    stages, latencies = _stages(generator), _latencies(generator)
    samples = generator.sampler.samples()
    record = RunRecord(
        started=started,
        command=[shown(each) for each in sys.argv],
        target=",".join(asked.targets),
        scenario=scenario.name,
        asked=asked,
        assumed=plan.assumed,
        metadata=conditions,
        connections=connections.counts,
        failures=_failures(connections),
        phases=[Span(p.stage.name, *_times(generator, p)) for p in generator.phases],
        ramp=connections.ramp.result(),
        latencies={n: Latency.of(h) for n, h in latencies.items() if h.count},
        samples=samples,
        memory=memory_of(samples),
        kernel_counters=generator.sampler.kernel_counters(),
        requests=Requests.together([s.requests for s in stages if not s.is_stampede]),
        first=_first(generator),
        stampede=Requests.together([s.requests for s in stages if s.is_stampede]),
        stages=stages,
        series=generator.recorder.series.series(),
        faults=_faults(generator),
        fan_out=scenario.fan_out(),
        tls=_tls(generator, stages, samples),
        checks=scenario.checks(),
        shares=scenario.shares(),
        statuses=plan.statuses(),
        notes=scenario.notes(),
    )
    if record.all_requests.bad or generator.traffic.ledger.extras:
        record.doubts.extend(scenario.doubts())
    if plan.transport is not None:
        record.doubts.extend(plan.transport.doubts())
    also = [*generator.shortfalls, *record.notes, *_not_ended(generator)]
    if generator.interrupted:
        also.append("The run was interrupted before its end.")
    record = replace(record, limit=_limit(generator, record, latencies))
    record = replace(record, verdict=judge(record, also))
    evidence = Evidence(
        kernel_counters=record.kernel_counters,
        gauges=generator.sampler.gauges(),
        samples=samples,
        metadata=conditions,
        ramp=record.ramp,
        triples=plan.addresses.triples,
        is_server_here=all(is_here(t) for t in plan.targets),
        findings=plan.findings,
        unanswered=record.first.missing,
        server_nofile=server_nofile,
        silence=_silence(generator),
        refusal=connections.refusal,
    )
    record.explanations.extend(explanations(asked, record.connections, record.failures, evidence))
    record.thresholds.extend(evaluate(record, thresholds))
    return record


def _failures(connections: ConnectionPool) -> list[Failure]:
    said = connections.said
    return [
        *failures_of("connect", connections.connect_errnos),
        *failures_of("tls", connections.tls_errnos, said),
        *failures_of("handshake", connections.handshake_errnos, said),
        *failures_of("open", connections.lost_errnos, said),
    ]


def _not_ended(generator: Generator) -> list[str]:
    """Where the server was to end the connections: those that it has not."""
    counts = generator.connections.counts
    if not generator.plan.scenario.wants_end or not counts.open_at_end:
        return []
    return [
        f"The server ended {format_count(counts.ended)} of {format_count(counts.opened)} "
        f"connections that said only half of a request; {format_count(counts.open_at_end)} were "
        "open to the end."
    ]


def _times(generator: Generator, phase: Phase) -> tuple[float, float]:
    start = generator.start_ns
    return (phase.start_ns - start) / 1e9, (phase.end_ns - start) / 1e9


def _stages(generator: Generator) -> list[StageResult]:
    """A result a stage. Replies beyond those due belong to the stage in which they came; what came
    after the last one, to that."""
    *planned, settle, close = generator.phases
    if planned:
        planned[-1].extras += settle.extras + close.extras
    return [_stage(generator, phase) for phase in planned]


def _stage(generator: Generator, phase: Phase) -> StageResult:
    stage = phase.stage
    start_s, end_s = _times(generator, phase)
    group = phase.group or Group(0)
    requests = group.requests
    return StageResult(
        name=stage.name,
        text=stage.text,
        start_s=start_s,
        stood_still_s=(phase.end_ns - phase.moved_ns) / 1e9 if phase.stood_still else 0.0,
        end_s=end_s,
        connections_from=stage.connections_from,
        connections_to=stage.connections_to,
        open_at_end=phase.open_at_end,
        rate_from_per_s=stage.rate_from,
        rate_to_per_s=stage.rate_to,
        requests=replace(
            requests,
            faults=dict(Counter(requests.faults) + phase.extras),
            seconds=end_s - start_s if requests.due else 0.0,
        ),
        latency=Latency.of(group.corrected),
        uncorrected=Latency.of(group.uncorrected),
    )


def _latencies(generator: Generator) -> dict[str, Histogram]:
    """Name -> distribution, in the order in which they are shown."""
    recorder = generator.recorder
    corrected, uncorrected, stampede = Histogram(), Histogram(), Histogram()
    for group in recorder.groups:
        if group.is_load:
            corrected.merge(group.corrected)
            uncorrected.merge(group.uncorrected)
        elif group is not recorder.first:
            stampede.merge(group.corrected)
    return {
        "connect": generator.connections.latency,
        "secured": generator.connections.securing,
        "handshake": generator.connections.handshake,
        "ended" if generator.plan.scenario.wants_end else "first": recorder.first.corrected,
        "request": corrected,
        "uncorrected": uncorrected,
        "stampede": stampede,
        **recorder.pushes,
    }


def _first(generator: Generator) -> Requests:
    """Each connection's first request, whose time is the first ramp's."""
    requests = generator.recorder.first_requests
    start_s, end_s = _times(generator, generator.phases[0])
    return replace(requests, seconds=end_s - start_s if requests.due else 0.0)


def _faults(generator: Generator) -> list[FaultSeen]:
    traffic, first = generator.traffic, generator.plan.stretch.first
    return [
        FaultSeen(
            fault.kind, (at_ns - generator.start_ns) / 1e9, first + fault.number, fault.seq,
            repr(fault.expected), repr(fault.received), fault.note,
        )
        for fault, at_ns in zip(traffic.ledger.faults, traffic.fault_ns, strict=True)
    ]  # fmt: skip


def _silence(generator: Generator) -> Silence | None:
    """The first stage in which connects were waited for in vain at its end for the timeout."""
    for phase in generator.phases[:-2]:
        is_long = phase.end_ns - phase.moved_ns >= generator.plan.asked.timeout_ns
        if phase.gave_up and is_long:
            start_s = (phase.moved_ns - generator.start_ns) / 1e9
            return Silence(start_s, _times(generator, phase)[1], phase.stood_still)
    return None


def _tls(generator: Generator, stages: Sequence[StageResult], samples: Samples) -> TlsUsed | None:
    connector, secured_ns = generator.connector, generator.connections.secured_ns
    if connector is None:
        return None
    first = connector.first or Agreed()
    shown = certificates.read(first.certificate)
    return TlsUsed(
        version=first.version,
        cipher=first.cipher,
        protocol=first.protocol,
        subject=shown.subject,
        expires=shown.expires,
        handed_off=connector.handed,
        resumed=connector.resumed,
        seconds=max(secured_ns - generator.start_ns, 0) / 1e9,
        server_cpu_s=_cpu_of_first(samples.server, stages, samples),
        client_cpu_s=_cpu_of_first(samples.client, stages, samples),
    )


def _cpu_of_first(
    process: ProcessColumns | None, stages: Sequence[StageResult], samples: Samples
) -> float | None:
    used = cpu_used(process, samples.t_s, stages[0].start_s, stages[0].end_s) if stages else None
    return None if used is None else used[0]


def _limit(generator: Generator, record: RunRecord, latencies: dict[str, Histogram]) -> Saturation:
    """The verdict over the time in which requests ran; unknown where none did."""
    loaded = [stage for stage in record.stages if stage.requests.due and not stage.is_stampede]
    if not loaded:
        return Saturation()
    requests, samples, recorder = record.requests, record.samples, generator.recorder
    start, end = loaded[0].start_s, loaded[-1].end_s
    busy_s = sum(stage.end_s - stage.start_s for stage in loaded)
    is_open = any(stage.rate_from_per_s is not None for stage in loaded)
    asked = sum(
        ((stage.rate_from_per_s or 0) + (stage.rate_to_per_s or 0))
        / 2
        * (stage.end_s - stage.start_s)
        for stage in loaded
    )
    asking = [  # from when to when (s) requests were made
        (stage.start_s, min(stage.end_s, (phase.planned_end_ns - generator.start_ns) / 1e9))
        for phase, stage in zip(generator.phases[:-2], record.stages, strict=True)
        if phase.group is not None and phase.group.is_load
    ]
    corrected, uncorrected = latencies["request"], latencies["uncorrected"]
    p50 = uncorrected.quantile(0.5) if uncorrected.count else None
    ended_s = server_ended(samples)
    own_cpu = cpu_share(samples.client, samples.t_s, start, end)
    if own_cpu is not None and end > start:  # what was burnt instead of sleeping is to spare
        own_cpu = round(max(own_cpu - generator.spun_ns / 1e9 / (end - start), 0.0), 4)
    facts = Facts(
        requests=requests,
        lag=recorder.lag,
        is_open_loop=is_open,
        generator_cpu=own_cpu,
        server_cpu=cpu_share(samples.server, samples.t_s, start, end),
        generator_waited=waited_share(samples.client, samples.t_s, start, end),
        server_waited=waited_share(samples.server, samples.t_s, start, end),
        is_autogrouped=generator.sampler.is_autogrouped,
        softnet_drops=record.kernel_counters.get("Softnet.dropped", 0),
        p99_ns=corrected.quantile(0.99) if corrected.count else None,
        rate_asked=asked / busy_s if is_open and busy_s else None,
        rate_reached=requests.sent / busy_s if busy_s else None,
        cores=record.metadata.cores or None,
        idle=idle_cores(samples.kernel, samples.t_s, start, end),
        service_p50_ns=p50,
        lag_after=recorder.lag_after,
        late_after=recorder.late_after,
        pauses=pauses_of(
            generator.watch.gaps, asking, samples, p50, requests.right / busy_s if busy_s else 0.0
        ),
        server_ended_s=ended_s if ended_s is not None and ended_s < end else None,
        generator_quota=generator.sampler.client_quota.found(),
        server_quota=generator.sampler.server_quota.found(),
    )  # fmt: skip
    return judge_limit(facts)
