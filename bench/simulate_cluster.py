"""A load run by 1,000 workers without sockets: the split, the barrier, the frames, the merge.

    python bench/simulate_cluster.py [--workers 1000] [--connections 100M] [--rate 1M/s]
                                     [--kill 3] [--cut 2] [--seed 1] [--repeats 5] [--json FILE]

Workers, network and time are those of cluster_world.py; the split, the conductor, cues, leases,
frames and their sum are c1m's own. On the way some workers are killed and some cut off for good;
others take their places. What must hold is checked: all parts together are the plan, stages begin
together, no two attempts of a part are open at once, percentiles are those of one histogram of all
samples that were sent, all ends.

What the controller heard, and when, is kept and given to a controller alone in a process of its
own, which keeps each frame in a file, too. Shown are its processor time a second of the run, by
what it did, and its memory: of several times the one that took least, because whatever else the
machine does can only add to it. What Dask takes to bring the news is not in that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from cluster_world import Attempt, World
from harness import conditions
from harness.results import conclude

from c1m.cluster.conductor import Conductor
from c1m.cluster.controller import paces
from c1m.cluster.frames import Frame, Whole
from c1m.cluster.gather import Gathered
from c1m.cluster.head import Head
from c1m.cluster.kept import RunHead
from c1m.cluster.live import View
from c1m.cluster.part import NS_PER_S, News
from c1m.loadgen.metadata import started_text
from c1m.loadgen.outline import outline
from c1m.loadgen.stages import Stage
from c1m.results.histogram import Delta, Histogram, buckets_of
from c1m.results.options import LoadOptions
from c1m.results.share import Share
from c1m.results.tally import Tally
from c1m.units import parse_count, parse_rate

PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
POOL = 1 << 20
QUANTILES = np.array([0.5, 0.9, 0.99, 0.999, 0.9999])


def options_of(connections: int, rate: float) -> LoadOptions:
    """A ramp, and two holds at a rate: time enough to take a lost one's place."""
    stages = [f"ramp {connections} in 20s", *2 * [f"hold for 20s at {rate:.0f}/s"]]
    return LoadOptions(targets=["tcp://10.0.0.1:8001"], stages=stages, scenario="echo")


class Simulated(World):
    """Workers that do the stages of their share, and keep what the controller hears of them."""

    def __init__(self, options: LoadOptions, workers: int, seed: int, log: BinaryIO) -> None:
        self.log = log
        whole = outline(options)
        self.parts = [
            whole.split(Share(number, workers)).stages(whole.stages) for number in range(workers)
        ]
        self.rng = np.random.default_rng(seed)
        self.pool = self.rng.lognormal(14, 1, POOL).astype(np.int64)  # latencies, of 1 ms or so
        self.all: dict[str, Histogram] = {}  # of what was sent on its way
        self.whole = Whole(workers)
        conductor = conductor_of(whole.stages, workers)
        self._keep("begin", 1_000 * NS_PER_S)
        super().__init__(conductor, whole.stages, seed)
        self.frame_of = self._frame
        self.on_news = self._add

    def _hear(self, news: News) -> None:
        self._keep("news", self.now_ns, news)
        super()._hear(news)

    def _due(self) -> None:
        self._keep("due", self.now_ns)
        super()._due()

    def _keep(self, kind: str, now_ns: int, news: News | None = None) -> None:
        pickle.dump((kind, now_ns, news.packed() if news else None), self.log)

    def _add(self, news: News) -> None:
        if news.kind == "frame":
            self.whole.add(Frame.decode(news.data))

    def _frame(self, one: Attempt) -> bytes:
        """A second of a worker: what opened, what was asked, and how long it took."""
        number = max(one.number, 0)
        if one.opened_ns is None or number >= len(self.stages):
            tally = Tally(one.frames * NS_PER_S, number)
        elif self.stages[number].is_timed:
            tally = self._second(one, number, round(self.parts[one.part][number].rate_to or 0))
        else:
            ours = self.parts[one.part][number]
            seconds = (ours.duration_ns or NS_PER_S) / 1e9
            opened = round((ours.connections_to - ours.connections_from) / seconds)
            tally = self._second(one, number, opened, "connect", "first")
        return Frame("simulated", one.part, one.attempt, one.frames, tally).encode()

    def _second(self, one: Attempt, number: int, count: int, *names: str) -> Tally:
        group = "first" if names else f"stage.{number}"
        names = names or (f"{group}.corrected", f"{group}.uncorrected", "lag")
        counts = {f"{group}.{name}": count for name in ("due", "sent", "right")}
        counts |= {"cpu.user_us": 300_000, "cpu.system_us": 200_000, "rss": 4096}
        if "connect" in names:
            named = ("attempted", "connected", "opened", "ready")
            counts |= {f"connections.{name}": count for name in named} | {"open": count}
        deltas = {name: self._delta(name, count, is_kept=not one.is_cut) for name in names}
        return Tally(one.frames * NS_PER_S, number, counts, deltas)

    def _delta(self, name: str, count: int, *, is_kept: bool) -> Delta:
        start = int(self.rng.integers(len(self.pool) - count))
        values = self.pool[start : start + count]
        if is_kept:
            self.all.setdefault(name, Histogram()).record(values)
        numbers = buckets_of(values)
        counts = np.bincount(numbers)
        buckets = np.flatnonzero(counts)
        least, most = (int(values.min()), int(values.max())) if count else (0, 0)
        return Delta(buckets, counts[buckets], int(values.sum()), least, most)


def conductor_of(stages: list[Stage], workers: int) -> Conductor:
    """As the controller makes it."""
    durations = [one.duration_ns if one.is_timed else None for one in stages]
    return Conductor(durations, workers, "respawn")


