"""c1m as the generator: a closed loop of its load generator, or with RATE an open one.

Usage: c1m_client.py PORT CONNECTIONS PAYLOAD SECONDS WARM_UP ENGINE [RATE]. Prints what the C
generator prints, as far as it is the same: requests, seconds, rps, errors, own_cpu_ns, and p50_us
and p99_us, from when a request was due. It is what `c1m load --think 0s` and `--rate` do: each
reply is compared byte for byte and its latency recorded.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

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
    rate = float(sys.argv[7]) if len(sys.argv) > 7 else None
    load: dict[str, Any] = {"think_ns": 0} if rate is None else {"rate_from": rate, "rate_to": rate}
    template = "{n}" + "x" * (payload - len(str(count - 1)))
    scenario = Echo(template)
    scenario.begin(count, 0)
    clock = SystemClock()
    plan = LoadPlan(
        asked=LoadOptions(connections=count, timeout_ns=10 * NS_PER_S),
        stages=[
            Stage("ramp", "ramp", 0, count),
            Stage("hold", "warm-up", count, count, round(warm_up * NS_PER_S), **load),
            Stage("hold", "measured", count, count, round(seconds * NS_PER_S), **load),
        ],
        scenario=scenario,
        addresses=plan_addresses(count, [Endpoint(AF_INET, "127.0.0.1", port)], [], PORTS),
        window=Window(CONNECT_WINDOW, 1),
    )
    sampler = Sampler(None, clock)
    generator = Generator(
        plan, choose(sys.argv[6], live_max=count, is_light=plan.is_light), clock, sampler
    )
    generator.run()
    counts = generator.connections.counts
    if counts.opened < count:
        raise SystemExit("c1m_client: a connection could not be opened")
    phase = generator.phases[2]
    group = generator.recorder.groups[-1]
    requests = group.requests
    p50, p99 = group.corrected.quantiles(np.array([0.5, 0.99])).tolist()
    took = (phase.end_ns - phase.start_ns) / 1e9
    start = (phase.start_ns - generator.start_ns) / 1e9
    samples = sampler.samples()
    cpu = cpu_share(samples.client, samples.t_s, start, start + took) or 0.0
    result = {
        "requests": requests.right,
        "seconds": took,
        "rps": requests.right / took,
        "p50_us": p50 / 1e3,
        "p99_us": p99 / 1e3,
        "own_cpu_ns": cpu * took * 1e9,
        "errors": requests.bad + counts.lost,
    }
    print(json.dumps(result), flush=True)
    os._exit(0)  # the kernel closes the connections


if __name__ == "__main__":
    main()
