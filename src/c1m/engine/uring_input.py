"""Input of the uring engine: quiet connections are parked on a poll, busy ones on a receive.

Facts (Linux 6.18, by the slab table)
- A multishot receive that waits costs 864 bytes of kernel memory (request 256, message header 512,
  poll 96), a multishot poll 256. Of a million connections most are quiet.
- A multishot poll completes once a wake and says what woke it; data that just lies there does not
  wake again. So after a poll's completion the socket is read until it is known to be empty.
- A multishot receive brings data with one completion a message and no submission. But when a reset
  (for unix sockets also the end of the stream) and the last data wake it together, older kernels
  take the data and never look again. A poll tells of both.

Choice: a connection is parked when it begins. What a poll announces is fetched by a single receive
that does not wait. A connection that has brought data within the last second or two already is
promoted to a multishot receive; one that has been quiet for so long is parked again by a sweep.
"""

from __future__ import annotations

import errno

import numpy as np
import numpy.typing as npt

from c1m.conn.states import ConnEvent, ConnState
from c1m.conn.table import (
    AT_END,
    IS_OPEN,
    POLL_ARMED,
    READING,
    RECEIVE_ARMED,
    RECEIVE_WANTED,
    ConnTable,
)
from c1m.engine import submissions as sub
from c1m.engine.base import EngineStatistics, EventBatch, Slots
from c1m.engine.few_pieces import FewPieces
from c1m.engine.ragged import Ragged
from c1m.engine.rings import RingSet
from c1m.engine.user_data import GENERATION_SHIFT, OP, Op, pack
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import GROUP, Ids
from c1m.kernel.ring import Completions

NO_IDS = np.zeros(0, np.uint16)
SWEEP_NS = 1_000_000_000
BUSY = 2  # sweeps after its last data until a connection counts as quiet
PARKED_MAX = 8192  # connections parked by one sweep: bounds its work
_GOES_ON = abi.CQE_BUFFER | abi.CQE_MORE  # of a multishot receive: data, and more to come
_AT_END = abi.POLLHUP | abi.POLLRDHUP | abi.POLLERR
_RETRY = (errno.EAGAIN, errno.EINTR)


