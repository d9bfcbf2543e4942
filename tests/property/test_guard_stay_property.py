"""Limits on what a connection may take, against slow reference forms, with a clock of their own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.contract import NOTHING, EventBatch, Pieces
from c1m.engine.ragged import Ragged
from c1m.guard.activity import Activity
from c1m.guard.turns import Turns
from c1m.guard.unread import Limit, Unread
from c1m.units import NS_PER_S

SLOTS = 4
FIRST_S, IDLE_S = st.integers(0, 5), st.integers(0, 7)
KINDS = ("begin", "came", "sent", "gone", "owed", "takes")


class SlowActivity:
    """One connection: what is known of it, as plain times."""

    def __init__(self, first_s: int, idle_s: int) -> None:
        self.first_s, self.idle_s = first_s, idle_s
        self.is_open, self.is_silent = False, False
        self.since = 0
        self.owed = 0
        self.before: int | None = None  # owed when it would have been idle

    def does(self, kind: str, now: int, amount: int) -> None:
        if kind == "begin":
            self.__init__(self.first_s, self.idle_s)  # type: ignore[misc]
            self.is_open, self.is_silent, self.since = True, True, now
        elif kind == "gone":
            self.is_open = False
        elif kind == "owed":
            self.owed = amount
        elif kind == "takes":
            self.owed = self.owed // 2
        elif self.is_open and (kind == "came" or not self.is_silent or not self.first_s):
            if kind == "came":
                self.is_silent = False
            if self.idle_s:
                self.since, self.before = now, None

    def over(self, now: int) -> str:
        """ "first", "idle" or "": whether its time is up in this second."""
        if not self.is_open:
            return ""
        if self.first_s and self.is_silent:
            return "first" if now > self.since + self.first_s else ""
        if not self.idle_s or now <= self.since + self.idle_s:
            return ""
        if self.owed and (self.before is None or self.owed < self.before):
            self.before, self.since = self.owed, now
            return ""
        return "idle"


@given(
    FIRST_S,
    IDLE_S,
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, SLOTS - 1), st.integers(0, 99))),
    st.integers(0, 60_000),
)
def test_silence_as_one_by_one(
    first_s: int, idle_s: int, events: list[tuple[str, int, int]], start: int
) -> None:
    owed = dict.fromkeys(range(SLOTS), 0)
    activity = Activity(SLOTS, first_s, idle_s, owed.__getitem__)
    slow = [SlowActivity(first_s, idle_s) for _ in range(SLOTS)]
    now = start
    for kind, slot, amount in events:
        one = np.array([slot], np.int32)
        is_open = slow[slot].is_open
        if kind in ("begin", "gone", "came", "sent") and is_open == (kind == "begin"):
            continue  # as an engine has it
        slow[slot].does(kind, now, amount)
        owed[slot] = slow[slot].owed
        if kind == "gone":
            owed[slot] = slow[slot].owed = 0
        if kind in ("begin", "gone"):
            getattr(activity, kind)(*([one, now] if kind == "begin" else [one]))
        elif kind in ("came", "sent"):
            getattr(activity, kind)(one, now)
        now += amount % 3
        for second in range(now - amount % 3, now + 1):
            silent, idle = activity.over(second)
            expected = {at: each.over(second) for at, each in enumerate(slow)}
            if not (first_s or idle_s):
                break
            assert {at for at, why in expected.items() if why == "first"} == {*silent.tolist()}
            assert {at for at, why in expected.items() if why == "idle"} == {*idle.tolist()}
            for at in [*silent.tolist(), *idle.tolist()]:
                slow[at].is_open, owed[at], slow[at].owed = False, 0, 0
                activity.gone(np.array([at], np.int32))


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(1, 3)), max_size=60),
    st.integers(1, 5),
)
def test_who_takes_anything_within_the_time_stays(
    steps: list[tuple[int, int, int]], unread_s: int
) -> None:
    """Each step: handed so much, taken so much, so many seconds later."""
    owed = {7: 1000}
    limit = Limit(0, 0, 0, unread_ns=unread_s * NS_PER_S)
    unread = Unread(owed.__getitem__, lambda slot: limit)
    unread.blocked([7])
    now, took = 0, 0
    assert unread.enforce(0, 0) == {}
    for handed, taken, seconds in steps:
        unread.handed([7], [handed])
        taken = min(taken, owed[7] + handed)
        owed[7] += handed - taken
        now += seconds
        if taken:
            took = now
        found = unread.enforce(now * NS_PER_S, owed[7])
        if not owed[7]:
            assert not found and not unread
            return
        assert found == ({7: "unread"} if now - took >= unread_s else {})
        if found:
            return


Ticks = st.lists(
    st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(1, 40)), max_size=6), max_size=20
)


@given(Ticks, st.integers(1, 30), st.booleans(), st.booleans())
def test_turns_bring_every_byte_in_order_and_no_more_than_one_turn_a_tick(
    ticks: list[list[tuple[int, int]]], most: int, in_pieces: bool, ends: bool
) -> None:
    turns = Turns(most)
    sent = dict.fromkeys(range(SLOTS), b"")
    came = dict.fromkeys(range(SLOTS), b"")
    muted: set[int] = set()
    number = 0
    ended: list[int] = []
    last = len(ticks) - 1 if ends else -1

    def tick(rows: Pieces, eof: list[int]) -> None:
        before: Pieces = [(9, b"what was there")]
        pieces = before.copy() if in_pieces else None
        batch = EventBatch.nothing()
        if pieces is None:
            batch.data_slots = np.array([slot for slot, _ in rows], np.int32)
            batch.data = Ragged.of([piece for _, piece in rows])
        else:
            pieces += rows
            batch = NOTHING if not eof else batch
        if eof:
            batch.eof = np.array(eof, np.int32)
        else:
            batch.is_plain = batch is not NOTHING
        made = turns.take(batch, pieces, 1, ())
        brought = [*zip(made.data_slots.tolist(), made.data.pieces(), strict=True)]
        if pieces is not None:
            assert pieces[:1] == before
            brought += pieces[1:]
        sizes: dict[int, int] = {}
        for slot, piece in brought:
            assert slot not in ended
            came[slot] += piece
            sizes[slot] = sizes.get(slot, 0) + len(piece)
        assert max(sizes.values(), default=0) <= most
        assert len(NOTHING) == 0
        ended.extend(made.eof.tolist())
        muted.update(turns.muted)
        muted.difference_update(turns.unmuted)
        turns.muted, turns.unmuted = [], []
        assert muted == {*turns.waiting()}

    for place, rows in enumerate(ticks):
        data: Pieces = []
        for slot, size in rows:
            if slot in muted:
                continue
            piece = bytes((number + at) % 251 for at in range(size))
            number += size
            sent[slot] += piece
            data.append((slot, piece))
        tick(data, [*range(SLOTS)] if place == last else [])
    while muted:
        tick([], [])
    tick([], [])
    assert came == sent
    assert sorted(ended) == ([*range(SLOTS)] if last >= 0 else [])


def test_an_error_behind_the_end_of_a_stream_whose_rest_is_kept_is_the_one_end() -> None:
    turns = Turns(10)
    batch = EventBatch.nothing()
    batch.data_slots, batch.data = np.array([3], np.int32), Ragged.of([b"x" * 100])
    batch.eof = np.array([3], np.int32)
    made = turns.take(batch, None, 0, ())
    assert not len(made.eof) and made.data.nbytes() == 10
    batch = EventBatch.nothing()
    batch.closed, batch.closed_errnos = np.array([3], np.int32), np.array([104], np.int32)
    made = turns.take(batch, None, 0, ())
    assert made.data.nbytes() == 90 and made.closed.tolist() == [3] and not len(made.eof)


def test_what_comes_in_pieces_is_before_what_comes_in_arrays() -> None:
    turns, came = Turns(10), b""
    batch, pieces = EventBatch.nothing(), [(3, bytes(range(25)))]
    batch.data_slots, batch.data = np.array([3], np.int32), Ragged.of([bytes(range(25, 50))])
    for _ in range(6):
        batch = turns.take(batch, pieces, 0, ())
        came += b"".join([piece for _, piece in pieces] + batch.data.pieces())
        batch, pieces = EventBatch.nothing(), []
    assert came == bytes(range(50))
