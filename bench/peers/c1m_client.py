"""c1m as the generator: a closed loop of its load generator.

Usage: c1m_client.py PORT CONNECTIONS PAYLOAD SECONDS WARM_UP ENGINE. Prints what the C generator
prints, as far as it is the same: requests, seconds, rps, errors, own_cpu_ns. It is what `c1m load
--think 0s` does: each reply is compared byte for byte and its latency recorded.
"""

from __future__ import annotations

import json
import os
import sys

from c1m.addresses import AF_INET, Endpoint
from c1m.clock import SystemClock
from c1m.engine.choose import choose
from c1m.loadgen.connections import Window
from c1m.loadgen.generator import Generator
from c1m.loadgen.plan import LoadPlan
from c1m.loadgen.sampler import Sampler
from c1m.loadgen.sources import plan_addresses
from c1m.loadgen.stages import Stage
from c1m.results.options import LoadOptions
from c1m.results.samples import cpu_share
from c1m.scenarios.templates import Echo
from c1m.units import NS_PER_S

CONNECT_WINDOW = 256
PORTS = 14_000


def main() -> None:
    """Run by the command line."""
    port, count, payload = map(int, sys.argv[1:4])
    seconds, warm_up = map(float, sys.argv[4:6])
    template = "{n}" + "x" * (payload - len(str(count - 1)))
    scenario = Echo(template)
    scenario.begin(count, 0)
    clock = SystemClock()
    plan = LoadPlan(
        asked=LoadOptions(connections=count, timeout_ns=10 * NS_PER_S),
        stages=[
            Stage("ramp", "ramp", 0, count),
            Stage("hold", "warm-up", count, count, round(warm_up * NS_PER_S), think_ns=0),
            Stage("hold", "measured", count, count, round(seconds * NS_PER_S), think_ns=0),
        ],
        scenario=scenario,
        addresses=plan_addresses(count, [Endpoint(AF_INET, "127.0.0.1", port)], [], PORTS),
        window=Window(CONNECT_WINDOW, 1),
    )
    sampler = Sampler(None, clock)
    generator = Generator(plan, choose(sys.argv[6], live_max=count), clock, sampler)
    generator.run()
    counts = generator.connections.counts
    if counts.opened < count:
        raise SystemExit("c1m_client: a connection could not be opened")
    phase = generator.phases[2]
    requests = generator.recorder.groups[-1].requests
    took = (phase.end_ns - phase.start_ns) / 1e9
    start = (phase.start_ns - generator.start_ns) / 1e9
    samples = sampler.samples()
    cpu = cpu_share(samples.client, samples.t_s, start, start + took) or 0.0
    result = {
        "requests": requests.right,
        "seconds": took,
        "rps": requests.right / took,
        "own_cpu_ns": cpu * took * 1e9,
        "errors": requests.bad + counts.lost,
    }
    print(json.dumps(result), flush=True)
    os._exit(0)  # the kernel closes the connections


if __name__ == "__main__":
    main()
