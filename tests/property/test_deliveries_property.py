"""What goes to many in slices: each gets all it is owed, in order, whatever happens between."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from c1m.fanout.deliveries import Deliveries, Piece

CAPACITY = 30
some_slots = st.lists(st.integers(0, CAPACITY - 1), unique=True).map(
    lambda slots: np.array(slots, np.int32)
)


class AgainstLists(RuleBasedStateMachine):
    """`owed` is what each slot is to be sent yet, `got` what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries = Deliveries(CAPACITY)
        self.owed: list[bytes] = [b""] * CAPACITY
        self.channels = [np.arange(0, CAPACITY, step, dtype=np.int32) for step in (1, 2, 3)]
        self.count = 0

    def next_payload(self) -> bytes:
        self.count += 1
        return b"<%d>" % self.count

    def add_to(self, slots: np.ndarray) -> None:
        payload = self.next_payload()
        self.deliveries.add(slots, payload)
        for slot in slots.tolist():
            self.owed[slot] += payload

    @rule(slots=some_slots)
    def add(self, slots: np.ndarray) -> None:
        self.add_to(slots)

    @rule(channel=st.integers(0, 2), times=st.integers(1, 3))
    def publish(self, channel: int, times: int) -> None:
        before = len(self.deliveries)
        for _ in range(times):
            self.add_to(self.channels[channel])
        assert len(self.deliveries) <= before + 1  # all of it is one

    def sent(self, piece: Piece | None) -> int:
        if piece is None:
            return 0
        slots, data = piece
        for slot, payload in zip(slots.tolist(), data.pieces(), strict=True):
            assert self.owed[slot].startswith(payload)
            self.owed[slot] = self.owed[slot][len(payload) :]
        return len(slots)

    @rule(count=st.integers(1, 40), size=st.integers(1, 200))
    def take(self, count: int, size: int) -> None:
        assert self.sent(self.deliveries.take(count, size)) <= count

    @rule(first=some_slots, count=st.integers(1, 40))
    def due(self, first: np.ndarray, count: int) -> None:
        self.deliveries.slice = count
        done = self.deliveries.done
        for piece in self.deliveries.due(first):
            assert self.sent(piece)
        assert not any(self.owed[slot] for slot in first.tolist())
        assert done <= self.deliveries.done <= self.deliveries.added

    @rule(slots=some_slots)
    def take_for(self, slots: np.ndarray) -> None:
        self.sent(self.deliveries.take_for(slots))
        assert not any(self.owed[slot] for slot in slots.tolist())

    @rule(slots=some_slots)
    def forget(self, slots: np.ndarray) -> None:
        self.deliveries.forget(slots)
        for slot in slots.tolist():
            self.owed[slot] = b""

    @rule()
    def all_of_it(self) -> None:
        while self.deliveries:
            self.sent(self.deliveries.take(7))
        assert (self.deliveries.left, self.deliveries.bytes) == (0, 0)

    @rule()
    def begin_numbers_anew(self) -> None:
        if not self.deliveries:
            self.deliveries._begin_numbers()

    @invariant()
    def who_is_owed_something_waits(self) -> None:
        waits = self.deliveries.waits(np.arange(CAPACITY, dtype=np.int32)).tolist()
        assert all(waits[slot] for slot, owed in enumerate(self.owed) if owed)
        assert bool(self.deliveries) or not any(self.owed)


TestDeliveries = AgainstLists.TestCase
TestDeliveries.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
