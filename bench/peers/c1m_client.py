"""c1m as the generator: a closed loop made of its engine and its checking of replies.

Usage: c1m_client.py PORT CONNECTIONS PAYLOAD SECONDS WARM_UP ENGINE. Prints what the C generator
prints, as far as it is the same: requests, seconds, rps, errors, own_cpu_ns. Each reply is compared
byte for byte, as in a load run; there is no latency histogram, so that both do the same work but
for one reading of the clock a request.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.base import Engine, EventBatch
from c1m.engine.choose import choose
from c1m.loadgen.echo_round import UNSENT, EchoRound
from c1m.loadgen.message import Message, Numbers
from c1m.loadgen.sources import plan_addresses

CONNECT_WINDOW = 256


class Client:
    """N connections to 127.0.0.1, each with one request in flight."""

    def __init__(self, engine: Engine, port: int, count: int, payload: int) -> None:
        self.engine, self.count = engine, count
        template = "{n}" + "x" * (payload - len(str(count - 1)))
        self.round = EchoRound("closed", Message(template, count), count)
        self.addresses = plan_addresses(count, [Endpoint(AF_INET, "127.0.0.1", port)], [], 14000)
        self.slots = np.zeros(count, np.int32)
        self.numbers = np.zeros(engine.capacity, np.int32)  # by slot
        self.requests = self.errors = 0

    def connect_all(self) -> None:
        """Open all, a window at a time; each sends as soon as it is open."""
        started = opened = 0
        while opened < self.count:
            some = np.arange(started, min(opened + CONNECT_WINDOW, self.count))
            if len(some):
                slots = self.engine.connect(*self.addresses.rows(some))
                self.slots[some], self.numbers[slots] = slots, some
                started += len(some)
            batch = self.engine.wait(100_000_000)
            opened += len(batch.connected)
            self.errors += len(batch.failed)
            if len(batch.failed):
                raise SystemExit("c1m_client: a connection could not be opened")
            self.take(batch)
            self.request(self.numbers[batch.connected].astype(np.int64))

    def request(self, numbers: Numbers) -> None:
        """Send the next request on connections whose last one is answered."""
        if len(numbers):
            self.round.received[numbers] = 0
            self.engine.send(self.slots[numbers], self.round.requests(numbers))

    def take(self, batch: EventBatch) -> None:
        """Check what came, and answer whole replies with the next request."""
        self.errors += len(batch.closed) + len(batch.eof)
        if len(batch.data_slots):
            numbers = self.numbers[batch.data_slots].astype(np.int64)
            done = numbers[self.round.take(numbers, batch.data)]
            self.round.outcomes[done] = UNSENT
            self.requests += len(done)
            self.request(done)

    def run(self, seconds: float) -> dict[str, float]:
        """Requests for so long: how many, in what time, for how much processor time."""
        requests, cpu, begin = self.requests, time.process_time_ns(), time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            self.take(self.engine.wait(100_000_000))
        done = self.requests - requests
        return {
            "requests": done,
            "seconds": now - begin,
            "rps": done / (now - begin),
            "own_cpu_ns": time.process_time_ns() - cpu,
            "errors": self.errors + self.round.wrong,
        }


def main() -> None:
    """Run by the command line."""
    port, count, payload = map(int, sys.argv[1:4])
    seconds, warm_up = map(float, sys.argv[4:6])
    client = Client(choose(sys.argv[6], live_max=count), port, count, payload)
    client.connect_all()
    client.run(warm_up)
    result = client.run(seconds)
    print(json.dumps(result), flush=True)
    os._exit(0)  # the kernel closes the connections


if __name__ == "__main__":
    main()
