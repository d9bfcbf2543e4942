"""`python -m tests.conformance kv-crash`: kills of the key-value server under load."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main(words: Sequence[str]) -> int:
    """0 where nothing confirmed was lost and each store opened."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance kv-crash")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--lives", type=int, default=20, help="of one store, before the next one")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds what tests share
    from kv_crashes import Crashes

    kills = confirmed = extra = 0
    while kills < asked.kills:
        with tempfile.TemporaryDirectory(prefix="c1m-kv-crash-") as directory:
            crashes = Crashes(Path(directory), seed=asked.seed + kills)
            while crashes.kills < min(asked.lives, asked.kills - kills):
                crashes.life()
            kills += crashes.kills
            confirmed += crashes.confirmed
            extra += crashes.extra
        print(f"{kills} kills, {confirmed:,} writes confirmed, 0 lost", file=sys.stderr, flush=True)
    print(
        f"kv-crash: {kills} kills under load, {confirmed:,} commands confirmed, 0 of them lost, "
        f"{extra:,} more were there; every store opened"
    )
    return 0
