"""Input of the uring engine: completions of polls and receives to data, ends of streams, errors.

A multishot poll completes once a wake and says what woke it; data that just lies there does not
wake again. So after a poll's completion the socket is read until it is known to be empty. What is
asked of the kernel, and why: watch.py.
"""

from __future__ import annotations

import errno

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import EngineStatistics, EventBatch, Slots
from c1m.engine.ragged import Ragged, read_only
from c1m.engine.states import ConnEvent, ConnState
from c1m.engine.uring.few_pieces import FewPieces
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.table import AT_END, POLL_ARMED, READING, RECEIVE_ARMED, ConnTable, distinct
from c1m.engine.uring.user_data import GENERATION_SHIFT, Op
from c1m.engine.uring.watch import BUSY, Watch
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import Ids
from c1m.kernel.ring import Completions

NO_IDS = np.zeros(0, np.uint16)
_GOES_ON = abi.CQE_BUFFER | abi.CQE_MORE  # of a multishot receive: data, and more to come
_RECEIVE = np.uint16(Op.RECEIVE).tobytes()
_DATA = np.uint16(_GOES_ON).tobytes()
_AT_END = abi.POLLHUP | abi.POLLRDHUP | abi.POLLERR


class Input:
    """Everything that comes in. `lost` collects (slot, errno) for the engine."""

    def __init__(
        self,
        rings: RingSet,
        table: ConnTable,
        statistics: EngineStatistics,
        watch: Watch,
        lost: list[tuple[int, int]],
    ) -> None:
        self._rings = rings
        self._table = table
        self._statistics = statistics
        self._watch = watch
        self._lost = lost
        self._held = NO_IDS  # buffers the caller may be looking at
        self._held_few: list[int] = []  # the same, of a small batch
        self._few = FewPieces(rings.tuning.few)
        self.discarded = 0  # bytes that came for connections already closed

    # --- buffers --------------------------------------------------------------------------------

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

    # --- what came ----------------------------------------------------------------------------

    def are_plain(self, completions: Completions) -> bool:
        """Whether all completions (at least one) are data of multishot receives that go on."""
        # By 16 bits: slot (2), op, generation, result (2), flags, buffer. Columns are compared as
        # bytes: that is a copy and a memcmp, and takes a third of the time of == and a count.
        parts = completions.view(np.uint16)
        if int(parts[0, 2]) != Op.RECEIVE:
            return False
        count = len(parts)
        if parts[:, 2].tobytes() != _RECEIVE * count:
            return False
        flags = parts[:, 6]
        if flags.tobytes() != _DATA * count:  # then SOCK_NONEMPTY may be set as well
            goes_on = (flags & _GOES_ON) == _GOES_ON
            if np.count_nonzero(goes_on) < count:
                return False
        generations = self._table.generations.take(completions[:, 0].view(np.int32))
        return bool(parts[:, 3].tobytes() == generations.tobytes())

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
        self._watch.is_active = True
        self._statistics.received_bytes += total
        batch.data_slots, offsets, lengths = few.columns(len(rows))
        batch.data = Ragged(arena.memory, offsets, lengths, arena.address, total)
        batch.is_plain = True
        return True

    def take(self, completions: Completions, batch: EventBatch) -> Completions:
        """Take all that is input out of mixed completions; returns the others."""
        slots = completions[:, 0].view(np.int32)
        parts = completions.view(np.uint16)
        ops = parts[:, 2]
        is_poll, is_read, is_receive = ops == Op.POLL, ops == Op.READ, ops == Op.RECEIVE
        others = completions.compress(~(is_poll | is_read | is_receive), axis=0)
        is_current = parts[:, 3] == self._table.generations.take(slots)
        if np.count_nonzero(is_current) < len(is_current):
            self._take_late(completions.compress(~is_current, axis=0))
            is_poll &= is_current
            is_read &= is_current
            is_receive &= is_current
        reads = completions.compress(is_read, axis=0)
        has_buffer = (parts[:, 6] & abi.CQE_BUFFER) != 0
        has_buffer &= is_read | is_receive
        data = completions.compress(has_buffer, axis=0)
        if len(data):
            self.take_data(data, batch)
        is_receive_data = is_receive & has_buffer
        if np.count_nonzero(is_receive_data):
            self._table.activity[slots.compress(is_receive_data)] = BUSY
        ended = is_receive & ((parts[:, 6] & abi.CQE_MORE) == 0)
        if np.count_nonzero(ended):
            self._receives_ended(completions.compress(ended, axis=0), batch)
        if len(reads):
            self._reads_done(reads, batch)
        polls = completions.compress(is_poll, axis=0)
        if len(polls):
            self._polled(polls)
        return others

    def _take_late(self, late: Completions) -> None:
        """Completions of connections that are gone: nobody gets their data."""
        late = late[(late[:, 3] & abi.CQE_BUFFER) != 0]
        if len(late):
            self._hold(late)
            self.discarded += int(late[:, 2].sum())

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
        self._watch.is_active = True
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
        batch.data_slots = read_only(slots)
        columns = read_only(offsets), read_only(lengths)
        batch.data = Ragged(arena.memory, *columns, arena.address, total)

    def _receives_ended(self, ended: Completions, batch: EventBatch) -> None:
        """Multishot receives that will bring no more: end of stream, error, or just begin again."""
        slots = ended[:, 0].view(np.int32)
        results = ended[:, 2].view(np.int32)
        self._table.flags[slots] &= ~np.uint8(RECEIVE_ARMED)
        no_buffers = results == -errno.ENOBUFS
        again = (results > 0) | no_buffers | (results == -errno.ECANCELED)
        again |= _is_retry(results)
        if again.any():
            if no_buffers.any():
                self._rings.grow_buffers(slots[no_buffers])
            self._watch.arm_later(slots[again].copy())
        self._over(slots, results, ~again, batch)

    def _reads_done(self, reads: Completions, batch: EventBatch) -> None:
        """Single receives (one a slot): data, end of stream, error, or nothing after all."""
        slots = reads[:, 0].view(np.int32)
        results = reads[:, 2].view(np.int32)
        flags, activity = self._table.flags, self._table.activity
        state = flags.take(slots) & ~np.uint8(READING)
        flags[slots] = state
        came = results > 0
        level = activity.take(slots) + came
        activity[slots] = level
        busy = level >= BUSY
        if np.count_nonzero(busy):
            self._watch.promote(slots.compress(busy & came))
        # Unix sockets do not say whether there is more: a full buffer does.
        more = (reads[:, 3] & abi.CQE_SOCK_NONEMPTY) != 0
        more |= (results == self._rings.arena.size) | ((state & AT_END) != 0)
        more &= came
        if np.count_nonzero(came) == len(came):
            if np.count_nonzero(more):
                self._watch.read_later(slots.compress(more))
            return
        no_buffers = results == -errno.ENOBUFS
        more |= no_buffers | (results == -errno.EINTR)
        if no_buffers.any():
            self._rings.grow_buffers(slots[no_buffers])
        if more.any():
            self._watch.read_later(slots[more].copy())
        if self._watch.broken:
            self._broken_ends(slots.tolist(), results.tolist())
        goes_on = came | no_buffers | _is_retry(results)
        self._over(slots, results, ~goes_on, batch)

    def _broken_ends(self, slots: list[int], results: list[int]) -> None:
        """Connections that a send found broken, and that have no input left."""
        for slot, result in zip(slots, results, strict=True):
            if slot in self._watch.broken and result <= 0 and -result != errno.ENOBUFS:
                self._lost.append((slot, self._watch.broken.pop(slot)))

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
        goes_on = (polls[:, 3] & abi.CQE_MORE) != 0
        if np.count_nonzero(goes_on) < len(goes_on):
            ended = slots[~goes_on]
            self._table.flags[ended] &= ~np.uint8(POLL_ARMED)
            self._watch.arm_later(ended)
        is_ready = results > 0
        if np.count_nonzero(is_ready) < len(is_ready):
            slots, results = slots[is_ready], results[is_ready]
        at_end = (results & _AT_END) != 0
        if np.count_nonzero(at_end):
            self._table.flags[slots[at_end]] |= AT_END
        if len(slots):
            self._watch.read(distinct(slots))


def _is_retry(results: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    retry: npt.NDArray[np.bool_] = (results == -errno.EAGAIN) | (results == -errno.EINTR)
    return retry
