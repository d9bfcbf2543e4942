"""Snapshots of a run by many workers: the whole, each of them, and what was lost."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.cluster.conductor import Conductor
from c1m.cluster.frames import Frame, Whole
from c1m.cluster.live import View
from c1m.cluster.part import NS_PER_S, News
from c1m.loadgen.stages import parse_stages
from c1m.results.histogram import Histogram, Increments
from c1m.results.options import LoadOptions
from c1m.results.snapshot import Snapshot
from c1m.results.tally import Tally

STAGES = ("ramp 400", "hold for 60s at 1k/s..2k/s")


class Run:
    """A conductor of so many parts, the whole's tally, and the view of both; time is moved."""

    def __init__(self, parts: int = 4) -> None:
        stages = parse_stages(STAGES, LoadOptions())
        asked = LoadOptions(targets=["mqtts://u:p@10.0.0.1"], connections=400)
        self.now_ns = 1_000 * NS_PER_S
        self.conductor = Conductor([one.duration_ns for one in stages], parts)
        self.conductor.begin(self.now_ns)
        for number, standing in enumerate(self.conductor.standings):
            standing.worker = f"tcp://10.0.1.{number}:40001"
        self.whole = Whole(parts)
        self.frames = [0] * parts
        self.view = View(asked, stages, "echo", self.conductor, self.whole, is_tls=True)

    def hear(self, part: int, kind: str, number: int = 0, data: object = None) -> None:
        self.conductor.hear(News(part, 0, kind, number, data), self.now_ns)

    def frame(self, part: int, counts: dict[str, int], latency_ns: int = 0) -> None:
        """A second of a part, with a latency for each right reply of the second stage."""
        histograms, recorded = {}, Histogram()
        increments = Increments(recorded)
        if latency_ns:
            recorded.record(np.full(counts["stage.1.right"], latency_ns))
        if (delta := increments.take()) is not None:
            histograms["stage.1.corrected"] = delta
        self.frames[part] += 1
        t_ns = self.frames[part] * NS_PER_S
        tally = Tally(t_ns, counts=counts, histograms=histograms)
        self.whole.add(Frame("run", part, 0, self.frames[part] - 1, tally))
        self.hear(part, "frame")

    def begin(self) -> None:
        """All are ready, and the first two stages begin."""
        for part in range(self.conductor.parts):
            self.hear(part, "ready")
            for number in range(8):
                self.hear(part, "alive", self.now_ns, self.now_ns + number)
        self.conductor.due(self.now_ns)
        assert self.conductor.starts_ns
        self.now_ns = self.conductor.starts_ns[0]

    def pass_s(self, seconds: float) -> Snapshot:
        self.now_ns += int(seconds * NS_PER_S)
        self.conductor.due(self.now_ns)
        return self.view.snapshot(self.now_ns)


def test_before_the_start_it_says_how_many_are_waited_for() -> None:
    run = Run()
    run.hear(2, "ready")
    snapshot = run.pass_s(0.5)
    assert snapshot.stage == "waiting for 3 of 4 workers"
    assert (snapshot.elapsed_s, snapshot.stage_number, snapshot.stages) == (0.0, 0, 2)
    assert snapshot.worker_states == {"starting": 3, "ready": 1} and snapshot.is_tls
    run.conductor.gone(0, 0, "its process ended", run.now_ns)
    assert run.pass_s(0).stage == "ends before its beginning"


def test_the_whole_is_the_sum_and_each_worker_its_last_second() -> None:
    run = Run()
    run.begin()
    for part in range(4):
        opened = {"connections.attempted": 100, "connections.opened": 100, "open": 100}
        run.frame(part, opened | {"first.sent": 100, "first.right": 90, "first.missing": 10})
    snapshot = run.pass_s(0.1)
    assert (snapshot.stage, snapshot.asked, snapshot.open) == ("ramp 400", 400, 400)
    assert (snapshot.connects_per_s, snapshot.requests.missing) == (400.0, 40)
    for part in range(4):
        run.hear(part, "ended", 0)
    run.pass_s(0.9)
    run.now_ns = run.conductor.starts_ns[1]
    run.pass_s(1)
    for part in range(4):
        right = 250 + part
        run.frame(
            part,
            {"stage.1.sent": right, "stage.1.right": right, "cpu.user_us": 300_000,
             "cpu.system_us": 100_000, "stage.1.faults.late": part, "connections.opened": 0},
            (part + 1) * 1_000_000,
        )  # fmt: skip
    snapshot = run.pass_s(29)
    assert snapshot.stage_number == 2 and snapshot.stage_left_s == 30.0
    assert snapshot.rate_asked_per_s == 1500.0
    assert snapshot.requests.right == 360 + 1006 and snapshot.requests.faults == {"late": 6}
    assert snapshot.worker_states == {"lost": 4}  # 29 s without a word
    run = Run(1)
    run.begin()
    run.frame(0, {"stage.1.right": 1, "cpu.user_us": 900_000})  # from the process's beginning on
    run.frame(0, {"stage.1.right": 250, "cpu.user_us": 410_000}, 3_000_000)
    (one,) = run.pass_s(0.2).workers
    assert (one.name, one.state, one.right_per_s) == ("10.0.1.0:40001", "running", 250.0)
    assert one.cores == 0.41 and one.p99_ns is not None and abs(one.p99_ns / 3e6 - 1) < 0.001


def test_percentiles_are_of_all_workers_together() -> None:
    run = Run(2)
    run.begin()
    run.frame(0, {"stage.1.right": 9_900}, 1_000_000)
    run.frame(1, {"stage.1.right": 100}, 50_000_000)
    snapshot = run.pass_s(0.2)
    one = Histogram()
    one.record(np.repeat([1_000_000, 50_000_000], [9_900, 100]))
    assert snapshot.percentiles_ns == one.percentiles() | {"max": 50_000_000}
    assert snapshot.octaves == one.octaves()
    for part in (0, 1, 0, 1):
        run.frame(part, {"stage.1.right": 0})
    recent = run.pass_s(0.2).recent_ns  # the last second of which all are known to have told
    assert recent == pytest.approx({"p50": 1e6, "p99": 1e6, "max": 50e6}, rel=0.001)


def test_who_is_silent_and_who_is_lost() -> None:
    run = Run()
    run.begin()
    for part in range(4):
        run.frame(part, {"open": 100})
    for _ in range(3):
        run.pass_s(2)
        for part in range(3):
            run.hear(part, "alive", run.now_ns, run.now_ns)
    snapshot = run.view.snapshot(run.now_ns)
    assert [one.state for one in snapshot.workers] == ["running"] * 3 + ["silent"]
    assert snapshot.open == 400 and snapshot.degraded == ""
    snapshot = run.pass_s(2.5)
    assert [one.state for one in snapshot.workers] == ["running"] * 3 + ["lost"]
    assert snapshot.open == 300
    assert snapshot.degraded == "10.0.1.3:40001 at 8.5 s: it was silent for 8.50 s"


def test_many_lost_workers_are_named_in_part() -> None:
    run = Run(40)
    run.begin()
    for part in range(10):
        run.conductor.gone(part, 0, "its process ended", run.now_ns)
    snapshot = run.pass_s(0)
    assert snapshot.degraded.count("its process ended") == 4
    assert snapshot.degraded.endswith("; and 6 more")
    assert len(snapshot.workers) == 32 and snapshot.worker_states == {"lost": 10, "running": 30}
