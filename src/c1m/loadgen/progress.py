"""A snapshot of a running generator, for the display and the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from c1m.limits.reasons import errno_name
from c1m.results.snapshot import Snapshot

if TYPE_CHECKING:
    from c1m.loadgen.generator import Generator


def snapshot_of(
    generator: Generator, now_ns: int, before: Snapshot | None, *, is_last: bool = False
) -> Snapshot:
    """Where the run stands; rates are over the time since the snapshot `before`."""
    plan, connections, recorder = generator.plan, generator.connections, generator.recorder
    counts, ledger = connections.counts, generator.traffic.ledger
    elapsed = (now_ns - generator.start_ns) / 1e9
    requests = recorder.together()
    requests.faults.update(ledger.extras)
    step_s = elapsed - before.elapsed_s if before else elapsed
    phase = generator.phases[-1]
    stage = phase.stage
    left = rate = None
    if stage is not None and stage.duration_ns is not None:
        left = max(phase.start_ns + stage.duration_ns - now_ns, 0) / 1e9
        if stage.rate_from is not None and stage.rate_to is not None:
            share = 1 - left * 1e9 / stage.duration_ns
            rate = stage.rate_from + share * (stage.rate_to - stage.rate_from)
    errnos = connections.connect_errnos + connections.lost_errnos
    overall = recorder.overall
    return Snapshot(
        elapsed_s=elapsed,
        target=",".join(plan.asked.targets),
        scenario=plan.scenario.name,
        stage=stage.text if stage else phase.name,
        stage_number=min(sum(p.stage is not None for p in generator.phases), len(plan.stages)),
        stages=len(plan.stages),
        stage_left_s=left,
        asked=plan.asked.connections,
        attempted=counts.attempted,
        opened=counts.opened,
        ready=counts.ready,
        open=connections.live,
        failed=counts.failed,
        lost=counts.lost,
        closed=counts.closed,
        connects_per_s=_rate(counts.opened, before.opened if before else 0, step_s),
        last_step_ms=connections.ramp.last_step_ms(),
        requests=requests,
        in_flight=ledger.in_flight,
        sent_per_s=_rate(requests.sent, before.requests.sent if before else 0, step_s),
        right_per_s=_rate(requests.right, before.requests.right if before else 0, step_s),
        rate_asked_per_s=rate,
        errnos={errno_name(code): count for code, count in errnos.items()},
        percentiles_ns=overall.percentiles() | ({"max": overall.max} if overall.count else {}),
        recent_ns=generator.recent_ns,
        octaves=overall.octaves(),
        lag_max_ns=recorder.series.lag_max_ns,
        **generator.sampler.latest()._asdict(),
        is_last=is_last,
    )


def _rate(now: int, before: int, seconds: float) -> float:
    return (now - before) / seconds if seconds > 0 else 0.0
