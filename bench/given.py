"""What it costs to look at what an application sends: microseconds a call of Server.send.

    bench/given.py [--repeats 20]

The engine does nothing, so the call is all that is timed. Of many repeats the least counts, because
whatever else the machine does can only add to it. `own` is a batch's own slots and data, as an echo
sends them; `user` the same as arrays that the application has made; `bytes` one payload for all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import c1m
from c1m.engine.contract import EventBatch

PIECES = (1, 8, 32, 64, 1_000)
CALLS = 500


class Nothing:
    """An engine whose every tick brings the same batch, and which sends nothing."""

    name, reason, capacity, live_max, sends_in_wait = "nothing", "", 1 << 20, 1 << 20, True

    def __init__(self, pieces: int) -> None:
        self.batch = arrays(pieces)

    def listen(self, endpoints: Sequence[Any], backlog: int) -> list[Any]:
        return list(endpoints)

    def wait(self, timeout_ns: int) -> EventBatch:
        return self.batch

    def nothing(self, *_: Any, **__: Any) -> None: ...

    connect = send = receive = close = wake = statistics = shutdown = nothing


def arrays(pieces: int) -> EventBatch:
    """So many pieces of 64 bytes."""
    offsets = np.arange(pieces, dtype=np.int64) * 64
    data = c1m.Ragged(np.zeros(pieces * 64, np.uint8), offsets, np.full(pieces, 64, np.int32))
    slots = np.arange(pieces, dtype=np.int32)
    return EventBatch(data_slots=slots, data=data, is_plain=True)


def cost_us(pieces: int, kind: str, repeats: int) -> float:
    """The least microseconds of a call."""
    engine: Any = Nothing(pieces)
    server = c1m.Server(c1m.App(), "tcp://127.0.0.1:0", engine=engine)
    server.tick(0)
    batch = engine.batch if kind == "own" else arrays(pieces)
    slots, data, least = batch.data_slots, batch.data, float("inf")
    if kind == "bytes":
        data = bytes(64)
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(CALLS):
            server.send(slots, data)
        least = min(least, time.perf_counter() - start)
    return least / CALLS * 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    print("pieces     own    user   bytes   (us a call)")
    for pieces in PIECES:
        costs = [cost_us(pieces, kind, repeats) for kind in ("own", "user", "bytes")]
        print(f"{pieces:6,} " + "".join(f"{cost:8.2f}" for cost in costs))


if __name__ == "__main__":
    main()
