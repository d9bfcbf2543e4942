"""Who is ready, when stages begin, who is lost: the order of a run by many workers. Pure.

The controller tells it what it hears (`hear`, `gone`, `interrupt`, `cut_off`) and, ten times a
second, what time it is (`due`), and does what these return: orders to tell, attempts to start. To
hear takes the same time for any number of workers; who is late, silent or done is looked at by
`due`, for all of them.

A part is done by one attempt at a time. Who is silent is given up, and its place may be taken by a
further attempt; what the older one says from then on is answered by "stop". Whether that arrives
cannot be known, so the further attempt opens nothing before the older one's lease is over.

Stages begin at the same time everywhere. Behind a stage that has its time the next one follows
when that is over by the plan: nobody is waited for. Behind others all are waited for, and before
the end, too. Who takes a lost one's place opens its connections while the others go on, is with
them from when it has that many, and is not waited for before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from c1m.cluster.clocks import Offset
from c1m.cluster.part import GRACE_NS, LEASE_NS, NS_PER_S, News, Order
from c1m.units import format_duration

AHEAD_NS = NS_PER_S // 2  # so far ahead a common time is told, and for each part
AHEAD_EACH_NS = NS_PER_S // 1000  # this much more: an order is there by then
LEAD_NS = 4 * NS_PER_S  # no earlier: until then a clock may drift
REST_NS = 2 * NS_PER_S  # for less of a stage a late one does not begin it
GO_ON_NS = 2 * NS_PER_S
SILENT_NS = 8 * NS_PER_S
END_NS = 120 * NS_PER_S  # for closing what is open, and for the record
ROUNDS = 8  # of asking a worker's clock, before a start
ATTEMPTS_MAX = 4
NAMED_MAX = 5  # workers in a sentence

STARTING, READY, RUNNING = "starting", "ready", "running"
FINISHED, LOST, ABORTED = "finished", "lost", "aborted"  # in one of these each part ends
NOT_BEGUN = "it had not begun."


@dataclass(frozen=True, slots=True)
class Tell:
    """To be told to an attempt."""

    part: int
    attempt: int
    order: Order


@dataclass(frozen=True, slots=True)
class Start:
    """An attempt to be started; not the first one: on another worker, if there is one."""

    part: int
    attempt: int


Act = Tell | Start


@dataclass(frozen=True, slots=True)
class Loss:
    """An attempt that was lost: in which stage (-1: before the first), when by our clock, why."""

    part: int
    attempt: int
    worker: str
    stage: int
    at_ns: int
    why: str


@dataclass(slots=True)
class Standing:
    """What is known of a part: of its present attempt."""

    attempt: int = 0
    worker: str = ""  # set by who starts the attempt
    state: str = STARTING
    clock: Offset = field(default_factory=Offset)
    first: int = 0  # the stage with which it begins
    ended: int = -1  # the last stage that it has ended; before its first: that it is there
    begins_ns: dict[int, int] = field(default_factory=dict)  # as it was told, by our clock
    # Stage -> how much later than it was told it began.
    start_errors_ns: dict[int, int] = field(default_factory=dict)
    heard_ns: int = 0
    went_on_ns: int = 0  # when it was last told to go on
    deadline_ns: int = 0  # to be ready
    may_begin_ns: int = 0  # not before: an older attempt may be there
    record: Any = None
    why: str = ""  # it was lost or aborted

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in (FINISHED, LOST, ABORTED)

    @property
    def is_there(self) -> bool:
        """Whether it does what the others do."""
        return self.state == RUNNING and self.ended >= self.first - 1


@dataclass(slots=True)
class Conductor:
    """Of one run. `stages`: how long each takes in ns, None where it ends when it is done."""

    stages: Sequence[int | None]
    parts: int
    policy: str = "degrade"  # or "abort", "respawn", when a part is lost
    ready_ns: int = 60 * NS_PER_S
    standings: list[Standing] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    # When each stage began, and behind the last one the end, by our clock.
    starts_ns: list[int] = field(default_factory=list)
    aborted: str = ""  # why
    stopped_ns: int | None = None  # all were told to stop
    is_interrupted: bool = False
    went_on_ns: int = 0  # all were told to go on

    # --- what happens -------------------------------------------------------------------------

    def begin(self, now_ns: int) -> list[Act]:
        """The run's first acts."""
        self.standings = [Standing(deadline_ns=now_ns + self.ready_ns) for _ in range(self.parts)]
        return [Start(part, 0) for part in range(self.parts)]

    def hear(self, news: News, now_ns: int) -> list[Act]:
        """A worker said something: of its frames only that it did is of interest here."""
        standing = self.standings[news.part]
        is_last = news.kind in ("record", "failed")
        if news.attempt != standing.attempt or standing.is_over:
            # Given up before. An answer to each of what it says once a second, or once.
            is_answered = is_last or news.kind == "alive"
            return [] if is_answered else [self._give_up(news.part, news.attempt)]
        standing.heard_ns = now_ns
        if news.kind == "ready" and standing.state == STARTING:
            standing.state = READY
            if self.stopped_ns is not None:
                return [self._tell(news.part, Order("stop"))]
            return [self._go_on(news.part, now_ns)]
        if news.kind == "alive":
            standing.clock.hear(news.number, news.data, now_ns)
            if standing.clock.rounds < ROUNDS and standing.state == READY:
                return [self._go_on(news.part, now_ns)]
        elif news.kind == "begun":
            if news.number in standing.begins_ns:
                began_ns = news.data - standing.clock.offset_ns
                standing.start_errors_ns[news.number] = began_ns - standing.begins_ns[news.number]
        elif news.kind == "ended":
            was_there = standing.is_there
            standing.ended = max(standing.ended, news.number)
            if standing.is_there and not was_there:
                return self._take_up(news.part, now_ns)
        elif news.kind == "record":
            if standing.state == RUNNING:
                standing.state, standing.record = FINISHED, news.data
            else:
                standing.state, standing.why = ABORTED, NOT_BEGUN
        elif news.kind == "failed":
            return self._lost(news.part, str(news.data), now_ns, is_certain=True)
        return []

    def gone(self, part: int, attempt: int, why: str, now_ns: int) -> list[Act]:
        """An attempt is not there any more, as far as the scheduler knows."""
        standing = self.standings[part]
        if attempt != standing.attempt or standing.is_over:
            return []
        return self._lost(part, why, now_ns)

    def interrupt(self, now_ns: int) -> list[Act]:
        """The user wants the run to end; the second time, at once."""
        if self.is_interrupted:
            return self._kill("It was interrupted twice.")
        self.is_interrupted = True
        return self._stop_all(now_ns)

    def cut_off(self, why: str, now_ns: int) -> None:
        """Nobody can be heard or told any more: the workers end by their leases."""
        self.aborted = self.aborted or why
        for part, standing in enumerate(self.standings):
            if not standing.is_over:
                self._note_loss(part, why, now_ns)

    def due(self, now_ns: int) -> list[Act]:
        """Time has passed."""
        acts = self._late(now_ns)
        for part, standing in enumerate(self.standings):
            if standing.state in (READY, RUNNING) and now_ns - standing.heard_ns >= SILENT_NS:
                why = f"it was silent for {format_duration(now_ns - standing.heard_ns)}."
                acts += self._lost(part, why, now_ns)
        acts += self._next(now_ns)
        if now_ns - self.went_on_ns >= GO_ON_NS:  # to all at once: it is one message of the cluster
            self.went_on_ns = now_ns
            order = Order("go on", now_ns)
            for part, one in enumerate(self.standings):
                if not one.is_over:
                    one.went_on_ns = now_ns
                    acts.append(Tell(part, one.attempt, order))
        return acts

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return all(one.is_over for one in self.standings)

    @property
    def stage(self) -> int:
        """The stage that was last begun; -1: none."""
        return len(self.starts_ns) - 1

    # --- stages -------------------------------------------------------------------------------

    def _next(self, now_ns: int) -> list[Act]:
        """The next stage, where it is time for it; who takes part from now on."""
        if self.stopped_ns is not None:
            return []
        acts: list[Act] = []
        while self.stage < len(self.stages):
            when_ns = self._next_ns(now_ns)
            if when_ns is None:
                break
            self.starts_ns.append(when_ns)
            if self.stage == 0:
                for one in self.standings:
                    if one.state == READY:
                        one.state = RUNNING
            there = [part for part, one in enumerate(self.standings) if one.is_there]
            acts += [self._tell_begin(part, when_ns) for part in there]
        if self.losses and self.policy == "respawn":
            acts += self._take_places(now_ns)
        return acts

    def _take_places(self, now_ns: int) -> list[Act]:
        """Who is ready in a lost one's place joins the others, unless they are at the end."""
        acts: list[Act] = []
        is_end = self.stage == len(self.stages)
        for part, one in enumerate(self.standings):
            if is_end:
                if not one.is_over and not one.is_there:
                    acts.append(self._tell(part, Order("stop")))
                    one.state, one.why = LOST, "its place was not taken before the end."
            elif one.state == READY and self.stage >= 0 and self._may_begin(one, now_ns):
                acts += self._join(part, now_ns)
        return acts

    def _next_ns(self, now_ns: int) -> int | None:
        """When the next stage begins; None: that cannot be said yet."""
        duration_ns = self._duration_ns
        has_time = duration_ns is not None and self.stage + 1 < len(self.stages)
        after_ns = self.starts_ns[-1] + duration_ns if has_time and duration_ns else 0
        if has_time and now_ns < after_ns - LEAD_NS:
            return None  # nobody has to be looked at
        left = [one for one in self.standings if not one.is_over]
        common_ns = now_ns + AHEAD_NS + AHEAD_EACH_NS * self.parts
        if self.stage < 0:
            return common_ns if left and all(self._may_begin(o, now_ns) for o in left) else None
        if has_time:
            return after_ns if left else None
        there = [one for one in left if one.is_there]
        # Where there is nobody, somebody is to take a place.
        return common_ns if there and all(one.ended >= self.stage for one in there) else None

    @property
    def _duration_ns(self) -> int | None:
        """Of the stage that was last begun."""
        return self.stages[self.stage] if 0 <= self.stage < len(self.stages) else None

    def _may_begin(self, one: Standing, now_ns: int) -> bool:
        is_known = one.clock.rounds >= ROUNDS
        return one.state == READY and is_known and now_ns >= one.may_begin_ns

    def _join(self, part: int, now_ns: int) -> list[Act]:
        """Take a lost one's place: in this stage while that has time left, or in the next one."""
        one = self.standings[part]
        one.state = RUNNING
        one.first = self.stage if self._duration_ns is not None else self.stage + 1
        one.ended = max(one.first - 2, -1)
        order = Order("join", one.first, self.starts_ns[0] + one.clock.offset_ns)
        acts: list[Act] = [self._tell(part, order)]
        return acts + (self._take_up(part, now_ns) if one.is_there else [])

    def _take_up(self, part: int, now_ns: int) -> list[Act]:
        """It has as many connections as the others: the rest of their stage, or wait with them."""
        one = self.standings[part]
        if self.stage >= one.first and self._duration_ns is not None:
            until_ns = self.starts_ns[-1] + self._duration_ns
            if until_ns - now_ns >= REST_NS:
                return [self._tell_begin(part, now_ns + AHEAD_NS, until_ns)]
        one.ended = max(one.ended, self.stage)
        return []

    def _tell_begin(self, part: int, when_ns: int, until_ns: int = 0) -> Tell:
        one = self.standings[part]
        one.begins_ns[self.stage] = when_ns
        offset_ns = one.clock.offset_ns
        until_ns += offset_ns if until_ns else 0
        return self._tell(part, Order("begin", self.stage, when_ns + offset_ns, until_ns))

    # --- losses -------------------------------------------------------------------------------

    def _late(self, now_ns: int) -> list[Act]:
        """Who is not ready in time, or does not end."""
        ended_ns = self.stopped_ns
        if ended_ns is None and self.stage == len(self.stages):
            ended_ns = self.starts_ns[-1]
        if ended_ns is not None and now_ns - ended_ns >= END_NS:
            return self._kill(f"it did not end within {format_duration(END_NS)}.")
        if self.stopped_ns is not None:
            return []
        waiting = [
            part
            for part, one in enumerate(self.standings)
            if one.deadline_ns <= now_ns and one.state == STARTING
        ]
        if not waiting:
            return []
        why = f"not ready within {format_duration(self.ready_ns)}"
        if self.stage < 0:
            who = self._named(waiting)
            count = f"{len(waiting)} of {self.parts} workers"
            said = f"Of those asked, {count} were {why}: {who}."
            return self._abort(f"{said} Are they busy with others' tasks?", now_ns)
        return [act for part in waiting for act in self._lost(part, f"it was {why}.", now_ns)]

    def _named(self, parts: Sequence[int]) -> str:
        names = [self.standings[part].worker for part in parts[:NAMED_MAX]]
        more = len(parts) - len(names)
        return ", ".join(names) + (f" and {more} more" if more else "")

    def _lost(self, part: int, why: str, now_ns: int, *, is_certain: bool = False) -> list[Act]:
        """What is done about it. `is_certain`: its process has ended, and all that it opened."""
        old = self.standings[part]
        was_running = old.state == RUNNING
        self._note_loss(part, why, now_ns)
        acts: list[Act] = [self._give_up(part, old.attempt)]
        if self.stopped_ns is not None:
            return acts
        if (
            self.policy == "respawn"
            and old.attempt + 1 < ATTEMPTS_MAX
            and self.stage < len(self.stages)
            and (was_running or not is_certain)  # what it refused to begin it would refuse again
        ):
            over_ns = 0 if is_certain else old.went_on_ns + LEASE_NS + GRACE_NS + AHEAD_NS
            self.standings[part] = Standing(
                old.attempt + 1,
                deadline_ns=now_ns + self.ready_ns,
                may_begin_ns=max(old.may_begin_ns, over_ns),
            )
            return [*acts, Start(part, old.attempt + 1)]
        if self.policy == "abort" or self.stage < 0:
            what = "could not begin" if is_certain and self.stage < 0 else "was lost"
            said = f"The worker {old.worker} {what}: {why.removesuffix('.')}."
            return acts + self._abort(said, now_ns)
        return acts

    def _give_up(self, part: int, attempt: int) -> Tell:
        """To an attempt that does not count any more, should it hear it."""
        return Tell(part, attempt, Order("kill" if self.policy == "respawn" else "stop"))

    def _note_loss(self, part: int, why: str, now_ns: int) -> None:
        one = self.standings[part]
        one.state, one.why = LOST, why
        self.losses.append(Loss(part, one.attempt, one.worker, self.stage, now_ns, why))

    def _abort(self, why: str, now_ns: int) -> list[Act]:
        self.aborted = self.aborted or why
        return self._stop_all(now_ns)

    def _stop_all(self, now_ns: int) -> list[Act]:
        """In good order: who has begun or prepared anything is waited for."""
        acts: list[Act] = []
        if self.stopped_ns is None:
            self.stopped_ns = now_ns
            for part, one in enumerate(self.standings):
                if not one.is_over:
                    acts.append(self._tell(part, Order("stop")))
                    if one.state == STARTING:
                        one.state, one.why = ABORTED, NOT_BEGUN
        return acts

    def _kill(self, why: str) -> list[Act]:
        acts: list[Act] = []
        for part, one in enumerate(self.standings):
            if not one.is_over:
                acts.append(Tell(part, one.attempt, Order("kill")))
                one.state, one.why = ABORTED, why
        return acts

    # --- orders -------------------------------------------------------------------------------

    def _tell(self, part: int, order: Order) -> Tell:
        return Tell(part, self.standings[part].attempt, order)

    def _go_on(self, part: int, now_ns: int) -> Tell:
        self.standings[part].went_on_ns = now_ns
        return self._tell(part, Order("go on", now_ns))
