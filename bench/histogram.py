"""What it costs to record latencies: nanoseconds a value by batch size, a million, a merge, a read.

    bench/histogram.py [--name NAME] [--repeats 20]

In one process; of many repeats the least counts, because whatever else the machine does can only
add to it. The median is beside it. Writes results/NAME.json with the conditions, as run.py does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import build, conditions

from c1m.loadgen.metadata import started_text
from c1m.results.histogram import Histogram

SCHEMA = 1
MILLION = 1_000_000
TARGET_MS = 50  # for a million values, recorded and counted
BATCHES = (1, 10, 100, 1_000, 10_000, 100_000, MILLION)
RECORDED = 200_000  # values a repeat, in small batches


def timed(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Least and median seconds of a call, the garbage collector left as it is."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return {"least_s": min(seconds), "median_s": statistics.median(seconds)}


def recording(values: np.ndarray, batch: int) -> Callable[[], int]:
    """All values into a new histogram, in batches of so many; its count, so that none waits."""
    pieces = [values[start : start + batch] for start in range(0, len(values), batch)]

    def work() -> int:
        histogram = Histogram()
        for piece in pieces:
            histogram.record(piece)
        return histogram.count

    return work


def measure(repeats: int) -> dict[str, Any]:
    """All figures, in seconds, and in nanoseconds a value."""
    rng = np.random.default_rng(1)
    values = rng.lognormal(13, 1.5, MILLION).astype(np.int64)  # about 0.44 ms, a long tail
    record = {}
    for batch in BATCHES:
        some = values if batch >= 1_000 else values[: min(RECORDED, batch * 20_000)]
        took = timed(recording(some, batch), repeats)
        record[str(batch)] = {**took, "ns_a_value": took["least_s"] / len(some) * 1e9}
    one, other = Histogram(), Histogram()
    one.record(values)
    other.record(values)
    quantiles = np.array([0.5, 0.9, 0.99, 0.999, 0.9999])
    return {
        "record": record,
        "merge": timed(lambda: one.merge(other), repeats),
        "quantiles": timed(lambda: one.quantiles(quantiles), repeats),
        "to_json": timed(one.to_json, repeats),
        "sorted_by_numpy": timed(lambda: np.quantile(values, quantiles), min(repeats, 5)),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="histogram")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    document = {
        "schema": SCHEMA,
        "name": options.name,
        "started": started_text(),
        "conditions": conditions.collect([]),
        "settings": {"repeats": options.repeats, "values": MILLION, "target_ms": TARGET_MS},
        "histogram": measure(options.repeats),
    }
    document["conditions"]["load_average_after"] = os.getloadavg()[0]
    path = build.BENCH / "results" / f"{document['started'][:10]}-{options.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    show(document["histogram"])
    print(path.relative_to(build.BENCH.parent))


def show(figures: dict[str, Any]) -> None:
    """The table on the terminal."""
    for batch, took in figures["record"].items():
        print(f"batches of {int(batch):>9,}   {took['ns_a_value']:>8.1f} ns a value")
    million = figures["record"][str(MILLION)]
    least, median = million["least_s"] * 1e3, million["median_s"] * 1e3
    print(f"a million at once      {least:>8.1f} ms least, {median:.1f} ms median")
    print(f"target                 {TARGET_MS:>8} ms: {'kept' if least < TARGET_MS else 'MISSED'}")
    for name in ("merge", "quantiles", "to_json", "sorted_by_numpy"):
        print(f"{name:<22} {figures[name]['least_s'] * 1e6:>8.0f} us")


if __name__ == "__main__":
    main()
