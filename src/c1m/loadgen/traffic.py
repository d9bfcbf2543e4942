"""Requests over open connections: which one sends when, and from when a latency counts.

Open loop: arrivals come by the stage's schedule, each for a connection that is drawn. If that has
as many requests in flight as it may, the arrival waits, and its latency counts from when it was due
all the same. What still waits when the stage ends is counted as unsent.

Closed loop: a connection asks again a think time after its reply.
"""

from __future__ import annotations

import heapq
import itertools

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import Engine, Slots
from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.loadgen.arrivals import Arrivals, Spread, Times
from c1m.loadgen.backlog import Backlog
from c1m.loadgen.connections import LEAVING, OPEN, ConnectionPool
from c1m.loadgen.recorder import FIRST, Group, Recorder
from c1m.loadgen.transports.base import Transport
from c1m.scenarios.base import Exchange
from c1m.scenarios.ledger import MISSING, RIGHT, Pushes, Repeats, Resolved
from c1m.scenarios.messages import Numbers

FAR = np.iinfo(np.int64).max  # in the column of send times: nothing in flight there
FEW = 8  # requests, or replies, that are looked at one by one
PREPARE_NS = 2_000_000  # so long before it is due a request may be made
PREPARE_LEAST_NS = 5_000  # and not later than that: it takes so long with warm caches
REDRAWS = 8  # tries to hit an open connection before all of them are listed


