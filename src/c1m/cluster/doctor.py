"""The doctor on every worker of a cluster: its part of the connections held against its machine.

Several workers on one machine share what that has: memory, ports, queues. So the machine is asked
for all of them together, and each worker only for what is its process's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from c1m.cluster import dask
from c1m.errors import UsageError
from c1m.limits.forecast import Forecast, forecast
from c1m.results.share import Share

OF_A_PROCESS = ("nofile (soft)", "nofile (hard)", "rings", "io_uring")  # by the names of limits


@dataclass(frozen=True, slots=True)
class Examined:
    """A worker, the machine in its address, its part of the connections, what was found there.
    `beside`: how many workers that machine has."""

    worker: str
    host: str
    connections: int
    beside: int
    found: Forecast

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        about = {name: getattr(self, name) for name in ("worker", "host", "connections", "beside")}
        return about | self.found.as_dict()


def examine(
    cluster: str, connections: int, role: str, engine: str, ports: Sequence[int], sources: int
) -> list[Examined]:
    """What `c1m doctor` finds on each worker, in the order of their addresses.

    Raises UsageError where there is no cluster, no worker, or other versions than here.
    """
    asked = {"role": role, "engine": engine, "listen_ports": tuple(ports), "sources": sources}
    return asyncio.run(_examine(cluster, connections, asked))


async def _examine(cluster: str, connections: int, asked: dict[str, Any]) -> list[Examined]:
    async with dask.connected(cluster) as client:
        workers = await dask.agreeing_workers_of(client, cluster)
        hosts = {worker: host_of(worker) for worker in workers}
        counts = {
            worker: Share(number, len(workers)).count(connections)
            for number, worker in enumerate(workers)
        }
        on_host, beside = Counter[str](), Counter(hosts.values())
        for worker, count in counts.items():
            on_host[hosts[worker]] += count
        both = {worker: (counts[worker], on_host[hosts[worker]]) for worker in workers}
        found = await client.run(look, both, asked, workers=workers, on_error="return")
        for worker in workers:
            if isinstance(found.get(worker), Exception):
                raise UsageError(f"The worker {worker} could not look: {found[worker]}")
        return [
            Examined(one, hosts[one], counts[one], beside[hosts[one]], found[one])
            for one in workers
            if one in found
        ]


def host_of(worker: str) -> str:
    """The machine in a worker's address, `tcp://HOST:PORT`."""
    return worker.partition("://")[2].rpartition(":")[0]


def look(both: Mapping[str, tuple[int, int]], asked: dict[str, Any], dask_worker: Any) -> Forecast:
    """On a worker: what its part needs, and the parts of all workers on its machine together."""
    own, all_there = both[dask_worker.address]
    return together(
        forecast(max(own, 1), **asked), forecast(max(all_there, 1), **asked), own, all_there
    )


def together(of_it: Forecast, of_all: Forecast, own: int, all_there: int) -> Forecast:
    """What bounds a process from its own forecast, the rest from that of all on its machine, with
    the worker's part of what these allow."""
    mine = {finding.name: finding for finding in of_it.findings}
    findings = []
    for finding in of_all.findings:
        if finding.name in OF_A_PROCESS:
            findings.append(mine.get(finding.name, finding))
        elif finding.fits is None or not all_there:
            findings.append(finding)
        else:
            findings.append(replace(finding, fits=finding.fits * own // all_there))
    return Forecast(of_it.request, tuple(findings))
