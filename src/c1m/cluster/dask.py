"""Dask, as far as it is used: a client of a cluster, its workers, pinned tasks, news, orders.

Facts. A task that is pinned to a worker which has died waits for ever, or is sent again when one
comes back under its address. `retries=0` does not stop that, only a setting of the scheduler. A
scheduler keeps the last 1,000 events of each topic; of a topic with a client's name it keeps none
when the client has gone. A broadcast reaches each worker by itself, and answers when all have, or
have timed out. Its loggers write to standard error.

What they mean here. That a part is not done twice is seen to where it is done (`agent.py`), and
that a worker has died is heard, not waited for. The topic is the client's name. Nobody waits for a
broadcast's answers. The loggers are silent while a run is connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client as Client
from distributed import KilledWorker, LocalCluster
from distributed.client import FutureCancelledError

from c1m.cluster import agent, versions
from c1m.cluster.part import News, Order, Part
from c1m.errors import C1mError, UsageError

CONNECT_S = 10
LEAVE_S = 5
SCHEMES = ("tcp", "tls", "ws", "wss")
LOCAL_MAX = 64  # processes of `local:N`
_SILENT = logging.CRITICAL + 1
_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado.application", "asyncio")
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # of a LocalCluster
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,  # it samples every 10 ms
    "distributed.worker.preload": ["c1m.cluster.agent"],
    "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
    "distributed.deploy.lost-worker-timeout": "1h",  # who has died stays dead
    "distributed.admin.tick.limit": "1h",
}


@asynccontextmanager
async def connected(cluster: str) -> AsyncIterator[Client]:
    """A client of the cluster: of an existing scheduler, or of processes made here (`local:N`).

    Raises UsageError where there is none.
    """
    kind, _, count = cluster.partition(":")
    with dask.config.set(_SETTINGS), _silence():
        async with contextlib.AsyncExitStack() as stack:
            is_local = kind == "local"
            at: Any = await _local(cluster, count, stack) if is_local else _address(cluster)
            client = Client(at, asynchronous=True, timeout=CONNECT_S, set_as_default=False)
            stack.push_async_callback(_leave, client)
            try:
                await client
            except (OSError, ValueError, TypeError) as error:  # nobody is there, or no TLS here
                raise UsageError(
                    f"No Dask scheduler answers at {cluster}: {error}.",
                    "Start one (dask scheduler), or give --cluster local:4 for processes here.",
                ) from error
            yield client


def _address(cluster: str) -> str:
    """A scheduler's, in full."""
    address = cluster if "://" in cluster else f"tcp://{cluster}"
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in SCHEMES and parts.hostname and parts.port
    except ValueError:
        is_one = False
    if not is_one:
        raise UsageError(
            f"--cluster {cluster!r} is no scheduler's address.",
            "Write tcp://HOST:8786 (or tls://, ws://, wss://), or local:4 for processes here.",
        )
    return address


_UNTOLD = "ignore:resource_tracker"


async def _local(cluster: str, count: str, stack: contextlib.AsyncExitStack) -> LocalCluster:
    if not count.isdecimal() or not 1 <= int(count) <= LOCAL_MAX:
        raise UsageError(
            f"--cluster {cluster} is no number of processes from 1 to {LOCAL_MAX}.",
            "Write local:4, for instance.",
        )
    # Where this process is killed, Python's tracker gives semaphores back, and would tell the user.
    if _UNTOLD not in sys.warnoptions:
        sys.warnoptions.append(_UNTOLD)  # the tracker's process is given these
    made = LocalCluster(
        n_workers=int(count), threads_per_worker=1, processes=True, memory_limit=0,
        dashboard_address=None, asynchronous=True, silence_logs=_SILENT,
    )  # fmt: skip
    try:
        return await stack.enter_async_context(made)
    except RuntimeError as error:
        raise C1mError(
            f"The {count} processes could not be started: {str(error).rstrip('.')}.",
            "In a script of your own, call c1m.load under `if __name__ == '__main__':`.",
        ) from error


