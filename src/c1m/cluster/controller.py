"""A run by the workers of a cluster, from what a user asks to its record."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from c1m.clock import SystemClock
from c1m.cluster import dask
from c1m.cluster.conductor import Act, Conductor, Tell
from c1m.cluster.merge import merged
from c1m.cluster.part import News, Part
from c1m.errors import C1mError, UsageError
from c1m.loadgen.plan import LoadPlan, make_plan
from c1m.results.options import LoadOptions
from c1m.results.record import RunRecord
from c1m.results.share import Share
from c1m.results.snapshot import Snapshot
from c1m.results.tally import Tally

_CLOCK = SystemClock()
DUE_S = 0.1


def run(
    options: LoadOptions,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_signals: bool = False,
    on_end: Callable[[RunRecord], None] | None = None,
    on_plan: Callable[[LoadPlan], None] | None = None,
) -> RunRecord:
    """As `loadgen.run.run`, by the workers of `options.cluster`."""
    return asyncio.run(_run(options, on_progress, on_end, on_plan))


async def _run(
    options: LoadOptions,
    on_progress: Callable[[Snapshot], None] | None,
    on_end: Callable[[RunRecord], None] | None,
    on_plan: Callable[[LoadPlan], None] | None,
) -> RunRecord:
    assert options.cluster is not None
    async with dask.connected(options.cluster) as client:
        workers = await dask.workers_of(client)
        if not workers:
            raise UsageError("The cluster has no workers.", "Start some: dask worker ADDRESS.")
        plan = make_plan(options, Share(0, len(workers)))
        if on_plan is not None:
            on_plan(plan)
        controller = Controller(client, workers, options, plan, on_progress)
        record = await controller.run()
    if on_end is not None:
        on_end(record)
    return record


class Controller:
    """Of one run."""

    def __init__(
        self,
        client: dask.Client,
        workers: list[str],
        options: LoadOptions,
        plan: LoadPlan,
        on_progress: Callable[[Snapshot], None] | None,
    ) -> None:
        run = secrets.token_hex(4)
        self.client, self.workers = client, workers
        self.parts = [
            Part(run, Share(number, len(workers)), options) for number in range(len(workers))
        ]
        durations = [one.duration_ns if one.is_timed else None for one in plan.stages]
        self.conductor = Conductor(durations, len(workers), options.on_worker_loss)
        self.whole = Tally()
        self._on_progress = on_progress
        self._tasks: set[asyncio.Task[None]] = set()
        self._futures: list[Any] = []

    async def run(self) -> RunRecord:
        """To its end."""
        dask.listen(self.client, self.parts[0].topic, self._hear)
        self._do(self.conductor.begin(_CLOCK.now_ns()))
        while not self.conductor.is_over:
            await asyncio.sleep(DUE_S)
            self._do(self.conductor.due(_CLOCK.now_ns()))
        standings = self.conductor.standings
        found = [RunRecord.from_json(json.loads(one.record)) for one in standings if one.record]
        if not found:
            raise C1mError(self.conductor.aborted or standings[0].why)
        return merged(found)

    def _hear(self, news: News) -> None:
        if news.kind == "frame":
            self.whole.add(Tally.decode(news.data))
        self._do(self.conductor.hear(news, _CLOCK.now_ns()))

    def _do(self, acts: list[Act]) -> None:
        for act in acts:
            part = replace(self.parts[act.part], attempt=act.attempt)
            worker = self.workers[act.part]
            if isinstance(act, Tell):
                task = asyncio.ensure_future(dask.tell(self.client, part, worker, act.order))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self.conductor.standings[act.part].worker = worker
                self._futures.append(dask.submit(self.client, part, worker))
