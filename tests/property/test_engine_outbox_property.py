"""Outbox against a model that keeps one bytes object a slot."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from c1m.engine import outbox as outbox_module
from c1m.engine.outbox import Outbox

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
        self.is_full = False
        self._chunk, outbox_module.CHUNK = outbox_module.CHUNK, 7

    def teardown(self) -> None:
        outbox_module.CHUNK = self._chunk

    @rule(slot=SLOTS, data=st.binary(max_size=30))
    def append(self, slot: int, data: bytes) -> None:
        size = len(self.model.get(slot, b"")) + len(data)
        total = sum(map(len, self.model.values())) + len(data)
        if data:
            self.model[slot] = self.model.get(slot, b"") + data
        passes: set[int] = set()
        if data and total > TOTAL_MAX and not self.is_full:
            self.is_full = True
            passes = {*self.model}
        elif data and (size > HIGH or self.is_full):
            passes = {slot}
        passes -= self.over
        told = self.outbox.append(slot, memoryview(bytearray(data)))
        assert {*told} == passes
        assert len(told) == len(passes)
        self.over |= passes

    @rule(slot=SLOTS, share=st.floats(0, 1))
    def consume(self, slot: int, share: float) -> None:
        if slot not in self.model:
            return
        count = round(len(self.model[slot]) * share)
        left = self.model[slot][count:]
        self.model[slot] = left
        if not left:
            del self.model[slot]
        self.look_whether_full()
        falls = slot in self.over and len(left) <= (0 if self.is_full else HIGH // 4)
        assert self.outbox.consume(slot, count) == falls
        if falls:
            self.over.remove(slot)

    @rule(slot=SLOTS)
    def drop(self, slot: int) -> None:
        assert self.outbox.drop(slot) == len(self.model.pop(slot, b""))
        self.over.discard(slot)
        self.look_whether_full()

    def look_whether_full(self) -> None:
        if sum(map(len, self.model.values())) <= TOTAL_MAX // 4 * 3:
            self.is_full = False

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


OutboxMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestOutbox = OutboxMachine.TestCase
