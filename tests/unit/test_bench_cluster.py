"""A run by many workers without sockets, as bench/simulate_cluster.py has it, with few of them."""

from __future__ import annotations

import sys
from pathlib import Path

from c1m.cluster.kept import parts_in

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
try:
    import simulate_cluster as bench
finally:
    sys.path.remove(str(BENCH))


def test_split_barrier_frames_and_merge_with_losses_on_the_way(tmp_path: Path) -> None:
    """`check` asserts the laws."""
    options, workers = bench.options_of(120_007, 1_201), 12
    log = tmp_path / "log"
    with log.open("wb") as file:
        world = bench.simulate(options, workers, kill=1, cut=1, seed=5, log=file)
    found = bench.check(world)
    assert found["losses"] == 2
    assert found["states"] == {"finished": workers}  # others took the places
    alone = bench.replay(log, tmp_path, options, workers)
    assert alone["frames"] == sum(one.got for one in world.whole.parts.values())
    kept = [part.frames([]) for part in parts_in(tmp_path)]
    assert sum(1 for frames in kept for _ in frames) == alone["frames"]
