"""Made-up records of runs with requests: one of 100 s that meets a frozen server, one of an hour.

The columns go together as in a real run (the laws of a record hold), so that the summary and the
plots can be looked at.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from c1m.limits import reasons
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import (
    Connections,
    Explanation,
    FanOut,
    FaultSeen,
    Latency,
    Requests,
    RunRecord,
    Saturation,
    Series,
    Span,
    StageResult,
    Threshold,
)
from c1m.results.samples import memory_of
from c1m.results.verdict import judge
from report_records import METADATA, latency, one_each, ramp_of, samples

FREEZE_NS = 1_400_000_000
STAGES = (
    # name, text, from, to (shares of the run), connections from and to, rate from and to
    ("ramp", "ramp 0..100k in 20s", 0.0, 0.2, 0, 100_000, None, None),
    ("hold", "hold 100k for 30s at 10k/s..50k/s", 0.2, 0.5, 100_000, 100_000, 10e3, 50e3),
    ("spike", "spike 100k for 10s at 200k/s", 0.5, 0.6, 100_000, 100_000, 200e3, 200e3),
    ("hold", "hold for 30s at 50k/s churn 5k/s", 0.6, 0.9, 100_000, 100_000, 50e3, 50e3),
    ("drain", "drain in 10s", 0.9, 1.0, 100_000, 0, None, None),
)


def frozen(seed: int, count: int) -> tuple[Latency, Latency]:
    """(corrected, uncorrected) of a server that freezes once for 1.4 s."""
    random = np.random.default_rng(seed)
    values = random.lognormal(np.log(3e5), 0.5, count).astype(np.int64)
    corrected, uncorrected = Histogram(), Histogram()
    uncorrected.record(values)
    held = max(1, count // 60)
    uncorrected.record(np.full(max(1, count // 50_000), FREEZE_NS, np.int64))
    values[:held] += random.integers(0, FREEZE_NS, held)
    corrected.record(values)
    corrected.record(np.full(max(1, count // 50_000), FREEZE_NS, np.int64))
    return Latency.of(corrected), Latency.of(uncorrected)


def series(seconds: int, churn_per_s: int = 5_000) -> Series:
    """One row a second of the plan above; counts add up to what `request_record` says."""
    t = np.arange(1, seconds + 1)
    done = t / seconds
    random = np.random.default_rng(5)
    rate = np.zeros(seconds)
    opened = np.zeros(seconds)
    for name, _, start, end, before, after, low, high in STAGES:
        rows = (done > start) & (done <= end)
        part = (done[rows] - start) / (end - start)
        opened[rows] = before + (after - before) * part
        if low is not None and high is not None:
            rate[rows] = low + (high - low) * part
        assert name
    is_open = opened.astype(np.int64)
    due = np.where(rate > 0, rate * random.normal(1, 0.01, seconds), 0).astype(np.int64)
    bad = np.where(due > 0, random.poisson(0.2, seconds), 0)
    p50 = np.where(due > 0, random.lognormal(np.log(3e5), 0.1, seconds), 0)
    freeze = np.argmin(np.abs(done - 0.4))
    worst = 6 * p50
    worst[freeze] = FREEZE_NS
    churn = np.where((done > 0.6) & (done <= 0.9), churn_per_s, 0)
    grown = np.diff(is_open, prepend=0)
    return Series(
        interval_s=1.0,
        t_s=t.astype(float).tolist(),
        open=is_open.tolist(),
        in_flight=(due * 4 // 10_000).tolist(),
        opened=(np.maximum(grown, 0) + churn).tolist(),
        failed=np.where(done <= 0.2, random.poisson(0.5, seconds), 0).tolist(),
        lost=np.where(np.arange(seconds) == freeze + 1, 17, 0).tolist(),
        closed=(np.maximum(-grown, 0) + churn).tolist(),
        secured=[0] * len(t),
        due=due.tolist(),
        sent=due.tolist(),
        right=(due - bad).tolist(),
        bad=bad.tolist(),
        p50_ns=p50.astype(np.int64).tolist(),
        p99_ns=np.minimum(worst, 3 * p50).astype(np.int64).tolist(),
        max_ns=worst.astype(np.int64).tolist(),
        lag_max_ns=random.lognormal(np.log(4e4), 0.7, seconds).astype(np.int64).tolist(),
    )


def _requests(rows: Series, first: int, last: int) -> Requests:
    """Sums of rows `first` to `last`, their bad replies shared out over the kinds."""
    due, bad = sum(rows.due[first:last]), sum(rows.bad[first:last])
    garbled, crossed = bad // 2, bad // 4
    unsent = due // 100_000
    sent = due - unsent
    return Requests(
        due=due,
        sent=sent,
        right=sent - bad,
        wrong=garbled + crossed,
        missing=bad - garbled - crossed,
        unsent=unsent,
        waited=due // 90,
        late=due // 4_000,
        faults={"garbled": garbled, "crossed": crossed, "doubled": due // 1_000_000},
    )


def _stages(rows: Series, seconds: int) -> list[StageResult]:
    made = []
    for i, (name, text, start, end, before, after, low, high) in enumerate(STAGES):
        first, last = round(start * seconds), round(end * seconds)
        requests = _requests(rows, first, last)
        requests = replace(requests, seconds=float(last - first) if requests.due else 0.0)
        one = StageResult(name, text, start * seconds, end * seconds, before, after, after)
        if requests.due:
            one = replace(one, rate_from_per_s=low, rate_to_per_s=high, requests=requests)
            corrected, uncorrected = frozen(i, min(requests.due, 300_000))
            one = replace(one, latency=corrected, uncorrected=uncorrected)
        made.append(one)
    return made


def request_record(seconds: int = 100, rows: int = 400) -> RunRecord:
    """100,000 connections, an open loop that grows, a spike, churn; most things go wrong a bit.

    `seconds` is the run's length and the rows of its series, `rows` those of its samples.
    """
    counted = series(seconds)
    stages = _stages(counted, seconds)
    total = Requests.together([stage.requests for stage in stages if stage.requests.due])
    failed, lost = sum(counted.failed), sum(counted.lost)
    opened = sum(counted.opened)
    asked = LoadOptions(
        connections=100_000,
        message="ping {n} {seq}\n",
        stages=[stage.text for stage in stages],
        rate_per_s=50_000.0,
        arrivals="poisson",
        spread="zipf:1.1",
        churn_per_s=5_000.0,
        timeout_ns=10 * 10**9,
        seed=7,
    )
    errnos = {110: failed - 1, 111: 1} if failed else {}
    open_at_end = max(0, opened - sum(counted.closed))
    connections = Connections(
        attempted=opened + sum(errnos.values()),
        opened=opened,
        peak_open=99_990,
        open_at_end=open_at_end,
        lost=lost,
        closed=opened - open_at_end - lost,
        ready=opened - 20,
    )
    reasons.count_failures(connections, errnos)
    columns = samples(100_000, rows=rows)
    columns = replace(columns, t_s=[t * seconds / 80 for t in columns.t_s])
    request, uncorrected = frozen(9, 2_000_000)
    lag = latency(11, 4e4, 1_000_000)
    record = RunRecord(
        started="2026-11-23T12:05:07Z",
        command=["c1m", "load", "tcp://127.0.0.1:8001", "--connections", "100k"],
        target="tcp://127.0.0.1:8001",
        scenario="echo",
        asked=asked,
        metadata=METADATA,
        connections=connections,
        failures=reasons.failures_of("connect", errnos) + reasons.failures_of("open", {104: lost}),
        phases=[Span(stage.name, stage.start_s, stage.end_s) for stage in stages],
        ramp=ramp_of(np.linspace(0, 20, 101)[1:].tolist(), 100_000, 20.0),
        first=one_each(opened, missing=20, in_flight_peak=900, seconds=20.0),
        latencies={
            "connect": latency(1, 4e6, 90_000),
            "first": latency(2, 9e6, 90_000),
            "request": request,
            "uncorrected": uncorrected,
        },
        samples=columns,
        memory=memory_of(columns),
        kernel_counters={"Tcp.RetransSegs": 14, "TcpExt.ListenOverflows": 9},
        thresholds=[
            Threshold("p99 < 50ms", "p99", 1.2e9, "1.2 s", False, "p99 of request, corrected"),
            Threshold("lost <= 20", "lost", 17.0, "17", True),
            Threshold("p99.999 < 2s", "p99.999", None, "", False, "it takes 1,000,000 samples"),
        ],
        requests=total,
        stages=stages,
        series=counted,
        faults=[
            FaultSeen("garbled", 31.25, 17, 4, "b'ping 17 4\\n'", "b'</script><b>4\\n'"),
            FaultSeen("garbled", 31.75, 4_711, 9, "b'ping 4711 9\\n'", "b'pong 4711 9\\n'"),
            FaultSeen("crossed", 40.5, 99_001, 2, "b'ping 99001 2\\n'", "b'ping 12 2\\n'"),
            FaultSeen("doubled", 44.0, 3, 1, "", "b'ping 3 1\\n'"),
        ],
        limit=Saturation(
            who="generator",
            is_lower_bound=True,
            sentences=["Its loop had 97 % of its core while requests ran"],
            generator_cpu=0.97,
            server_cpu=0.41,
            schedule_lag=lag,
            kernel_drops=3,
        ),
        explanations=[
            Explanation(
                failed - 1,
                f"{failed - 1} x ETIMEDOUT while connecting",
                "the accept queue overflowed 9 times",
                "Raise net.core.somaxconn and the server's backlog.",
                "ETIMEDOUT",
            ),
            Explanation(
                lost,
                f"{lost} x ECONNRESET while open",
                "the peer reset the connection",
                errno="ECONNRESET",
            ),
        ],
        notes=["INCR totals add up: 5,000 keys, 2,500,000 increments"],
    )
    return replace(record, verdict=judge(replace(record, requests=Requests())))


def publish_record() -> RunRecord:
    """Scenario publish: fan-out with its own latencies."""
    push, last = latency(21, 2e6, 500_000), latency(22, 8e6, 5_000)
    fan = FanOut(5_000, 500_000, 499_990, 2, 0)
    base = request_record()
    return replace(
        base,
        scenario="publish",
        requests=Requests(),
        stages=[replace(s, requests=Requests(), rate_from_per_s=None) for s in base.stages],
        latencies={"connect": base.latencies["connect"], "push": push, "push_last": last},
        fan_out=fan,
        faults=[],
        thresholds=[],
        limit=Saturation(who="server", sentences=["Its core was busy for 99 % of the time."]),
    )


def hour_record() -> RunRecord:
    """An hour: 3,600 rows of series and 2,000 samples."""
    return request_record(seconds=3_600, rows=2_000)
