"""c1m as the generator: its closed loop on its engine.

Usage: c1m_client.py PORT CONNECTIONS PAYLOAD SECONDS WARM_UP ENGINE. Prints what the C generator
prints, as far as it is the same: requests, seconds, rps, errors, own_cpu_ns. Each reply is compared
byte for byte, as in a load run; there is no latency histogram, so that both do the same work but
for one reading of the clock a request.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time

import numpy as np

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.base import Engine
from c1m.engine.choose import choose
from c1m.loadgen.closed_loop import ClosedLoop
from c1m.loadgen.message import Message
from c1m.loadgen.sources import plan_addresses

CONNECT_WINDOW = 256
SLEEP_NS = 100_000_000


class Client:
    """N connections to 127.0.0.1, each with one request in flight."""

    def __init__(self, engine: Engine, port: int, count: int, payload: int) -> None:
        self.engine, self.count = engine, count
        template = "{n}" + "x" * (payload - len(str(count - 1)))
        self.loop = ClosedLoop(engine, Message(template, count), count)
        self.addresses = plan_addresses(count, [Endpoint(AF_INET, "127.0.0.1", port)], [], 14000)

    def connect_all(self) -> None:
        """Open all, a window at a time; each sends as soon as it is open."""
        started = opened = 0
        while opened < self.count:
            some = np.arange(started, min(opened + CONNECT_WINDOW, self.count))
            if len(some):
                self.loop.assign(self.engine.connect(*self.addresses.rows(some)), some)
                started += len(some)
            batch = self.engine.wait(SLEEP_NS)
            if len(batch.failed):
                raise SystemExit("c1m_client: a connection could not be opened")
            opened += len(batch.connected)
            self.loop.take(batch)
            self.loop.begin(batch.connected)

    def run(self, seconds: float) -> dict[str, float]:
        """Requests for so long: how many, in what time, for how much processor time."""
        wait, take, clock = self.engine.wait, self.loop.take, time.monotonic
        requests, cpu, begin = self.loop.round.right, time.process_time_ns(), clock()
        end = begin + seconds
        while (now := clock()) < end:
            take(wait(SLEEP_NS))
        done = self.loop.round.right - requests
        return {
            "requests": done,
            "seconds": now - begin,
            "rps": done / (now - begin),
            "own_cpu_ns": time.process_time_ns() - cpu,
            "errors": self.loop.round.wrong + self.loop.round.gone,
        }


def main() -> None:
    """Run by the command line."""
    port, count, payload = map(int, sys.argv[1:4])
    seconds, warm_up = map(float, sys.argv[4:6])
    client = Client(choose(sys.argv[6], live_max=count), port, count, payload)
    client.connect_all()
    gc.collect()
    gc.freeze()  # as the servers do
    client.run(warm_up)
    result = client.run(seconds)
    print(json.dumps(result), flush=True)
    os._exit(0)  # the kernel closes the connections


if __name__ == "__main__":
    main()
