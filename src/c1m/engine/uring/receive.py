"""Input of the uring engine: what it asks the kernel for, and what the completions bring.

Facts (Linux 6.18, by the slab table)
- A multishot receive that waits costs 864 bytes of kernel memory (request 256, message header 512,
  poll 96), a multishot poll 256. Of a million connections most are quiet.
- A multishot receive brings data with one completion for each message and no submission. But when
  a reset (for unix sockets also the end of the stream) and the last data wake it together, older
  kernels take the data and never look again (unix sockets: 6.18 too). A poll reports both.
- A multishot poll completes once for each wake-up and says what woke it; data that just lies there
  does not wake again. So after a poll's completion the socket is read until it is known to be
  empty.
- A message to a parked connection costs the poll's completion, a submission and a completion more,
  0.2 to 0.4 us; to promote it and to park it again costs some 10 us.

Choice: a connection is parked when it begins. What a poll announces is fetched by a single receive
that does not wait. One that brings BUSY messages within a second or two is promoted to a multishot
receive, and so pays for the change; where few have been promoted BUSY_EARLY messages are enough.
One that has been quiet for three seconds is parked again. Unix sockets stay parked. How
busy a connection is is a number that goes up by one with each message and is quartered each second.
"""

from __future__ import annotations

import errno

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, EngineStatistics, EventBatch, Slots, distinct
from c1m.engine.ragged import Ragged, read_only
from c1m.engine.states import ConnEvent, ConnState
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.submissions import Op, pack
from c1m.engine.uring.table import (
    AT_END,
    IS_OPEN,
    POLL_ARMED,
    READING,
    RECEIVE_ARMED,
    RECEIVE_WANTED,
    STAYS_PARKED,
    ConnTable,
)
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import GROUP, Ids
from c1m.kernel.ring import Completions

SWEEP_NS = 1_000_000_000
BUSY = 16  # messages, as explained above
BUSY_EARLY = 4  # the same while a ring has less than
EARLY_MAX = 1024  # multishot receives armed: to promote costs little memory then
PARKED_MAX = 8192  # connections parked by one sweep: bounds its work
MARKED_EACH = (
    64  # of larger batches only each eighth marks its connections as busy: one that brings
)
# 16 messages a second is seen in one of them before three seconds are over

_NO_IDS = np.zeros(0, np.uint16)
_EVENTS = abi.POLLIN | abi.POLLRDHUP
_END_EVENTS = abi.POLLHUP | abi.POLLRDHUP | abi.POLLERR
_WANTED = RECEIVE_WANTED | IS_OPEN
_GOES_ON = abi.CQE_BUFFER | abi.CQE_MORE  # of a multishot receive: data, and more to come
_RECEIVE_BYTES = np.uint16(Op.RECEIVE).tobytes()
_DATA_BYTES = np.uint16(_GOES_ON).tobytes()

Bools = npt.NDArray[np.bool_]
Results = npt.NDArray[np.int32]


