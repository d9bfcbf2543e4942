"""Mercure on the hub, against a slow model: each hears what it asked for and may see, in order,
once, whatever it missed and however slowly it takes it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import c1m.push.hub
from c1m.push.history import EVERYBODY, NAMED, SUBSCRIBERS, Publication
from c1m.push.holders import Holders
from c1m.push.hub import Hub
from c1m.push.tokens import Grant, Rights
from c1m.push.topics import Selectors, key_of
from c1m.push.wire import MERCURE

SLOTS = 4
TOPICS = ["a", "b", "/u/1", "/u/2", "/u/1/x"]
SELECTORS = [[], ["/u/{id}"], ["*"], ["/u/{id}", "/u{/p*}"]]
GRANTS = [
    Grant(Selectors(named, ["*"] if not named else []), Selectors(), Selectors(named))
    for named in ([], ["a"], ["/u/*"], ["*"])
]

CHOSEN = st.lists(st.sampled_from(TOPICS), max_size=3, unique=True)
SLOT = st.integers(0, SLOTS - 1)
STEPS = st.one_of(
    st.tuples(st.just("join"), SLOT, CHOSEN, st.sampled_from(SELECTORS),
              st.sampled_from(GRANTS), st.integers(-1, 30)),
    st.tuples(st.just("publish"), CHOSEN.filter(bool),
              st.sampled_from([EVERYBODY, EVERYBODY, NAMED, SUBSCRIBERS]), st.booleans()),
    st.tuples(st.just("publish"), CHOSEN.filter(bool), st.just(EVERYBODY), st.booleans()),
    st.tuples(st.just("take"), st.sets(SLOT)),
    st.tuples(st.just("leave"), SLOT),
)  # fmt: skip


class World:
    """A hub, and what each of its connections has asked for and got."""

    def __init__(self) -> None:
        self.holders = Holders(SLOTS)
        self.hub = Hub(SLOTS, "e", holders=self.holders)
        self.made: list[Publication] = []
        self.asked: dict[int, tuple[list[str], list[str], Grant, int]] = {}
        self.got: dict[int, list[int]] = {}

    def join(
        self, slot: int, channels: list[str], selectors: list[str], grant: Grant, since: int
    ) -> None:
        """A new connection; `since`: which publication it has had last, -1: it says nothing."""
        if slot in self.asked:
            self.leave(slot)
        one = np.array([slot], np.int32)
        self.holders.enter(one, Rights(grant))
        after, ids = len(self.made), []
        if since >= 0:
            after = since if since <= len(self.made) else 0
            ids = [self.made[since - 1].id if 0 < since <= len(self.made) else "earliest"]
        keys = [key_of(text, True) for text in selectors]
        self.hub.join(one, channels, MERCURE, ids, keys)
        self.asked[slot] = channels, selectors, grant, after
        self.got[slot] = []

    def publish(self, topics: list[str], seen_by: int, has_id: bool) -> None:
        """Its data is its number."""
        number = len(self.made) + 1
        made = self.hub.publish(
            topics[0], b"%d" % number, further=topics[1:], seen_by=seen_by,
            id=f"urn:{number}" if has_id else "",
        )  # fmt: skip
        self.made.append(made)

    def take(self, slow: set[int]) -> None:
        """Send what is to be sent; the slow ones have not taken what they got."""
        for slots, payload in self.hub.take(lambda slot: int(slot in slow)):
            for slot in slots.tolist():
                self._get(slot, payload)
        for slots, pieces in self.hub.deliveries.due():
            for slot, payload in zip(slots.tolist(), pieces.pieces(), strict=True):
                self._get(slot, payload)

    def _get(self, slot: int, payload: bytes) -> None:
        self.got[slot] += map(int, re.findall(rb"data: (\d+)", payload))

    def leave(self, slot: int) -> None:
        """It ends, after all that it was to get, which was right."""
        while self.hub.delay_ns() is not None or self.hub.deliveries:
            self.take(set())
        if slot in self.asked:
            channels, selectors, grant, after = self.asked.pop(slot)
            wanted = Selectors(channels, selectors)
            assert self.got.pop(slot) == [
                made.number
                for made in self.made[after:]
                if any(map(wanted.covers, made.channels)) and grant.may_see(made)
            ]
            one = np.array([slot], np.int32)
            self.hub.forget(one)
            self.holders.forget(one)


@given(st.lists(STEPS, max_size=40), st.sampled_from([1, 30, 1 << 16]))
def test_each_hears_what_it_asked_for_and_may_see(steps: list[Any], piece_bytes: int) -> None:
    usual = c1m.push.hub.PIECE_BYTES
    c1m.push.hub.PIECE_BYTES = piece_bytes
    try:
        world = World()
        for name, *arguments in steps:
            getattr(world, name)(*arguments)
        for slot in range(SLOTS):
            world.leave(slot)
        assert not len(world.hub.selected) and not len(world.hub.channels)
    finally:
        c1m.push.hub.PIECE_BYTES = usual
