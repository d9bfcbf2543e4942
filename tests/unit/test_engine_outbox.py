"""Outbox: order, the two watermarks, and nothing left behind."""

from __future__ import annotations

from c1m.bounds import OUTBOX_TRIM_MIN
from c1m.engine.outbox import CHUNK, Outbox


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


def test_when_the_bound_for_all_is_passed_every_slot_with_output_passes() -> None:
    outbox = Outbox(100, total_max=152)
    assert not outbox.append(1, b"x" * 90)
    assert not outbox.append(2, b"x" * 62)
    assert sorted(outbox.append(3, b"x")) == [1, 2, 3]
    assert not outbox.append(1, b"x")
    assert outbox.append(4, b"x") == (4,)


def test_above_the_bound_for_all_a_slot_falls_back_with_its_last_byte_only() -> None:
    outbox = Outbox(100, total_max=200)
    outbox.append(1, b"x" * 100)
    outbox.append(2, b"x" * 90)
    outbox.append(3, b"x" * 11)
    assert not outbox.consume(3, 10)  # far below its low watermark
    assert outbox.consume(3, 1)
    assert outbox.append(3, b"x") == (3,)  # 191 pending, until 150 are left
    outbox.consume(1, 41)
    assert outbox.append(4, b"x") == ()
    assert not outbox.consume(1, 33)
    assert outbox.consume(1, 1)  # 25 left


def test_it_copies_what_it_is_given() -> None:
    memory = bytearray(b"abcdef")
    outbox = Outbox(100)
    outbox.append(5, memoryview(memory)[1:4])
    memory[:] = b"......"
    assert outbox.head(5, 99) == b"bcd"


def test_many_small_pieces_take_few_chunks() -> None:
    outbox = Outbox(1 << 20)
    piece = bytes(range(100))
    for _ in range(10_000):
        outbox.append(5, piece)
    assert len(outbox._pending[5].chunks) == -(-1_000_000 // CHUNK)
    assert outbox.head(5, 1 << 20) == piece * 10_000


def test_memory_goes_back_once_when_most_of_it_is_unused() -> None:
    outbox = Outbox(1 << 30)
    outbox.append(1, bytes(OUTBOX_TRIM_MIN))
    outbox.append(2, bytes(OUTBOX_TRIM_MIN))
    assert not outbox.has_shrunk()
    outbox.drop(1)
    assert not outbox.has_shrunk()  # half of it is in use
    outbox.drop(2)
    assert outbox.has_shrunk()
    assert not outbox.has_shrunk()


def test_a_little_that_has_gone_is_not_worth_it() -> None:
    outbox = Outbox(1 << 30)
    outbox.append(1, bytes(OUTBOX_TRIM_MIN - 1))
    outbox.drop(1)
    assert not outbox.has_shrunk()
