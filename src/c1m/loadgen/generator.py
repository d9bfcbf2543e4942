"""One load run: goes through the stages of a plan, keeps connections and requests to them.

The same loop as the server's, with other handlers. What connections there are is in `connections`,
what they say and hear in `traffic`, what is measured in `recorder`; here is the order of things:
stages, ticks, the end.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import Engine, Pieces, Slots
from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.kernel.sleeping import precise_timers
from c1m.limits.reasons import PEER_EOF
from c1m.loadgen.arrivals import Arrivals, Spread, parse_spread
from c1m.loadgen.closing import Closing
from c1m.loadgen.connections import BLOCK, OPEN, ConnectionPool
from c1m.loadgen.hearing import Hearing
from c1m.loadgen.phases import CLOSE, SETTLE, Phase
from c1m.loadgen.plan import REQUEST_BYTES_MAX, LoadPlan
from c1m.loadgen.recorder import STILL_NS, Recorder
from c1m.loadgen.sampler import Sampler
from c1m.loadgen.snapshots import Standing
from c1m.loadgen.spoken import SpokenPool
from c1m.loadgen.stages import Stage
from c1m.loadgen.steps import ALONE, Steps
from c1m.loadgen.tallies import Tallies
from c1m.loadgen.traffic import FAR, FEW, Traffic
from c1m.loadgen.transports.base import Taken
from c1m.loop import Handlers, Int32s, Loop, frozen_heap
from c1m.results.snapshot import Snapshot
from c1m.results.tally import Tally
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.messages import Numbers
from c1m.tls.connector import Connector
from c1m.units import format_count, format_duration

SLEEP_NS = 50_000_000
SAMPLE_NS = 500_000_000
SNAPSHOT_NS = 250_000_000
TALLY_NS = 1_000_000_000
AWAKE_NS = 300_000  # before a request is due: a wake-up and a request out of cold caches take it,
AWAKE_SHARE = 16  # but no more than one part in so many of the time between two requests,
AWAKE_LEAST_NS = 20_000  # and not at all where that is less than to be woken takes
DOZE_NS = 20_000  # to sleep for so long, and to be woken, takes as much of a core
GRACE_NS = 1_000_000_000  # at a stage's end, for requests that are due and wait
INTERRUPTED_NS = 1_000_000_000  # what is in flight is waited for so long when a run is interrupted


class Generator:
    """One run. `run` does it; the public attributes are its results."""

    def __init__(
        self,
        plan: LoadPlan, engine: Engine, clock: Clock, sampler: Sampler,
        on_progress: Callable[[Snapshot], None] | None = None,
        connector: Connector | None = None, steps: Steps = ALONE,
        start_ns: int | None = None,
        on_tally: Callable[[Tally], None] | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.engine = engine
        self.clock = clock
        self.sampler = sampler
        self.steps = steps
        self.start_ns = clock.now_ns() if start_ns is None else start_ns
        self.recorder = Recorder(are_halves=plan.scenario.wants_end)
        transport, of = plan.transport, (engine, plan.asked.connections, plan.addresses)
        self.connections = (
            ConnectionPool(*of, self.start_ns)
            if transport is None
            else SpokenPool(*of, self.start_ns, transport)
        )
        self.connections.is_tls = plan.tls is not None
        self.connector = connector
        if connector is not None and connector.server_name is None:
            connector.name_of = self._server_name
        share = plan.stretch.share
        self.rng = np.random.default_rng(share.seed(plan.asked.seed))
        self.traffic = Traffic(
            engine,
            exchange_of(plan.scenario, plan.asked.connections, plan.asked.pipeline),
            self.connections,
            self.recorder,
            clock,
            Spread(plan.asked.connections, self.rng, parse_spread(plan.asked.spread), share),
            self.rng,
            transport if transport is not None and transport.wraps else None,
        )
        self.phases: list[Phase] = []
        self.loop = Loop(engine, clock, self._handlers())
        self._take_few = self._reporting(self._few)
        self.shortfalls: list[str] = self.connections.shortfalls
        self._on_progress = on_progress
        self._standing = Standing(
            plan, self.connections, self.traffic, self.recorder, sampler, self.start_ns
        )
        self._tallies = Tallies(self._standing, self.phases, on_tally)
        heard = self.traffic, self.connections, self.recorder, sampler
        self.hearing = Hearing(*heard, self.start_ns)
        self.watch = self.hearing.watch
        scenario = plan.scenario
        self._takes_few = transport is None and self.traffic.exchange.has_scalars()
        self._brought_few = False  # by the last tick
        self._hears = scenario.reads and not scenario.wants_end  # replies, before the end
        greets = scenario.speakers is None or scenario.greets
        self._greets = self._hears and not scenario.is_silent and greets
        self.closing = Closing(self.connections, self.traffic, clock, self.rng, self._hears)
        self._stages_begun = 0
        self._has_raised = False  # the scenario
        self._is_whole = False  # all that was asked for was done
        self._is_closing = False
        self._given_up = 0  # connects, handshakes and first requests
        self._came_ns = self.start_ns  # when the kernel handed over what this tick brought
        self.awake_ns = AWAKE_NS  # before a request is due, at most
        self._awake_ns = 0  # in this stage
        self._sleep_ns, self._end_ns = SLEEP_NS, FAR  # at most, and until when
        self._has_news = True  # something else than data came, or a timer: what is asked may differ
        self.spun_ns = 0  # looked for what was not there, instead of sleeping

    def _handlers(self) -> Handlers:
        return Handlers(
            connected=self._reporting(self._connected),
            secured=self._reporting(self._secured),
            failed=self._failed,
            data=self._reporting(self._data),
            eof=self._reporting(self._eof),
            closed=self._reporting(self._lost),
        )

    def _server_name(self, slot: int) -> str:
        assert self.plan.tls is not None
        return self.plan.tls.name_of(int(self.connections.numbers_of(np.array([slot]))[0]))

    @property
    def interrupted(self) -> bool:
        """The run was ended early, in good order, by `loop.stop`; not while it only closes."""
        return self.loop.is_stopping and not self._is_whole

    def run(self) -> None:
        """All stages, one after the other; then what is in flight, then the end."""
        with frozen_heap(), precise_timers():
            self._run()

    def _run(self) -> None:
        self.loop.call_every(SAMPLE_NS, self._sample, self.start_ns)
        self.loop.call_every(SNAPSHOT_NS, self._look, self.start_ns)
        self.loop.call_every(TALLY_NS, self._tallies.tell, self.start_ns)
        self._patience_ns = min(self.plan.asked.timeout_ns, self.plan.ramp_timeout_ns)
        self.loop.call_at(self.start_ns + self._patience_ns, self._reporting(self._expire))
        transport = self.plan.transport
        if transport is not None and transport.tick_ns:
            self.loop.call_every(transport.tick_ns, self._reporting(self._by_clock), self.start_ns)
        for number, stage in enumerate(self.plan.stages):
            begin_ns = self._await(number)
            if self.interrupted:
                break
            self._stages_begun += 1
            stage = self.steps.begun(number, stage, self.clock.now_ns())
            self._phase(stage, self._stage, begin_ns)
        self._phase(SETTLE, self._settle)
        self._await(len(self.plan.stages))
        if transport is not None:
            self.shortfalls += transport.notes()
        if self._has_raised:
            self.traffic.abandon(self.clock.now_ns())
        self._is_whole = not self.interrupted
        self.connections.counts.open_at_end = self.connections.live
        self._phase(CLOSE, self._close_all)
        self._see(self.clock.now_ns(), is_last=True)
        self._tallies.tell(self.clock.now_ns())

    def _await(self, number: int) -> int | None:
        """Keep what is open until this stage may begin, and the time at which it does, where it is
        one for several load clients; the one behind the last is the end."""
        while not self.interrupted and (when_ns := self.steps.begins(number)) != 0:
            left_ns = SLEEP_NS if when_ns is None else when_ns - self.clock.now_ns()
            if left_ns <= 0:
                return when_ns
            self._tick(min(left_ns, SLEEP_NS))
        return None

    def _phase(
        self, stage: Stage, work: Callable[[Phase], None], begin_ns: int | None = None
    ) -> None:
        phase = Phase(stage, self.clock.now_ns() if begin_ns is None else begin_ns)
        self.phases.append(phase)
        self.sampler.sample(self.connections.live, keep=True)
        self.watch.begin(phase.start_ns)
        phase.before = Counter(self.traffic.ledger.extras)
        self._reporting(work)(phase)
        self.closing.end()
        phase.extras = self.traffic.ledger.extras - phase.before
        phase.end_ns, phase.moved_ns = self.clock.now_ns(), self.watch.moved_ns
        phase.gave_up = self.watch.gave_up
        phase.open_at_end = self.connections.live
        self.sampler.sample(self.connections.live, keep=True)

    def _reporting(self, work: Callable[..., None]) -> Callable[..., None]:
        """The same, but where a scenario of the user's own raises, that is reported (once) and ends
        the run in good order: what else came in a tick is handled, and nothing more is sent."""

        def call(*arguments: Any) -> None:
            try:
                work(*arguments)
            except UsageError as error:
                if str(error) not in self.shortfalls:
                    self.shortfalls.append(str(error))
                self._has_raised = True
                self.traffic.break_off(self.clock.now_ns())
                self.loop.stop()

        return call

    # --- stages -------------------------------------------------------------------------------

    def _stage(self, phase: Phase) -> None:
        stage = phase.stage
        self.connections.ramp_to = 0  # later ones are not the same ramp, nor is what opens again
        if phase is self.phases[0]:
            self.connections.ramp_to = stage.connections_to
            self.connections.ramp.restart(phase.start_ns)
        self.plan.window.pace(stage.connect_rate, self.connections.counts.attempted, phase.start_ns)
        if stage.name in ("stampede", "storm"):
            self._settle(phase)
            if stage.name == "storm":
                for some in self.closing.storm(stage.share):
                    self.closing.close(some, abort=True)
                    self._tick(0)
            else:
                self._stampede(phase)
            self.watch.begin(self.clock.now_ns())
        self._begin_load(phase)
        traffic, spins = self.traffic, self.plan.asked.spin and phase.group is not None
        steady_ns = 0  # until then, requests and replies are all that there is to see to
        while True:
            now = self.clock.now_ns()
            if self._has_news or now >= steady_ns:
                self._has_news = False
                if self.interrupted or self._is_over(phase):
                    break
                steady_ns = self._see_to_connections(phase, now)
            traffic.due(now)
            traffic.prepare(now)
            timeout_ns = self._timeout()
            if timeout_ns < DOZE_NS or spins:
                self._spin()
            else:
                self._tick(timeout_ns)
        if phase.group is not None and stage.name != "stampede":
            self._end_load(phase.planned_end_ns)

    def _see_to_connections(self, phase: Phase, now: int) -> int:
        """As many as are wanted now; until when that is so while nothing else happens."""
        stage, connections = phase.stage, self.connections
        connections.wanted = stage.wanted(now - phase.start_ns)
        under_way = self._under_way()
        may_begin = connections.short > 0 and not connections.is_refused
        is_waiting = under_way > 0 or (may_begin and now >= phase.start_ns + stage.pace_ns)
        self.watch.reach(connections.assigned - under_way - self._given_up, is_waiting, now)
        self._keep(now)
        if stage.churn_rate:
            self.closing.churn(stage.churn_rate, now - phase.start_ns)
        self._end_ns = end_ns = phase.planned_end_ns if now < phase.planned_end_ns else FAR
        self._sleep_ns = SLEEP_NS
        if connections.short:
            self._sleep_ns = SLEEP_NS // 50
        elif stage.churn_rate:
            self._sleep_ns = SLEEP_NS // 5
        elif stage.is_timed and not connections.surplus:
            return end_ns
        return now

    def _begin_load(self, phase: Phase) -> None:
        stage = phase.stage
        self._has_news, self._awake_ns = True, 0
        self.closing.begin()
        if self.plan.scenario.is_silent or not stage.has_load:
            return
        phase.group = self.recorder.group(is_load=True)
        arrivals = None
        apart_ns = (stage.think_ns or 0) // max(self.connections.live, 1)  # two requests
        if stage.rate_from is not None:
            assert stage.rate_to is not None and stage.duration_ns is not None
            rng = self.rng if self.plan.asked.arrivals == "poisson" else None
            arrivals = Arrivals(
                phase.start_ns, stage.duration_ns, stage.rate_from, stage.rate_to, rng, stage.phase
            )
            apart_ns = round(1e9 / max(stage.rate_from, stage.rate_to))
        awake_ns = min(self.awake_ns, apart_ns // AWAKE_SHARE)
        self._awake_ns = awake_ns if awake_ns >= AWAKE_LEAST_NS else 0
        self.traffic.begin(phase.group, arrivals, stage.think_ns, phase.start_ns)

    def _end_load(self, end_ns: int) -> None:
        """What was due within the stage and waits for its connection may still go, for a moment."""
        self.traffic.close_schedule(min(self.clock.now_ns(), end_ns))
        limit = self.clock.now_ns() + GRACE_NS
        while self.traffic.waiting and not self.interrupted and self.clock.now_ns() < limit:
            self._tick(limit - self.clock.now_ns())
        self.traffic.end()

    def _is_over(self, phase: Phase) -> bool:
        """By its time; without one when it is done, or when it stands still for the timeout."""
        stage, has_time = phase.stage, self.clock.now_ns() < phase.planned_end_ns
        if stage.is_timed:
            return not has_time
        if stage.name == "stampede":  # what is not read is not answered
            assert phase.group is not None
            return not (self._hears and phase.group.requests.in_flight)
        connections = self.connections
        if self.watch.is_still and not connections.surplus:
            connections.wanted = stage.connections_to
            if connections.short or self._under_way():
                self._stand_still(phase)
                return True
        if has_time:
            return False
        connections.wanted = stage.connections_to
        return not (connections.short or connections.surplus or self._under_way())

    def _stand_still(self, phase: Phase) -> None:
        """The stage ends, with the reason; what it has not begun is not begun later either."""
        connections = self.connections
        self.watch.moved_ns, moved_ns = self.watch.ramped_ns, self.watch.moved_ns
        heard = "no connect was answered"
        if self._greets:
            heard = "nothing came on a connection that had not been answered before"
        if moved_ns - self.watch.ramped_ns > STILL_NS:
            heard = "as many connections were ended as others opened"
        self.shortfalls.append(
            f"The stage {phase.stage.text!r} stood still for "
            f"{format_duration(self.clock.now_ns() - self.watch.moved_ns)} and was ended: {heard}, "
            f"and {format_count(connections.short)} connects were not begun."
        )
        phase.stood_still = True
        connections.waive()

    def _under_way(self) -> int:
        """Connects that the server has not been heard of on yet."""
        answers = self.recorder.first.requests.in_flight if self._hears else 0
        return self.connections.counts.unfinished + answers

    def _timeout(self) -> int:
        """How long the engine may be waited for."""
        now, due = self.clock.now_ns(), self.traffic.next_ns()
        until = min(now + self._sleep_ns, self._end_ns)
        if due is not None and due - self._awake_ns < until:
            until = due - self._awake_ns
        return until - now if until > now else 0

    def _spin(self) -> None:
        """A tick that does not sleep: to be woken takes the kernel 50 to 150 us, and leaves the
        caches cold. What is burnt so is no work: it is counted apart."""
        begin = self.clock.now_ns()
        if not self._tick(0):
            self.spun_ns += self.clock.now_ns() - begin

    # --- connections --------------------------------------------------------------------------

    def _keep(self, now_ns: int, most: int | None = None) -> None:
        """Open or close connections, to be as many as are wanted now; or only open so many."""
        connections, window = self.connections, self.plan.window
        left = connections.short if most is None else min(connections.short, most)
        if left:
            under_way = self._under_way()
            count = min(window.may_start(connections.counts.attempted, under_way, now_ns), left)
            if self.connector is not None and (names := self.connector.awaited):
                count = min(count, max(names - under_way, 0))  # one each, until there are tickets
            if count and (count >= min(window.step, left) or not under_way):
                if not under_way:
                    self.watch.moved_ns = now_ns  # it stood still for nobody
                connections.open(count, now_ns)
        elif connections.surplus and most is None:
            self.closing.surplus()

    def _stampede(self, phase: Phase) -> None:
        """Every open connection sends once, all before the first reply is taken.

        The engine holds what it is given until it is waited for, so where all take more than
        REQUEST_BYTES_MAX, replies are taken in between.
        """
        phase.group = self.recorder.group()
        numbers, size = self.connections.open_numbers(), self.plan.message_bytes
        block = max(min(BLOCK, REQUEST_BYTES_MAX // size), 1)
        held = 0
        for start in range(0, len(numbers), block):
            some = numbers[start : start + block]
            if held + len(some) * size > REQUEST_BYTES_MAX:
                self._tick(0)
                held = 0
            some = some[self.connections.states[some] == OPEN]
            self.traffic.send_all(some, phase.group)
            held += len(some) * size

    # --- the end ------------------------------------------------------------------------------

    def _settle(self, phase: Phase) -> None:
        """Wait for the replies that are due, until they are given up."""
        ledger, scenario = self.traffic.ledger, self.plan.scenario
        if not self._hears and phase.stage is not SETTLE:
            return
        if not scenario.reads:
            self.engine.receive(self.connections.slots[self.connections.open_numbers()], True)
        now = self.clock.now_ns()
        self.watch.begin(now)
        # Of a scenario that waits for its end, the stages were the time that the server had for it.
        limit = 0 if scenario.wants_end else self.plan.asked.timeout_ns
        interrupted_ns = None
        while self._awaited() and now - self.watch.moved_ns < limit:
            if self.interrupted:
                interrupted_ns = interrupted_ns or now
                if now - interrupted_ns >= INTERRUPTED_NS:
                    break
            if isinstance(self.connections, SpokenPool) and self.connections.renewing:
                self._keep(now, self.connections.renewing)
            self._tick(SLEEP_NS // 5)
            now = self.clock.now_ns()
        watch = self.watch
        is_waiting = bool(ledger.in_flight) or watch.gave_up
        heard_ns = max(watch.heard_ns, watch.broken_ns)
        if phase.stage is SETTLE and is_waiting and now - heard_ns > STILL_NS:
            self.hearing.keep_gap(False, heard_ns, now, ledger.in_flight)
        self.traffic.give_up_older_than(now + 1, now)

    def _awaited(self) -> int:
        connections, awaited = self.connections, self.traffic.exchange.awaited
        return awaited + (connections.awaited if isinstance(connections, SpokenPool) else 0)

    def _close_all(self, phase: Phase) -> None:
        self._is_closing = True
        connections = self.connections
        self.engine.close(connections.slots[connections.under_way_numbers()])
        numbers = connections.open_numbers()
        for start in range(0, len(numbers), BLOCK):
            some = numbers[start : start + BLOCK]
            connections.finish(some[connections.states[some] == OPEN])
            self._tick(0)
        deadline = self.clock.now_ns() + self.plan.asked.timeout_ns
        while self.engine.statistics().lingering and self.clock.now_ns() < deadline:
            self._tick(SLEEP_NS)

    # --- one tick -----------------------------------------------------------------------------

    def _tick(self, timeout_ns: int) -> bool:
        """Wait once and take what came; whether anything did."""
        if self.engine.sends_in_wait:
            self.traffic.stamp()
        watch = self.watch
        pieces: Pieces | None = [] if self._takes_few and self._brought_few else None
        count = self.loop.wait(timeout_ns, pieces)
        has_come, now = count > 0, self.loop.woke_ns
        self._brought_few = count <= FEW
        if now - watch.ticked_ns > timeout_ns + STILL_NS:
            self.hearing.keep_gap(True, watch.ticked_ns, now)
            watch.hear(now)  # it could not
        watch.ticked_ns = now
        if not has_come and not (self._hears and (self.traffic.ledger.in_flight or watch.gave_up)):
            watch.hear(now)  # nothing is waited for
        # What the engine made of it since then is not the server's doing.
        self._came_ns = self.loop.batch.came_ns or now
        if pieces:
            self._take_few(pieces)
        self._has_news |= self.loop.dispatch()
        return has_come

    def _connected(self, slots: Slots) -> None:
        numbers = self.connections.numbers_of(slots)
        ready = self.connections.connected(numbers, self._came_ns)
        if len(ready):
            self._opened(ready, self._came_ns)

    def _secured(self, slots: Slots) -> None:
        """A handshake takes what both ends compute for it, so it is done now."""
        numbers, now = self.connections.numbers_of(slots), self.clock.now_ns()
        self.watch.moved_ns = now
        ready = self.connections.secured(numbers, now)
        if len(ready):
            self._opened(ready, now)

    def _opened(self, numbers: Numbers, now: int) -> None:
        if not self._greets:  # the kernel alone may have opened it: where it can, it is heard
            self.watch.moved_ns = now
        if not self.plan.scenario.reads:
            self.engine.receive(self.connections.slots.take(numbers), False)
        if isinstance(self.connections, SpokenPool) and self.connections.renewing:
            again = self.connections.taken_up(numbers)
            self.traffic.take_up(numbers[again], now)
            numbers = numbers[~again]
        if not self.plan.scenario.is_silent:
            self.traffic.greet(numbers, now)

    def _failed(self, slots: Slots, errnos: Int32s) -> None:
        numbers = self.connections.numbers_of(slots)
        if len(again := self.connections.not_renewed(numbers)):
            self.traffic.gone(again, self._came_ns, by_peer=True)
        self.connections.failed(numbers, errnos)
        if (errnos != errno.ETIMEDOUT).any():
            self.watch.moved_ns = self._came_ns

    def _data(self, slots: Slots, data: Ragged) -> None:
        connections, numbers = self.connections, self.connections.numbers_of(slots)
        self.hearing.begin(self._came_ns)
        if isinstance(connections, SpokenPool):
            self._take(connections, connections.take(numbers, data, self._came_ns))
        else:
            self.hearing.take(numbers, data, self._came_ns)

    def _few(self, pieces: Pieces) -> None:
        """The scalar form of `_data`."""
        self.hearing.take_few(pieces, self._came_ns)

    def _by_clock(self, now: int) -> None:
        """What a transport has to do by the time."""
        assert isinstance(self.connections, SpokenPool)
        self._came_ns = now
        self._take(self.connections, self.connections.due(now))

    def _take(self, connections: SpokenPool, taken: Taken) -> None:
        """What a transport has made of what came."""
        try:
            if len(taken.ready):
                self._opened(taken.ready, self._came_ns)
            for numbers, data in taken.messages:
                self.hearing.take(numbers, data, self._came_ns)
        finally:  # a scenario may raise
            if taken.failed:
                self.watch.moved_ns = self._came_ns
                numbers, errnos = np.array(taken.failed, np.int64).T
                slots = connections.slots.take(numbers)
                connections.say(taken.last_words)
                self.engine.close(slots)
                self._lost(slots, errnos.astype(np.int32))

    def _eof(self, slots: Slots) -> None:
        self.engine.close(slots)  # first: a scenario may raise over what was lost
        if isinstance(self.connections, SpokenPool):
            for numbers, data in self.connections.ended(self.connections.numbers_of(slots)):
                self.hearing.take(numbers, data, self._came_ns)
        self._lost(slots, np.full(len(slots), PEER_EOF, np.int32))

    def _lost(self, slots: Slots, errnos: Int32s) -> None:
        if self._is_closing:  # the peer was quicker to end what this run was about to close
            self.connections.finished(slots)
            return
        if len(again := self.connections.not_renewed(self.connections.numbers_of(slots))):
            self.traffic.gone(again, self._came_ns, by_peer=True)
        is_wanted = self.plan.scenario.wants_end
        numbers = self.connections.lost(slots, errnos, self._came_ns, is_wanted=is_wanted)
        if len(slots):
            self.watch.moved_ns = self._came_ns
        self.traffic.gone(numbers, self._came_ns, by_peer=True)

    # --- timers -------------------------------------------------------------------------------

    def _sample(self, now: int) -> None:
        self.sampler.sample(self.connections.live)

    def _expire(self, now: int) -> None:
        """Give up connects and replies that are older than the timeout.

        In a stampede a reply waits for those of all others: there the timeout is for no reply.
        """
        watch, limit = self.watch, now - self.plan.asked.timeout_ns
        if self.phases[-1].stage.name == "stampede" and watch.moved_ns > limit:
            self.loop.call_at(now + SLEEP_NS, self._reporting(self._expire))
            return
        interval_ns = max(self._patience_ns // 8, SLEEP_NS)
        self.loop.call_at(now + interval_ns, self._reporting(self._expire))
        first = self.recorder.first.requests
        given_up, missing = self.connections.give_up_older_than(limit), first.missing
        self._given_up += given_up
        if self._hears:
            given_up += self.traffic.give_up_older_than(limit, now)
            self._given_up += first.missing - missing
        watch.gave_up |= given_up > 0
        watch.is_still = now - watch.ramped_ns >= self.plan.ramp_timeout_ns

    def _look(self, now: int) -> None:
        self.recorder.is_after_gap &= now < self.watch.recovers_ns
        self._see(now)

    def _see(self, now: int, *, is_last: bool = False) -> None:
        """A row of the series when a second is over, and a snapshot for whoever looks on."""
        self._standing.see(now, is_last=is_last)
        if self._on_progress is not None:
            phase, number = self.phases[-1], self._stages_begun
            self._on_progress(self._standing.snapshot(phase, number, now, is_last=is_last))
