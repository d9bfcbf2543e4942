"""Outbox against a model that keeps one bytes object a slot."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from c1m.conn.outbox import Outbox

HIGH = 40
TOTAL_MAX = 90
SLOTS = st.integers(0, 3)


class OutboxMachine(RuleBasedStateMachine):
    """Any sequence of calls: the same bytes, the same sizes, the watermarks told in turns."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(HIGH, TOTAL_MAX)
        self.model: dict[int, bytes] = {}
        self.over: set[int] = set()

    @rule(slot=SLOTS, data=st.binary(max_size=30))
    def append(self, slot: int, data: bytes) -> None:
        size = len(self.model.get(slot, b"")) + len(data)
        total = sum(map(len, self.model.values())) + len(data)
        is_much = size > HIGH or total > TOTAL_MAX
        passes = bool(data) and is_much and slot not in self.over
        assert self.outbox.append(slot, data) == passes
        if data:
            self.model[slot] = self.model.get(slot, b"") + data
        if passes:
            self.over.add(slot)

    @rule(slot=SLOTS, share=st.floats(0, 1))
    def consume(self, slot: int, share: float) -> None:
        if slot not in self.model:
            return
        count = round(len(self.model[slot]) * share)
        left = self.model[slot][count:]
        falls = slot in self.over and len(left) <= HIGH // 4
        assert self.outbox.consume(slot, count) == falls
        if falls:
            self.over.remove(slot)
        self.model[slot] = left
        if not left:
            del self.model[slot]

    @rule(slot=SLOTS)
    def drop(self, slot: int) -> None:
        assert self.outbox.drop(slot) == len(self.model.pop(slot, b""))
        self.over.discard(slot)

    @rule(slot=SLOTS, most=st.integers(1, 100))
    def head(self, slot: int, most: int) -> None:
        if slot in self.model:
            assert self.outbox.head(slot, most) == self.model[slot][:most]

    @invariant()
    def agrees(self) -> None:
        assert self.outbox.total == sum(map(len, self.model.values()))
        assert {*self.outbox.slots()} == self.model.keys()
        assert len(self.outbox) == len(self.model)
        for slot in range(4):
            assert self.outbox.size(slot) == len(self.model.get(slot, b""))
            assert (slot in self.outbox) == (slot in self.model)
            assert self.outbox.is_over(slot) == (slot in self.over)


OutboxMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOutbox = OutboxMachine.TestCase
