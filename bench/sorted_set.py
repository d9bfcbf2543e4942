"""What a sorted set's steps cost beside those of one made of a dict and a SortedList of tuples.

    pip install sortedcontainers; bench/sorted_set.py [--members 1000000]

CPU time of one process, microseconds a step; the lesser of two runs.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from c1m.kv.sorted_set import SortedSet

STEPS = 50_000  # of each kind, but for adding


class Plain:
    """The same of a dict and a SortedList of (score, member)."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order = import_module("sortedcontainers").SortedList()

    def put(self, member: bytes, score: float) -> None:
        """Add a member, or give it another score."""
        old = self.scores.get(member)
        if old is not None:
            self.order.remove((old, member))
        self.scores[member] = score
        self.order.add((score, member))

    def remove(self, member: bytes) -> None:
        """Remove a member."""
        self.order.remove((self.scores.pop(member), member))

    def rank(self, member: bytes) -> int:
        """How many stand before it."""
        rank: int = self.order.bisect_left((self.scores[member], member))
        return rank

    def rank_of(self, score: float) -> int:
        """How many have a lower score."""
        rank: int = self.order.bisect_left((score,))
        return rank

    def members(self, start: int, stop: int) -> list[bytes]:
        """Those of some ranks."""
        return [member for _, member in self.order.islice(start, stop)]


def costs(kind: type, count: int) -> dict[str, float]:
    """Microseconds a step, by its name."""
    draw = random.Random(1)
    names = [b"element:%012d" % n for n in range(count)]
    draw.shuffle(names)
    scores = [draw.random() for _ in names]
    some = draw.choices(names, k=STEPS)
    others = [draw.random() for _ in some]
    ranks = [draw.randrange(max(count - 10, 1)) for _ in some]
    found: dict[str, float] = {}
    values = kind()

    def took(name: str, step: Callable[..., object], *columns: list[Any]) -> None:
        begin = time.process_time()
        for row in zip(*columns, strict=True):
            step(*row)
        found[name] = (time.process_time() - begin) / len(columns[0]) * 1e6

    took("add", values.put, names, scores)
    took("rank of a member", values.rank, some)
    took("rank of a score", values.rank_of, others)
    took("another score", values.put, some, others)
    took("10 members by rank", values.members, ranks, [rank + 10 for rank in ranks])
    took("remove", values.remove, list(dict.fromkeys(some)))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    count = parser.parse_args().members
    runs = [(costs(SortedSet, count), costs(Plain, count)) for _ in range(2)]
    print(f"{count:,} members, us a step: ours, sortedcontainers")
    for name in runs[0][0]:
        ours, plain = (min(run[which][name] for run in runs) for which in (0, 1))
        print(f"{name:20} {ours:6.2f} {plain:6.2f}")


if __name__ == "__main__":
    main()
