"""Made-up run records for the tests of the report: one complete, one with failures, one empty."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from c1m.limits import reasons
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import (
    Connections,
    EngineUsed,
    FaultSeen,
    KernelColumns,
    Latency,
    Metadata,
    ProcessColumns,
    Ramp,
    Requests,
    RunRecord,
    Samples,
    Span,
    StageResult,
)
from c1m.results.samples import memory_of
from c1m.results.verdict import judge
from c1m.results.workers import Loss, WorkerPart, WorkerSeries

METADATA = Metadata(
    kernel="Linux 6.18.5",
    cpu="Example CPU @ 2.50GHz",
    cores=2,
    memory_bytes=24 << 30,
    python="3.11.2",
    numpy="2.4.6",
    c1m="0.1.0",
    nofile_soft=20_000,
    nofile_hard=20_000,
    sysctls={"net.core.somaxconn": "4096", "net.ipv4.ip_local_port_range": "32768 60999"},
    engine=EngineUsed("uring", "io_uring with direct descriptors (Linux 6.18)", {"rings": 56}),
)


def latency(seed: int, median_ns: float, count: int) -> Latency:
    histogram = Histogram()
    drawn = np.random.default_rng(seed).lognormal(np.log(median_ns), 0.6, count)
    histogram.record(drawn.astype(np.int64))
    return Latency.of(histogram)


def ramp_of(marks_s: Sequence[float], opened: int, seconds: float) -> Ramp:
    """The ramp from the moments at which the 1,000th, 2,000th, ... connection had opened."""
    steps, blocks = (np.diff([0.0, *marks_s][::every]).round(6).tolist() for every in (1, 50))
    return Ramp(steps, blocks, round(seconds, 6), round(opened / seconds, 3))


def one_each(sent: int, *, missing: int = 0, garbled: int = 0, **more: Any) -> Requests:
    """Requests that were one for each of `sent` connections."""
    faults = {"garbled": garbled} if garbled else {}
    right = sent - garbled - missing
    return Requests(sent, sent, right, garbled, missing, faults=faults, **more)


def samples(connections: int, *, has_server: bool = True, rows: int = 400) -> Samples:
    """A ramp, a hold and a stampede in numbers of the size that a million connections have."""
    t = np.linspace(0, 80, rows)
    is_open = np.clip(t / 34, 0, 1) * connections
    stampede = np.exp(-(((t - 70) / 1.5) ** 2))
    busy = np.cumsum(np.where((t < 34) | (stampede > 0.1), 0.9, 0.02)) * (t[1] - t[0])
    process = ProcessColumns(
        rss_bytes=(28e6 + 14 * is_open + 2e6 * stampede).astype(np.int64).tolist(),
        user_s=(busy * 0.3).round(2).tolist(),
        system_s=(busy * 0.7).round(2).tolist(),
    )
    return Samples(
        t_s=t.round(3).tolist(),
        open=is_open.astype(np.int64).tolist(),
        server=process if has_server else None,
        client=process,
        kernel=KernelColumns(
            slab_bytes=(2e8 + 6200 * is_open).astype(np.int64).tolist(),
            tcp_mem_bytes=(1e6 + 900 * stampede * is_open).astype(np.int64).tolist(),
            used_bytes=(2e9 + 6600 * is_open + 1e9 * stampede).astype(np.int64).tolist(),
        ),
    )


def stages(stampede: Requests) -> list[StageResult]:
    """Of a run without requests."""
    return [
        StageResult("ramp", "", 0.0, 34.0),
        StageResult("hold", "", 34.0, 64.0),
        StageResult("stampede", "", 64.0, 78.0, requests=stampede),
    ]


def complete_record(connections: int = 1_000_000) -> RunRecord:
    """All as asked."""
    asked = LoadOptions(
        connections=connections, hold_ns=30 * 10**9, message="client connections {n}\n"
    )
    counts = Connections(
        attempted=connections,
        opened=connections,
        peak_open=connections,
        open_at_end=connections,
        ready=connections,
    )
    stampede = one_each(connections, in_flight_peak=connections, seconds=17.5)
    random = np.random.default_rng(7)
    growth = np.linspace(1, 1.12, connections // 1000)
    marks = np.cumsum(0.0322 * growth * random.lognormal(0, 0.08, connections // 1000))
    seconds = float(marks[-1]) if len(marks) else 0.1
    columns = samples(connections)
    record = RunRecord(
        started="2026-11-23T12:05:07Z",
        command=["c1m", "load", "tcp://127.0.0.1:8001", "--connections", "1M"],
        target="tcp://127.0.0.1:8001",
        scenario="echo",
        asked=asked,
        metadata=METADATA,
        connections=counts,
        phases=[
            Span("ramp", 0.0, 34.0),
            Span("hold", 34.0, 64.0),
            Span("stampede", 64.0, 78.0),
            Span("close", 78.0, 80.0),
        ],
        ramp=ramp_of(marks.tolist(), connections, seconds),
        first=one_each(connections, in_flight_peak=2_048, seconds=34.4),
        stampede=stampede,
        stages=stages(stampede),
        latencies={
            "connect": latency(1, 4e6, connections),
            "first": latency(2, 9e6, connections),
            "stampede": latency(3, 6e9, connections),
        },
        samples=columns,
        memory=memory_of(columns),
        kernel_counters={"Tcp.RetransSegs": 0, "TcpExt.ListenOverflows": 0},
    )
    return replace(record, verdict=judge(record))


def short_record() -> RunRecord:
    """Of 20,000 some were refused, some timed out, some were lost, some replies were wrong."""
    asked = LoadOptions(
        connections=20_000, connect_rate_per_s=5_000.0, hold_ns=10 * 10**9,
        message="client connections {n}\n", engine="epoll",
    )  # fmt: skip
    connect_errnos = {errno.ECONNREFUSED: 1_200, errno.ETIMEDOUT: 30, errno.EADDRNOTAVAIL: 5}
    lost = {errno.ECONNRESET: 11, 0: 4}
    counts = Connections(
        attempted=20_000, opened=18_765, peak_open=18_760, open_at_end=18_750, lost=15, ready=18_761
    )
    reasons.count_failures(counts, connect_errnos)
    wrong = "b'client connections 17\\n'", "b'</script><b>18\\n'"
    missing = "b'client connections 18001\\n'", "b''"
    first = one_each(18_765, missing=3, garbled=1, in_flight_peak=900, seconds=4.1)
    stampede = one_each(18_750, in_flight_peak=18_750, seconds=0.3)
    columns = samples(18_760, has_server=False, rows=60)
    record = RunRecord(
        started="2026-11-23T12:05:07Z",
        command=["c1m", "load", "tcp://10.0.0.7:8001", "--connections", "20k"],
        target="tcp://10.0.0.7:8001",
        scenario="echo",
        asked=asked,
        metadata=METADATA,
        connections=counts,
        failures=[
            *reasons.failures_of("connect", connect_errnos),
            *reasons.failures_of("open", lost),
        ],
        phases=[Span("ramp", 0.0, 34.0), Span("hold", 34.0, 64.0)],
        ramp=ramp_of([0.2 * i for i in range(1, 19)], 18_765, 3.8),
        first=first,
        stampede=stampede,
        stages=stages(stampede),
        faults=[
            FaultSeen("garbled", 3.0, 17, 0, *wrong),
            FaultSeen("missing", 4.0, 18_001, 0, *missing),
        ],
        latencies={"first": latency(4, 2e5, 500)},
        samples=columns,
        memory=memory_of(columns),
        kernel_counters={"Tcp.RetransSegs": 122, "TcpExt.ListenOverflows": 44},
    )
    return replace(record, verdict=judge(record))


def worker_parts(count: int, connections: int, lost: Sequence[int] = ()) -> list[WorkerPart]:
    """What so many workers had of a run of 64 seconds; those of the numbers in `lost` were lost."""
    made = []
    for n in range(count):
        is_lost, share = n in lost, connections // count
        t_s = [2.0 * i for i in range(1, 16 if is_lost else 33)]
        made.append(
            WorkerPart(
                name=f"10.0.0.{n}:40001", host=f"load{n}", part=n, asked=share, opened=share,
                peak_open=share, open_at_end=0 if is_lost else share, sent=100 * share,
                right=100 * share - n, wrong=n % 2, missing=n - n % 2, p50_ns=1_100_000,
                p99_ns=17_000_000 + n, lag_p99_ns=200_000, user_s=12.0 + n / 10, system_s=6.5,
                rss_bytes=141_000_000, clock_offset_s=-3.5 + n, clock_uncertain_s=0.0002,
                start_errors_s=[0.0011, -0.0004 * n], frames=len(t_s), frames_missing=int(n == 1),
                limit="neither", lost="it was silent for 8 s" if is_lost else "",
                lost_s=31.2 if is_lost else None,
                series=WorkerSeries(
                    t_s, [min(round(t / 34 * share), share) for t in t_s],
                    [4 * share] * len(t_s), [4 * share] * len(t_s), [0.41 + n / 50] * len(t_s),
                ),
            )
        )  # fmt: skip
    return made


def cluster_record(count: int = 4, lost: Sequence[int] = ()) -> RunRecord:
    """A run by several workers, of which some were lost."""
    record, share = complete_record(), 1_000_000 // count
    losses = [Loss(31.2, f"10.0.0.{n}:40001", n, 0, "it was silent for 8 s", share) for n in lost]
    counts = replace(record.connections, open_at_end=share * (count - len(lost)),
                     lost=share * len(lost))  # fmt: skip
    record = replace(record, workers=worker_parts(count, 1_000_000, lost), degraded=losses,
                     connections=counts)  # fmt: skip
    return replace(record, verdict=judge(record))
