"""Lingering: who has had his time, who gets more of it, and when the next one is due."""

from __future__ import annotations

from c1m.engine.lingering import NEVER, Lingering


def test_nobody_lingers_at_first() -> None:
    lingering = Lingering(100)
    assert len(lingering) == 0
    assert lingering.next_ns == NEVER
    assert lingering.expire(1 << 40, dict[int, int]().__getitem__) == []


def test_one_that_has_sent_nothing_expires_at_its_deadline() -> None:
    lingering = Lingering(100)
    lingering.add(7, 5, now_ns=1000)
    assert lingering.next_ns == 1100
    assert lingering.expire(1099, {7: 5}.__getitem__) == []
    assert lingering.expire(1100, {7: 5}.__getitem__) == [7]
    assert len(lingering) == 0
    assert lingering.next_ns == NEVER


def test_one_that_has_sent_something_gets_as_long_again() -> None:
    lingering = Lingering(100)
    lingering.add(7, 5, now_ns=1000)
    assert lingering.expire(1150, {7: 4}.__getitem__) == []
    assert lingering.next_ns == 1250
    assert lingering.expire(1250, {7: 4}.__getitem__) == [7]


def test_the_next_deadline_is_that_of_who_is_left() -> None:
    lingering = Lingering(100)
    owed = {1: 5, 2: 5, 3: 5}
    for slot, now in ((1, 1000), (2, 1010), (3, 1020)):
        lingering.add(slot, 5, now)
    lingering.remove(2)
    lingering.remove(2)
    owed[1] = 1
    assert lingering.expire(1115, owed.__getitem__) == []
    assert lingering.next_ns == 1120
    assert lingering.expire(1220, owed.__getitem__) == [3, 1]
    lingering.add(4, 5, 1300)
    lingering.remove(4)
    assert lingering.next_ns == NEVER


def test_one_that_has_sent_all_is_about_to_end_and_does_not_expire() -> None:
    lingering = Lingering(100)
    lingering.add(7, 5, now_ns=1000)
    lingering.add(8, 5, now_ns=1000)
    assert lingering.expire(1150, {7: 0, 8: 5}.__getitem__) == [8]
    assert len(lingering) == 0
    assert lingering.next_ns == NEVER
