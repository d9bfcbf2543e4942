"""Messages: what a template may be, and the bytes that it makes."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.loadgen import message as message_module
from c1m.loadgen.message import MESSAGE_MAX, Message, matches


@pytest.mark.parametrize(
    ("template", "number", "expected"),
    [
        ("client connections {n}\n", 12, b"client connections 12\n"),
        ("{n}", 0, b"0"),
        ("{n}{n}-{n}", 907, b"907907-907"),
        ("{{n}} is {n}", 5, b"{n} is 5"),
        ("{{{n}}}", 5, b"{5}"),
        ("no number", 5, b"no number"),
        ("grüß {n}", 3, "grüß 3".encode()),
    ],
)
def test_templates(template: str, number: int, expected: bytes) -> None:
    message = Message(template, 1000)
    assert message.one(number) == expected
    assert message.pieces(np.array([number])).pieces() == [expected]


@pytest.mark.parametrize("template", ["{", "}", "{x}", "{}", "{n", "n}", "{n:d}", "{ n}", "{{n}"])
def test_a_bad_template_is_told_in_a_sentence(template: str) -> None:
    with pytest.raises(UsageError, match="stands for nothing"):
        Message(template, 10)


def test_an_empty_message_could_not_be_echoed() -> None:
    with pytest.raises(UsageError, match="empty"):
        Message("", 10)


def test_the_longest_message() -> None:
    assert Message("x" * MESSAGE_MAX, 10).size_max == MESSAGE_MAX
    with pytest.raises(UsageError, match="1,048,577 bytes"):
        Message("x" * MESSAGE_MAX + "{n}", 10)
    with pytest.raises(UsageError, match="1,048,577 bytes"):
        Message("ß" * (MESSAGE_MAX // 2) + "x", 10)  # bytes, not characters


def test_size_max_is_that_of_the_last_connection() -> None:
    assert Message("{n}", 1).size_max == 1
    assert Message("{n}", 10).size_max == 1
    assert Message("{n}", 11).size_max == 2
    assert Message("a{n}b{n}", 1_000_001).size_max == 2 + 2 * 7


@pytest.mark.parametrize(
    ("template", "count"),
    [("client connections {n}\n", 120_000), ("{n}", 120_000), ("same", 9), ("{n}" * 40, 120_000)],
)
@pytest.mark.parametrize("kept_max", [0, 1 << 27])
def test_a_byte_that_is_wrong_is_found_wherever_it_is(
    template: str, count: int, kept_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_module, "KEPT_BYTES_MAX", kept_max)
    message = Message(template, count)
    numbers = np.array([n for n in (7, 42, 4095, 4096, 99_999, 100_000) if n < count])
    sent = message.pieces(numbers)
    packed = sent.packed()
    data = Ragged(packed.memory.copy(), packed.offsets, packed.lengths)
    assert message.equal(numbers, data)
    for at in range(len(data.memory)):
        data.memory[at] ^= 1
        assert not message.equal(numbers, data)
        data.memory[at] ^= 1
    assert message.equal(numbers, data)


def test_kept_messages_are_sent_from_where_they_are() -> None:
    message = Message("no {n};", 100)
    first, again = message.pieces(np.array([3, 99])), message.pieces(np.array([99]))
    assert first.memory is again.memory
    assert again.pieces() == [b"no 99;"]


def test_too_many_messages_are_not_kept() -> None:
    message = Message("x" * MESSAGE_MAX, 10_000_000)  # the same for all: kept once
    assert message.pieces(np.array([9_999_999])).memory.nbytes == MESSAGE_MAX
    message = Message("x" * 1000 + "{n}", 1 << 40)  # a petabyte of messages
    assert message.pieces(np.array([1 << 39])).pieces() == [b"x" * 1000 + b"549755813888"]


def test_no_messages_at_all() -> None:
    message = Message("a{n}", 10)
    rows, lengths = message.matrix(np.zeros(0, np.int64))
    assert rows.shape == (0, 2) and len(lengths) == 0
    assert len(matches(Ragged.empty(), rows, lengths)) == 0
    assert message.equal(np.zeros(0, np.int64), Ragged.empty())
    assert len(message.pieces(np.zeros(0, np.int64))) == 0


def test_pieces_without_a_byte_match_nothing_but_the_empty_row() -> None:
    rows = np.zeros((2, 3), np.uint8)
    lengths = np.array([0, 3], np.int32)
    assert matches(Ragged.of([b"", b""]), rows, lengths).tolist() == [True, False]
