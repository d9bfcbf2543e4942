"""Dask, as far as it is used: a client of a cluster, its workers, pinned tasks, news, orders.

A part must never run twice. Tasks are pinned (`workers`, `allow_other_workers=False`), never pure,
without retries, and what counts is the controller's order to begin, which it gives only once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import dask
from distributed import Client as Client
from distributed import LocalCluster

from c1m.cluster import agent
from c1m.cluster.part import News, Order, Part
from c1m.errors import UsageError

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # of a LocalCluster: retries=0 is not enough
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,  # it samples every 10 ms
    "distributed.admin.tick.limit": "1h",
}


@asynccontextmanager
async def connected(cluster: str) -> AsyncIterator[Client]:
    """A client of the cluster: of an existing scheduler, or of processes made here (`local:N`)."""
    kind, _, count = cluster.partition(":")
    with dask.config.set(_SETTINGS):
        if kind == "local":
            if not count.isdigit() or not 1 <= int(count) <= 64:
                raise UsageError(
                    f"--cluster {cluster!r} is no number of processes.", "Write local:4."
                )
            async with (
                LocalCluster(
                    n_workers=int(count),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    asynchronous=True,
                    memory_limit=0,
                ) as local,
                Client(local, asynchronous=True) as client,
            ):
                await client.wait_for_workers(int(count))
                yield client
            return
        try:
            made = Client(cluster, asynchronous=True, timeout=10)
            async with made as client:
                yield client
        except (OSError, ValueError) as error:
            raise UsageError(
                f"No Dask scheduler answers at {cluster}: {error}.",
                "Start one (dask scheduler), or give --cluster local:4 for processes here.",
            ) from error


async def workers_of(client: Client) -> list[str]:
    """The addresses of its workers, in an order that is always the same."""
    scheduler: Any = client.scheduler
    return sorted((await scheduler.identity(n_workers=-1))["workers"])


def submit(client: Client, part: Part, worker: str) -> Any:
    """Start a part on a worker; its future."""
    return client.submit(
        agent.work, part, workers=[worker], allow_other_workers=False, pure=False, retries=0,
        key=f"c1m-{part.run}-{part.share.index}-{part.attempt}",
    )  # fmt: skip


def listen(client: Client, topic: str, hear: Callable[[News], None]) -> None:
    """Have news of a run's workers heard."""
    handle = lambda event: hear(News(*event[1]))  # noqa: E731
    client.subscribe_topic(topic, handle)


async def tell(client: Client, part: Part, worker: str, order: Order) -> None:
    """Give a part's worker an order."""
    await client.run(
        agent.order, part.run, part.share.index, part.attempt, order, workers=[worker],
        on_error="ignore",
    )  # fmt: skip
