"""Channels as arrays against the slow form: a dict of what each slot is subscribed to."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from c1m.kv.channels import Patterns
from c1m.kv.glob import matcher

CAPACITY = 40
a_slot = st.integers(0, CAPACITY - 1)
some_slots = st.lists(a_slot, unique=True).map(lambda slots: np.array(slots, np.int32))
a_name = st.sampled_from([b"", b"a", b"b", b"news", b"a*", b"?b", b"n*s", b"n" * 40 + b"*"])


class AgainstDict(RuleBasedStateMachine):
    """`said` is what each slot subscribed to; `lent` what was handed out, and as it was then."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: Patterns = Patterns(CAPACITY)
        self.said: dict[int, set[bytes]] = {slot: set() for slot in range(CAPACITY)}
        self.lent: list[tuple[np.ndarray, bytes]] = []

    @rule(slot=a_slot, name=a_name)
    def add(self, slot: int, name: bytes) -> None:
        assert self.channels.add(slot, name) == (name not in self.said[slot])
        self.said[slot].add(name)

    @rule(slots=some_slots, name=a_name)
    def add_all(self, slots: np.ndarray, name: bytes) -> None:
        self.channels.add_all(slots, name)
        for slot in slots.tolist():
            self.said[slot].add(name)

    @rule(slot=a_slot, name=a_name)
    def remove(self, slot: int, name: bytes) -> None:
        assert self.channels.remove(slot, name) == (name in self.said[slot])
        self.said[slot].discard(name)

    @rule(slots=some_slots)
    def forget(self, slots: np.ndarray) -> None:
        self.channels.forget(slots)
        for slot in slots.tolist():
            self.said[slot].clear()

    @rule(name=st.sampled_from([b"", b"a", b"ab", b"news", b"n" * 41]))
    def matching(self, name: bytes) -> None:
        found = self.channels.matching(name)
        assert sorted(found) == sorted(p for p in self.channels.names() if matcher(p)(name))

    @rule(name=a_name)
    def slots(self, name: bytes) -> None:
        slots = self.channels.slots(name)
        assert sorted(slots.tolist()) == [s for s, names in self.said.items() if name in names]
        self.lent.append((slots, slots.tobytes()))

    @invariant()
    def same(self) -> None:
        self.channels.check()
        for slot, names in self.said.items():
            assert self.channels.count(slot) == len(names)
            assert sorted(self.channels.of(slot)) == sorted(names)
        everything = [name for names in self.said.values() for name in names]
        assert set(self.channels.names()) == set(everything)
        assert all(self.channels.size(name) == everything.count(name) for name in set(everything))

    @invariant()
    def lent_arrays_stay(self) -> None:
        assert all(slots.tobytes() == before for slots, before in self.lent)


TestChannels = AgainstDict.TestCase
TestChannels.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
