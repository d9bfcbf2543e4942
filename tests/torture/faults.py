"""Every server on a fake kernel, with random peers, faults and limits: 100,000 seeds.

`python -m tests.torture faults --seed N` repeats one; what a run is, says tests/chaos/runs.py.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import Counter

from chaos.runs import KINDS, kind_of, run

from .verdict import Torture, Verdict

RUNS = 100_000
SHOWN = 20  # failures
SHOWN_EACH = 1000  # runs


def try_one(seed: int) -> tuple[int, dict[str, int], str]:
    """What happened, or what was wrong."""
    try:
        return seed, run(seed), ""
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        return seed, {}, f"{type(error).__name__} in {where}: {str(error)[:200]}"


def replay(seed: int) -> None:
    """One run again; raises what it raises."""
    print(f"  {kind_of(seed).__name__}: {run(seed)}")


def torture(scale: float) -> Verdict:
    """All of them, on all processors."""
    verdict, count = Verdict(), max(round(RUNS * scale), 1)
    totals: Counter[str] = Counter()
    failed: list[str] = []
    processes = min(os.cpu_count() or 1, count // 100 + 1)
    with multiprocessing.Pool(processes) as pool:
        for seed, found, wrong in pool.imap_unordered(try_one, range(count), chunksize=20):
            totals.update({"runs": 1} | found)
            if wrong:
                failed.append(f"seed {seed} ({kind_of(seed).__name__}): {wrong}")
                print(f"  {failed[-1]}", flush=True)
            if totals["runs"] % SHOWN_EACH == 0:
                print(f"  {totals['runs']:,} runs, {len(failed)} failed", flush=True)
    names = ", ".join(sorted({kind.__name__.removesuffix("Run").lower() for kind in KINDS}))
    verdict.figures = {"servers": names, "failed": len(failed), **totals}
    verdict.wrong = failed[:SHOWN]
    return verdict


TORTURE = Torture(
    "faults",
    "every server on a fake kernel under random faults, peers and limits: conservation laws hold",
    torture,
    replay,
)
