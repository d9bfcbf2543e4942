"""Output of the uring engine: sends tried at once, and the outbox for what did not fit.

A send is tried while it is submitted and says nothing when all of it was sent: an echo costs one
completion (the receive) and one submission. What was short or refused completes, is copied into the
outbox before its memory may change, and goes on when a poll says that there is room, one send at a
time for a connection so that none overtakes another.

A send that waits in the kernel would need no poll of ours. But a peer's FIN makes every wait end at
once (EPOLLRDHUP cannot be left out of it): the kernel tries again and again and after 128 rounds
hands the send to a helper thread, which blocks (seen on 6.18). A multishot poll completes once for
each wake-up, and does not mind.

The sends of a tick are *settled* when it is known how they went, which is when their completions
have come: those that have none went whole. A *mark* in the table says which send was a slot's last.
"""

from __future__ import annotations

import errno

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, EngineStatistics, Slots, distinct
from c1m.engine.lingering import Lingering
from c1m.engine.outbox import Outbox
from c1m.engine.ragged import Ragged
from c1m.engine.states import ConnState
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.submissions import (
    GENERATION_SHIFT,
    OP,
    SEND_NOW,
    SEND_NOW_FLAGS,
    Op,
    pack_one,
)
from c1m.engine.uring.table import HAS_OUTBOX, IS_OPEN, SENDABLE, ConnTable
from c1m.kernel import uring_abi as abi
from c1m.kernel.libc import BYTES_AT
from c1m.kernel.refusals import NO_MEMORY
from c1m.kernel.ring import Completions, Row

OUTBOX_SEND_MAX = 1 << 18  # bytes of one outbox send
LATE_MAX, LATE_SEND_MAX = 1024, 4096  # sends tried again at a time, and bytes of each
SEND_BLOCK = 1024  # sends whose rows are made at once
MARKS_END = 1 << 31
_SENDABLE = SENDABLE.tolist()
_CANCELED = (1 << 32) - errno.ECANCELED  # as a result without a sign


