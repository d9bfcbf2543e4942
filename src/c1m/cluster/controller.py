"""A run by the workers of a cluster, from what a user asks to its record.

What is to be done is the conductor's to decide. Here it is done, and heard what the workers say;
and whatever goes wrong on the way, the run comes to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from c1m.clock import SystemClock
from c1m.cluster import dask, travel
from c1m.cluster.conductor import LOST, Act, Conductor, Start
from c1m.cluster.gather import Gathered
from c1m.cluster.kept import RunHead, folder_of
from c1m.cluster.live import View
from c1m.cluster.part import Luggage, News, Order, Part
from c1m.errors import C1mError
from c1m.loadgen.outline import Outline, outline
from c1m.loadgen.schemes.base import shown
from c1m.loop import stopped_by_signals
from c1m.results.options import LoadOptions
from c1m.results.record import RunRecord
from c1m.results.share import shares_of
from c1m.results.snapshot import Snapshot

_CLOCK = SystemClock()
MANY = 100  # workers: to look at each takes time
END_S, AWAY_S = 5, 1  # for what is left to do at the end: tasks that end, orders that go out


def run(
    options: LoadOptions,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_signals: bool = False,
    on_end: Callable[[RunRecord], None] | None = None,
    on_plan: Callable[[Outline], None] | None = None,
) -> RunRecord:
    """As `loadgen.run.run`, by the workers of `options.cluster`."""

    def whole() -> RunRecord:
        return asyncio.run(_run(options, on_progress, on_signals, on_end, on_plan))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return whole()
    with ThreadPoolExecutor(1) as beside:  # called in a loop, as in a notebook: this has its own
        return beside.submit(whole).result()


async def _run(
    options: LoadOptions,
    on_progress: Callable[[Snapshot], None] | None,
    on_signals: bool,
    on_end: Callable[[RunRecord], None] | None,
    on_plan: Callable[[Outline], None] | None,
) -> RunRecord:
    assert options.cluster is not None
    plan = outline(options)  # first: a mistake is told at once
    cluster = options.cluster
    options, luggage = travel.pack(options)
    async with dask.connected(cluster) as client:
        workers = await dask.agreeing_workers_of(client, cluster)
        plan = plan.over(len(workers))
        plan.rehearse()
        processes = await dask.processes_of(client, workers[: plan.parts])
        if on_plan is not None:
            on_plan(plan)
        controller = Controller(client, processes, options, plan, luggage, on_progress)
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            if on_signals:
                stop = lambda: loop.call_soon_threadsafe(controller.interrupt)  # noqa: E731
                stack.enter_context(stopped_by_signals(stop, exits_at_second=False))
            record = replace(await controller.run(), assumed=plan.assumed)
            if on_end is not None:
                on_end(record)
    return record


def _host_of(address: str) -> str:
    """Of a worker: tcp://10.0.0.1:34567."""
    return address.rpartition(":")[0]


def paces(workers: int) -> tuple[float, float]:
    """How often (s) it is asked what is due, and a run by so many workers is shown."""
    return (0.1, 0.25) if workers <= MANY else (0.25, 2.0)


