"""Made-up records of runs with requests: seconds with their own luck, latencies, CPU, a limit.

`run(seed)` is a run of one build; what it varies by from seed to seed is what builds are compared
against.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import (
    Connections,
    KernelColumns,
    Latency,
    MemoryPerConnection,
    ProcessColumns,
    Ramp,
    Requests,
    RunRecord,
    Samples,
    Saturation,
    Series,
    StageResult,
    Verdict,
)
from report_records import METADATA, one_each

RAMP_S = 5


def autocorrelated(
    random: np.random.Generator, n: int, deviation: float, phi: float = 0.5
) -> np.ndarray:
    """A series around 0 in which a value is like the one before it."""
    steps = random.normal(0, deviation * np.sqrt(1 - phi * phi), n)
    values = np.zeros(n)
    values[0] = random.normal(0, deviation)
    for i in range(1, n):
        values[i] = phi * values[i - 1] + steps[i]
    return values


def run(
    seed: int,
    *,
    rate: float = 2_000,
    slower: float = 1.0,
    tail: float = 1.0,
    cpu_us: float = 10.0,
    seconds: int = 30,
    between: float = 0.0,
    limit: Saturation | None = None,
    **requests: Any,
) -> RunRecord:
    """A ramp of 5 s, then a closed loop: `slower` times every latency, `tail` times those of the
    slowest 2 %. `between`: the deviation from run to run, in logarithms; `requests`: counts."""
    random = np.random.default_rng(seed)
    own = float(np.exp(random.normal(0, between)))
    pace = np.exp(autocorrelated(random, seconds, 0.03)) * own
    luck = np.exp(autocorrelated(random, seconds, 0.08)) / own
    counts = (rate * pace).astype(int)
    histogram, p50, p99, highest = Histogram(), [], [], []
    for count, factor in zip(counts.tolist(), luck.tolist(), strict=True):
        drawn = 2e6 * slower * factor * np.exp(random.normal(0, 0.4, count))
        slow = random.random(count) < 0.02
        drawn[slow] *= 4 * tail
        values = drawn.astype(np.int64)
        histogram.record(values)
        p50.append(int(np.quantile(values, 0.5)))
        p99.append(int(np.quantile(values, 0.99)))
        highest.append(int(values.max()))
    right = int(counts.sum())
    total = Requests(due=right, sent=right, right=right, seconds=seconds)
    total = replace(total, **requests)
    t = [float(i + 1) for i in range(RAMP_S + seconds)]
    idle = [0] * RAMP_S
    both = [*idle, *counts.tolist()]
    used = np.cumsum([0, *(c * cpu_us * 1e-6 * random.normal(1, 0.02) for c in both)])
    connects = 1e6 * np.exp(random.normal(0, 0.3, 1_000))
    connect = Histogram()
    connect.record(connects.astype(np.int64))
    return RunRecord(
        started="2026-11-24T08:00:00Z",
        target="tcp://127.0.0.1:8001",
        scenario="echo",
        asked=LoadOptions(
            connections=1_000, message="x\n", stages=["ramp 1k", f"hold for {seconds}s"]
        ),
        metadata=METADATA,
        connections=Connections(1_000, 1_000, 1_000, 1_000, ready=1_000),
        first=one_each(1_000),
        latencies={"request": Latency.of(histogram), "uncorrected": Latency.of(histogram),
                   "connect": Latency.of(connect)},
        ramp=Ramp([RAMP_S * own], [], RAMP_S * own, 200.0 / own),
        memory=MemoryPerConnection(server_user_bytes_per_connection=38.0),
        requests=total,
        stages=[StageResult("ramp", "ramp 1k", 0, RAMP_S, 0, 1_000),
                StageResult("hold", "", RAMP_S, RAMP_S + seconds, 1_000, 1_000, 1_000,
                            requests=total)],
        series=Series(t_s=t, open=[1_000] * len(t), in_flight=[64] * len(t), due=both, sent=both,
                      right=both, bad=[0] * len(t), opened=[0] * len(t), failed=[0] * len(t),
                      lost=[0] * len(t), secured=[0] * len(t), closed=[0] * len(t),
                      p50_ns=[*idle, *p50], p99_ns=[*idle, *p99], max_ns=[*idle, *highest],
                      lag_max_ns=[0] * len(t)),
        samples=Samples([0.0, *t], [0] + [1_000] * len(t),
                        ProcessColumns([1] * (len(t) + 1), (0.4 * used).tolist(),
                                       (0.6 * used).tolist()),
                        ProcessColumns(), KernelColumns()),
        limit=limit or Saturation("server"),
        verdict=Verdict(True),
    )  # fmt: skip
