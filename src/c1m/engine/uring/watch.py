"""What the uring engine asks of the kernel for input: polls, single and multishot receives.

Facts (Linux 6.18, by the slab table)
- A multishot receive that waits costs 864 bytes of kernel memory (request 256, message header 512,
  poll 96), a multishot poll 256. Of a million connections most are quiet.
- A multishot receive brings data with one completion a message and no submission. But when a reset
  (for unix sockets also the end of the stream) and the last data wake it together, older kernels
  take the data and never look again. A poll tells of both.

- A message to a parked connection costs the poll's completion, a submission and a completion more,
  0.2 to 0.4 us; to promote it and to park it again costs some 10 us.

Choice: a connection is parked when it begins. What a poll announces is fetched by a single receive
that does not wait. One that brings BUSY messages within a second or two is promoted to a multishot
receive, and so pays for the change; one that has been quiet for three seconds is parked again. How
busy it is is a number that goes up by one a message and is quartered each second.
"""

from __future__ import annotations

import numpy as np

from c1m.engine.contract import Slots
from c1m.engine.states import ConnState
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.table import (
    AT_END,
    IS_OPEN,
    POLL_ARMED,
    READING,
    RECEIVE_ARMED,
    RECEIVE_WANTED,
    ConnTable,
)
from c1m.engine.uring.user_data import Op, pack
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import GROUP

SWEEP_NS = 1_000_000_000
BUSY = 16  # messages, as explained above
PARKED_MAX = 8192  # connections parked by one sweep: bounds its work
_EVENTS = abi.POLLIN | abi.POLLRDHUP


class Watch:
    """Asks for the input of connections. `lost` collects (slot, errno) for the engine.

    `broken`: errno by slot, of connections that a send has found broken and whose input is being
    read to its end before that is told.
    """

    def __init__(self, rings: RingSet, table: ConnTable, lost: list[tuple[int, int]]) -> None:
        self._rings = rings
        self._table = table
        self._lost = lost
        self._to_arm: list[Slots] = []
        self._to_read: list[Slots] = []
        self.broken: dict[int, int] = {}
        self.next_sweep_ns = 0
        self.is_active = False  # data has come since the last sweep
        self.is_reading = False  # receives are queued for what polls have announced
        self.promoted = 0
        self.parked = 0

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
        self.read(slots)

    def pause(self, slots: Slots) -> None:
        """Input is not wanted for now. A poll may stay: it takes nothing."""
        self._table.flags[slots] &= ~np.uint8(RECEIVE_WANTED)
        self._cancel(slots, RECEIVE_ARMED, Op.RECEIVE)
        self._read_no_further(slots)

    def _read_no_further(self, slots: Slots) -> None:
        """Nobody wants the input of these: what a send has found broken is over now."""
        if self.broken:
            for slot in slots.tolist():
                if slot in self.broken:
                    self._lost.append((slot, self.broken.pop(slot)))

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
                self.broken.setdefault(slot, code)
                self._table.flags[slot] |= AT_END
            else:
                self._lost.append((slot, code))
        self.read(np.array([slot for slot, _ in broken if slot in self.broken], np.int32))

    def end(self, slots: Slots) -> None:
        """Stop what is armed: a close while something is armed would not end the connection."""
        if self.broken:
            for slot in slots.tolist():
                self.broken.pop(slot, None)
        self._cancel(slots, RECEIVE_ARMED, Op.RECEIVE)
        self._cancel(slots, POLL_ARMED, Op.POLL)

    def _cancel(self, slots: Slots, flag: int, op: int) -> None:
        slots = slots[(self._table.flags[slots] & flag) != 0]
        if len(slots):
            data = pack(slots, self._table.generations[slots], op)
            self._rings.push(slots, sub.cancel(data))

    def read(self, slots: Slots) -> None:
        """Fetch what a poll has announced, by a single receive that does not wait."""
        wanted = RECEIVE_WANTED | IS_OPEN
        state = self._table.flags.take(slots)
        may = (state & (wanted | RECEIVE_ARMED | READING)) == wanted
        may &= self._table.states.take(slots) == ConnState.OPEN
        if np.count_nonzero(may) < len(may):
            slots = slots.compress(may)
        if not len(slots):
            return
        slots, later = self._rings.split_by_buffers(slots)
        if len(later):
            self.read_later(later)
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

    def promote(self, slots: Slots) -> None:
        wanted = RECEIVE_WANTED | IS_OPEN
        state = self._table.flags[slots] & (wanted | RECEIVE_ARMED)
        slots = slots[state == wanted]
        if len(slots):
            self.promoted += len(slots)
            self._cancel(slots, POLL_ARMED, Op.POLL)
            self._receive(slots)

    def sweep(self, now_ns: int) -> None:
        """At `next_sweep_ns` and later: park what has become quiet, let activity fade."""
        self.next_sweep_ns = now_ns + SWEEP_NS
        if not self.is_active and self.promoted == self.parked:
            return
        self.is_active = False
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
        self.is_active |= bool(activity.any())

    # --- in the next pass ---------------------------------------------------------------------

    def arm_later(self, slots: Slots) -> None:
        """Begin with these when this pass has given its buffers back."""
        self._to_arm.append(slots)

    def read_later(self, slots: Slots) -> None:
        """Read from these then: there is more, or there was no buffer for it."""
        self._to_read.append(slots)

    def has_work(self) -> bool:
        """Whether something waits for buffers that come back in this tick."""
        return bool(self._to_arm or self._to_read)

    def again(self) -> None:
        """Buffers are back: ask for what had to wait."""
        to_arm, self._to_arm = self._to_arm, []
        to_read, self._to_read = self._to_read, []
        for slots in to_arm:
            self.begin(slots)
        for slots in to_read:
            self.read(slots)
