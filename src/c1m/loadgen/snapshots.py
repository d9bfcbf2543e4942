"""Where a load run stands: snapshots for whoever looks on, rows of its series."""

from __future__ import annotations

from dataclasses import dataclass, field

from c1m.limits.reasons import errno_name
from c1m.loadgen.connections import ConnectionPool
from c1m.loadgen.phases import Phase
from c1m.loadgen.plan import LoadPlan
from c1m.loadgen.recorder import Recorder
from c1m.loadgen.sampler import Sampler
from c1m.loadgen.traffic import Traffic
from c1m.results.snapshot import Snapshot

CHECKS_MAX = 100  # in a snapshot
ROW_NS = 1_000_000_000


@dataclass(slots=True)
class Standing:
    """Of a run that consists of these. `recent_ns`: latencies of the last second."""

    plan: LoadPlan
    connections: ConnectionPool
    traffic: Traffic
    recorder: Recorder
    sampler: Sampler
    start_ns: int
    recent_ns: dict[str, int] = field(default_factory=dict)
    _last: Snapshot = field(default_factory=Snapshot)
    _row_ns: int = 0  # when the next row of the series is due

    def __post_init__(self) -> None:
        self._row_ns = self.start_ns + ROW_NS

    def see(self, now_ns: int, *, is_last: bool) -> None:
        """A row of the series when an interval is over."""
        series = self.recorder.series
        if now_ns >= self._row_ns or is_last:
            interval_ns = round(series.interval_s * 1e9)
            passed = max((now_ns - self._row_ns) // interval_ns, 0)  # by a tick that took so long
            self._row_ns += (passed + 1) * interval_ns
            self.recent_ns = series.row(self.row(now_ns))

    def snapshot(self, phase: Phase, number: int, now_ns: int, *, is_last: bool) -> Snapshot:
        """In the stage of this number, from 1; rates are over the time since the last one."""
        plan, connections, recorder, before = self.plan, self.connections, self.recorder, self._last
        counts, ledger = connections.counts, self.traffic.ledger
        elapsed = (now_ns - self.start_ns) / 1e9
        requests = recorder.together()
        requests.faults.update(ledger.extras)
        step_s = elapsed - before.elapsed_s
        per_s = 1 / step_s if step_s > 0 else 0.0
        stage, left, rate = phase.stage, None, None
        if stage.duration_ns is not None:
            left = max(phase.planned_end_ns - now_ns, 0) / 1e9
            if stage.rate_from is not None and stage.rate_to is not None:
                share = 1 - left * 1e9 / stage.duration_ns
                rate = stage.rate_from + share * (stage.rate_to - stage.rate_from)
        failed = connections.failures
        errnos = failed + connections.lost_errnos
        overall = recorder.overall
        checks = plan.scenario.checks()[:CHECKS_MAX]
        self._last = Snapshot(
            elapsed_s=elapsed,
            target=",".join(plan.asked.targets),
            scenario=plan.scenario.name,
            stage=stage.text,
            stage_number=number,
            stages=len(plan.stages),
            stage_left_s=left,
            asked=plan.asked.connections,
            attempted=counts.attempted,
            connected=counts.connected,
            secured=counts.secured,
            opened=counts.opened,
            ready=counts.ready,
            open=connections.live,
            failed=failed.total(),
            lost=counts.lost,
            closed=counts.closed,
            connects_per_s=(counts.opened - before.opened) * per_s,
            last_step_ms=connections.ramp.last_step_ms(),
            requests=requests,
            in_flight=ledger.in_flight,
            sent_per_s=(requests.sent - before.requests.sent) * per_s,
            right_per_s=(requests.right - before.requests.right) * per_s,
            rate_asked_per_s=rate,
            is_closed_loop=stage.think_ns is not None,
            errnos={errno_name(code): count for code, count in errnos.items()},
            checks_passed={one.name: one.passed for one in checks},
            checks_failed={one.name: one.failed for one in checks},
            statuses=plan.statuses(),
            percentiles_ns=overall.percentiles() | ({"max": overall.max} if overall.count else {}),
            recent_ns=self.recent_ns,
            octaves=overall.octaves(),
            lag_max_ns=recorder.series.lag_max_ns,
            **self.sampler.latest(),
            is_tls=plan.tls is not None,
            is_last=is_last,
        )
        return self._last

    def row(self, now: int) -> dict[str, float]:
        """What the series is made of: first replies count only where they are bad."""
        counts, after = self.connections.counts, self.recorder.after_first()
        return {
            "t_s": round((now - self.start_ns) / 1e9, 3),
            "open": self.connections.live,
            "in_flight": self.traffic.ledger.in_flight,
            "opened": counts.opened,
            "secured": counts.secured,
            "failed": self.connections.failures.total(),
            "lost": counts.lost,
            "closed": counts.closed,
            "due": after.due,
            "sent": after.sent,
            "right": after.right,
            "bad": after.bad + self.recorder.first_requests.bad,
        }