def check(world: Simulated) -> dict[str, Any]:
    """What must hold; what there was."""
    conductor = world.conductor
    for number, stage in enumerate(world.stages):
        ours = [stages[number] for stages in world.parts]
        assert sum(one.connections_to for one in ours) == stage.connections_to
        if stage.rate_to is not None:
            assert abs(sum(one.rate_to or 0 for one in ours) - stage.rate_to) < 1e-3 * stage.rate_to
    assert conductor.is_over and all(one.has_ended for one in world.attempts.values())
    spans = sorted((part, begin, end) for part, _, begin, end in world.opens)
    for (part, _, end), (of, begin, _) in itertools.pairwise(spans):
        assert part != of or begin >= end, "two attempts of a part were open at once"
    for name, expected in world.all.items():
        found = world.whole.histograms[name]
        assert found.count == expected.count, name
        assert (found.quantiles(QUANTILES) == expected.quantiles(QUANTILES)).all(), name
    begun = [
        abs(begun_ns - conductor.starts_ns[number])
        for (_, attempt), one in world.attempts.items()
        if attempt == 0
        for number, begun_ns in one.begun.items()
    ]
    return {
        "samples": sum(one.count for one in world.all.values()),
        "losses": len(conductor.losses),
        "states": dict(Counter(one.state for one in conductor.standings)),
        "begun_apart_ms_max": round(max(begun) / 1e6, 3),
    }


def simulate(
    options: LoadOptions, workers: int, *, kill: int, cut: int, seed: int, log: BinaryIO
) -> Simulated:
    """A run to its end, with losses in its middle."""
    world = Simulated(options, workers, seed, log)
    world.run(20 * NS_PER_S)
    unlucky = world.random.sample(range(workers), kill + cut)
    for part in unlucky[:kill]:
        world.kill(part)
    for part in unlucky[kill:]:
        world.cut(part)
    while not world.conductor.is_over:
        world.run(NS_PER_S)
    world.run(30 * NS_PER_S)  # what is cut off ends by its lease
    return world


# --- the controller alone -------------------------------------------------------------------------


def replay(log: Path, folder: Path, options: LoadOptions, workers: int) -> dict[str, Any]:
    """Give a controller what it heard; its processor time and memory. `folder`: for its files."""
    whole = outline(options)
    before_kib = _resident_kib()
    conductor, asked = conductor_of(whole.stages, workers), whole.asked(whole.connections)
    gathered = Gathered(folder, RunHead(of=workers, asked=asked))
    view = View(asked, whole.stages, "echo", conductor, gathered.whole)
    spent: Counter[str] = Counter()
    show_ns = round(paces(workers)[1] * 1e9)
    frames = size = first_ns = now_ns = shown_ns = 0
    for kind, now_ns, packed in _kept(log):
        news = News(*packed) if packed else None
        if news and (news.part, news.attempt) not in gathered.heads:
            gathered.head(Head(part=news.part, attempt=news.attempt).text())
        begin = time.process_time_ns()
        if kind == "begin":
            first_ns = now_ns
            conductor.begin(now_ns)
        elif kind == "due":
            conductor.due(now_ns)
            spent["due"] += time.process_time_ns() - begin
            if now_ns - shown_ns >= show_ns:
                begin, shown_ns = time.process_time_ns(), now_ns
                view.snapshot(now_ns)
                spent["show"] += time.process_time_ns() - begin
        elif news:
            if news.kind == "frame":
                gathered.frame(news.data)
                frames, size = frames + 1, size + len(news.data)
            conductor.hear(news, now_ns)
            spent["frames" if news.kind == "frame" else "news"] += time.process_time_ns() - begin
    seconds = (now_ns - first_ns) / 1e9
    return {
        "seconds": round(seconds, 1),
        "frames": frames,
        "frames_per_s": round(frames / seconds),
        "frame_bytes": round(size / frames),
        "core_per_1000_frames": {k: round(n / frames / 1e6, 4) for k, n in spent.items()},
        "core_per_1000_frames_in_all": round(sum(spent.values()) / frames / 1e6, 4),
        "memory_mib": round((_resident_kib() - before_kib) / 1024, 1),
    }


def _kept(log: Path) -> Iterator[tuple[str, int, list[Any]]]:
    with log.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--connections", type=parse_count, default=100_000_000)
    parser.add_argument("--rate", type=parse_rate, default=1e6)
    parser.add_argument("--kill", type=int, default=3)
    parser.add_argument("--cut", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="of the controller alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--replay", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = options_of(given.connections, given.rate)
    if given.replay is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(replay(given.replay, Path(folder), options, given.workers)))
        return 0
    names = ("workers", "connections", "rate", "kill", "cut", "seed")
    found: dict[str, Any] = {
        "started": started_text(),
        "conditions": conditions.collect([]),
        "settings": {name: getattr(given, name) for name in names},
    }
    with tempfile.NamedTemporaryFile() as log:
        losses = {"kill": given.kill, "cut": given.cut, "seed": given.seed}
        with open(log.name, "wb") as file:
            found["run"] = check(simulate(options, given.workers, log=file, **losses))
        again = [sys.executable, *sys.argv, "--replay", log.name]
        runs = [
            json.loads(subprocess.run(again, capture_output=True, text=True, check=True).stdout)
            for _ in range(given.repeats)
        ]
    totals = [one["core_per_1000_frames_in_all"] for one in runs]
    found["controller"] = runs[totals.index(min(totals))] | {"in_all_of_each_repeat": totals}
    print(json.dumps({name: found[name] for name in ("run", "controller")}, indent=1))
    conclude(found, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
