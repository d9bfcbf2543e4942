"""A base for engines around an engine: who speaks something else below what its caller sees.

A decorator keeps the contract (engine/contract.py) towards its caller, and is the caller of the
engine inside; decorators may stack. This base passes everything through. A subclass takes part by
overriding what it needs of:

    _holds(listener)     whether those who come there are held back: accepted, and nobody is told;
                         -1: a listener of before the last `listen`
    _begin(slot)         one is held back from now on; `_open(slot, kind)` reports it as opened
    _begin_connected     connects that have succeeded: the subclass may give them a kind
    _take(pieces)        data of those that are held, or of a kind of its own, in order
    _end_of_input(slot)  the end of the stream of one of those
    _forget(slot)        such a connection is over, for whatever reason: nothing is known of it now
    _work()              something came, or `_due_ns()` is over: what is to be done in this wait

and says what happened by `_open`, `_end` (a held one, or one that is open, ends by us, with a
reason and last words) and the lists of `_told`: data, eof, secured. `kinds` has for each slot FREE,
HELD or PLAIN (its data and its end pass through, in arrays as they came), or from OWN on a kind of
the subclass.

What the base sees to:

-   A connection that is held is in no event, and in `opening` of the statistics. One that ends so
    was `never_opened`, by reason. That its output is over the watermark is told when it is opened.
-   Ends by us are reported as closed, and what the inner engine says about them later is not.
-   Rule 7: one that is to end in the batch in which it is reported ends in the next (`_later`).
-   Data of those who are opened in a batch is in that batch, and not in the caller's pieces, which
    come first.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from c1m.addresses import Endpoint, ListeningSocket, SockAddrs
from c1m.clock import SystemClock
from c1m.engine.contract import (
    NO_SLOTS,
    NOTHING,
    Engine,
    EngineStatistics,
    EventBatch,
    Owed,
    Pieces,
    Slots,
    distinct,
)
from c1m.engine.ragged import Ragged

FREE, HELD, PLAIN, OWN = range(4)
NEVER = 1 << 62


class Told:
    """What the caller will be told by the batch that is being made, in Python's rows.

    `fresh` begin in this batch, and must not end in it; `gone` are over for the inner engine
    already; `is_mixed`: there are, or were, connections that are not plain; `passes`: data does.
    """

    __slots__ = (
        "blocked", "closed", "data", "eof", "fresh", "gone", "is_mixed", "opened", "passes",
        "secured",
    )  # fmt: skip

    def __init__(self, is_mixed: bool = False) -> None:
        self.is_mixed = is_mixed
        self.passes = False
        self.data: Pieces = []
        self.opened: list[tuple[int, int]] = []  # slot, listener
        self.closed: list[tuple[int, int]] = []  # slot, reason
        self.secured: list[int] = []
        self.eof: list[int] = []
        self.blocked: list[int] = []
        self.fresh: set[int] = set()
        self.gone: set[int] = set()


class Decorated:
    """See engine.contract.Engine. Takes over `inner`."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self.name = inner.name
        self.reason = inner.reason
        self.capacity = inner.capacity
        self.sends_in_wait = inner.sends_in_wait
        self.uses_descriptors = inner.uses_descriptors
        self.reports_ends = inner.reports_ends
        inner.reports_ends = True  # also of those whom only this one has closed
        self.kinds = np.zeros(inner.capacity, np.uint8)  # no memory where nobody has been
        self._kind_bytes = self.kinds.data  # the same, quick for one
        self._held: dict[int, int] = {}  # slot -> listener
        self._full: set[int] = set()  # held, and their output is over the watermark
        self._others = 0  # connections that are neither free nor plain
        self._own_ends: set[int] = set()  # closed by us, and not over yet
        self._ending = 0  # closed by the caller, and not over yet
        self._later: dict[int, tuple[int, bytes]] = {}  # slot -> reason and last words (rule 7)
        self._never_opened: Counter[int] = Counter()
        self._unsent_bytes = 0  # that the inner engine never saw
        self._told = Told()
        self._has_plain = True  # the last data that came was, or may have been, a plain one's

    # --- for subclasses ---------------------------------------------------------------------------

    def _holds(self, listener: int) -> bool:
        return False

    def _begin(self, slot: int) -> None: ...

    def _begin_connected(self, slots: Slots) -> None:
        self.kinds[slots] = PLAIN

    def _take(self, pieces: Pieces) -> None: ...

    def _end_of_input(self, slot: int) -> None: ...

    def _forget(self, slot: int) -> None: ...

    def _work(self) -> None: ...

    def _due_ns(self) -> int:
        """In how many nanoseconds `wait` is to return at the latest; 0: there is work already."""
        return NEVER

    def _set_kind(self, slot: int, kind: int) -> None:
        """What the connection is from now on."""
        before = self._kind_bytes[slot]
        self._others += (kind not in (FREE, PLAIN)) - (before not in (FREE, PLAIN))
        self._kind_bytes[slot] = kind

    def _open(self, slot: int, kind: int) -> None:
        """One that was held is reported as opened, and of this kind."""
        self._told.opened.append((slot, self._held.pop(slot)))
        self._told.fresh.add(slot)
        self._set_kind(slot, kind)
        if slot in self._full:
            self._full.remove(slot)
            self._told.blocked.append(slot)

    def _end(self, slot: int, reason: int, said: bytes = b"") -> None:
        """A connection ends by us, after these last words; one that has just begun, in the next
        batch."""
        if slot in self._told.fresh:
            self._later.setdefault(slot, (reason, said))
            return
        self._over(slot, reason)
        if slot not in self._told.gone:
            if said:
                self._inner.send_each([slot], [said])
            self._own_ends.add(slot)
            self._inner.close(np.array([slot], np.int32))

    def _over(self, slot: int, reason: int) -> None:
        """It is gone for the caller, if he ever knew of it."""
        if self._kind_bytes[slot] == HELD:
            self._held.pop(slot)
            self._full.discard(slot)
            self._never_opened[reason] += 1
        else:
            self._told.closed.append((slot, reason))
        self._drop(slot)

    def _drop(self, slot: int) -> None:
        if self._kind_bytes[slot] != PLAIN:
            self._forget(slot)
        self._set_kind(slot, FREE)
        self._later.pop(slot, None)

    # --- what the caller asks for -----------------------------------------------------------------

    @property
    def live_max(self) -> int:
        return self._inner.live_max

    @live_max.setter
    def live_max(self, value: int) -> None:
        self._inner.live_max = value

    @property
    def thread(self) -> int | None:
        return self._inner.thread

    @property
    def watched_is_ready(self) -> bool:
        return self._inner.watched_is_ready

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        return self._inner.listen(endpoints, backlog)

    def room(self) -> int:
        return self._inner.room()

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        return self._inner.connect(sources, destinations)

    def send(self, slots: Slots, data: Ragged) -> None:
        if self._held:
            is_known = self.kinds.take(slots) != HELD
            if not is_known.all():  # meant for whoever had that slot before
                self._unsent_bytes += data.take(~is_known).nbytes()
                slots, data = slots[is_known], data.take(is_known)
        self._inner.send(slots, data)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        if self._held and any(slot in self._held for slot in slots):
            self.send(np.array([*slots], np.int32), Ragged.of(pieces))
        else:
            self._inner.send_each(slots, pieces)

    def flush(self) -> None:
        self._inner.flush()

    def unsent(self, slot: int) -> int:
        return self._inner.unsent(slot)

    def owed(self) -> Owed:
        return self._inner.owed()

    def failure(self, slot: int) -> int:
        return self._inner.failure(slot)

    def limit_output(self, slot: int, low: int, high: int) -> None:
        self._inner.limit_output(slot, low, high)

    def end_output(self, slot: int) -> None:
        self._inner.end_output(slot)

    def receive(self, slots: Slots, on: bool) -> None:
        self._inner.receive(slots, on)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        slots = distinct(slots)
        kinds = self.kinds.take(slots)
        if self._held:  # of whom the caller does not know: he means who had that slot before
            slots, kinds = slots[kinds != HELD], kinds[kinds != HELD]
        if not abort:
            self._ending += int(np.count_nonzero(kinds >= PLAIN))
        if self._others or self._later:
            for slot in slots[kinds > PLAIN].tolist():
                self._drop(slot)
            for slot in self._later.keys() & {*slots.tolist()}:
                del self._later[slot]
        self.kinds[slots] = FREE
        self._inner.close(slots, abort=abort, drop=drop)

    def adopt(self, fd: int) -> int:
        slot = self._inner.adopt(fd)
        self._set_kind(slot, PLAIN)
        return slot

    def descriptor(self, slot: int) -> int:
        return self._inner.descriptor(slot)

    def peers(self, slots: Slots, family: int) -> list[bytes]:
        return self._inner.peers(slots, family)

    def watch(self, fd: int) -> None:
        self._inner.watch(fd)

    def wake(self) -> None:
        self._inner.wake()

    def statistics(self) -> EngineStatistics:
        """The inner engine's, without those whom nobody was told of."""
        inner = self._inner.statistics()
        never = self._never_opened.total()
        found = replace(inner)
        found.accepted = inner.accepted - len(self._held) - never
        found.live = inner.live - len(self._held)
        found.lingering = min(inner.lingering, self._ending)
        found.closed = found.accepted + found.connected - found.live - found.lingering
        found.unsent_bytes += self._unsent_bytes
        found.opening = inner.opening + len(self._held)
        found.never_opened = dict(self._never_opened + Counter(inner.never_opened))
        return found

    def shutdown(self) -> None:
        self._inner.shutdown()
        for slot in np.flatnonzero(self.kinds > PLAIN).tolist() if self._others else ():
            self._forget(slot)
        self._never_opened[errno.ECANCELED] += len(self._held)
        self._held.clear()
        self.kinds[np.flatnonzero(self.kinds)] = FREE
        self._others = 0

    # --- the tick ---------------------------------------------------------------------------------

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        came = pieces
        if self._others:
            due_ns = 0 if self._later else self._due_ns()
            if due_ns < NEVER:
                timeout_ns = due_ns if timeout_ns < 0 else min(timeout_ns, due_ns)
            # What is opened in Python comes best as its bytes, and what passes in arrays.
            came = None if pieces is None and self._has_plain else []
        batch = self._inner.wait(timeout_ns, came)
        if not self._others and (batch.is_plain or batch is NOTHING):
            return batch
        self._told = Told(is_mixed=self._others > 0)
        made = EventBatch.nothing()
        made.came_ns = batch.came_ns or (SystemClock.now_ns() if came else 0)
        if not batch.is_plain and batch is not NOTHING:
            self._sort_beginnings(batch, made)
        for slot, (reason, said) in [*self._later.items()]:
            if slot not in self._told.gone:
                self._end(slot, reason, said)
        self._sort_data(batch, made, came if came is not pieces else None)
        if not batch.is_plain and batch is not NOTHING:
            self._sort_ends(batch, made)
        if self._others:
            self._work()
        return self._finished(made, pieces)

    def _sort_beginnings(self, batch: EventBatch, made: EventBatch) -> None:
        """Ends of those who were before; who begins; what is about watermarks."""
        told = self._told
        if len(batch.ended):
            self._sort_ended(batch.ended, batch.ended_errnos, made)
        made.failed, made.failed_errnos = batch.failed, batch.failed_errnos
        made.opened, made.opened_listeners = batch.opened, batch.opened_listeners
        self.kinds[batch.opened] = PLAIN
        listeners = {*batch.opened_listeners.tolist()}
        holds = [at for at in listeners if self._holds(at)]
        if holds:
            told.is_mixed = True
            made.opened = made.opened_listeners = NO_SLOTS
            if len(holds) == len(listeners):
                self._hold(batch.opened, batch.opened_listeners)
            else:
                is_held = np.isin(batch.opened_listeners, holds)
                self._hold(batch.opened[is_held], batch.opened_listeners[is_held])
                made.opened = batch.opened[~is_held]
                made.opened_listeners = batch.opened_listeners[~is_held]
        if len(batch.connected):
            made.connected = batch.connected
            told.fresh.update(batch.connected.tolist())
            self._begin_connected(batch.connected)
            told.is_mixed |= self._others > 0
        told.gone.update(batch.closed.tolist())
        for slot in told.gone & self._held.keys():  # too late to be opened
            self._over(slot, int(batch.closed_errnos[batch.closed == slot][0]))
        made.blocked, made.drained = batch.blocked, batch.drained
        if told.is_mixed or self._own_ends:
            self._full.update(self._held.keys() & {*batch.blocked.tolist()})
            self._full.difference_update(batch.drained.tolist())
            made.blocked = batch.blocked[self.kinds[batch.blocked] >= PLAIN]
            made.drained = batch.drained[self.kinds[batch.drained] >= PLAIN]

    def _hold(self, slots: Slots, listeners: Slots) -> None:
        for slot, listener in zip(slots.tolist(), listeners.tolist(), strict=True):
            self._held[slot] = listener
            self._set_kind(slot, HELD)
            self._begin(slot)

    def _sort_ended(self, slots: Slots, errnos: Slots, made: EventBatch) -> None:
        """What the inner engine says about connections that were closed: by us, or by the caller,
        who may not have asked for it."""
        if self._own_ends:
            is_own = np.array([slot in self._own_ends for slot in slots.tolist()], bool)
            self._own_ends.difference_update(slots[is_own].tolist())
            slots, errnos = slots[~is_own], errnos[~is_own]
        self._ending -= len(slots)
        if self.reports_ends:
            made.ended, made.ended_errnos = slots, errnos
        else:
            made.expired = slots[errnos == errno.ETIMEDOUT]

    def _sort_data(self, batch: EventBatch, made: EventBatch, came: Pieces | None) -> None:
        """What is plain passes: in arrays as it came. `came`: what the inner engine had as bytes,
        where it is not in the caller's list already."""
        kinds, told = self._kind_bytes, self._told
        theirs: Pieces = []
        if came:
            for piece in came:
                kind = kinds[piece[0]]
                if kind > PLAIN or kind == HELD:
                    theirs.append(piece)
                elif kind == PLAIN:
                    told.data.append(piece)
            self._has_plain = bool(told.data)
        made.data_slots, made.data = batch.data_slots, batch.data
        if told.is_mixed and len(batch.data_slots):
            self._divide(made, theirs)
        told.passes = len(made.data_slots) > 0
        if theirs:
            self._take(theirs)

    def _divide(self, made: EventBatch, theirs: Pieces) -> None:
        """Take out of the arrays what is not plain."""
        slots, data = made.data_slots, made.data
        those = self.kinds.take(slots)
        is_plain = those == PLAIN
        count = np.count_nonzero(is_plain)
        self._has_plain = bool(count > 0)
        if count == len(slots):
            return
        if count:
            made.data_slots, made.data = slots[is_plain], data.take(is_plain)
        else:
            made.data_slots, made.data = NO_SLOTS, Ragged.empty()
        is_theirs = (those != FREE) & ~is_plain
        if np.count_nonzero(is_theirs) < len(slots):
            slots, data = slots[is_theirs], data.take(is_theirs)
        theirs += zip(slots.tolist(), data.pieces(), strict=True)

    def _sort_ends(self, batch: EventBatch, made: EventBatch) -> None:
        """Who is gone, and whose peers will send no more."""
        kinds = self._kind_bytes
        if not self._told.is_mixed:
            made.closed, made.closed_errnos = batch.closed, batch.closed_errnos
            self.kinds[batch.closed] = FREE
            made.eof = batch.eof
            return
        for slot, code in zip(batch.closed.tolist(), batch.closed_errnos.tolist(), strict=True):
            if kinds[slot] != FREE:  # else it has ended by us, just now
                self._over(slot, code)
        for slot in batch.eof.tolist():
            if kinds[slot] == PLAIN:
                self._told.eof.append(slot)
            elif kinds[slot] != FREE:
                self._end_of_input(slot)

    def _finished(self, made: EventBatch, pieces: Pieces | None) -> EventBatch:
        """The batch, with what was told in Python's rows."""
        told = self._told
        if told.data:
            self._add_data(told.data, made, pieces)
        if told.opened:
            made.opened = _joined(made.opened, [slot for slot, _ in told.opened])
            made.opened_listeners = _joined(made.opened_listeners, [at for _, at in told.opened])
        if told.closed:
            made.closed = _joined(made.closed, [slot for slot, _ in told.closed])
            made.closed_errnos = _joined(made.closed_errnos, [code for _, code in told.closed])
        if told.secured:
            made.secured = _joined(made.secured, told.secured)
        if told.eof:
            made.eof = _joined(made.eof, told.eof)
        if told.blocked:
            made.blocked = _joined(made.blocked, told.blocked)
        count = len(made)
        if not count:
            return NOTHING
        made.is_plain = count == len(made.data_slots)
        return made

    def _add_data(self, data: Pieces, made: EventBatch, pieces: Pieces | None) -> None:
        if pieces is not None:
            opened = {slot for slot, _ in self._told.opened}
            if not opened:
                pieces += data
                return
            pieces += [piece for piece in data if piece[0] not in opened]
            data = [piece for piece in data if piece[0] in opened]
        slots = [slot for slot, _ in data]
        ours = Ragged.of([piece for _, piece in data])
        if len(made.data_slots):
            ours = Ragged.of([*made.data.pieces(), *ours.pieces()])
        made.data_slots, made.data = _joined(made.data_slots, slots), ours


def _joined(slots: Slots, more: list[int]) -> Slots:
    those = np.array(more, np.int32)
    return np.concatenate((slots, those)) if len(slots) else those
