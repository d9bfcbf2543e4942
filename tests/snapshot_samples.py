"""A made-up run as snapshots: for the tests of what shows them, and to look at by eye.

python tests/snapshot_samples.py [--metrics :9100] [--live :8080] [--pace 0.1]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from typing import Any

from c1m.cli.live.observer import Observer
from c1m.results.record import Requests
from c1m.results.snapshot import Snapshot, WorkerNow

ASKED = 1_000_000
STAGES = ("ramp 0..1M in 20s", "hold 1M for 60s at 50k/s", "storm 50%", "drain in 10s")


REQUESTS = Requests(
    due=1_650_000, sent=1_649_000, right=1_648_100, wrong=3, missing=2, unsent=100,
    faults={"garbled": 2, "crossed": 1},
)  # fmt: skip


def busy(**changes: Any) -> Snapshot:
    """One moment in the middle of a run, with something in every field."""
    usual = Snapshot(
        elapsed_s=52.4, target="tcp://127.0.0.1:8001-8008", scenario="echo",
        stage=STAGES[1], stage_number=2, stages=4, stage_left_s=27.6, asked=ASKED,
        attempted=1_000_000, opened=999_987, ready=999_950, open=999_940, failed=13, lost=47,
        closed=0, connects_per_s=0.0, last_step_ms=42.1, requests=REQUESTS,
        in_flight=795, sent_per_s=49_990.0, right_per_s=49_870.0, rate_asked_per_s=50_000.0,
        errnos={"ECONNREFUSED": 9, "ETIMEDOUT": 4, "ECONNRESET": 47},
        percentiles_ns={"p50": 1_230_000, "p90": 4_100_000, "p99": 18_700_000,
                        "p99.9": 61_000_000, "max": 1_401_000_000},
        recent_ns={"p50": 1_180_000, "p99": 17_100_000, "max": 45_300_000},
        octaves=[0] * 17 + [210, 9_400, 260_000, 690_000, 430_000, 190_000, 49_000, 15_000, 3_900,
                            590, 0, 0, 0, 5],
        lag_max_ns=310_000, server_rss_bytes=73_900_000, client_rss_bytes=141_000_000,
        slab_bytes=6_620_000_000, used_bytes=8_160_000_000,
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


def of_a_cluster(**changes: Any) -> Snapshot:
    """The same of a run by four workers, one of which was lost."""
    workers = [
        WorkerNow(f"10.0.0.{n}:40001", "running", 250_000 - n, 16_600.0 + n, 17_000_000 + n, 0.41)
        for n in (1, 2, 3)
    ]
    workers.insert(1, WorkerNow("10.0.0.4:40001", "lost", why="it was silent for 8 s"))
    return busy(
        workers=workers, worker_states={"running": 3, "lost": 1},
        degraded="10.0.0.4:40001 at 31.2 s: it was silent for 8 s", **changes,
    )  # fmt: skip


def run(step_s: float = 0.5) -> Iterator[Snapshot]:
    """A whole run: a ramp of 20 s, a hold of 60 s with requests, a storm, a drain."""
    t, right = 0.0, 0
    while t < 95:
        open_now = _open_at(t)
        is_busy = 20 <= t < 80
        rate = 50_000.0 * (0.6 if 40 <= t < 44 else 1) if is_busy else 0.0
        right += int(rate * step_s)
        stage = 1 + (t >= 20) + (t >= 80) + (t >= 85)
        yield busy(
            elapsed_s=t, stage=STAGES[stage - 1], stage_number=stage,
            stage_left_s=[20 - t, 80 - t, None, 95 - t][stage - 1],
            attempted=min(int(t * 50_000), ASKED), opened=min(int(t * 50_000), ASKED),
            ready=min(int(t * 50_000), ASKED), open=open_now, failed=0, lost=0,
            closed=ASKED - open_now if stage == 4 else 0,
            connects_per_s=50_000.0 if t < 20 else 0.0, requests=Requests(right, right, right),
            in_flight=812 if is_busy else 0, sent_per_s=rate,
            right_per_s=rate, rate_asked_per_s=50_000.0 if is_busy else None, errnos={},
            lag_max_ns=310_000 if is_busy else 0,
            percentiles_ns=busy().percentiles_ns if right else {},
            recent_ns=busy().recent_ns if is_busy else {},
            octaves=[int(c * right / 1_648_105) for c in busy().octaves] if right else [],
        )  # fmt: skip
        t += step_s
    yield busy(elapsed_s=95.0, stage=STAGES[3], stage_number=4, stage_left_s=0.0, open=0,
               closed=ASKED, in_flight=0, rate_asked_per_s=None, is_last=True)  # fmt: skip


def _open_at(t: float) -> int:
    if t >= 85:
        return int(ASKED * (95 - t) / 10)
    if t >= 80:
        return ASKED // 2 + int(ASKED // 2 * (t - 80) / 5)
    return min(int(t * 50_000), ASKED)


def main() -> None:
    """Show the made-up run, a snapshot every `--pace` seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--metrics")
    parser.add_argument("--live")
    parser.add_argument("--pace", type=float, default=0.1)
    wanted = parser.parse_args()
    with Observer(sys.stdout, metrics=wanted.metrics, live=wanted.live) as observer:
        try:
            for snapshot in run():
                observer.show(snapshot)
                time.sleep(wanted.pace)
        except KeyboardInterrupt:
            observer.show(busy(elapsed_s=33.3, stage="interrupted", is_last=True))
    print(f"shown, {observer.dropped} dropped", file=sys.stderr)


if __name__ == "__main__":
    main()
