"""The uring engine: completions in batches from one or many io_uring instances in one thread.

One `wait` is: hand everything queued to the kernel and collect what has come (one enter for each
ring), settle the sends of the last tick, turn completions into events by masks over whole arrays,
give the last tick's buffers back. File by file: rings (slots, buffers, sleeping), submissions
(blocks of entries), table (a row for each connection), receive (what comes in), send (what goes
out), accept, connect. Here they meet: connections begin and end, and the batch is put together.

CLOSE of a direct descriptor frees its place but neither sends a FIN nor stops completions while a
receive is armed on it, so the receive is cancelled (by user data) in the same block. The slot's
generation goes up at that moment; whatever completes later under the old one is dropped.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence
from functools import partial

import numpy as np

from c1m.addresses import AF_UNIX, Endpoint, ListeningSocket, SockAddrs
from c1m.bounds import LINGER_NS, OUTBOX_HIGH
from c1m.clock import Clock, SystemClock
from c1m.engine import checks
from c1m.engine.choose import ENGINES
from c1m.engine.contract import (
    NO_SLOTS,
    NOTHING,
    EngineStatistics,
    EventBatch,
    Owed,
    Pieces,
    Slots,
    distinct,
)
from c1m.engine.ragged import Ragged
from c1m.engine.states import ConnEvent, ConnState
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.accept import Acceptor
from c1m.engine.uring.commands import Commands
from c1m.engine.uring.connect import Connector
from c1m.engine.uring.few import Few
from c1m.engine.uring.first_ring import first_ring
from c1m.engine.uring.late import sooner
from c1m.engine.uring.receive import SWEEP_NS, Input
from c1m.engine.uring.rings import Tuning, tuning_for
from c1m.engine.uring.send import Output
from c1m.engine.uring.submissions import OP, Op, pack
from c1m.engine.uring.table import IS_OPEN, ConnTable
from c1m.errors import EngineUnavailable, LimitError
from c1m.kernel.libc import BYTES_AT, trim
from c1m.kernel.real import Kernel, RealKernel
from c1m.kernel.refusals import refusal
from c1m.kernel.ring import Completions
from c1m.kernel.sockets import is_unix
from c1m.kernel.uring_probe import probe

NO_DATA = Ragged.empty()
LOOK_NS = 10_000_000  # while no ring is given that could watch the caller's descriptor
PASSES_MAX = 8  # that a cancelled accept may take to end


class UringEngine:
    """See engine.contract.Engine. Raises EngineUnavailable where the kernel refuses io_uring."""

    name = "uring"
    sends_in_wait = True
    uses_descriptors = ENGINES[name].uses_descriptors

    def __init__(
        self,
        *,
        live_max: int | None = None,
        outbox_high: int = OUTBOX_HIGH,
        linger_ns: int = LINGER_NS,
        busy_poll_ns: int = 0,
        needs_descriptors: bool = False,
        tuning: Tuning | None = None,
        kernel: Kernel | None = None,
        clock: Clock | None = None,
        reason: str = "asked for",
    ) -> None:
        self.reason = reason
        self._clock = clock or SystemClock()
        tuning = tuning or tuning_for(streams=needs_descriptors, busy_poll_ns=busy_poll_ns)
        kernel = kernel or RealKernel(probe())
        self._rings = first_ring(kernel, tuning, self._clock, needs_descriptors)
        self.capacity = self._rings.capacity
        self._live_max = self.capacity if live_max is None else live_max
        self._statistics = EngineStatistics()
        try:
            self.table = ConnTable(self.capacity)
            shared = self._rings, self.table, self._statistics
            self._new_output = partial(Output, *shared, outbox_high, linger_ns)
            self._output = self._new_output()
            self._input = Input(*shared)
            self._new_few = partial(Few, *shared, self._clock, self._input)
            self._few = self._new_few(self._output)
        except MemoryError as error:
            self._rings.shutdown()
            raise EngineUnavailable(*refusal("memory for the uring engine", error)) from None
        self._acceptor = Acceptor(self._rings)
        self._connector = Connector(self._rings, self.table)
        self._commands = Commands(self._rings, self.table, self._settle_now)
        self._expired: list[Slots] = []  # lingered too long and were reset
        self._early: list[Completions] = []  # came while settling in the middle of a tick
        self._is_shut = self.reports_ends = False
        self._ended: list[tuple[Slots, Slots]] = []  # with the errno of each
        self._aborted: set[int] = set()  # while they lingered, and their ends are not reported
        self._batch = EventBatch.nothing()
        self._checks = checks.COSTLY

    @property
    def live_max(self) -> int:
        return self._live_max

    @live_max.setter
    def live_max(self, value: int) -> None:
        self._live_max = value
        self._acceptor.is_stale = True
        self._leave_few()

    @property
    def thread(self) -> int | None:
        """See Engine.thread. The kernel ties a ring to the thread that begins to use it."""
        return self._rings.thread

    def room(self) -> int:
        return min(self.places(), self._live_max)

    def is_short(self) -> bool:
        """Whether the kernel has refused a further ring, and has given none since."""
        return self._rings.shortage.lasts

    def places(self) -> int:
        """The same whatever `live_max` is."""
        return self._rings.room()

    # --- what the caller asks for -------------------------------------------------------------

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        self._leave_few()
        return self._acceptor.listen(endpoints, backlog)

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        self._leave_few()
        slots = self._rings.take_places(len(destinations))
        self.table.open(slots, ConnEvent.CONNECT)
        if destinations.family == AF_UNIX:
            self._input.keep_parked(slots)
        self._statistics.connecting += len(slots)
        self._connector.start(slots, sources, destinations)
        return slots

    def send(self, slots: Slots, data: Ragged) -> None:
        few = self._few
        if 0 < len(slots) <= few.most and self._output.send_few(slots, data):
            return
        assert len(slots) == len(data)
        if len(slots) == 0:
            return
        few.is_open = False
        if self._output.needs_settling(slots):
            self._settle_now()
        self._output.send(slots, data)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        slots, pieces = list(slots), list(pieces)
        if not slots:
            return
        few = self._few
        if len(slots) <= few.most and BYTES_AT and self._output.send_each(slots, pieces):
            return
        self.send(np.array(slots, np.int32), Ragged.of(pieces))

    def _leave_few(self) -> None:
        """Something else than a few sends is asked for."""
        self._few.is_open = False

    def flush(self) -> None:
        self._settle_now()

    def unsent(self, slot: int) -> int:
        return self._output.outbox.size(slot)

    def owed(self) -> Owed:
        return self._output.outbox.sizes()

    def failure(self, slot: int) -> int:
        return dict(self._output.broken).get(slot, 0)

    def limit_output(self, slot: int, low: int, high: int) -> None:
        if self.table.states[slot]:
            self._output.limit(slot, low, high)

    def end_output(self, slot: int) -> None:
        self._settle_now()
        if self.table.flags[slot] & IS_OPEN and self._output.end(slot):
            self._commands.shut(slot)

    def receive(self, slots: Slots, on: bool) -> None:
        self._leave_few()
        slots = slots[(self.table.flags[slots] & IS_OPEN) != 0]
        if on:
            self._input.resume(slots)
        else:
            self._input.pause(slots)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        self._leave_few()
        slots = distinct(slots)
        connecting = slots[self.table.states[slots] == ConnState.CONNECTING]
        if len(connecting):
            self._connect_failed(connecting)
        if (abort or drop) and self._statistics.lingering:
            lingering = slots[self.table.states[slots] == ConnState.LINGERING]
            if abort and not self.reports_ends:
                self._reset_lingering(lingering)
            else:  # their places are free when their ends are reported, not before
                if abort and len(lingering):
                    self._rings.push(lingering, sub.disconnect(self._rings.files(lingering)))
                    self._aborted.update(lingering.tolist())
                self._output.give_up(lingering)
                self._output.finish(lingering, drop=True)
        slots = slots[(self.table.flags[slots] & IS_OPEN) != 0]
        if not len(slots):
            return
        self._statistics.live -= len(slots)
        if abort:
            self._reset(slots)
            return
        self._statistics.lingering += len(slots)
        # Input that is still unread when a socket is closed makes the kernel send a RST and drop
        # what it has to send: read (and discard) it first.
        self._input.discard_unread(slots)
        self.table.linger(slots)
        self._output.finish(slots, drop=drop)

    def adopt(self, fd: int) -> int:
        self._leave_few()
        taken: list[Slots] = []
        told = {*self._batch.closed.tolist(), *self._batch.ended.tolist()}
        try:
            slots = self._rings.take_places(1)
            while int(slots[0]) in told:  # the caller may still know it as the old connection's
                taken.append(slots)
                slots = self._rings.take_places(1)
        except LimitError:
            self._rings.kernel.close(fd)
            raise
        finally:
            for each in taken:
                self._rings.give_places_back(each)
        slot = int(slots[0])
        place, file = self._rings.place_of(slot), int(self._rings.files(slots)[0])
        stays_parked = is_unix(fd)
        place.ring.submit()  # a close of this place that is queued would hit the new socket
        try:
            self._rings.kernel.move_in(place.ring, fd, file)
        except OSError:
            self._rings.give_places_back(slots)
            raise
        self.table.open(slots, ConnEvent.ACCEPT)
        self._input.keep_parked(slots[:stays_parked])
        self._statistics.connected += 1
        self._statistics.live += 1
        self._input.begin(slots)
        return slot

    def descriptor(self, slot: int) -> int:
        return self._commands.descriptor(slot)

    def peers(self, slots: Slots, family: int) -> list[bytes]:
        return self._commands.peers(slots, family)

    def watch(self, fd: int) -> None:
        self._leave_few()
        self._rings.watch(fd)

    @property
    def watched_is_ready(self) -> bool:
        return self._rings.watched_is_ready

    def wake(self) -> None:
        self._rings.kernel.wake()

    def statistics(self) -> EngineStatistics:
        statistics = self._statistics
        statistics.outbox_bytes = self._output.outbox.total
        statistics.extra = {
            "rings": len(self._rings.places),
            "buffers": sum(p.buffers.owned for p in self._rings.places),
            "discarded_bytes": self._input.discarded,
            "promoted": self._input.promoted,
            "parked": self._input.parked,
        }
        statistics.refused, statistics.refusal = self._rings.refusals(self._acceptor.shortage)
        return statistics

    def shutdown(self) -> None:
        if self._is_shut:
            return
        self._is_shut = True
        self._acceptor.listen([], 0)
        top = self._rings.top()
        for state in (ConnState.CONNECTING, ConnState.OPEN, ConnState.HALF_CLOSED):
            self.close(self.table.slots_in(top, state), abort=False)
        lingering = self.table.slots_in(top, ConnState.LINGERING)
        self._statistics.lingering -= len(lingering)
        self._free(lingering)
        self._rings.submit_all()
        # One collection more, so that what was cancelled lets go of its socket and the FINs go out
        # now and not when the kernel gets round to taking the rings down.
        self._rings.collect(0)
        self._rings.shutdown()

    # --- one tick -----------------------------------------------------------------------------

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        self._statistics.ticks += 1
        now, few = self._clock.now_ns(), self._few
        deadline = now + timeout_ns if timeout_ns > 0 else 0
        if few.is_open and now < self._input.next_sweep_ns:
            is_kept = pieces is not None or self._batch.is_plain
            batch = self._batch if is_kept else self._next_batch()
            if few.wait(batch, timeout_ns, deadline, pieces):
                self._rings.woken = False
                batch = batch if pieces is None else NOTHING
                if self._checks:
                    self._check(batch)
                return batch
            if timeout_ns > 0 and not self._rings.entered:
                timeout_ns = max(deadline - (now := self._clock.now_ns()), 0)
        batch = self._next_batch()
        rings, late = self._rings, self._rings.late
        if (rings.watched_is_ready and not rings.watch_again()) or late or late.waits:
            is_short = rings.watched_is_ready or late
            timeout_ns = sooner(timeout_ns, LOOK_NS if is_short else SWEEP_NS)
            deadline = now + timeout_ns
        if self._rings.is_low():
            self._settle_now()
            self._input.recycle()
        if now >= self._output.lingering.next_ns:
            self._expire(now)
        if now >= self._input.next_sweep_ns:
            self._input.sweep(now)
            self._input.late_again()
            self._output.again()
            if self._output.outbox.has_shrunk():
                trim()
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
                sleep_ns = sooner(sleep_ns, retry_ns - now)
            self._collect(batch, sleep_ns)
            if len(batch) or self._rings.woken:
                break
            if timeout_ns == 0 and not self._input.is_reading:  # what a poll announced is there
                break
            now = self._clock.now_ns()
            if timeout_ns > 0:
                timeout_ns = max(deadline - now, 0)
        self._rings.woken = False
        few.is_open = len(batch) <= few.most and self._is_calm(batch)
        if self._checks and (len(batch) or not self._statistics.ticks & 15):
            self._check(batch)
        return batch

    def _is_calm(self, batch: EventBatch) -> bool:
        """Whether there is one ring and nothing that the next tick must look after but data."""
        rings, acceptor = self._rings, self._acceptor
        return not (
            len(rings.places) != 1 or self._statistics.lingering or self._statistics.connecting
            or acceptor.is_stale or acceptor.retry_ns
            or rings.is_low() or rings.late or self._has_work()
            or not (batch.is_plain or len(batch) == 0)
        )  # fmt: skip

    def live(self) -> int:
        """Connections that take a place: open, lingering, connecting."""
        statistics = self._statistics
        return statistics.live + statistics.lingering + statistics.connecting

    def is_at_rest(self) -> bool:
        """Whether nobody is, or is about to be, connected, and no memory is to be given back."""
        at_rest = self._is_empty() and self._acceptor.is_disarmed()
        return at_rest and not self._rings.has_grown() and not self._has_work()

    def _is_empty(self) -> bool:
        """Whether there is no connection, not even one that ends."""
        return not self.live() and not self._early and self._output.is_idle()

    def _begin_afresh(self, batch: EventBatch) -> None:
        """All connections have ended: give back the memory that they took.

        First nobody may accept any more. What is accepted until then is reported as usual, and then
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
        self._output = self._new_output()
        self._few = self._new_few(self._output)
        trim()

    def _next_batch(self) -> EventBatch:
        """An empty one: the last, which was valid until now, where it was plain."""
        batch = self._batch
        if not batch.is_plain:
            self._batch = batch = EventBatch.nothing()
            return batch
        batch.data_slots, batch.data, batch.is_plain = NO_SLOTS, NO_DATA, False
        batch.came_ns = 0
        return batch

    def _has_work(self) -> bool:
        """Whether a pass should not sleep: sends that go whole, say, wake nobody."""
        waits = self._early or self._expired or self._ended or self._input.has_work()
        return bool(waits or self._output.has_reports())

    def _collect(self, batch: EventBatch, sleep_ns: int) -> None:
        """One pass: submit, collect, settle, decode, recycle."""
        if self._output.closing:
            self._free_finished()
        # What a poll has announced was there already, though only this pass fetches it.
        was_there = self._input.is_reading and batch.came_ns
        self._input.is_reading = False
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
        if self._output.has_reports() or self._input.lost or self._expired or self._ended:
            self._report(batch)
        if self._input.has_work():
            self._input.again()

    def _settle_now(self) -> Completions:
        """Learn how the sends of this tick went, in the middle of it.

        Returns the completions of commands.
        """
        completions = self._rings.submit_all()
        self._connector.submitted()
        self._output.settle(completions)
        if not len(completions):
            return completions
        self._few.is_open = False
        ops = completions[:, 1] & OP
        heads = completions[ops == Op.OUTBOX]
        if len(heads):
            self._output.heads_done(heads)
        # What is neither a send's outcome nor a command's is taken up by the next pass.
        later = completions[(ops != Op.SEND) & (ops != Op.COMMAND) & (ops != Op.OUTBOX)]
        if len(later):
            self._early.append(later)
        commands: Completions = completions[ops == Op.COMMAND]
        return commands

    def _decode(self, completions: Completions, batch: EventBatch) -> None:
        """Completions (at least one) to events; the last batch's buffers go back.

        Where all are plain data no send has completed: all went, and nobody needs their memory.
        """
        source, few = self._input, self._few
        if len(completions) <= few.most and not self._statistics.lingering:
            if few.take(completions.tolist(), batch):
                return
        elif source.take_plain(completions, batch, self._statistics.ticks):
            self._output.all_went()
            return
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
            self._accepted(accepts, batch)
        self._connector.setups_failed(others[ops == Op.SETUP])
        connects = others[ops == Op.CONNECT]
        if len(connects):
            self._connected(connects, batch)
        self._output.heads_done(others[ops == Op.OUTBOX])
        # After the sends: a poll that woke behind a refusal is what the refused one waits for.
        self._output.take_room(others[ops == Op.WRITABLE])
        self._rings.late.closes_failed(others[ops == Op.CLOSE])
        watches = others[ops == Op.WATCH]
        if len(watches):
            self._rings.take_watched(watches)
        wakes = others[ops == Op.WAKE]
        if len(wakes):
            self._rings.take_wakes(wakes)

    def _report(self, batch: EventBatch) -> None:
        """Events that sending brought, and connections that were lost."""
        output = self._output
        batch.is_plain = False
        self._free_finished()
        if output.broken:
            broken, output.broken = output.broken, []
            self._input.read_to_the_end(broken)
        if self._input.lost:
            self._lose(batch)
        if output.blocked:
            batch.blocked = self._still_open(output.blocked)
            output.blocked = []
        if output.drained:
            batch.drained = self._still_open(output.drained)
            output.drained = []
        if self._expired:
            batch.expired = np.concatenate(self._expired)
            self._expired = []
        if self._ended:
            batch.ended = np.concatenate([batch.ended, *(slots for slots, _ in self._ended)])
            errnos = [batch.ended_errnos, *(codes for _, codes in self._ended)]
            batch.ended_errnos = np.concatenate(errnos)
            self._ended = []
        while output.to_shut:
            self._commands.shut(output.to_shut.pop())

    def _still_open(self, slots: list[int]) -> Slots:
        found = np.array(slots, np.int32)
        return found[self.table.is_open(found)]

    # --- connections begin and end ------------------------------------------------------------

    def _accepted(self, accepts: Completions, batch: EventBatch) -> None:
        slots, listeners = self._acceptor.accepted(accepts)
        if not len(slots):
            return
        self.table.open(slots, ConnEvent.ACCEPT)
        self._input.keep_parked(self._acceptor.unix)
        self._statistics.accepted += len(slots)
        self._statistics.live += len(slots)
        self._input.begin(slots)
        batch.opened = np.concatenate((batch.opened, slots))
        batch.opened_listeners = np.concatenate((batch.opened_listeners, listeners))

    def _connected(self, connects: Completions, batch: EventBatch) -> None:
        slots, errnos = self._connector.done(connects)
        ok = errnos == 0
        good = slots[ok]
        self._statistics.connecting -= len(good)
        self._statistics.connected += len(good)
        self._statistics.live += len(good)
        self.table.connected(good)
        self._input.begin(good)
        batch.connected = np.concatenate((batch.connected, good))
        if len(good) < len(slots):
            batch.failed = np.concatenate((batch.failed, slots[~ok]))
            batch.failed_errnos = np.concatenate((batch.failed_errnos, errnos[~ok]))
            self._connect_failed(slots[~ok])

    def _connect_failed(self, slots: Slots) -> None:
        """Connects that failed, or that the caller has given up."""
        self._statistics.connecting -= len(slots)
        self._statistics.connect_failed += len(slots)
        data = pack(slots, self.table.generations[slots], Op.CONNECT)
        self._rings.push(slots, sub.cancel(data))
        self._close_files(slots)

    def _lose(self, batch: EventBatch) -> None:
        """Connections that ended by an error."""
        slots, errnos = self._input.take_lost(batch)
        is_open = self.table.is_open(slots)
        gone = slots[is_open]
        lingers = self.table.states[slots] == ConnState.LINGERING
        lingering = slots[lingers]
        self._over(lingering, errnos[lingers])
        batch.closed = np.concatenate((batch.closed, gone))
        batch.closed_errnos = np.concatenate((batch.closed_errnos, errnos[is_open]))
        self._statistics.live -= len(gone)
        self._statistics.lingering -= len(lingering)
        self._free(np.concatenate((gone, lingering)))

    def _free_finished(self) -> None:
        """Connections that the caller closed and that have nothing left to send."""
        done = self._output.finished()
        if self._output.lingerers:
            self._input.discard(np.array(self._output.lingerers, np.int32))
            self._output.lingerers.clear()
        if self.reports_ends and len(done):
            failed = dict(self._input.lost + self._output.broken)  # sends that failed before
            failed |= dict.fromkeys(self._aborted, errno.ECONNABORTED)
            errnos = [failed.get(slot, 0) for slot in done.tolist()] if failed else 0
            self._over(done, np.full(len(done), errnos, np.int32))
        self._statistics.lingering -= len(done)
        self._free(done)

    def _expire(self, now_ns: int) -> None:
        """Reset those whose peers have not taken what they are owed; the batch reports it."""
        due = self._output.lingering.expire(now_ns, self._output.outbox.size)
        if due:
            expired = np.array(due, np.int32)
            if self.reports_ends:
                self._over(expired, np.full(len(due), errno.ETIMEDOUT, np.int32))
            else:
                self._expired.append(expired)
            self._reset_lingering(expired)

    def _reset_lingering(self, slots: Slots) -> None:
        """Connections that the caller has closed end at once."""
        if len(slots):
            self._output.give_up(slots)
            self._statistics.lingering -= len(slots)
            self._reset(slots)

    def _over(self, slots: Slots, errnos: Slots) -> None:
        """Connections that the caller has closed are over, with the errno of each."""
        if self.reports_ends and len(slots):
            self._ended.append((slots, errnos))

    def _reset(self, slots: Slots) -> None:
        self._rings.push(slots, sub.disconnect(self._rings.files(slots)))
        self._free(slots)

    def _free(self, slots: Slots) -> None:
        """The connections are gone: stop what is armed, close, give the slots back."""
        if not len(slots):
            return
        self._output.drop(slots)
        if self._aborted:
            self._aborted.difference_update(slots.tolist())
        self._statistics.closed += len(slots)
        self._input.end(slots)
        self._close_files(slots)

    def _close_files(self, slots: Slots) -> None:
        self._rings.close(slots, self.table.generations[slots])
        self.table.free(slots)
        self._rings.give_places_back(slots)
        self._acceptor.room_came()

    def _check(self, batch: EventBatch) -> None:
        """A costly check: whatever is counted or kept twice agrees."""
        top, statistics = self._rings.top(), self._statistics
        counts = np.bincount(self.table.states[:top], minlength=len(ConnState)).tolist()
        assert statistics.connecting == counts[ConnState.CONNECTING]
        assert statistics.live == counts[ConnState.OPEN] + counts[ConnState.HALF_CLOSED]
        assert statistics.lingering == counts[ConnState.LINGERING]
        assert statistics.accepted + statistics.connected == (
            statistics.live + statistics.lingering + statistics.closed
        )
        batch.check(self.capacity)
        self.table.check(top)
        self._rings.check_places(self.table.states)
        self._input.check()
        self._output.check()
