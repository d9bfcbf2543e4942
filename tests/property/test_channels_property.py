"""Channels as arrays against the slow form: a dict of what each slot is subscribed to."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from c1m.fanout import channels
from c1m.fanout.channels import Channels
from c1m.kv.channels import Patterns
from c1m.kv.glob import matcher

CAPACITY = 40
CHAIN_MAX = channels.CHAIN_MAX
a_slot = st.integers(0, CAPACITY - 1)
some_slots = st.lists(a_slot, unique=True).map(lambda slots: np.array(slots, np.int32))
a_name = st.sampled_from([b"", b"a", b"b", b"news", b"a*", b"?b", b"n*s", b"n" * 40 + b"*"])


class AgainstDict(RuleBasedStateMachine):
    """`said` is what each slot subscribed to, in order; `lent` what was handed out, and as it was
    then. Chains are short, so that some are too long."""

    def __init__(self) -> None:
        super().__init__()
        channels.CHAIN_MAX = 3
        self.channels = self.make()
        self.said: dict[int, dict[bytes, None]] = {slot: {} for slot in range(CAPACITY)}
        self.lent: list[tuple[np.ndarray, bytes]] = []

    def teardown(self) -> None:
        channels.CHAIN_MAX = CHAIN_MAX

    def make(self) -> Channels:
        return Channels(CAPACITY)

    @rule(slot=a_slot, name=a_name)
    def add(self, slot: int, name: bytes) -> None:
        assert self.channels.add(slot, name) == (name not in self.said[slot])
        self.said[slot].setdefault(name)

    @rule(slots=some_slots, name=a_name)
    def add_all(self, slots: np.ndarray, name: bytes) -> None:
        new = sum(name not in self.said[slot] for slot in slots.tolist())
        assert self.channels.add_all(slots, name) == new
        for slot in slots.tolist():
            self.said[slot].setdefault(name)

    @rule(slot=a_slot, name=a_name)
    def remove(self, slot: int, name: bytes) -> None:
        assert self.channels.remove(slot, name) == (name in self.said[slot])
        self.said[slot].pop(name, None)

    @rule(slots=some_slots, name=a_name)
    def remove_all(self, slots: np.ndarray, name: bytes) -> None:
        had = sum(name in self.said[slot] for slot in slots.tolist())
        assert self.channels.remove_all(slots, name) == had
        for slot in slots.tolist():
            self.said[slot].pop(name, None)

    @rule(slots=some_slots)
    def forget(self, slots: np.ndarray) -> None:
        self.channels.forget(slots)
        for slot in slots.tolist():
            self.said[slot].clear()

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
            assert self.channels.of(slot) == list(names)
        counts = self.channels.counts(np.arange(CAPACITY, dtype=np.int32))
        assert counts.tolist() == [len(names) for names in self.said.values()]
        everything = [name for names in self.said.values() for name in names]
        assert set(self.channels.names()) == set(everything)
        assert all(self.channels.size(name) == everything.count(name) for name in set(everything))

    @invariant()
    def lent_arrays_stay(self) -> None:
        assert all(slots.tobytes() == before for slots, before in self.lent)


class PatternsAgainstDict(AgainstDict):
    """The key-value server's patterns, too, which are found by the names that they match."""

    channels: Patterns

    def make(self) -> Patterns:
        return Patterns(CAPACITY)

    @rule(name=st.sampled_from([b"", b"a", b"ab", b"news", b"n" * 41]))
    def matching(self, name: bytes) -> None:
        found = self.channels.matching(name)
        assert sorted(found) == sorted(p for p in self.channels.names() if matcher(p)(name))


TestChannels = AgainstDict.TestCase
TestPatterns = PatternsAgainstDict.TestCase
TestChannels.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPatterns.settings = TestChannels.settings