class Input:
    """Everything that comes in.

    The engine says whose input is wanted (`begin`, `pause`, `end` ...) and hands over completions;
    data and ends of streams go into the batch. `lost` collects (slot, errno) of connections that
    have ended by an error.
    """

    def __init__(self, rings: RingSet, table: ConnTable, statistics: EngineStatistics) -> None:
        self._rings = rings
        self._table = table
        self._statistics = statistics
        self.lost: list[tuple[int, int]] = []
        # Errnos of connections that a send has found broken: reported when their input is read.
        self._broken: dict[int, int] = {}
        self._held = _NO_IDS  # buffers the caller may be looking at
        self._held_few: list[int] = []  # the same, of a small batch
        self._to_arm: list[Slots] = []  # in the next pass
        self._to_read: list[Slots] = []
        self._is_active = False  # data has come since the last sweep
        self.is_reading = False  # since the last pass, `read` has queued what polls have announced
        self.next_sweep_ns = 0
        self.promoted = 0
        self.parked = 0
        self.discarded = 0  # bytes that came for connections already closed

    # --- what is asked of the kernel ------------------------------------------------------------

    def begin(self, slots: Slots) -> None:
        """Watch connections, where input is wanted and nothing is armed."""
        state = self._table.flags[slots] & (_WANTED | RECEIVE_ARMED | POLL_ARMED)
        slots = slots[(state == _WANTED) & (self._table.states[slots] == ConnState.OPEN)]
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
        """Nobody wants the input of these: those that a send has found broken end now."""
        if self._broken:
            for slot in slots.tolist():
                if slot in self._broken:
                    self.lost.append((slot, self._broken.pop(slot)))

    def discard_unread(self, slots: Slots) -> None:
        """Connections are closing: read, and throw away, what paused ones have not been read."""
        self._read_no_further(slots)
        state = self._table.flags[slots] & (RECEIVE_WANTED | RECEIVE_ARMED)
        slots = slots[(state == 0) & (self._table.states[slots] == ConnState.OPEN)]
        if len(slots):
            self._receive(slots)

    def discard(self, slots: Slots) -> None:
        """Connections that linger: throw away what their peers still send."""
        is_to_arm = self._table.states[slots] == ConnState.LINGERING
        is_to_arm &= (self._table.flags[slots] & RECEIVE_ARMED) == 0
        if is_to_arm.any():
            self._receive(slots[is_to_arm])

    def read_to_the_end(self, broken: list[tuple[int, int]]) -> None:
        """Connections (slot, errno) that a send has found broken: first read what the peer sent."""
        flags, states = self._table.flags, self._table.states
        for slot, code in broken:
            state = int(flags[slot]) & (_WANTED | RECEIVE_ARMED)
            if state == _WANTED and int(states[slot]) == ConnState.OPEN:
                self._broken.setdefault(slot, code)
                flags[slot] |= AT_END
            else:
                self.lost.append((slot, code))
        # Several sends of a tick may have failed: its input is read once at a time nevertheless.
        self._read(distinct(np.array([s for s, _ in broken if s in self._broken], np.int32)))

    def end(self, slots: Slots) -> None:
        """Stop what is armed: a close while something is armed would not end the connection."""
        for slot in slots.tolist() if self._broken else ():
            self._broken.pop(slot, None)
        if self.lost:
            gone = set(slots.tolist())
            self.lost = [entry for entry in self.lost if entry[0] not in gone]
        self._cancel(slots, RECEIVE_ARMED, Op.RECEIVE)
        self._cancel(slots, POLL_ARMED, Op.POLL)

    def _cancel(self, slots: Slots, flag: int, op: int) -> None:
        slots = slots[(self._table.flags[slots] & flag) != 0]
        if len(slots):
            data = pack(slots, self._table.generations[slots], op)
            self._rings.push(slots, sub.cancel(data))

    def _read(self, slots: Slots) -> None:
        """Fetch what a poll has announced, by a single receive that does not wait."""
        state = self._table.flags.take(slots)
        may = (state & (_WANTED | RECEIVE_ARMED | READING)) == _WANTED
        may &= self._table.states.take(slots) == ConnState.OPEN
        if np.count_nonzero(may) < len(may):
            slots = slots.compress(may)
        if not len(slots):
            return
        slots, later = self._rings.split_by_buffers(slots)
        if len(later):
            self._to_read.append(later)
        self._table.flags[slots] |= READING
        self.is_reading = True
        data = pack(slots, self._table.generations.take(slots), Op.READ)
        self._rings.push(slots, sub.receive_once(self._rings.files(slots), GROUP, data))

    def _receive(self, slots: Slots) -> None:
        """Arm multishot receives; what is there already comes at once."""
        for index in set(self._rings.rings_of(slots).tolist()):
            self._rings.places[index].receives += len(slots)  # or fewer: the next sweep counts
        self._table.flags[slots] |= RECEIVE_ARMED
        data = pack(slots, self._table.generations[slots], Op.RECEIVE)
        self._rings.push(slots, sub.receive(self._rings.files(slots), GROUP, data))

    def keep_parked(self, slots: Slots) -> None:
        """New connections over unix sockets: a multishot receive may miss the end of the stream."""
        self._table.flags[slots] |= STAYS_PARKED

    def _promote(self, slots: Slots) -> None:
        state = self._table.flags[slots] & (_WANTED | RECEIVE_ARMED | STAYS_PARKED)
        slots = slots[state == _WANTED]
        if len(slots):
            self.promoted += len(slots)
            self._cancel(slots, POLL_ARMED, Op.POLL)
            self._receive(slots)

    def sweep(self, now_ns: int) -> None:
        """At `next_sweep_ns` and later: park what has become quiet, let activity fade."""
        self.next_sweep_ns = now_ns + SWEEP_NS
        if not self._is_active and self.promoted == self.parked:
            return
        top = self._rings.top()
        activity = self._table.activity[:top]
        busy = np.flatnonzero(self._table.flags[:top] & RECEIVE_ARMED).astype(np.int32)
        self._rings.count_receives(busy)
        quiet = busy[activity[busy] == 0][:PARKED_MAX]
        if len(quiet):
            # The receive ends as cancelled, and what is wanted and not armed begins again.
            self.parked += len(quiet)
            self._cancel(quiet, RECEIVE_ARMED, Op.RECEIVE)
        activity >>= 2
        self._is_active = bool(activity.any())

    def _put_off(self, slots: Slots, results: Results) -> Bools:
        """Which of these the kernel had no memory for: the next sweep asks for them again."""
        is_late: Bools = results == -errno.ENOMEM
        if np.count_nonzero(is_late):
            self._rings.late.receives.update(slots[is_late].tolist())
            self._rings.late.refused("receive", errno.ENOMEM)
        return is_late

    def late_again(self) -> None:
        """What was put off, closes as well, however it may stand with it by now."""
        late, table = self._rings.late, self._table
        if not late:
            return
        slots = np.array(sorted(late.receives), np.int32)
        late.receives.clear()
        self.begin(slots)
        self.discard(slots)
        self._read(slots)
        slots = np.array(late.take_closes(table.states, table.generations), np.int32)
        self._rings.close(slots, table.generations[slots] - np.uint16(1))

    def has_work(self) -> bool:
        """Whether the next pass has something to do: buffers for it come back in this tick."""
        return bool(self._to_arm or self._to_read or self.lost)

    def again(self) -> None:
        """Buffers are back: ask for what had to wait."""
        to_arm, self._to_arm = self._to_arm, []
        to_read, self._to_read = self._to_read, []
        for slots in to_arm:
            self.begin(slots)
            if self._statistics.lingering:
                self.discard(slots)
        for slots in to_read:
            self._read(slots)

    # --- buffers --------------------------------------------------------------------------------

    def take_held(self) -> Ids:
        """The buffers of the last batch, which nobody looks at from now on."""
        held, self._held = self._held, _NO_IDS
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
            self._held = _NO_IDS

    def exchange(self, buffers: list[int]) -> None:
        """The last batch's go back, and the caller has these few until the next wait."""
        if len(self._held):
            self._rings.recycle(self._held)
            self._held = _NO_IDS
        self._rings.exchange_few(buffers, self._held_few)
        self._held_few = buffers
        self._is_active = True

    def _hold(self, completions: Completions) -> Ids:
        """Note the buffers of these completions: the caller has them until the next wait."""
        ids = completions.view(np.uint16)[:, 7].copy()
        self._rings.used(ids)
        self._held = np.concatenate((self._held, ids)) if len(self._held) else ids
        return ids

    def check(self) -> None:
        """A costly check: each ring's buffers are the kernel's to fill or held for the caller."""
        held = np.concatenate((self._held, np.array(self._held_few, np.uint16)))
        assert len(np.unique(held)) == len(held), "a buffer is held twice"
        self._rings.check_buffers(held)

    # --- what came: the plain paths -------------------------------------------------------------

    def take_plain(self, completions: Completions, batch: EventBatch, ticks: int) -> bool:
        """Take completions (at least one) that are all data of multishot receives that go on.

        False, with nothing taken, where one is anything else. The last batch's buffers go back.
        """
        if not self._are_plain(completions):
            return False
        self.recycle()
        self._take_data(completions, batch)
        if len(completions) < MARKED_EACH or not ticks & 7:
            self._table.activity[completions[:, 0].view(np.int32)] = BUSY
        batch.is_plain = len(batch.data_slots) > 0  # else all was of those who are closed
        return True

    def _are_plain(self, completions: Completions) -> bool:
        # By 16 bits: slot (2), op, generation, result (2), flags, buffer. Columns are compared as
        # bytes: that is a copy and a memcmp, and takes a third of the time of == and a count.
        parts = completions.view(np.uint16)
        if int(parts[0, 2]) != Op.RECEIVE:
            return False
        count = len(parts)
        if parts[:, 2].tobytes() != _RECEIVE_BYTES * count:
            return False
        flags = parts[:, 6]
        if flags.tobytes() != _DATA_BYTES * count:  # then SOCK_NONEMPTY may be set as well
            goes_on = (flags & _GOES_ON) == _GOES_ON
            if np.count_nonzero(goes_on) < count:
                return False
        generations = self._table.generations.take(completions[:, 0].view(np.int32))
        return bool(parts[:, 3].tobytes() == generations.tobytes())

    # --- what came: everything ------------------------------------------------------------------

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
            self._take_data(data, batch)
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

    def _take_data(self, completions: Completions, batch: EventBatch) -> None:
        """Completions with a buffer, of connections that are still there."""
        ids = self._hold(completions)
        slots = completions[:, 0].view(np.int32).copy()
        lengths = completions[:, 2].view(np.int32).copy()
        total = int(np.add.reduce(lengths, dtype=np.int64))
        assert 0 <= total <= len(ids) * self._rings.arena.size
        self._statistics.received_bytes += total
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
        batch.data_slots = read_only(slots)
        columns = read_only(offsets), read_only(lengths)
        batch.data = Ragged(arena.memory, *columns, arena.address, total)

    def _receives_ended(self, ended: Completions, batch: EventBatch) -> None:
        """Multishot receives that will bring no more: end of stream, error, or just begin again."""
        slots = ended[:, 0].view(np.int32)
        results = ended[:, 2].view(np.int32)
        self._table.flags[slots] &= ~np.uint8(RECEIVE_ARMED)
        no_buffers = results == -errno.ENOBUFS
        again = (results > 0) | no_buffers | (results == -errno.ECANCELED) | _is_retry(results)
        again |= self._put_off(slots, results)
        if again.any():
            if no_buffers.any():
                self._rings.grow_buffers(slots[no_buffers])
            self._to_arm.append(slots[again & (results != -errno.ENOMEM)])
        self._over(slots[~again], results[~again], batch)

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
        busy = level >= (BUSY_EARLY if self._rings.few_receive(EARLY_MAX) else BUSY)
        if np.count_nonzero(busy):
            busy &= came
            activity[slots.compress(busy)] = BUSY
            self._promote(slots.compress(busy))
        # Unix sockets do not say whether there is more: a full buffer does.
        more = (reads[:, 3] & abi.CQE_SOCK_NONEMPTY) != 0
        more |= (results == self._rings.arena.size) | ((state & AT_END) != 0)
        more &= came
        if np.count_nonzero(came) == len(came):
            if np.count_nonzero(more):
                self._to_read.append(slots.compress(more))
            return
        no_buffers = results == -errno.ENOBUFS
        more |= no_buffers | (results == -errno.EINTR)
        if no_buffers.any():
            self._rings.grow_buffers(slots[no_buffers])
        if more.any():
            self._to_read.append(slots[more].copy())
        is_late = self._put_off(slots, results)
        if self._broken:
            self._read_no_further(slots[(results <= 0) & ~(no_buffers | is_late)])
        is_over = ~(came | no_buffers | is_late | _is_retry(results))
        self._over(slots[is_over], results[is_over], batch)

    def _over(self, slots: Slots, results: Results, batch: EventBatch) -> None:
        """Input that has come to its end, in good order (result 0) or by an error."""
        if not len(slots):
            return
        at_end = slots[results == 0]
        at_end = at_end[self._table.states[at_end] == ConnState.OPEN]
        if len(at_end):
            self._table.advance(at_end, ConnEvent.EOF)
            batch.eof = np.concatenate((batch.eof, at_end))
        failed = results < 0
        self.lost.extend(zip(slots[failed].tolist(), (-results[failed]).tolist(), strict=True))

    def take_lost(self, batch: EventBatch) -> tuple[Slots, Results]:
        """Connections that ended by an error, each once, with its first errno."""
        errnos: dict[int, int] = {}
        for slot, code in self.lost:
            errnos.setdefault(slot, code)
        self.lost.clear()
        count = len(errnos)
        slots = np.fromiter(errnos, np.int32, count)
        batch.eof = batch.eof[~np.isin(batch.eof, slots)] if len(batch.eof) else NO_SLOTS
        return slots, np.fromiter(errnos.values(), np.int32, count)

    def _polled(self, polls: Completions) -> None:
        """Parked connections that have something."""
        slots = polls[:, 0].view(np.int32).copy()
        results = polls[:, 2].view(np.int32)
        goes_on = (polls[:, 3] & abi.CQE_MORE) != 0
        if np.count_nonzero(goes_on) < len(goes_on):
            ended = slots[~goes_on]
            self._table.flags[ended] &= ~np.uint8(POLL_ARMED)
            self._to_arm.append(ended[~self._put_off(ended, results[~goes_on])])
        is_ready = results > 0
        if np.count_nonzero(is_ready) < len(is_ready):
            slots, results = slots[is_ready], results[is_ready]
        at_end = (results & _END_EVENTS) != 0
        if np.count_nonzero(at_end):
            self._table.flags[slots[at_end]] |= AT_END
        if len(slots):
            self._read(distinct(slots))


def _is_retry(results: Results) -> Bools:
    retry: Bools = (results == -errno.EAGAIN) | (results == -errno.EINTR)
    return retry
