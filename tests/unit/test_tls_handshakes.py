"""Handshakes under way: whose turn it is, who is late, and who gives way when there are many."""

from __future__ import annotations

import ssl

import pytest

from c1m.engine.decorated import NEVER
from c1m.testing.manual_clock import ManualClock
from c1m.tls.handshakes import (
    FREED_MIN,
    LOOK_NS,
    QUIET_NS,
    SILENT,
    STALLED_NS,
    Handshake,
    HandshakeQueue,
)
from c1m.tls.session import Session
from c1m.units import NS_PER_S

MOST, TIMEOUT_NS = 4, 10 * NS_PER_S


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.advance(NS_PER_S)
    return clock


@pytest.fixture
def queue(clock: ManualClock) -> HandshakeQueue:
    return HandshakeQueue(clock, TIMEOUT_NS, MOST)


def begun(queue: HandshakeQueue, count: int, said: bytes = b"") -> list[Handshake]:
    found = [queue.begin(len(queue)) for _ in range(count)]
    for shake in found:
        if said:
            queue.feed(shake, said)
    return found


def turns(queue: HandshakeQueue) -> list[int]:
    return [shake.slot for shake in queue.ready(is_busy=False)]


def test_each_has_its_turn_once_for_all_that_came(queue: HandshakeQueue) -> None:
    first, second = begun(queue, 2, b"ab")
    queue.feed(first, b"c")
    assert turns(queue) == [0, 1] and turns(queue) == []
    assert (first.ahead, first.taken(), first.ahead) == (3, b"abc", 0)
    queue.remove(1)
    queue.feed(first, b"d")
    queue.queue(second)
    assert turns(queue) == [0]


def test_those_that_have_begun_take_turns_with_first_steps(queue: HandshakeQueue) -> None:
    shakes = begun(queue, 6, b"hello")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for shake in shakes[4:]:
        queue.remove(shake.slot)
        shakes[shake.slot] = queue.begin(shake.slot)
        shakes[shake.slot].session = Session(context, server_side=True)
        queue.feed(shakes[shake.slot], b"finished")
    assert turns(queue) == [0, 4, 1, 5, 2, 3] and turns(queue) == []


def test_those_that_have_said_nothing_do_not_make_it_full(queue: HandshakeQueue) -> None:
    begun(queue, SILENT * MOST - 1)
    assert not queue.is_full()
    begun(queue, 1)
    assert queue.is_full()


def test_it_is_full_of_those_that_speak(queue: HandshakeQueue) -> None:
    begun(queue, 9)
    begun(queue, MOST - 1, b"hello")
    assert not queue.is_full() and queue.is_full(2)
    (last,) = begun(queue, 1, b"hello")
    queue.feed(last, b"again")
    assert queue.is_full()
    for slot in range(9, 11):
        queue.remove(slot)
        queue.remove(slot)
    assert not queue.is_full() and queue.is_full(2)
    queue.remove(11)
    assert not queue.is_full(2)


def test_those_that_wait_for_their_peers_give_way(
    queue: HandshakeQueue, clock: ManualClock
) -> None:
    silent, served, queued = *begun(queue, 1), *begun(queue, 2, b"hello")
    clock.advance(STALLED_NS - 1)
    next(iter(queue.ready(is_busy=False)))
    assert served.turn_ns == clock.now_ns() and queued.is_queued
    assert [*queue.stalled()] == []
    clock.advance(LOOK_NS - 1)
    assert [*queue.stalled()] == []  # it was looked at just now
    clock.advance(1)
    assert [*queue.stalled()] == [silent.slot]
    clock.advance(STALLED_NS)
    assert [*queue.stalled()] == [silent.slot, served.slot]


def test_all_have_the_same_time(queue: HandshakeQueue, clock: ManualClock) -> None:
    assert queue.due_ns() == NEVER
    begun(queue, 1)
    clock.advance(NS_PER_S)
    begun(queue, 1)
    assert queue.due_ns() == TIMEOUT_NS - NS_PER_S and [*queue.late()] == []
    clock.advance(TIMEOUT_NS - NS_PER_S)
    assert [*queue.late()] == [0] and queue.due_ns() == 0
    queue.remove(0)
    assert [*queue.late()] == [] and queue.due_ns() == NS_PER_S


def stormed(clock: ManualClock, count: int) -> HandshakeQueue:
    """One through which so many handshakes went."""
    queue = HandshakeQueue(clock)
    for slot in range(count):
        queue.begin(slot)
        queue.remove(slot)
    return queue


def test_memory_is_given_back_once_when_a_storm_is_over() -> None:
    clock = ManualClock()
    queue = stormed(clock, FREED_MIN)
    assert not queue.has_shrunk() and queue.due_ns() == QUIET_NS
    clock.advance(QUIET_NS)
    assert queue.due_ns() == 0
    assert queue.has_shrunk()
    assert not queue.has_shrunk() and queue.due_ns() == NEVER


def test_not_for_a_few_and_not_while_one_is_under_way() -> None:
    clock = ManualClock()
    few = stormed(clock, FREED_MIN - 1)
    many = stormed(clock, FREED_MIN)
    many.begin(1)
    clock.advance(QUIET_NS)
    assert not few.has_shrunk() and few.due_ns() == NEVER
    assert not many.has_shrunk()