class Controller:
    """Of one run. `processes`: the workers by their addresses."""

    def __init__(
        self,
        client: dask.Client,
        processes: dict[str, str],
        options: LoadOptions,
        plan: Outline,
        luggage: Luggage,
        on_progress: Callable[[Snapshot], None] | None,
    ) -> None:
        self.client = client
        self._processes, self._workers = processes, list(processes)
        self.name, shares = secrets.token_hex(4), shares_of([*map(_host_of, processes)])
        self.topic: str = client.id
        self.parts = [
            Part(self.name, share, options, topic=self.topic, luggage=luggage) for share in shares
        ]
        durations = [one.duration_ns if one.is_timed else None for one in plan.stages]
        of = len(shares)
        self.conductor = Conductor(durations, of, options.on_worker_loss, options.ready_timeout_ns)
        asked = plan.asked(plan.connections)
        head = RunHead(run=self.name, of=of, asked=asked, command=[shown(one) for one in sys.argv])
        self.gathered = Gathered(folder_of(self.name, options.cluster_dir), head)
        self.whole = self.gathered.whole
        self._noted = 0, 0  # losses, stages that have begun
        named = asked, plan.stages, plan.scenario.name
        self.view = View(*named, self.conductor, self.whole, is_tls=plan.scheme.is_tls)
        self._on_progress = on_progress
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started: dict[tuple[int, int], asyncio.Task[None]] = {}  # by part and attempt
        self._worker_of: dict[tuple[int, int], str] = {}
        self._attempts = Counter[str]()  # that were begun on a worker
        self._failure: BaseException | None = None

    async def run(self) -> RunRecord:
        """To its end."""
        conductor = self.conductor
        try:
            dask.listen(self.client, self.topic, self._hear, self._died)
            self._do(conductor.begin(_CLOCK.now_ns()))
            due_s, show_s = paces(len(self.parts))
            self._spawn(self._show(show_s))
            while not conductor.is_over:
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), due_s)
                if self._failure is not None:
                    raise self._failure
                if not dask.is_connected(self.client):
                    conductor.cut_off("The scheduler has gone.", _CLOCK.now_ns())
                self._do(conductor.due(_CLOCK.now_ns()))
            self._look(is_last=True)
            await self._settle()
        except BaseException:
            await self._end_all()
            raise
        if not conductor.starts_ns:
            stopped = "It was interrupted before it began." if conductor.is_interrupted else ""
            raise C1mError(conductor.aborted or stopped or conductor.standings[0].why)
        self._note()
        return self.gathered.result(conductor.aborted)

    def interrupt(self) -> None:
        """End in good order."""
        self._do(self.conductor.interrupt(_CLOCK.now_ns()))
        self._changed.set()

    async def _show(self, each_s: float) -> None:
        """Where the run stands, now and then."""
        while not self.conductor.is_over:
            self._look()
            await asyncio.sleep(each_s)

    def _look(self, *, is_last: bool = False) -> None:
        if self._on_progress is not None:
            self._on_progress(self.view.snapshot(_CLOCK.now_ns(), is_last=is_last))

    # --- what is heard ------------------------------------------------------------------------

    def _hear(self, news: News) -> None:
        """A worker said something. What is raised here ends the run: Dask would only log it."""
        try:
            if news.kind == "frame":
                self.gathered.frame(news.data)
            elif news.kind == "head":
                self.gathered.head(news.data)
            elif news.kind == "record":
                self.gathered.record(news.part, news.attempt, news.data)
            self._do(self.conductor.hear(news, _CLOCK.now_ns()))
        except Exception as error:
            self._failure = error
        if news.kind in ("record", "failed"):
            self._changed.set()

    def _note(self) -> None:
        """For the record: who was lost, whose clock was how far off, who began late."""
        conductor, now_ns = self.conductor, _CLOCK.now_ns()
        start_ns = (conductor.starts_ns or [now_ns])[0]
        for one in conductor.losses[self._noted[0] :]:
            at_s = max(one.at_ns - start_ns, 0) / 1e9
            self.gathered.end(one.part, one.attempt, at_s, one.why)
        for part, standing in enumerate(conductor.standings):
            note, clock = self.gathered.note(part, standing.attempt), standing.clock
            note.clock_offset_s, note.clock_uncertain_s = (
                clock.offset_ns / 1e9,
                clock.uncertain_ns(now_ns) / 1e9,
            )
            note.start_errors_s = [ns / 1e9 for _, ns in sorted(standing.start_errors_ns.items())]
        self.gathered.write()
        self._noted = len(conductor.losses), len(conductor.starts_ns)

    def _died(self, worker: str) -> None:
        """A worker has gone, and all that it did."""
        for part, one in enumerate(self.conductor.standings):
            if one.worker == worker:
                self._gone(part, one.attempt, "its process ended")

    def _gone(self, part: int, attempt: int, why: str) -> None:
        self._do(self.conductor.gone(part, attempt, why, _CLOCK.now_ns()))
        self._changed.set()

    # --- what is done -------------------------------------------------------------------------

    def _do(self, acts: list[Act]) -> None:
        """Tell and start. "go on" is the same for all, and goes out as one."""
        if self._noted != (len(self.conductor.losses), len(self.conductor.starts_ns)):
            self._note()
        together: dict[Order, list[str]] = {}
        for act in acts:
            who = act.part, act.attempt
            if isinstance(act, Start):
                self._started[who] = self._spawn(self._start(*who))
            elif (worker := self._worker_of.get(who)) is None:
                pass  # it is not begun yet, and will not be (`_start`)
            elif act.order.kind == "go on" and self._attempts[worker] == 1:
                together.setdefault(act.order, []).append(worker)
            else:
                self._spawn(dask.tell(self.client, self.name, who, act.order, [worker]))
        for order, workers in together.items():
            self._spawn(dask.tell(self.client, self.name, None, order, workers))

    async def _start(self, part: int, attempt: int) -> None:
        """Begin an attempt, and wait for its task's end."""
        try:
            worker = await self._place(part, attempt)
        except (OSError, C1mError) as error:
            return self._gone(part, attempt, f"no worker could be asked to do it: {error}")
        standing = self.conductor.standings[part]
        if standing.attempt != attempt or standing.is_over:
            return None  # it is not wanted any more
        standing.worker = self._worker_of[part, attempt] = worker
        self._attempts[worker] += 1
        process = self._processes[worker]
        asked = replace(self.parts[part], attempt=attempt, worker=worker, process=process)
        why = await dask.outcome_of(dask.submit(self.client, asked, worker))
        return self._gone(part, attempt, why or "its task ended without a record")

    async def _place(self, part: int, attempt: int) -> str:
        """A worker for an attempt: its own, and for a further one who has least to do. Whoever
        was lost is none, unless it said so itself."""
        if attempt == 0:
            return self._workers[part]
        standing, lost = self.conductor.standings[part], self._worker_of.get((part, attempt - 1))
        busy = Counter(one.worker for one in self.conductor.standings if not one.is_over)
        if standing.may_begin_ns and lost is not None:
            busy[lost] += self.conductor.parts
        there = await dask.workers_of(self.client)
        if not there:
            raise OSError("the cluster has none")
        worker = min(there, key=lambda one: (busy[one], self._attempts[one]))
        if busy[worker]:
            await dask.make_room(self.client, self.name, worker)
        self._processes |= await dask.processes_of(self.client, [worker])
        return worker

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._changed.set()

    # --- the end ------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait for tasks that are about to end, and a moment for what was told."""
        ending = [
            task
            for (part, attempt), task in self._started.items()
            if (one := self.conductor.standings[part]).attempt == attempt and one.state != LOST
        ]
        if ending:
            await asyncio.wait(ending, timeout=END_S)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=AWAY_S)
        for task in self._tasks:
            task.cancel()

    async def _end_all(self) -> None:
        """At once: not as it should."""
        workers = list(set(self._worker_of.values()))
        self._spawn(dask.tell(self.client, self.name, None, Order("kill"), workers))
        await asyncio.wait(self._tasks, timeout=AWAY_S)
        for task in self._tasks:
            task.cancel()