class Traffic:
    """What all connections send and receive; `begin` and `end` bracket a stage's load."""

    def __init__(
        self,
        engine: Engine,
        exchange: Exchange,
        connections: ConnectionPool,
        recorder: Recorder,
        clock: Clock,
        spread: Spread,
        rng: np.random.Generator,
        transport: Transport | None = None,
    ) -> None:
        count, depth = len(connections.states), exchange.ledger.depth
        self.exchange = exchange
        self._transport = transport
        self.ledger = exchange.ledger
        self.recorder = recorder
        self._engine = engine
        self._connections = connections
        self._clock = clock
        self._spread = spread
        self._rng = rng
        self._depth = depth
        self._has_scalars = transport is None and exchange.has_scalars()
        speakers = exchange.scenario.speakers
        self._speakers = count if speakers is None else speakers  # numbers from here on only hear
        self._intended = np.zeros(count * depth, np.int64)
        self._sent = np.full(count * depth, FAR, np.int64)
        self._groups = np.zeros(count * depth, np.uint8)
        self._intended_at, self._sent_at = self._intended.data, self._sent.data
        self._groups_at = self._groups.data
        self._backlog = Backlog(count)
        self._repeats = Repeats(count)
        self._group = recorder.first  # of the stage that is under way
        self._next_ns: int | None = None  # when the next arrival is due
        self._ready: tuple[int, int, int, bytes] | None = None  # due, row, slot, request
        self._chosen = -1  # the connection of the next arrival, where it is drawn
        self._unstamped: list[tuple[Numbers, bool]] = []  # rows of requests; whether due when sent
        self._unstamped_few: list[int] = []  # rows of those that were sent one by one
        self.fault_ns: list[int] = []  # when each of the exchange's faults was seen
        self._arrivals: Arrivals | None = None
        self._think_ns: int | None = None
        # The first of them is due when, in which order it came; when all are, ascending; who.
        self._thinking: list[tuple[int, int, Times, Numbers]] = []
        self._ordered = itertools.count()
        self._asks_ns = np.zeros(0, np.int64)  # when each thinks until; another time is outdated

    # --- a stage ------------------------------------------------------------------------------

    def begin(
        self, group: Group, arrivals: Arrivals | None, think_ns: int | None, now_ns: int
    ) -> None:
        """A stage's load begins: by a schedule, or each connection after its replies."""
        self._group, self._arrivals, self._think_ns = group, arrivals, think_ns
        self._next_ns = None if arrivals is None else arrivals.next_ns()
        if think_ns is None:
            return
        numbers = self._connections.open_numbers()
        numbers = numbers[numbers < self._speakers]
        self._asks_ns = np.zeros(len(self._connections.states), np.int64)
        if think_ns:  # not all at once: as if they had been at it before
            due = now_ns + np.sort(self._rng.integers(0, think_ns, len(numbers)))
            self._think(due, self._rng.permutation(numbers))
        else:
            for _ in range(self._depth):
                self.send_all(numbers, self._group)

    def close_schedule(self, now_ns: int) -> None:
        """Nothing becomes due after now; what is due and waits may still be sent."""
        self.due(now_ns)
        self._stop(now_ns)

    def break_off(self, now_ns: int) -> None:
        """The stage is over since its scenario has raised: nothing is asked of it any more."""
        self._stop(now_ns)
        self.end()

    def _stop(self, now_ns: int) -> None:
        if self._ready is not None:
            self._launch(now_ns, at_once=True)
        self._arrivals = self._think_ns = None
        self._chosen = -1
        self._thinking.clear()

    def oldest_sent(self, numbers: Numbers) -> int:
        """When the oldest request was sent of those that these connections wait for (or all
        publishers, whom all hear); FAR where they wait for none."""
        if self.exchange.scenario.speakers is not None:
            numbers = np.arange(self._speakers)
        at = self._at(numbers, self.ledger.oldest.take(numbers).astype(np.int64))
        return int(self._sent.take(at).min(initial=FAR))

    @property
    def waiting(self) -> int:
        """Requests that are due and wait for their connection."""
        return len(self._backlog)

    def end(self) -> None:
        """The stage is over: what still waits stays unsent."""
        self._group.requests.unsent += self._backlog.clear()

    def next_ns(self) -> int | None:
        """When something is due to be sent; None: nothing is, as far as is known."""
        if self._ready is not None:
            return self._ready[0]
        if self._arrivals is not None:
            return self._next_ns
        return self._thinking[0][0] if self._thinking else None

    def due(self, now_ns: int) -> None:
        """Send what is due."""
        arrivals = self._arrivals
        if arrivals is None:
            if self._thinking:
                self._after_thinking(now_ns)
            return
        if self._ready is not None:
            self._launch(now_ns)
        if self._next_ns is None or now_ns < self._next_ns:
            return
        if arrivals.are_few(now_ns, FEW):
            while self._next_ns is not None and self._next_ns <= now_ns:
                self._arrive_one(arrivals, self._next_ns, now_ns)
            return
        times = arrivals.until(now_ns)
        self._next_ns = arrivals.next_ns()
        if len(times):
            self._arrive(times, now_ns)

    def _arrive_one(self, arrivals: Arrivals, due_ns: int, now_ns: int) -> None:
        """The scalar form of `_arrive`, which it leaves to that where the connection is not free.

        A time of its own: a request that is made takes as long as many replies.
        """
        arrivals.take()
        self._next_ns = arrivals.next_ns()
        number = self._choose()
        if number < 0:
            self._arrive(np.array([due_ns]), now_ns)
            return
        self._chosen = -1
        self._group.requests.due += 1
        at, said = self._made_one(number)
        self._intended_at[at] = due_ns
        self._hand_over_one(at, self._connections.slot_at[number], said, self._clock.now_ns())
        self.recorder.behind_one(self._group, now_ns - due_ns)

    def _arrive(self, times: Times, now_ns: int) -> None:
        requests = self._group.requests
        requests.due += len(times)
        chosen, self._chosen = self._chosen, -1
        if chosen >= 0 and self._connections.state_at[chosen] == OPEN:
            numbers = np.concatenate(([chosen], self._drawn(len(times) - 1)))
        else:
            numbers = self._drawn(len(times))
        if not len(numbers):
            requests.unsent += len(times)
            return
        may = self._repeats.first(numbers) & self.exchange.is_free(numbers)
        if len(self._backlog):
            may &= ~self._backlog.has(numbers)
        lags = now_ns - times
        if may.all():
            self._send(numbers, times, self._group)
            self.recorder.behind(self._group, lags, lags)
            return
        self._backlog.push(numbers[~may], times[~may])
        self._send(numbers[may], times[may], self._group)
        self.recorder.behind(self._group, lags, lags[may])
        if self._depth > 1:  # several may go to one connection at once
            self._serve_backlog(np.unique(numbers[~may]))

    def prepare(self, now_ns: int) -> None:
        """Where the next arrival is near: make its request before it is waited for, and only hand
        it over when it is due. To draw a connection and to make a message takes 0.2 ms out of cold
        caches, which would be in its latency. What is to go out now does not wait for that.
        """
        if self._ready is not None or self._unstamped_few or self._unstamped:
            return
        due, arrivals = self._next_ns, self._arrivals
        if due is None or arrivals is None or not PREPARE_LEAST_NS < due - now_ns < PREPARE_NS:
            return
        number = self._choose()
        if number < 0:
            return
        self._chosen = -1
        arrivals.take()
        self._next_ns = arrivals.next_ns()
        self._group.requests.due += 1
        at, said = self._made_one(number)
        self._intended_at[at] = self._sent_at[at] = due
        self._ready = due, at, self._connections.slot_at[number], said

    def _launch(self, now_ns: int, *, at_once: bool = False) -> None:
        """Hand over the request that was prepared, if it is due."""
        assert self._ready is not None
        due, at, slot, said = self._ready
        if now_ns < due and not at_once:
            return
        self._ready = None
        if self._sent_at[at] == FAR:
            return  # its connection has ended meanwhile, and it is resolved
        if self._connections.state_at[at // self._depth] not in (OPEN, LEAVING):
            return  # or another one opens in its place, where it is said: see `take_up`
        self._hand_over_one(at, slot, said, max(now_ns, due))
        self.recorder.behind_one(self._group, max(now_ns - due, 0))

    def _choose(self) -> int:
        """The connection that the next arrival is for, drawn once; -1 where it is not open, or has
        no room, or others wait: then arrays are to see to that."""
        connections = self._connections
        if self._chosen < 0 and connections.live:
            self._chosen = self._spread.one(min(connections.below, self._speakers))
        number = self._chosen
        if number < 0 or len(self._backlog) or connections.state_at[number] != OPEN:
            return -1
        return number if self.exchange.has_room(number) else -1

    def _drawn(self, count: int) -> Numbers:
        """`count` open connections (the same more than once, perhaps); none where none is open."""
        connections = self._connections
        below = min(connections.below, self._speakers)
        if not connections.live:
            return np.zeros(0, np.int64)
        numbers = self._spread.draw(count, below)
        for _ in range(REDRAWS):
            shut = np.flatnonzero(connections.states.take(numbers) != OPEN)
            if not len(shut):
                return numbers
            numbers[shut] = self._spread.draw(len(shut), below)
        shut = np.flatnonzero(connections.states.take(numbers) != OPEN)
        open_ = connections.open_numbers()
        open_ = open_[open_ < below]
        if len(shut) and not len(open_):
            return open_
        numbers[shut] = self._rng.choice(open_, len(shut))
        return numbers

    def _think(self, until: Times, numbers: Numbers) -> None:
        """They ask when their time (ascending) has come. What was set for them before is outdated:
        a connection may have been closed, opened again and answered while its old entry waits."""
        if len(numbers):
            self._asks_ns[numbers] = until
            heapq.heappush(self._thinking, (int(until[0]), next(self._ordered), until, numbers))

    def _after_thinking(self, now_ns: int) -> None:
        while self._thinking and self._thinking[0][0] <= now_ns:
            _, order, times, numbers = heapq.heappop(self._thinking)
            count = int(np.searchsorted(times, now_ns, side="right"))
            if count < len(times):
                rest = int(times[count]), order, times[count:], numbers[count:]
                heapq.heappush(self._thinking, rest)
                times, numbers = times[:count], numbers[:count]
            may = (self._connections.states.take(numbers) == OPEN) & self.exchange.is_free(numbers)
            may &= self._asks_ns.take(numbers) == times
            times, numbers = times[may], numbers[may]
            self._group.requests.due += len(times)
            self._send(numbers, times, self._group)
            self.recorder.behind(self._group, now_ns - times, now_ns - times)

    # --- sending ------------------------------------------------------------------------------

    def greet(self, numbers: Numbers, now_ns: int) -> None:
        """Send the first request on connections that have just opened; publishers wait."""
        self.exchange.now_ns = now_ns
        self.exchange.opened(numbers)
        scenario = self.exchange.scenario
        if scenario.speakers is None or scenario.greets:
            self.recorder.first.requests.due += len(numbers)
            self._send(numbers, None, self.recorder.first)
        elif self._think_ns is not None:  # a publisher that is opened again goes on
            self._go_on(numbers[numbers < self._speakers], now_ns)

    def take_up(self, numbers: Numbers, now_ns: int) -> None:
        """Connections in the place of those that the server has ended: what it has not answered is
        said once more, from which its latency does not begin anew; who waits for nothing goes on.
        """
        left = {number: self.exchange.unanswered(number) for number in numbers.tolist()}
        if self._ready is not None and self._ready[1] // self._depth in left:
            self._ready = None  # it is said with these
        while left := {number: seqs for number, seqs in left.items() if seqs}:
            again = np.array(list(left), np.int64)
            self._repeat(again, np.array([seqs.pop(0) for seqs in left.values()], np.int64))
        numbers = numbers[self.exchange.is_free(numbers)]
        if self._think_ns is not None:  # who should have asked meanwhile asks now
            numbers = numbers[self._asks_ns.take(numbers) <= now_ns]
        if self._think_ns:
            self._group.requests.due += len(numbers)
            self._send(numbers, self._asks_ns.take(numbers), self._group)
        else:
            self._go_on(numbers, now_ns)

    def _repeat(self, numbers: Numbers, seqs: Numbers) -> None:
        data = self.exchange.again(numbers, seqs)
        if self._transport is not None:
            data = self._transport.wrap(numbers, data)
        for number, count in enumerate(np.bincount(self._groups[self._at(numbers, seqs)]).tolist()):
            self.recorder.groups[number].requests.repeated += count
        self._engine.send(self._connections.slots.take(numbers), data)

    def send_all(self, numbers: Numbers, group: Group) -> None:
        """One request on each of these connections, as far as they are free."""
        numbers = numbers[self.exchange.is_free(numbers)]
        group.requests.due += len(numbers)
        self._send(numbers, None, group)

    def _send(self, numbers: Numbers, intended: Times | None, group: Group) -> None:
        """One request on each of these (distinct, free) connections. `intended` None: there is no
        schedule, it is due when it is sent."""
        if not len(numbers):
            return
        at, data = self._made(numbers, group)
        now = self._clock.now_ns()
        self._intended[at] = now if intended is None else intended
        self._hand_over(at, self._connections.slots.take(numbers), data, now, intended is None)

    def _made(self, numbers: Numbers, group: Group) -> tuple[Numbers, Ragged]:
        """Requests, counted as sent: their rows, and what is to be said. Times are not set yet.

        Where the scenario raises they stay unsent: they were due.
        """
        try:
            data, seqs = self.exchange.requests(numbers)
        except UsageError:
            group.requests.unsent += len(numbers)
            raise
        if self._transport is not None:
            data = self._wrapped(self._transport, numbers, data)
        at = self._at(numbers, seqs)
        self._groups[at] = group.number
        requests = group.requests
        requests.sent += len(numbers)
        requests.in_flight_peak = max(requests.in_flight_peak, requests.in_flight)
        return at, data

    def _wrapped(self, transport: Transport, numbers: Numbers, data: Ragged) -> Ragged:
        """The bytes that carry these requests. Those without a byte only wait."""
        said = data.lengths > 0
        if not self.exchange.says_nothing_at_times or said.all():
            return transport.wrap(numbers, data)
        offsets, lengths = np.zeros(len(data), np.int64), np.zeros(len(data), np.int32)
        wrapped = transport.wrap(numbers[said], data.take(said))
        offsets[said], lengths[said] = wrapped.offsets, wrapped.lengths
        return Ragged(wrapped.memory, offsets, lengths, wrapped.address)

    def _made_one(self, number: int) -> tuple[int, bytes]:
        """The scalar form of `_made`, for the stage's group."""
        if not self._has_scalars:
            at, data = self._made(np.array([number]), self._group)
            return int(at[0]), data.piece(0)
        said, seq = self.exchange.request(number)
        at_one = number if self._depth == 1 else number * self._depth + seq % self._depth
        self._groups_at[at_one] = self._group.number
        requests = self._group.requests
        requests.sent += 1
        requests.in_flight_peak = max(requests.in_flight_peak, requests.in_flight)
        return at_one, said

    def _hand_over_one(self, at: int, slot: int, said: bytes, now_ns: int) -> None:
        """The scalar form of `_hand_over`, of what had a time at which it was due."""
        self._sent_at[at] = now_ns
        if self._engine.sends_in_wait:
            self._unstamped_few.append(at)
        if said:
            self._engine.send_each((slot,), (said,))

    def _hand_over(
        self, at: Numbers, slots: Slots, data: Ragged, now_ns: int, is_due_now: bool
    ) -> None:
        """Give requests to the engine; their send time counts from now, or from its wait."""
        self._sent[at] = now_ns
        if self._engine.sends_in_wait:
            self._unstamped.append((at, is_due_now))
        if self.exchange.says_nothing_at_times and not data.lengths.all():
            slots, data = slots[data.lengths > 0], data.take(data.lengths > 0)
        self._engine.send(slots, data)

    def stamp(self) -> None:
        """What was given to the engine since the last call goes out now."""
        if self._unstamped_few:
            now, sent_at = self._clock.now_ns(), self._sent_at
            for row in self._unstamped_few:
                if sent_at[row] != FAR:
                    sent_at[row] = now
            self._unstamped_few.clear()
        if not self._unstamped:
            return
        now = self._clock.now_ns()
        for at, is_due_now in self._unstamped:
            if np.count_nonzero(self._sent.take(at) == FAR):  # resolved: their connection ended
                at = at[self._sent[at] != FAR]
            self._sent[at] = now
            if is_due_now:
                self._intended[at] = now
        self._unstamped.clear()

    def _at(self, numbers: Numbers, seqs: Numbers) -> Numbers:
        """Where requests have their row in the columns."""
        return numbers if self._depth == 1 else numbers * self._depth + seqs % self._depth

    # --- receiving ----------------------------------------------------------------------------

    def take(self, numbers: Numbers, data: Ragged, now_ns: int) -> bool:
        """Pieces that came; whether any reply or copy is whole by them."""
        self.exchange.now_ns = now_ns
        resolved = self.exchange.take(numbers, data)
        pushes = resolved.pushes
        if pushes is not None:
            self._pushed(pushes, resolved, now_ns)
        self._resolved(resolved, now_ns)
        return len(resolved.numbers) > 0 or (pushes is not None and len(pushes.counts) > 0)

    def take_few(self, pieces: list[tuple[int, bytes]], now_ns: int) -> bool:
        """The scalar form of `take`: pieces of these connections, by number."""
        right = self.exchange.take_few(pieces)
        if right is None:
            numbers = np.array([number for number, _ in pieces])
            return self.take(numbers, Ragged.of([piece for _, piece in pieces]), now_ns)
        depth, sent_at, groups_at = self._depth, self._sent_at, self._groups_at
        for number, seq in right:
            at = number if depth == 1 else number * depth + seq % depth
            group = groups_at[at]
            self.recorder.answered(group, self._intended_at[at], sent_at[at], now_ns)
            sent_at[at] = FAR
            self._connections.counts.ready += group == FIRST
        if len(self._backlog) or self._think_ns is not None:
            self._go_on(np.array([number for number, _ in right]), now_ns)
        return True

    def _pushed(self, pushes: Pushes, resolved: Resolved, now_ns: int) -> None:
        """Copies of publications that came: from the publication to each, and to the last."""
        sent = self._sent.take(self._at(pushes.numbers, pushes.seqs))
        took = np.maximum(now_ns - sent, 0)  # as in Recorder
        self.recorder.pushes["push"].record(np.repeat(took, pushes.counts))
        at = self._at(resolved.numbers, resolved.seqs)
        is_whole = self._groups[at] != FIRST  # first requests are no publications
        if resolved.outcomes is not None:
            is_whole &= resolved.outcomes == RIGHT
        last = np.maximum(now_ns - self._sent[at[is_whole]], 0)
        self.recorder.pushes["push_last"].record(last)

    def gone(self, numbers: Numbers, now_ns: int, *, by_peer: bool = False) -> None:
        """Connections that were closed, or that the peer ended."""
        if len(self._backlog):
            self._group.requests.unsent += self._backlog.drop(numbers)
        self._resolved(self.exchange.gone(numbers, by_peer=by_peer), now_ns)

    def give_up_older_than(self, limit_ns: int, now_ns: int) -> int:
        """Resolve requests sent before `limit_ns`: their replies do not come. How many."""
        at = np.flatnonzero(self._sent < limit_ns)
        if not len(at):
            return 0
        numbers, places = at // self._depth, at % self._depth
        oldest = self.ledger.oldest[numbers].astype(np.int64)
        resolved = self.exchange.give_up(numbers, oldest + (places - oldest) % self._depth)
        self._resolved(resolved, now_ns)
        return len(resolved)

    def abandon(self, now_ns: int) -> None:
        """What is still in flight is missing: the scenario, which has raised, is not asked."""
        self.ledger.abandon(np.flatnonzero(self.ledger.sent != self.ledger.oldest))
        at = np.flatnonzero(self._sent != FAR)  # also where it raised halfway through a batch
        missing = np.full(len(at), MISSING, np.uint8)
        self._resolved(Resolved(at // self._depth, at % self._depth, missing), now_ns)

    def _resolved(self, resolved: Resolved, now_ns: int) -> None:
        numbers = resolved.numbers
        while len(self.fault_ns) < len(self.ledger.faults):
            self.fault_ns.append(now_ns)
        if not len(numbers):
            return
        at = self._at(numbers, resolved.seqs)
        groups = self._groups.take(at)
        intended, sent = self._intended.take(at), self._sent.take(at)
        self._sent[at] = FAR
        outcomes = resolved.outcomes
        self.recorder.resolved(groups, outcomes, intended, sent, now_ns)
        is_reply = not self.exchange.scenario.wants_end
        if is_reply and np.count_nonzero(groups) < len(groups):  # FIRST is 0
            is_ready = groups == FIRST
            if outcomes is not None:
                is_ready &= outcomes == RIGHT
            self._connections.counts.ready += int(np.count_nonzero(is_ready))
        if len(self._backlog) or self._think_ns is not None:
            self._go_on(numbers, now_ns)

    def _go_on(self, numbers: Numbers, now_ns: int) -> None:
        """These connections can send again: what waits on them, or the closed loop's next."""
        if self._depth > 1:
            numbers = np.unique(numbers)
        pauses = None if self._think_ns is None else self.exchange.pauses(numbers)
        if self._think_ns or pauses is not None:  # also of one that is opened again until then
            due = np.full(len(numbers), now_ns + (self._think_ns or 0))
            if pauses is not None:
                due += pauses
            order = np.argsort(due, kind="stable")
            self._think(due[order], numbers[order])
        numbers = numbers[self._connections.states.take(numbers) == OPEN]
        if len(self._backlog):
            waited = self._serve_backlog(numbers)
            self._group.requests.waited += waited
        if self._think_ns == 0 and pauses is None:
            for _ in range(self._depth):
                self.send_all(numbers, self._group)

    def _serve_backlog(self, numbers: Numbers) -> int:
        """Send what waits on these (distinct) connections, as many on each as it may have."""
        served = 0
        for _ in range(self._depth):
            numbers, times = self._backlog.pop(numbers[self.exchange.is_free(numbers)])
            self._send(numbers, times, self._group)
            served += len(numbers)
        return served
