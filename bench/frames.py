"""What frames cost: their bytes, what a load client takes to make one, a controller to add one.

    bench/frames.py [--repeats 2000]

In one process; of many repeats the least counts, because whatever else the machine does can only
add to it. The median is beside it. A second of 100, 1,000 and 10,000 replies whose latencies lie
far apart, where all counts move.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from c1m.cluster.frames import Frame, Whole
from c1m.results.histogram import Histogram, Increments
from c1m.results.record import CONNECTION_COUNTS, REQUEST_COUNTS
from c1m.results.tally import Tally

TARGET_US = 100  # to take a frame in: 1,000 a second are then a tenth of a core
WORKERS = 1_000
FORMATTER = argparse.RawDescriptionHelpFormatter
NAMES = ("connect", "first", "lag", "stage.1.corrected", "stage.1.uncorrected")


def timed(work: Callable[[int], Any], repeats: int) -> dict[str, float]:
    """Least and median microseconds of a call."""
    took = []
    for number in range(repeats):
        start = time.perf_counter_ns()
        work(number)
        took.append((time.perf_counter_ns() - start) / 1e3)
    return {"least_us": min(took), "median_us": statistics.median(took)}


def tally_of(replies: int, rng: np.random.Generator) -> Tally:
    """A second with so many replies, of a run whose counts all move."""
    tally = Tally(10**9, 1, {f"connections.{name}": 17 for name in CONNECTION_COUNTS})
    tally.counts |= {
        f"{group}.{name}": replies for name in REQUEST_COUNTS for group in ("first", "stage.1")
    }
    tally.counts |= {"open": 5, "in_flight": 2, "cpu.user_us": 310_000, "rss": 4096}
    for name in NAMES:
        histogram = Histogram()
        increments = Increments(histogram)
        histogram.record(rng.lognormal(14, 1, replies).astype(np.int64))
        delta = increments.take()
        assert delta is not None
        tally.histograms[name] = delta
    return tally


def measure(repeats: int) -> dict[str, Any]:
    """All figures."""
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}
    for replies in (100, 1_000, 10_000):
        tally = tally_of(replies, rng)
        frames = [
            Frame("run", n % WORKERS, 0, n // WORKERS, tally).encode() for n in range(repeats)
        ]
        whole = Whole(WORKERS)

        def add(number: int, whole: Whole = whole, frames: list[bytes] = frames) -> None:
            whole.add(Frame.decode(frames[number]))

        found[str(replies)] = {
            "bytes": len(frames[0]),
            "decode_and_add": timed(add, repeats),
            "encode": timed(_encode(tally), repeats // 10),
            "increments": timed(_increments(replies, rng), repeats // 10),
        }
    return found


def _encode(tally: Tally) -> Callable[[int], bytes]:
    frame = Frame("run", 0, 0, 0, tally)
    return lambda _: frame.encode()


def _increments(replies: int, rng: np.random.Generator) -> Callable[[int], None]:
    """Of five histograms that have got so many values each, and of 400 that have not."""
    busy, idle = [Histogram() for _ in NAMES], [Histogram() for _ in range(400)]
    watched = [Increments(one) for one in (*busy, *idle)]
    values = rng.lognormal(14, 1, replies).astype(np.int64)

    def take(_: int) -> None:
        for histogram in busy:
            histogram.record(values)
        for one in watched:
            one.take()

    return take


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=FORMATTER)
    parser.add_argument("--repeats", type=int, default=2_000)
    print("replies   bytes   decode and add (median)   encode   increments")
    for replies, one in measure(parser.parse_args().repeats).items():
        added, made = one["decode_and_add"], one["encode"]
        print(
            f"{replies:>7} {one['bytes']:>7,}   {added['least_us']:>8.0f} us "
            f"({added['median_us']:.0f}) {made['least_us']:>12.0f} us "
            f"{one['increments']['least_us']:>9.0f} us"
        )
    print(f"target: a frame of 1,000 replies within {TARGET_US} us")


if __name__ == "__main__":
    main()
