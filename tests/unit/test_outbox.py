"""Outbox: order, the two watermarks, and nothing left behind."""

from __future__ import annotations

from c1m.conn.outbox import Outbox


def test_a_fresh_outbox_is_empty() -> None:
    outbox = Outbox(100)
    assert len(outbox) == 0
    assert outbox.total == 0
    assert 5 not in outbox
    assert outbox.size(5) == 0
    assert outbox.slots() == []
    assert not outbox.is_over(5)
    assert outbox.drop(5) == 0


def test_head_gives_the_first_bytes_and_leaves_them() -> None:
    outbox = Outbox(100)
    outbox.append(5, b"abc")
    outbox.append(5, b"defg")
    assert outbox.head(5, 2) == b"ab"
    assert outbox.head(5, 3) == b"abc"
    assert outbox.head(5, 5) == b"abcde"
    assert outbox.head(5, 99) == b"abcdefg"
    assert outbox.size(5) == outbox.total == 7


def test_consume_in_the_middle_of_a_piece_and_over_several() -> None:
    outbox = Outbox(100)
    for piece in (b"abc", b"d", b"efg"):
        outbox.append(5, piece)
    outbox.consume(5, 1)
    assert outbox.head(5, 99) == b"bcdefg"
    outbox.consume(5, 4)
    assert outbox.head(5, 99) == b"fg"
    outbox.consume(5, 2)
    assert 5 not in outbox
    assert outbox.total == 0


def test_slots_do_not_touch_each_other() -> None:
    outbox = Outbox(100)
    outbox.append(1, b"one")
    outbox.append(2, b"two")
    assert outbox.slots() == [1, 2]
    assert len(outbox) == 2
    assert outbox.drop(1) == 3
    assert outbox.head(2, 99) == b"two"
    assert outbox.total == 3


def test_the_high_watermark_is_told_once_and_the_low_one_once() -> None:
    outbox = Outbox(100)
    assert not outbox.append(5, b"x" * 100)  # at it, not over it
    assert outbox.append(5, b"x")
    assert not outbox.append(5, b"x" * 500)
    assert outbox.is_over(5)
    assert not outbox.consume(5, 575)  # 26 left, the low one is 25
    assert outbox.consume(5, 1)
    assert not outbox.is_over(5)
    assert not outbox.consume(5, 25)
    assert outbox.append(5, b"x" * 101)


def test_drop_forgets_that_the_slot_was_over() -> None:
    outbox = Outbox(100)
    assert outbox.append(5, b"x" * 101)
    assert outbox.drop(5) == 101
    assert not outbox.is_over(5)
    assert outbox.append(5, b"x" * 101)


def test_nothing_is_not_queued() -> None:
    outbox = Outbox(0)
    assert not outbox.append(5, b"")
    assert 5 not in outbox


def test_with_a_watermark_of_0_every_byte_is_over_it_and_the_last_one_drains() -> None:
    outbox = Outbox(0)
    assert outbox.append(5, b"ab")
    assert not outbox.consume(5, 1)
    assert outbox.consume(5, 1)


def test_above_the_bound_for_all_every_slot_that_adds_passes() -> None:
    outbox = Outbox(100, total_max=150)
    assert not outbox.append(1, b"x" * 90)
    assert not outbox.append(2, b"x" * 60)
    assert outbox.append(3, b"x")
    assert outbox.append(1, b"x")
    assert not outbox.append(3, b"x")
    outbox.drop(1)
    assert not outbox.append(2, b"x")


def test_it_takes_views_without_a_copy() -> None:
    memory = bytearray(b"abcdef")
    outbox = Outbox(100)
    outbox.append(5, memoryview(memory)[1:4])
    assert outbox.head(5, 99) == b"bcd"
