"""The uring engine: completions in batches from one or many io_uring instances in one thread.

One `wait` is: hand everything queued to the kernel and collect what has come (one enter a ring),
settle the sends of the last tick, turn completions into events by masks over whole arrays, give the
last tick's buffers back. File by file: rings (slots, sleeping), submissions (blocks of entries),
watch (what is asked for), receive (what came), send, accept, connect, lifecycle (beginnings and
ends), table (a row a connection).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence

import numpy as np

from c1m.addresses import Endpoint, SockAddrs
from c1m.bounds import LINGER_NS, OUTBOX_HIGH
from c1m.clock import Clock, SystemClock
from c1m.engine.contract import NO_SLOTS, EngineStatistics, EventBatch, Slots
from c1m.engine.lingering import Lingering
from c1m.engine.ragged import Ragged
from c1m.engine.states import ConnEvent, ConnState
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.accept import Acceptor
from c1m.engine.uring.connect import Connector
from c1m.engine.uring.lifecycle import Lives
from c1m.engine.uring.receive import Input
from c1m.engine.uring.rings import POLLIN, RingSet, Tuning
from c1m.engine.uring.send import Output
from c1m.engine.uring.table import IS_OPEN, ConnTable, distinct
from c1m.engine.uring.user_data import OP, Op, pack_one
from c1m.engine.uring.watch import BUSY, Watch
from c1m.errors import EngineUnavailable, LimitError
from c1m.kernel import uring_abi as abi
from c1m.kernel.real import Kernel, RealKernel
from c1m.kernel.refusals import refusal
from c1m.kernel.ring import Completions
from c1m.kernel.uring_probe import probe

NO_DATA = Ragged.empty()
MARKED_EACH = 64  # of larger batches only each eighth marks its connections as busy: who brings 16
# messages a second is seen in one of them before three seconds are over
PASSES_MAX = 8  # that a cancelled accept may take to end


def _first_ring(kernel: Kernel, tuning: Tuning, clock: Clock) -> RingSet:
    """The rings, of which the first is there. Raises EngineUnavailable."""
    try:
        return RingSet(kernel, tuning, clock)
    except LimitError as error:
        kernel.shutdown()
        raise EngineUnavailable(error.message, error.remedy) from None
    except (OSError, MemoryError) as error:
        kernel.shutdown()
        raise EngineUnavailable(*refusal("memory for the uring engine", error)) from None


def _sooner(timeout_ns: int, other_ns: int) -> int:
    """The shorter of two sleeps, where the first may be without end (below zero)."""
    other_ns = max(other_ns, 1)
    return other_ns if timeout_ns < 0 else min(timeout_ns, other_ns)


class UringEngine:
    """See engine.contract.Engine. Raises EngineUnavailable where the kernel refuses io_uring."""

    name = "uring"
    sends_in_wait = True

    def __init__(
        self,
        *,
        live_max: int | None = None,
        outbox_high: int = OUTBOX_HIGH,
        linger_ns: int = LINGER_NS,
        tuning: Tuning | None = None,
        kernel: Kernel | None = None,
        clock: Clock | None = None,
        reason: str = "asked for",
    ) -> None:
        self.reason = reason
        self._clock = clock or SystemClock()
        self._rings = _first_ring(kernel or RealKernel(probe()), tuning or Tuning(), self._clock)
        self.capacity = self._rings.capacity
        self._live_max = self.capacity if live_max is None else live_max
        try:
            self._make_parts(outbox_high, linger_ns)
        except MemoryError as error:
            self._rings.shutdown()
            raise EngineUnavailable(*refusal("memory for the uring engine", error)) from None
        self._closing: list[Slots] = []  # closed by the caller, output of this tick not settled
        self._early: list[Completions] = []  # came while settling in the middle of a tick
        self._is_shut = False
        self._few = self._rings.tuning.few
        self._batch = EventBatch.nothing()

    def _make_parts(self, outbox_high: int, linger_ns: int) -> None:
        self.table = ConnTable(self.capacity)
        self._statistics = EngineStatistics()
        self._output = Output(
            self._rings, self.table, self._statistics, outbox_high, Lingering(linger_ns)
        )
        self._watch = Watch(self._rings, self.table, self._output.lost)
        self._input = Input(
            self._rings, self.table, self._statistics, self._watch, self._output.lost
        )
        self._acceptor = Acceptor(self._rings)
        self._connector = Connector(self._rings, self.table)
        self._lives = Lives(
            self._rings, self.table, self._statistics, self._output, self._watch,
            self._acceptor, self._connector,
        )  # fmt: skip

    @property
    def live_max(self) -> int:
        """See Engine.live_max."""
        return self._live_max

    @live_max.setter
    def live_max(self, value: int) -> None:
        self._live_max = value
        self._acceptor.is_stale = True

    def room(self) -> int:
        """See Engine.room."""
        return min(self._rings.room(), self._live_max)

    # --- what the caller asks for -------------------------------------------------------------

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Endpoint]:
        return self._acceptor.listen(endpoints, backlog)

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        slots = self._rings.take_places(len(destinations))
        self.table.open(slots, ConnEvent.CONNECT)
        self._statistics.connecting += len(slots)
        self._connector.start(slots, sources, destinations)
        return slots

    def send(self, slots: Slots, data: Ragged) -> None:
        if len(slots) == 0:
            return
        if len(slots) <= self._few and self._output.send_few(slots, data):
            return
        if self._output.needs_settling(slots):
            self._settle_now()
        self._output.send(slots, data)

    def receive(self, slots: Slots, on: bool) -> None:
        flags = self.table.flags
        slots = slots[(flags[slots] & IS_OPEN) != 0]
        if on:
            self._watch.resume(slots)
        else:
            self._watch.pause(slots)

    def close(self, slots: Slots, *, abort: bool = False) -> None:
        slots = distinct(slots)
        connecting = slots[self.table.states[slots] == ConnState.CONNECTING]
        if len(connecting):
            self._lives.connect_failed(connecting)
        if abort and self._statistics.lingering:
            self._reset_lingering(slots[self.table.states[slots] == ConnState.LINGERING])
        slots = slots[(self.table.flags[slots] & IS_OPEN) != 0]
        if not len(slots):
            return
        self._statistics.live -= len(slots)
        if abort:
            self._lives.reset(slots)
            self._lives.free(slots)
            return
        self._statistics.lingering += len(slots)
        # Input that is still unread when a socket is closed makes the kernel send a RST and drop
        # what it has to send: read (and discard) it first.
        self._watch.discard_unread(slots)
        self.table.linger(slots)
        self._closing.append(slots)

    def wake(self) -> None:
        self._rings.kernel.wake()

    def statistics(self) -> EngineStatistics:
        statistics = self._statistics
        statistics.outbox_bytes = self._output.outbox.total
        statistics.extra = {
            "rings": len(self._rings.places),
            "buffers": sum(p.buffers.owned for p in self._rings.places),
            "discarded_bytes": self._input.discarded,
            "promoted": self._watch.promoted,
            "parked": self._watch.parked,
        }
        shortages = (self._rings.shortage, self._acceptor.shortage)
        statistics.refused = sum((s.counts for s in shortages), Counter())
        statistics.refusal = next((s.text for s in shortages if s.text), "")
        return statistics

    def shutdown(self) -> None:
        if self._is_shut:
            return
        self._is_shut = True
        self._acceptor.listen([], 0)
        for state in (ConnState.CONNECTING, ConnState.OPEN, ConnState.HALF_CLOSED):
            self.close(self.table.slots_in(state), abort=False)
        lingering = self.table.slots_in(ConnState.LINGERING)
        self._statistics.lingering -= len(lingering)
        self._lives.free(lingering)
        self._rings.submit_all()
        # One collection more, so that what was cancelled lets go of its socket and the FINs go out
        # now and not when the kernel gets round to taking the rings down.
        self._rings.collect(0)
        self._rings.shutdown()

    # --- one tick -----------------------------------------------------------------------------

    def wait(self, timeout_ns: int) -> EventBatch:
        self._statistics.ticks += 1
        batch = self._next_batch()
        now = self._clock.now_ns()
        deadline = now + timeout_ns if timeout_ns > 0 else 0
        if self._rings.is_low():
            self._settle_now()
            self._input.recycle()
        if now >= self._output.lingering.next_ns:
            self._expire(now)
        if now >= self._watch.next_sweep_ns:
            self._watch.sweep(now)
            if self._output.outbox.has_shrunk():
                self._rings.kernel.trim()
            if self._rings.has_grown() and self._is_empty():
                self._begin_afresh(batch)
                if len(batch):
                    return batch
        retry_ns = self._acceptor.retry_ns
        while True:
            if self._acceptor.is_stale or (retry_ns and now >= retry_ns):
                live = self._statistics.live + self._statistics.lingering
                self._acceptor.arm(self._live_max - live)
                retry_ns = self._acceptor.retry_ns
            sleep_ns = 0 if self._has_work() else timeout_ns
            if retry_ns and sleep_ns:
                sleep_ns = _sooner(sleep_ns, retry_ns - now)
            self._collect(batch, sleep_ns)
            if len(batch) or self._rings.woken or timeout_ns == 0:
                break
            now = self._clock.now_ns()
            if timeout_ns > 0:
                timeout_ns = max(deadline - now, 0)
        self._rings.woken = False
        return batch

    def _is_empty(self) -> bool:
        """Whether there is no connection, not even one that ends."""
        statistics = self._statistics
        some = statistics.live or statistics.lingering or statistics.connecting
        return not (some or self._early or self._output.has_flights())

    def _begin_afresh(self, batch: EventBatch) -> None:
        """All connections have ended: give back the memory that they took.

        First nobody may accept any more. What is accepted until then is reported as ever, and then
        nothing is given back.
        """
        self._acceptor.disarm()
        for _ in range(PASSES_MAX):
            self._collect(batch, 0)  # at least once: what ended must be closed
            if self._acceptor.is_disarmed() or len(batch):
                break
        self._acceptor.is_stale = True
        if not self._acceptor.is_disarmed() or not self._is_empty():
            return
        self._output.all_went()
        self._input.recycle()
        self._rings.begin_afresh()
        self.table.begin_afresh()
        self._output.begin_afresh()
        self._rings.kernel.trim()

    def _next_batch(self) -> EventBatch:
        """An empty one. The last is valid until now, so a plain one is used again: it holds
        nothing but data.
        """
        batch = self._batch
        if not batch.is_plain:
            self._batch = batch = EventBatch.nothing()
            return batch
        batch.data_slots, batch.data, batch.is_plain = NO_SLOTS, NO_DATA, False
        batch.came_ns = 0
        return batch

    def _has_work(self) -> bool:
        """Whether a pass should not sleep: what was closed behind a send is done with by the next
        one, and a send that goes whole wakes nobody.
        """
        waits = self._early or self._closing or self._watch.has_work()
        return bool(waits or self._output.has_reports())

    def _collect(self, batch: EventBatch, sleep_ns: int) -> None:
        """One pass: submit, collect, settle, decode, recycle."""
        if self._closing and not self._output.has_unsettled():
            self._close_settled()
        # What a poll has announced was there already, though only this pass fetches it.
        was_there = self._watch.is_reading and batch.came_ns
        self._watch.is_reading = False
        completions = self._rings.collect(sleep_ns)
        if len(completions) and not was_there:
            batch.came_ns = self._clock.now_ns()
        if self._early:
            completions = np.concatenate([*self._early, completions])
            self._early.clear()
        self._connector.submitted()
        if len(completions):
            self._decode(completions, batch)
        else:
            self._output.all_went()
            self._input.recycle()
        if self._closing:
            self._close_settled()
        self._report_output(batch)
        if self._watch.has_work():
            self._watch.again()

    def _settle_now(self) -> None:
        """Learn how the sends of this tick went, in the middle of it."""
        completions = self._rings.submit_all()
        self._connector.submitted()
        self._output.settle(completions)
        if len(completions):
            # What is not a send's outcome is taken up by the next pass.
            self._early.append(completions[(completions[:, 1] & OP) != Op.SEND])

    def _decode(self, completions: Completions, batch: EventBatch) -> None:
        """Completions (at least one) to events; the last batch's buffers go back.

        Where all are plain data no send has completed: all went, and nobody needs their memory.
        """
        source = self._input
        if len(completions) <= self._few and source.take_few(completions, batch):
            self._output.all_went()
        elif source.are_plain(completions):
            self._output.all_went()
            source.recycle()
            source.take_data(completions, batch)
            if len(completions) < MARKED_EACH or not self._statistics.ticks & 7:
                self.table.activity[completions[:, 0].view(np.int32)] = BUSY
            batch.is_plain = True
        else:
            held = source.take_held()
            self._output.settle(completions)
            others = source.take(completions, batch)
            if len(others):
                self._decode_others(others, batch)
            self._rings.recycle(held)

    def _decode_others(self, others: Completions, batch: EventBatch) -> None:
        ops = others[:, 1] & OP
        accepts = others[ops == Op.ACCEPT]
        if len(accepts):
            self._lives.accepted(accepts, batch)
        connects = others[ops == Op.CONNECT]
        setups = others[ops == Op.SETUP]
        for slot, _, result, _ in setups.tolist():
            self._connector.errors[slot] = (1 << 32) - result
        if len(connects):
            self._lives.connect_done(connects, batch)
        for slot, tag, result, _ in others[ops == Op.OUTBOX].tolist():
            self._output.outbox_done(slot, tag, result - (1 << 32) if result >> 31 else result)
        # After the sends: a poll that woke behind a refusal is what the refused one waits for.
        room = others[(ops == Op.WRITABLE) & (others[:, 2].view(np.int32) != -errno.ECANCELED)]
        for slot, tag, _, flags in room.tolist():
            self._output.writable(slot, tag, bool(flags & abi.CQE_MORE))
        wakes = others[ops == Op.WAKE]
        if len(wakes):
            self._rings.woken = True
            if not int(wakes[-1, 3]) & abi.CQE_MORE:
                wake_fd = self._rings.kernel.wake_fd()
                self._rings.places[0].ring.push(sub.poll(wake_fd, POLLIN, pack_one(0, 0, Op.WAKE)))

    # --- connections end ----------------------------------------------------------------------

    def _close_settled(self) -> None:
        """Free what the caller closed and what has nothing left to send."""
        closing, self._closing = self._closing, []
        slots = np.concatenate(closing)
        if self._output.has_unsettled():
            unsettled = self._output.is_unsettled(slots)
            if unsettled.any():
                self._closing.append(slots[unsettled])
                slots = slots[~unsettled]
        is_pending = self._output.is_pending(slots)
        self._output.linger(slots[is_pending], self._clock)
        done = slots[~is_pending]
        self._statistics.lingering -= len(done)
        self._lives.free(done)

    def _expire(self, now_ns: int) -> None:
        """Reset those whose peers have not taken what they are owed; the batch tells."""
        expired = np.array(self._output.expire(now_ns), np.int32)
        self._reset_lingering(expired)
        self._output.expired.append(expired)

    def _reset_lingering(self, slots: Slots) -> None:
        """Connections that the caller has closed end at once."""
        if not len(slots):
            return
        self._closing = [closing[~np.isin(closing, slots)] for closing in self._closing]
        self._statistics.lingering -= len(slots)
        self._lives.reset(slots)
        self._lives.free(slots)

    def _report_output(self, batch: EventBatch) -> None:
        """Events that sending brought: watermarks, and connections lost on the way."""
        output = self._output
        if not output.has_reports():
            return
        batch.is_plain = False
        if output.broken:
            broken, output.broken = output.broken, []
            self._watch.read_to_the_end(broken)
        if output.flushed:
            done = np.array(output.flushed, np.int32)
            done = done[self.table.states[done] == ConnState.LINGERING]  # not freed just now
            output.flushed.clear()
            self._statistics.lingering -= len(done)
            self._lives.free(done)
        if output.lost:
            self._lives.lose(batch)
        if output.blocked:
            batch.blocked = self._lives.still_open(output.blocked)
            output.blocked = []
        if output.drained:
            batch.drained = self._lives.still_open(output.drained)
            output.drained = []
        if output.expired:
            batch.expired = np.concatenate(output.expired)
            output.expired = []
