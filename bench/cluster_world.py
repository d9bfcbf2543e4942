"""Many workers of a run, without sockets, processes and waiting: the real conductor, cues, leases
and clocks, on a network and machines that are simulated. Time is a number that goes on.

What goes wrong is the caller's: `cut` and `heal` a worker, `kill` its process, `lose` the
controller. `opens` says when which attempt had connections open, by the world's clock.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from c1m.cluster.conductor import Act, Conductor, Start
from c1m.cluster.cues import Cues
from c1m.cluster.part import GRACE_NS, NS_PER_S, Lease, News, Order
from c1m.loadgen.stages import Stage

DUE_NS = NS_PER_S // 4  # as of many workers (c1m.cluster.controller.paces)
WAY_NS = 300_000, 20_000_000  # a message is on its way for that long, at the least and most


@dataclass(slots=True)
class Attempt:
    """A load client: does stages as it is told, says a frame each second, ends with its lease."""

    world: World
    part: int
    attempt: int
    offset_ns: int  # its clock less the world's
    cues: Cues = field(default_factory=Cues)
    lease: Lease | None = None  # from when its process is there
    is_cut: bool = False
    has_ended: bool = False
    is_stopping: bool = False
    frames: int = 0
    number: int = -1  # the stage that it is in or waits behind
    is_in: bool = False  # a stage
    opened_ns: int | None = None
    begun: dict[int, int] = field(default_factory=dict)  # stage -> when, by the world's clock
    _said: set[int] = field(default_factory=set)  # stages that it said to have ended

    def start(self) -> None:
        """Its process is there: it prepares, and is ready."""
        if self.has_ended:
            return
        self.lease = Lease(self.clock_ns)
        self.later(self.world.random.randrange(NS_PER_S // 20, NS_PER_S), self._ready)
        self.later(NS_PER_S // 2, self._look)

    @property
    def clock_ns(self) -> int:
        """What its clock says."""
        return self.world.now_ns + self.offset_ns

    def later(self, delay_ns: int, work: Callable[[], None]) -> None:
        """Do it then, if it is there then."""
        self.world.at(self.world.now_ns + delay_ns, lambda: None if self.has_ended else work())

    def say(self, kind: str, number: int = 0, data: object = None) -> None:
        """Send it to the controller."""
        self.world.send(self, News(self.part, self.attempt, kind, number, data))

    def hear(self, order: Order) -> None:
        """An order came."""
        if self.has_ended or self.lease is None:
            return
        if order.kind == "go on":
            self.lease.renew(order.number, self.clock_ns)
            self.say("alive", order.number, self.clock_ns)
        elif order.kind in ("begin", "join"):
            is_first = self.cues.start_ns is None
            self.cues.take(order)
            if is_first and not self.is_stopping:
                self.number = 0
                self._await()
        elif order.kind == "stop":
            self._stop()
        else:
            self.end()

    def end(self) -> None:
        """Its process is over, and nothing is open."""
        if not self.has_ended and self.opened_ns is not None:
            self.world.opens.append((self.part, self.attempt, self.opened_ns, self.world.now_ns))
        self.has_ended = True

    def _ready(self) -> None:
        self.say("ready")
        self._frame()

    def _frame(self) -> None:
        self.say("frame", self.frames, self.world.frame_of(self))
        self.frames += 1
        self.later(NS_PER_S, self._frame)

    def _look(self) -> None:
        if self.lease is not None and self.lease.is_over(self.clock_ns):
            self._stop()
            self.later(GRACE_NS, self.end)
        self.later(NS_PER_S // 2, self._look)

    def _stop(self) -> None:
        if not self.is_stopping:
            self.is_stopping = True
            self.later(self.world.random.randrange(NS_PER_S), self._record)

    def _record(self) -> None:
        self.say("record", 0, "{}")
        self.end()

    def _await(self) -> None:
        """As the load client does: says what it has ended, and asks when the next one begins."""
        if self.is_stopping or self.is_in:
            return
        when_ns = self.cues.begins(self.number)
        if self.number > self.cues.first - 1 and self.number > 0:
            self._say_ended()
        if when_ns is None or when_ns > self.clock_ns:
            left_ns = NS_PER_S // 20 if when_ns is None else when_ns - self.clock_ns
            self.later(min(left_ns, NS_PER_S // 20), self._await)
            return
        if self.number == len(self.world.stages):
            self.is_stopping = True
            self.later(self.world.random.randrange(NS_PER_S), self._record)
            return
        self._do()

    def _say_ended(self) -> None:
        if self.number - 1 not in self._said:
            self._said.add(self.number - 1)
            self.say("ended", self.number - 1)

    def _do(self) -> None:
        """A stage: for its time, or for as long as chance wants it."""
        number, stage = self.number, self.world.stages[self.number]
        if self.cues.is_told(number):
            self.say("begun", number, self.clock_ns)
            self.begun[number] = self.world.now_ns
        done = self.cues.stage(number, stage)
        if (done.connections_to or done.is_timed) and self.opened_ns is None:
            self.opened_ns = self.world.now_ns
        if done.is_timed:
            assert done.duration_ns is not None
            begin_ns = self.cues.begins(number) or self.clock_ns
            took_ns = max(begin_ns + done.duration_ns - self.clock_ns, 0)
        else:
            took_ns = self.world.random.randrange(2 * NS_PER_S) if done.connections_to else 0
        self.is_in = True
        self.later(took_ns, self._done)

    def _done(self) -> None:
        self.is_in = False
        self.number += 1
        self._await()


class World:
    """Of a conductor and the attempts that it starts."""

    def __init__(
        self, conductor: Conductor, stages: list[Stage], seed: int = 0, *, skew_ns: int = NS_PER_S
    ) -> None:
        self.conductor, self.stages = conductor, stages
        self.random = random.Random(seed)
        self.now_ns = 1_000 * NS_PER_S
        self.skew_ns = skew_ns
        self.attempts: dict[tuple[int, int], Attempt] = {}
        self.opens: list[tuple[int, int, int, int]] = []  # part, attempt, from, to
        self.is_lost = False  # the controller
        self.frame_of: Callable[[Attempt], object] = lambda _: b""
        self.on_news: Callable[[News], None] = lambda _: None
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.do(conductor.begin(self.now_ns))
        self._due()

    def at(self, when_ns: int, work: Callable[[], None]) -> None:
        """Do it at that time."""
        self._count += 1
        heapq.heappush(self._events, (when_ns, self._count, work))

    def run(self, for_ns: int) -> None:
        """Let so much time pass, or less if the run is over before."""
        until_ns = self.now_ns + for_ns
        while self._events and self._events[0][0] <= until_ns:
            self.now_ns, _, work = heapq.heappop(self._events)
            work()
        self.now_ns = until_ns

    def send(self, sender: Attempt, news: News) -> None:
        """From an attempt to the controller. What is sent into a cut is lost."""
        if not sender.is_cut:
            self.at(self._arrival_ns(), lambda: self._hear(news))

    def cut(self, part: int, is_cut: bool = True) -> None:
        """Nothing goes to the present attempt or comes from it, or (False) does again."""
        self._present(part).is_cut = is_cut

    def kill(self, part: int) -> None:
        """Its process ends; nobody is told."""
        self._present(part).end()

    def lose(self) -> None:
        """The controller is gone."""
        self.is_lost = True

    def _present(self, part: int) -> Attempt:
        return self.attempts[part, self.conductor.standings[part].attempt]

    def _arrival_ns(self) -> int:
        return self.now_ns + self.random.randrange(*WAY_NS)

    def _hear(self, news: News) -> None:
        if not self.is_lost:
            self.on_news(news)
            self.do(self.conductor.hear(news, self.now_ns))

    def _due(self) -> None:
        if not self.is_lost:
            self.do(self.conductor.due(self.now_ns))
            self.at(self.now_ns + DUE_NS, self._due)

    def do(self, acts: list[Act]) -> None:
        """What the conductor wants done."""
        for act in acts:
            key = act.part, act.attempt
            if isinstance(act, Start):
                assert key not in self.attempts, "an attempt was started twice"
                offset_ns = self.random.randrange(-self.skew_ns, self.skew_ns + 1)
                one = self.attempts[key] = Attempt(self, *key, offset_ns)
                self.conductor.standings[act.part].worker = f"worker-{act.part}.{act.attempt}"
                self.at(self._arrival_ns(), one.start)
            else:
                one, order = self.attempts[key], act.order
                if not one.is_cut:
                    self.at(self._arrival_ns(), partial(one.hear, order))
