"""asyncio protocols by real sockets, with random peers: 1,000 seeds (tests/chaos/protocols.py).

`python -m tests.torture protocols --seed N` repeats one, as far as the kernel does.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter

from chaos.protocols import run

from .verdict import Torture, Verdict

RUNS = 1000


def replay(seed: int) -> None:
    """One run again; raises what it raises."""
    print(f"  {run(seed)}")


def torture(scale: float) -> Verdict:
    """All of them, one after the other."""
    verdict, totals, began = Verdict(), Counter[str](), time.process_time()
    for seed in range(max(round(RUNS * scale), 1)):
        try:
            totals.update({"runs": 1} | run(seed))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
            verdict.wrong.append(f"seed {seed}: {type(error).__name__} in {where}: {error}")
    verdict.figures = {**totals, "CPU seconds": round(time.process_time() - began)}
    return verdict


TORTURE = Torture(
    "protocols",
    "asyncio protocols on the event loop, by real sockets, with random peers and exceptions",
    torture,
    replay,
)