class Input:
    """Everything that comes in. `lost` collects (slot, errno) for the engine."""

    def __init__(
        self,
        rings: RingSet,
        table: ConnTable,
        statistics: EngineStatistics,
        lost: list[tuple[int, int]],
    ) -> None:
        self._rings = rings
        self._table = table
        self._statistics = statistics
        self._lost = lost
        self._held = NO_IDS  # buffers the caller may be looking at
        self._held_few: list[int] = []  # the same, of a small batch
        self._few = FewPieces(rings.tuning.few)
        self._to_arm: list[Slots] = []
        self._to_read: list[Slots] = []
        self._broken: dict[int, int] = {}  # errno of a send, told once the input is read
        self.next_sweep_ns = 0
        self._is_active = False  # data has come since the last sweep
        self.discarded = 0  # bytes that came for connections already closed
        self.promoted = 0
        self.parked = 0

    # --- asking for input ---------------------------------------------------------------------

    def begin(self, slots: Slots) -> None:
        """Watch connections, where input is wanted and nothing is armed."""
        wanted = RECEIVE_WANTED | IS_OPEN
        state = self._table.flags[slots] & (wanted | RECEIVE_ARMED | POLL_ARMED)
        slots = slots[(state == wanted) & (self._table.states[slots] == ConnState.OPEN)]
        if len(slots):
            self._table.flags[slots] |= POLL_ARMED
            data = pack(slots, self._table.generations[slots], Op.POLL)
            self._rings.push(slots, sub.poll_files(self._rings.files(slots), _EVENTS, data))

    def resume(self, slots: Slots) -> None:
        """Input is wanted again; what was announced meanwhile is still there."""
        self._table.flags[slots] |= RECEIVE_WANTED
        self.begin(slots)
        self._read(slots)

    def pause(self, slots: Slots) -> None:
        """Input is not wanted for now. A poll may stay: it takes nothing."""
        self._table.flags[slots] &= ~np.uint8(RECEIVE_WANTED)
        self._cancel(slots, RECEIVE_ARMED, Op.RECEIVE)
        self._read_no_further(slots)

    def _read_no_further(self, slots: Slots) -> None:
        """Nobody wants the input of these: what a send has found broken is over now."""
        if self._broken:
            for slot in slots.tolist():
                if slot in self._broken:
                    self._lost.append((slot, self._broken.pop(slot)))

    def discard_unread(self, slots: Slots) -> None:
        """Connections are closing: read, and throw away, what paused ones have not been read."""
        self._read_no_further(slots)
        state = self._table.flags[slots] & (RECEIVE_WANTED | RECEIVE_ARMED)
        slots = slots[(state == 0) & (self._table.states[slots] == ConnState.OPEN)]
        if len(slots):
            self._receive(slots)

    def read_to_the_end(self, broken: list[tuple[int, int]]) -> None:
        """Connections (slot, errno) whose peer is gone, as a send has told: first what it sent."""
        for slot, code in broken:
            state = int(self._table.flags[slot]) & (RECEIVE_WANTED | IS_OPEN | RECEIVE_ARMED)
            is_open = int(self._table.states[slot]) == ConnState.OPEN
            if state == RECEIVE_WANTED | IS_OPEN and is_open:
                self._broken.setdefault(slot, code)
                self._table.flags[slot] |= AT_END
            else:
                self._lost.append((slot, code))
        self._read(np.array([slot for slot, _ in broken if slot in self._broken], np.int32))

    def end(self, slots: Slots) -> None:
        """Stop what is armed: a close while something is armed would not end the connection."""
        if self._broken:
            for slot in slots.tolist():
                self._broken.pop(slot, None)
        self._cancel(slots, RECEIVE_ARMED, Op.RECEIVE)
        self._cancel(slots, POLL_ARMED, Op.POLL)

    def _cancel(self, slots: Slots, flag: int, op: int) -> None:
        slots = slots[(self._table.flags[slots] & flag) != 0]
        if len(slots):
            data = pack(slots, self._table.generations[slots], op)
            self._rings.push(slots, sub.cancel(data))

    def _read(self, slots: Slots) -> None:
        """Fetch what a poll has announced, by a single receive that does not wait."""
        wanted = RECEIVE_WANTED | IS_OPEN
        state = self._table.flags[slots] & (wanted | RECEIVE_ARMED | READING)
        slots = slots[(state == wanted) & (self._table.states[slots] == ConnState.OPEN)]
        if not len(slots):
            return
        slots, later = self._rings.split_by_buffers(slots)
        if len(later):
            self._to_read.append(later)
        self._table.flags[slots] |= READING
        data = pack(slots, self._table.generations[slots], Op.READ)
        self._rings.push(slots, sub.receive_once(self._rings.files(slots), GROUP, data))

    def _receive(self, slots: Slots) -> None:
        """Arm multishot receives; what is there already comes at once."""
        self._table.flags[slots] |= RECEIVE_ARMED
        data = pack(slots, self._table.generations[slots], Op.RECEIVE)
        self._rings.push(slots, sub.receive(self._rings.files(slots), GROUP, data))

    def _promote(self, slots: Slots) -> None:
        wanted = RECEIVE_WANTED | IS_OPEN
        state = self._table.flags[slots] & (wanted | RECEIVE_ARMED)
        slots = slots[state == wanted]
        if len(slots):
            self.promoted += len(slots)
            self._cancel(slots, POLL_ARMED, Op.POLL)
            self._receive(slots)

    def sweep(self, now_ns: int) -> None:
        """At `next_sweep_ns` and later: park what has become quiet."""
        self.next_sweep_ns = now_ns + SWEEP_NS
        if not self._is_active and self.promoted == self.parked:
            return
        self._is_active = False
        top = self._rings.top()
        activity = self._table.activity[:top]
        busy = np.flatnonzero(self._table.flags[:top] & RECEIVE_ARMED).astype(np.int32)
        quiet = busy[activity[busy] == 0][:PARKED_MAX]
        if len(quiet):
            # The receive ends as cancelled, and what is wanted and not armed begins again.
            self.parked += len(quiet)
            self._cancel(quiet, RECEIVE_ARMED, Op.RECEIVE)
        was_active = activity > 0
        self._is_active |= bool(was_active.any())
        activity -= was_active

    # --- between ticks ------------------------------------------------------------------------

    def has_work(self) -> bool:
        """Whether something waits for buffers that come back in this tick."""
        return bool(self._to_arm or self._to_read)

    def take_held(self) -> Ids:
        """The buffers of the last batch, which nobody looks at from now on."""
        held, self._held = self._held, NO_IDS
        if self._held_few:
            held = np.concatenate((held, np.array(self._held_few, np.uint16)))
            self._held_few = []
        return held

    def recycle(self) -> None:
        """Give them back to the kernel."""
        if self._held_few:
            self._rings.recycle_few(self._held_few)
            self._held_few = []
        if len(self._held):
            self._rings.recycle(self._held)
            self._held = NO_IDS

    def again(self) -> None:
        """Buffers are back: ask for what had to wait."""
        to_arm, self._to_arm = self._to_arm, []
        to_read, self._to_read = self._to_read, []
        for slots in to_arm:
            self.begin(slots)
        for slots in to_read:
            self._read(slots)

    # --- what came ----------------------------------------------------------------------------

    def are_plain(self, completions: Completions) -> bool:
        """Whether all completions (at least one) are data of multishot receives that go on."""
        # By 16 bits: slot (2), op, generation, result (2), flags, buffer.
        parts = completions.view(np.uint16)
        if int(parts[0, 2]) != Op.RECEIVE:
            return False
        plain = parts[:, 2] == Op.RECEIVE
        plain &= (parts[:, 6] & _GOES_ON) == _GOES_ON
        if np.count_nonzero(plain) < len(plain):
            return False
        slots = completions[:, 0].view(np.int32)
        plain = parts[:, 3] == self._table.generations.take(slots)
        return bool(np.count_nonzero(plain) == len(plain))

    def take_few(self, completions: Completions, batch: EventBatch) -> bool:
        """The scalar form of `are_plain` and `take_data`, for a few completions.

        False, with nothing taken, where they are not plain data.
        """
        if self._statistics.lingering:
            return False
        generations, activity = self._table.generation_at, self._table.activity_at
        rows = completions.tolist()
        for slot, tag, _, flags in rows:
            plain = flags & _GOES_ON == _GOES_ON
            if not plain or tag != generations[slot] << GENERATION_SHIFT | Op.RECEIVE:
                return False
        self.recycle()
        few, places, each = self._few, self._rings.places, self._rings.files_per_ring
        arena = self._rings.arena
        size = arena.size
        held: list[int] = []
        total = 0
        for i, (slot, _, length, flags) in enumerate(rows):
            buffer = flags >> abi.CQE_BUFFER_SHIFT
            held.append(buffer)
            few.slot_at[i], few.length_at[i], few.offset_at[i] = slot, length, buffer * size
            activity[slot] = BUSY
            places[slot // each].buffers.free -= 1
            total += length
        self._held_few = held
        self._is_active = True
        self._statistics.received_bytes += total
        batch.data_slots, offsets, lengths = few.columns(len(rows))
        batch.data = Ragged(arena.memory, offsets, lengths, arena.address, total)
        batch.is_plain = True
        return True

    def take(self, completions: Completions, batch: EventBatch) -> Completions:
        """Take all that is input out of mixed completions; returns the others."""
        slots = completions[:, 0].view(np.int32)
        tags, flags = completions[:, 1], completions[:, 3]
        ops = tags & OP
        has_buffer = (flags & abi.CQE_BUFFER) != 0
        is_current = (tags >> GENERATION_SHIFT) == self._table.generations[slots]
        is_receive = is_current & (ops == Op.RECEIVE)
        is_read = is_current & (ops == Op.READ)
        late = completions[has_buffer & ~(is_receive | is_read)]
        if len(late):
            self._hold(late)
            self.discarded += int(late[:, 2].sum())
        reads = completions[is_read]
        was_busy = self._table.activity[reads[:, 0].view(np.int32)] > 0
        data = completions[(is_receive | is_read) & has_buffer]
        if len(data):
            self.take_data(data, batch)
        ended = completions[is_receive & ((flags & abi.CQE_MORE) == 0)]
        if len(ended):
            self._receives_ended(ended, batch)
        if len(reads):
            self._reads_done(reads, was_busy, batch)
        polls = completions[is_current & (ops == Op.POLL)]
        if len(polls):
            self._polled(polls)
        is_input = (ops == Op.RECEIVE) | (ops == Op.READ) | (ops == Op.POLL)
        others: Completions = completions[~is_input]
        return others

    def _hold(self, completions: Completions) -> npt.NDArray[np.uint16]:
        """Note the buffers of these completions: the caller has them until the next wait."""
        ids = completions.view(np.uint16)[:, 7].copy()
        self._rings.used(ids)
        self._held = np.concatenate((self._held, ids)) if len(self._held) else ids
        return ids

    def take_data(self, completions: Completions, batch: EventBatch) -> None:
        """Completions with a buffer, of connections that are still there."""
        ids = self._hold(completions)
        slots = completions[:, 0].view(np.int32).copy()
        lengths = completions[:, 2].view(np.int32).copy()
        total = int(np.add.reduce(lengths, dtype=np.int64))
        self._statistics.received_bytes += total
        self._table.activity[slots] = BUSY
        self._is_active = True
        if self._statistics.lingering:
            is_open = self._table.is_open(slots)
            if not is_open.all():
                self.discarded += int(lengths[~is_open].sum(dtype=np.int64))
                slots, lengths, ids = slots[is_open], lengths[is_open], ids[is_open]
                total = int(lengths.sum(dtype=np.int64))
        arena = self._rings.arena
        offsets = ids.astype(np.int64)
        offsets *= arena.size
        if len(batch.data_slots):
            slots = np.concatenate((batch.data_slots, slots))
            offsets = np.concatenate((batch.data.offsets, offsets))
            lengths = np.concatenate((batch.data.lengths, lengths))
            total += batch.data.nbytes()
        batch.data_slots = slots
        batch.data = Ragged(arena.memory, offsets, lengths, arena.address, total)

    def _receives_ended(self, ended: Completions, batch: EventBatch) -> None:
        """Multishot receives that will bring no more: end of stream, error, or just begin again."""
        slots = ended[:, 0].view(np.int32)
        results = ended[:, 2].view(np.int32)
        self._table.flags[slots] &= ~np.uint8(RECEIVE_ARMED)
        no_buffers = results == -errno.ENOBUFS
        again = (results > 0) | no_buffers | (results == -errno.ECANCELED)
        again |= np.isin(-results, _RETRY)
        if again.any():
            if no_buffers.any():
                self._rings.grow_buffers(slots[no_buffers])
            self._to_arm.append(slots[again].copy())
        self._over(slots, results, ~again, batch)

    def _reads_done(
        self, reads: Completions, was_busy: npt.NDArray[np.bool_], batch: EventBatch
    ) -> None:
        """Single receives: data, end of stream, error, or nothing after all."""
        slots = reads[:, 0].view(np.int32)
        results = reads[:, 2].view(np.int32)
        flags = self._table.flags
        flags[slots] &= ~np.uint8(READING)
        came = results > 0
        busy = came & was_busy
        if busy.any():
            self._promote(slots[busy])
        # Unix sockets do not say whether there is more: a full buffer does.
        more = came & ((reads[:, 3] & abi.CQE_SOCK_NONEMPTY) != 0)
        more |= came & ((results == self._rings.arena.size) | ((flags[slots] & AT_END) != 0))
        no_buffers = results == -errno.ENOBUFS
        more |= no_buffers | (results == -errno.EINTR)
        if no_buffers.any():
            self._rings.grow_buffers(slots[no_buffers])
        if more.any():
            self._to_read.append(slots[more].copy())
        if self._broken:
            self._broken_ends(slots.tolist(), results.tolist())
        goes_on = came | no_buffers | np.isin(-results, _RETRY)
        self._over(slots, results, ~goes_on, batch)

    def _broken_ends(self, slots: list[int], results: list[int]) -> None:
        """Connections that a send found broken, and that have no input left."""
        for slot, result in zip(slots, results, strict=True):
            if slot in self._broken and result <= 0 and -result != errno.ENOBUFS:
                self._lost.append((slot, self._broken.pop(slot)))

    def _over(
        self,
        slots: Slots,
        results: npt.NDArray[np.int32],
        which: npt.NDArray[np.bool_],
        batch: EventBatch,
    ) -> None:
        """Input that has come to its end, in good order (result 0) or by an error."""
        if not which.any():
            return
        slots, results = slots[which], results[which]
        at_end = slots[results == 0]
        at_end = at_end[self._table.states[at_end] == ConnState.OPEN]
        if len(at_end):
            self._table.advance(at_end, ConnEvent.EOF)
            batch.eof = np.concatenate((batch.eof, at_end))
        failed = results < 0
        pairs = zip(slots[failed].tolist(), (-results[failed]).tolist(), strict=True)
        self._lost.extend(pairs)

    def _polled(self, polls: Completions) -> None:
        """Parked connections that have something."""
        slots = polls[:, 0].view(np.int32).copy()
        results = polls[:, 2].view(np.int32)
        ended = (polls[:, 3] & abi.CQE_MORE) == 0
        if ended.any():
            self._table.flags[slots[ended]] &= ~np.uint8(POLL_ARMED)
            self._to_arm.append(slots[ended])
        at_end = slots[(results > 0) & ((results & _AT_END) != 0)]
        self._table.flags[at_end] |= AT_END
        ready = slots[results > 0]
        if len(ready):
            self._read(np.unique(ready))


_EVENTS = abi.POLLIN | abi.POLLRDHUP
