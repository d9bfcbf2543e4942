"""The connection table: one column per field, one row (10 bytes) per slot. Pure NumPy.

The columns are as long as the engine's capacity but cost memory only where rows have been used: a
fresh NumPy array of zeros is untouched pages, and slots are given out from the bottom.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.engine.states import ILLEGAL, NEXT, ConnEvent, ConnState
from c1m.errors import InternalError

# flags of a row
RECEIVE_WANTED = 1  # the caller wants data
RECEIVE_ARMED = 2  # the kernel has been asked for it
HAS_OUTBOX = 4  # output waits: further sends must queue behind it
IS_OPEN = 8  # the caller may send: state OPEN or HALF_CLOSED, as a bit so that one look is enough
POLL_ARMED = 16  # parked: the kernel reports when there is something
READING = 32  # a single receive is under way
AT_END = 64  # the kernel has announced the end: read until it comes
STAYS_PARKED = 128  # never a multishot receive: a unix socket

SENDABLE = (np.arange(256) & (IS_OPEN | HAS_OUTBOX)) == IS_OPEN
"""bool[256], by flags: open, and nothing queued before what is sent now."""


class ConnTable:
    """`states` uint8, `flags` uint8, `generations` uint16, `marks` uint32, all [capacity]."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """All rows as never used: the memory of those that were goes back.

        Only where nothing about an earlier connection can follow, since generations restart too.
        """
        capacity = self.capacity
        self.states = np.zeros(capacity, np.uint8)
        self.flags = np.zeros(capacity, np.uint8)
        self.generations = np.zeros(capacity, np.uint16)
        self.activity = np.zeros(capacity, np.uint8)  # the engine's: how lately data came
        self.marks = np.zeros(capacity, np.uint32)  # the engine's: when this slot was last sent to
        # For one row at a time: a memoryview's element costs a third of an array's.
        self.flags_at = self.flags.data
        self.generation_at = self.generations.data
        self.activity_at = self.activity.data
        self.mark_at = self.marks.data

    def forget_marks(self) -> None:
        """All marks are zero again; the pages of the old ones go back."""
        self.marks = np.zeros(self.capacity, np.uint32)
        self.mark_at = self.marks.data

    def advance(self, slots: Slots, event: ConnEvent) -> None:
        """Move the slots (each at most once) by NEXT. Raises InternalError for an illegal pair."""
        following = NEXT[self.states[slots], event]
        if len(following) and int(following.max()) == ILLEGAL:
            bad = int(slots[following == ILLEGAL][0])
            raise InternalError(f"{event.name} is illegal for {self.describe(bad)}.")
        self.states[slots] = following

    def open(self, slots: Slots, event: ConnEvent) -> None:
        """Take free slots into use, with receiving wanted."""
        self.advance(slots, event)
        accepted = event == ConnEvent.ACCEPT
        self.flags[slots] = RECEIVE_WANTED | IS_OPEN if accepted else RECEIVE_WANTED

    def connected(self, slots: Slots) -> None:
        """Connects that succeeded."""
        self.advance(slots, ConnEvent.CONNECTED)
        self.flags[slots] |= IS_OPEN

    def linger(self, slots: Slots) -> None:
        """Closed by the caller; the outbox is still going out."""
        self.advance(slots, ConnEvent.LINGER)
        self.flags[slots] &= ~np.uint8(IS_OPEN)

    def free(self, slots: Slots) -> None:
        """Give slots (each once) back; their generation goes up, so that late events are known."""
        self.advance(slots, ConnEvent.FREE)
        self.flags[slots] = 0
        self.activity[slots] = 0
        self.generations[slots] += np.uint16(1)

    def is_open(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Which of the slots the caller may still send to."""
        is_open: npt.NDArray[np.bool_] = (self.flags[slots] & IS_OPEN) != 0
        return is_open

    def slots_in(self, top: int, *states: ConnState) -> Slots:
        """All slots below `top` in one of these states, ascending: a scan over that much."""
        found = np.zeros(top, bool)
        for state in states:
            found |= self.states[:top] == state
        return np.flatnonzero(found).astype(np.int32)

    def describe(self, slot: int) -> str:
        """One row for people."""
        state = ConnState(int(self.states[slot])).name
        return (
            f"slot {slot} ({state}, generation {self.generations[slot]}, flags {self.flags[slot]})"
        )

    def check(self, top: int) -> None:
        """A costly check: the flags of the rows below `top` fit their states."""
        states, flags = self.states[:top], self.flags[:top]
        usable = (states == ConnState.OPEN) | (states == ConnState.HALF_CLOSED)
        assert np.array_equal((flags & IS_OPEN) != 0, usable), "IS_OPEN does not fit the state"
        assert not flags[states == ConnState.FREE].any(), "a free slot has flags"