class Output:
    """Everything that goes out.

    The engine hands over what to send, completions, and the slots that were closed (`finish`).
    Results: `blocked`, `drained` (slots past a watermark), `broken` (slot and errno: a send has
    failed, and input may still be unread), and `finished`, closed slots with nothing left to send.
    """

    def __init__(
        self,
        rings: RingSet,
        table: ConnTable,
        statistics: EngineStatistics,
        outbox_high: int,
        linger_ns: int,
    ) -> None:
        self.outbox = Outbox(outbox_high)
        self.lingering = Lingering(linger_ns)
        self._rings = rings
        self._table = table
        self._statistics = statistics
        self._block = sub.SendBlock(SEND_BLOCK)
        self._flights: dict[int, bytes] = {}  # by user data: memory the kernel is sending from
        self._polled: set[int] = set()  # slots with a poll for room
        self._sent: list[tuple[int, Ragged]] = []  # first mark and pieces of this tick's sends
        self._sent_few: list[tuple[list[int], Ragged | list[bytes]]] = []  # those of a few, by slot
        self._sent_to: set[int] = set()  # slots of the latter
        self._mark = 1
        self._tick_mark = 1
        self.closing: list[Slots] = []  # closed by the caller, see `finish`
        self._dropping: set[int] = set()  # of these, those whose outbox does not matter
        self._shutting: set[int] = set()  # half-closed by the caller, with output pending
        self.to_shut: list[int] = []  # of these, those whose outbox is empty now
        self._flushed: list[int] = []  # closed, and the outbox is empty now
        self.lingerers: list[int] = []  # closed, and the outbox is not: since the last look
        self.blocked: list[int] = []
        self.drained: list[int] = []
        self.broken: list[tuple[int, int]] = []

    def is_idle(self) -> bool:
        """Whether the kernel sends from no outbox."""
        return not self._flights

    def has_reports(self) -> bool:
        """Whether sending has results that the engine has not taken."""
        # One list at a time: nearly always all are empty.
        return bool(
            self.closing or self.blocked or self.drained or self.broken or self._flushed
            or self.to_shut
        )  # fmt: skip

    def needs_settling(self, slots: Slots) -> bool:
        """Whether a slot was already sent to in this tick: a second send might overtake it.

        Also before the marks run out, which may begin anew only when nothing is unsettled.
        """
        if self._sent_few and not self._sent_to.isdisjoint(slots.tolist()):
            return True
        if self._mark == self._tick_mark:
            return False
        is_late = self._mark + len(slots) >= MARKS_END
        return is_late or bool((self._table.marks.take(slots) >= self._tick_mark).any())

    def send(self, slots: Slots, data: Ragged) -> None:
        """See Engine.send; no slot may need settling."""
        n = len(slots)
        if self._mark + n >= MARKS_END:
            self._restart_marks()
        marks = self._table.marks
        mine = np.arange(self._mark, self._mark + n, dtype=np.uint32)
        marks[slots] = mine
        if marks.take(slots).tobytes() != mine.tobytes():
            slots, data = self._merge(slots, data)
            self.send(slots, data)
            return
        flags = self._table.flags.take(slots)
        if not _are_sendable(flags):
            plain = SENDABLE.take(flags)
            self._queue(slots[~plain], data.take(~plain), flags[~plain])
            slots, data = slots[plain], data.take(plain)
            if not len(slots):
                return
            marks[slots] = np.arange(self._mark, self._mark + len(slots), dtype=np.uint32)
        self._send_now(slots, data)

    def send_few(self, slots: Slots, data: Ragged) -> bool:
        """The scalar form of `send`, for a few pieces that need nothing special.

        False, with nothing sent, where a slot appears twice, was sent to in this tick already, is
        not open or has something queued.
        """
        those, start, lengths = slots.tolist(), data.address, data.lengths.tolist()
        if not self._may_go(those):
            return False
        generations, rows = self._table.generation_at, []
        for slot, offset, length in zip(those, data.offsets.tolist(), lengths, strict=True):
            tag = generations[slot] << GENERATION_SHIFT | Op.SEND
            rows.append((slot, start + offset, length, slot, tag))
        self._sent_few.append((those, data))
        self._statistics.sent_bytes += sum(lengths)
        self._push_few(rows)
        return True

    def send_each(self, slots: list[int], pieces: list[bytes]) -> bool:
        """The same for byte strings: the kernel takes them from where they are."""
        if not self._may_go(slots):
            return False
        generations, rows = self._table.generation_at, []
        total = 0
        for slot, piece in zip(slots, pieces, strict=True):
            length = len(piece)
            total += length
            tag = generations[slot] << GENERATION_SHIFT | Op.SEND
            rows.append((slot, id(piece) + BYTES_AT, length, slot, tag))
        self._sent_few.append((slots, pieces))
        self._statistics.sent_bytes += total
        self._push_few(rows)
        return True

    def _may_go(self, slots: list[int]) -> bool:
        """Whether each is open with nothing queued, and is sent to for the first time."""
        sent_to, flags = self._sent_to, self._table.flags_at
        for slot in slots:
            if not _SENDABLE[flags[slot]]:
                return False
        if self._sent:
            marks = self._table.mark_at
            for slot in slots:
                if marks[slot] >= self._tick_mark:
                    return False
        if not sent_to:
            sent_to = set(slots)
            if len(sent_to) < len(slots):
                return False
            self._sent_to = sent_to
            return True
        if len(set(slots)) < len(slots) or not sent_to.isdisjoint(slots):
            return False
        sent_to.update(slots)
        return True

    def _push_few(self, rows: list[Row]) -> None:
        places = self._rings.places
        if len(places) == 1:
            places[0].ring.push_few(SEND_NOW, SEND_NOW_FLAGS, rows)
            return
        each = self._rings.files_per_ring
        for row in rows:
            index, file = divmod(row[0], each)
            places[index].ring.push_few(SEND_NOW, SEND_NOW_FLAGS, [(file, *row[1:])])

    def _send_now(self, slots: Slots, data: Ragged) -> None:
        self._sent.append((self._mark, data))
        self._mark += len(slots)
        self._statistics.sent_bytes += data.nbytes()
        generations = self._table.generations
        block, size = self._block, self._block.size
        for at in range(0, len(slots), size):
            if len(slots) > size:
                some, pieces = slots[at : at + size], data.take(slice(at, at + size))
            else:
                some, pieces = slots, data
            rows = block.fill(self._rings.files(some), some, generations.take(some), pieces)
            self._rings.push(some, rows)

    def _restart_marks(self) -> None:
        assert not self._sent, "marks can only restart between ticks"
        self._table.forget_marks()
        self._mark = self._tick_mark = 1

    @staticmethod
    def _merge(slots: Slots, data: Ragged) -> tuple[Slots, Ragged]:
        """Pieces for the same slot put together, in order, so that each slot appears once."""
        order = np.argsort(slots, kind="stable")
        slots = slots[order]
        packed = data.take(order).packed()
        starts = np.flatnonzero(np.concatenate(([True], slots[1:] != slots[:-1])))
        lengths = np.add.reduceat(packed.lengths, starts, dtype=np.int32)
        return slots[starts], Ragged(packed.memory, packed.offsets[starts], lengths, packed.address)

    def _queue(self, slots: Slots, data: Ragged, state: npt.NDArray[np.uint8]) -> None:
        """Behind what is in the outbox already; to slots that are gone: nowhere."""
        for i, slot in enumerate(slots.tolist()):
            if state[i] & IS_OPEN:
                start = int(data.offsets[i])
                self._append(slot, data.memory.data[start : start + int(data.lengths[i])])
            else:
                self._statistics.unsent_bytes += int(data.lengths[i])

    def _append(self, slot: int, data: memoryview) -> None:
        for passed in self.outbox.append(slot, data):
            if passed in self.drained:  # not reported yet: it is blocked, as its caller knows
                self.drained.remove(passed)
            else:
                self.blocked.append(passed)

    def limit(self, slot: int, low: int, high: int) -> None:
        """See Engine.limit_output."""
        self.outbox.limit(slot, low, high)
        if self.outbox.is_over(slot) and slot in self.drained:
            self.drained.remove(slot)

    # --- connections that were closed -----------------------------------------------------------

    def finish(self, slots: Slots, *, drop: bool) -> None:
        """The caller has closed these: what they still have to send goes out.

        `drop`: only what the kernel takes at once.
        """
        self.closing.append(slots)
        if drop:
            self._dropping.update(slots.tolist())

    def end(self, slot: int) -> bool:
        """Half-close: whether that can be done now; else the slot is in `to_shut` when it can."""
        if slot in self.outbox:
            self._shutting.add(slot)
            return False
        return True

    def finished(self) -> Slots:
        """Those that have nothing left to send (each once), to be freed.

        From now on the others have `lingering.limit_ns`.
        """
        if self._sent or self._sent_few or not (self.closing or self._flushed):
            return NO_SLOTS
        done = [np.array(self._flushed, np.int32)]
        self._flushed.clear()
        for slots in self.closing:
            is_pending = (self._table.flags[slots] & HAS_OUTBOX) != 0
            if self._dropping:
                is_dropped = [slot in self._dropping for slot in slots.tolist()]
                is_pending &= ~np.array(is_dropped, bool)
            for slot in slots[is_pending].tolist():
                self.lingering.add(slot, self.outbox.size(slot), self._rings.clock.now_ns())
                self.lingerers.append(slot)
            done.append(slots[~is_pending])
        self.closing.clear()
        return distinct(np.concatenate(done))

    def give_up(self, slots: Slots) -> None:
        """These end at once."""
        self.closing = [closing[~np.isin(closing, slots)] for closing in self.closing]

    # --- the outcome of sends -------------------------------------------------------------------

    def settle(self, completions: Completions) -> None:
        """Take note of the sends that did not go whole; all others of this tick did.

        To be called with all completions since the sends were submitted, before the memory they
        were sent from may change.
        """
        if not (self._sent or self._sent_few):
            return
        is_send = np.flatnonzero((completions[:, 1] & OP) == Op.SEND)
        for slot, tag, result, _ in completions[is_send].tolist():
            piece = self._piece_of(slot)
            length = len(piece)
            result = result - (1 << 32) if result >> 31 else result
            if result >= length:
                continue  # all of it went, and the kernel said so
            taken = max(result, 0)
            self._statistics.sent_bytes -= length - taken
            if self._table.generations[slot] != tag >> GENERATION_SHIFT:
                self._statistics.unsent_bytes += length - taken
                continue
            if -result in NO_MEMORY:
                self._rings.late.refused("send", -result)
            elif result < 0 and -result not in (errno.EAGAIN, errno.EINTR, errno.ECANCELED):
                self._statistics.unsent_bytes += length
                self.broken.append((slot, -result))
                continue
            assert taken <= length
            self._append(slot, piece[taken:])
            self._start(slot)
        self.all_went()

    def all_went(self) -> None:
        """Nothing is left to learn of this tick's sends: none has completed, or all are settled."""
        if self._sent_few:
            self._sent_few.clear()
            self._sent_to = set()
        if self._sent:
            self._sent.clear()
            self._tick_mark = self._mark

    def _piece_of(self, slot: int) -> memoryview:
        """What was sent to the slot in this tick."""
        for slots, pieces in self._sent_few if slot in self._sent_to else ():
            if slot in slots:
                return _piece(pieces, slots.index(slot))
        mark = int(self._table.marks[slot])
        for first, data in reversed(self._sent):
            if mark >= first:
                return _piece(data, mark - first)
        raise AssertionError("a send completed that was not made in this tick")

    def _start(self, slot: int) -> None:
        """The outbox has something: have the kernel report when there is room for it."""
        self._table.flags[slot] |= HAS_OUTBOX
        if slot in self._polled:
            return
        self._polled.add(slot)
        self._push(
            slot, sub.poll_files(self._file(slot), abi.POLLOUT, self._data(slot, Op.WRITABLE))
        )

    def take_room(self, polls: Completions) -> None:
        """Polls say that there may be room, and whether they will say so again.

        Not those that were cancelled: others may be armed since.
        """
        for slot, tag, result, flags in polls.tolist():
            is_current = self._table.generations[slot] == tag >> GENERATION_SHIFT
            if is_current and result != _CANCELED:
                self._writable(slot, bool(flags & abi.CQE_MORE), bool(result >> 31))

    def _writable(self, slot: int, more: bool, is_refused: bool) -> None:
        if not more:
            self._polled.discard(slot)
        if is_refused:
            self._rings.late.sends[slot] = None
        elif slot in self.outbox:
            self._send_head(slot)
            if not more:
                self._start(slot)

    def again(self) -> None:
        """Try for those that were refused, however it may stand with them by now."""
        for slot in self._rings.late.take_sends(LATE_MAX):
            if slot in self.outbox:
                self._start(slot)
                self._send_head(slot, LATE_SEND_MAX)

    def _send_head(self, slot: int, most: int = OUTBOX_SEND_MAX) -> None:
        """Try the outbox's head, unless a try is on its way."""
        data = int(self._data(slot, Op.OUTBOX)[0])
        if data in self._flights:
            return
        head = self.outbox.head(slot, most)
        self._flights[data] = head
        address = np.frombuffer(head, np.uint8).ctypes.data
        self._push(slot, sub.send_head(int(self._file(slot)[0]), address, len(head), data))

    def heads_done(self, heads: Completions) -> None:
        """Completions of outboxes' heads."""
        for slot, tag, result, _ in heads.tolist():
            self._outbox_done(slot, tag, result - (1 << 32) if result >> 31 else result)

    def _outbox_done(self, slot: int, tag: int, result: int) -> None:
        """The kernel is done with an outbox's head."""
        late = self._rings.late
        self._flights.pop(slot | tag << 32, None)
        if self._table.generations[slot] != tag >> GENERATION_SHIFT:
            return
        if result < 0:
            if -result == errno.EINTR:
                self._send_head(slot)
            elif -result == errno.EAGAIN:
                late.waits[slot] = None
            elif -result in NO_MEMORY:
                late.sends[slot] = None
                late.refused("send", -result)
            else:
                self.broken.append((slot, -result))
            return
        late.send_over(slot)
        self._statistics.sent_bytes += result
        if self.outbox.consume(slot, result):
            self.drained.append(slot)
        if slot in self.outbox:
            self._send_head(slot)  # until it is refused: then the poll says when to go on
            return
        self._table.flags[slot] &= ~np.uint8(HAS_OUTBOX)
        self._stop_polling(slot)
        if self._table.states[slot] == ConnState.LINGERING:
            self._flushed.append(slot)
        elif slot in self._shutting:
            self._shutting.remove(slot)
            self.to_shut.append(slot)

    def _stop_polling(self, slot: int) -> None:
        if slot in self._polled:
            self._polled.remove(slot)
            self._push(slot, sub.cancel(self._data(slot, Op.WRITABLE), everyone=True))

    def _push(self, slot: int, rows: sub.Words) -> None:
        self._rings.place_of(slot).ring.push(rows)

    def _file(self, slot: int) -> Slots:
        return np.array([slot % self._rings.files_per_ring], np.int32)

    def _data(self, slot: int, op: int) -> sub.Words:
        return np.array([pack_one(slot, int(self._table.generations[slot]), op)], np.uint64)

    def drop(self, slots: Slots) -> None:
        """These connections end: what they had pending is lost and counted.

        Memory that the kernel is sending from stays ours until it says that it is done.
        """
        self._forget_events(slots)
        self.outbox.forget_limits(slots)
        if len(self.lingering):
            for slot in slots.tolist():
                self.lingering.remove(slot)
        if not len(self.outbox):
            return
        for slot in slots[(self._table.flags[slots] & HAS_OUTBOX) != 0].tolist():
            self._statistics.unsent_bytes += self.outbox.drop(slot)
            self._rings.late.send_over(slot)
            self._stop_polling(slot)

    def _forget_events(self, slots: Slots) -> None:
        """What was not reported of these connections must not be reported of their successors."""
        if not (
            self.blocked or self.drained or self.broken or self._flushed
            or self._shutting or self.to_shut or self._dropping
        ):  # fmt: skip
            return
        gone = set(slots.tolist())
        self._shutting -= gone
        self._dropping -= gone
        self.to_shut = [slot for slot in self.to_shut if slot not in gone]
        self.blocked = [slot for slot in self.blocked if slot not in gone]
        self.drained = [slot for slot in self.drained if slot not in gone]
        self._flushed = [slot for slot in self._flushed if slot not in gone]
        self.broken = [entry for entry in self.broken if entry[0] not in gone]

    def check(self) -> None:
        """A costly check: whose output is pending is marked as such, and watched for room."""
        pending = set(self.outbox.slots())
        top = self._rings.top()
        assert pending == {*np.flatnonzero(self._table.flags[:top] & HAS_OUTBOX).tolist()}
        watched = self._polled | self._rings.late.sends.keys()
        assert pending <= watched, "output is pending, and nobody will say that there is room"
        self.outbox.check()


def _piece(data: Ragged | list[bytes], index: int) -> memoryview:
    if isinstance(data, list):
        return memoryview(data[index])
    start = int(data.offsets[index])
    return data.memory.data[start : start + int(data.lengths[index])]


def _are_sendable(flags: npt.NDArray[np.uint8]) -> bool:
    """Whether all connections with these flags (at least one) are open with nothing queued."""
    as_bytes = flags.tobytes()
    if as_bytes.count(as_bytes[0]) == len(as_bytes):  # nearly always all are the same
        return bool(_SENDABLE[as_bytes[0]])
    return bool(np.count_nonzero(SENDABLE.take(flags)) == len(flags))