async def _leave(client: Client) -> None:
    """Also where nobody is there any more to say good-bye to."""
    with contextlib.suppress(TimeoutError, OSError):
        await asyncio.wait_for(client.close(timeout=LEAVE_S), 2 * LEAVE_S)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Of Dask's own words: what there is to say a run says by itself."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in loggers:
            one.setLevel(_SILENT)
        try:
            yield
        finally:
            for one, level in zip(loggers, before, strict=True):
                one.setLevel(level)


def is_connected(client: Client) -> bool:
    """Whether its scheduler is there, as far as is known."""
    return bool(client.status == "running")


async def workers_of(client: Client) -> list[str]:
    """The addresses of its workers, in an order that is always the same."""
    scheduler: Any = client.scheduler
    return sorted((await scheduler.identity(n_workers=-1))["workers"])


async def agreeing_workers_of(client: Client, cluster: str) -> list[str]:
    """The same, of a cluster that can be used: UsageError where it has no workers, or such as have
    other versions than this process."""
    workers = await workers_of(client)
    if not workers:
        raise UsageError(
            f"The cluster at {cluster} has no workers.",
            "Start one on each machine: dask worker ADDRESS --nthreads 1.",
        )
    await versions.check(client, workers)
    return workers


async def processes_of(client: Client, workers: Sequence[str]) -> dict[str, str]:
    """What names the workers' processes.

    Raises UsageError where one cannot say.
    """
    found = await client.run(agent.process, workers=list(workers), on_error="return")
    for worker, said in found.items():
        if isinstance(said, Exception):
            raise UsageError(
                f"The worker {worker} cannot take part: {type(said).__name__}: {said}.",
                "Install the same c1m there as here.",
            )
    return dict(found)


async def make_room(client: Client, run: str, worker: str) -> None:
    """Have another part of a run begun on a worker that does one."""
    await client.run(agent.make_room, run, workers=[worker])


def submit(client: Client, part: Part, worker: str) -> Any:
    """Start a part on a worker; its future."""
    return client.submit(
        agent.work, part, workers=[worker], allow_other_workers=False, pure=False, retries=0,
        key=f"c1m-{part.run}-{part.share.index}-{part.attempt}",
    )  # fmt: skip


async def outcome_of(future: Any) -> str:
    """Wait for a task's end. Why it did not do its part, or ""."""
    try:
        return str(await future)
    except asyncio.CancelledError:
        if future.status == "pending":
            raise  # who waits is cancelled, not the task
        return "its task was cancelled"
    except FutureCancelledError as error:
        is_lost = error.reason == "scheduler-connection-lost"
        return "the scheduler has gone" if is_lost else "its task was cancelled"
    except KilledWorker:
        return "its process ended"
    except Exception as error:  # whatever was raised there
        return f"{type(error).__name__}: {error}".splitlines()[0]


def listen(
    client: Client, topic: str, hear: Callable[[News], None], died: Callable[[str], None]
) -> None:
    """Have news of a run's workers heard, and which workers have gone, by their addresses."""

    def heard(event: tuple[float, Any]) -> None:
        if not isinstance(event[1], dict):  # the scheduler's own, about the client
            hear(News(*event[1]))

    def happened(event: tuple[float, Any]) -> None:
        if event[1].get("action") == "remove-worker":
            died(event[1]["worker"])

    client.subscribe_topic(topic, heard)
    client.subscribe_topic("all", happened)


async def tell(
    client: Client, run: str, who: tuple[int, int] | None, order: Order, workers: Sequence[str]
) -> None:
    """Give an order to the part and attempt `who` on its worker, or to all parts on the workers.
    Who has gone is not told."""
    with contextlib.suppress(OSError):
        await client.run(
            agent.order, run, who, order, workers=list(workers), on_error="ignore"
        )  # fmt: skip
