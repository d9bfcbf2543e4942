"""Messages: what a template may be, and the bytes that it makes."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
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


def test_no_messages_at_all() -> None:
    message = Message("a{n}", 10)
    rows, lengths = message.matrix(np.zeros(0, np.int64))
    assert rows.shape == (0, 2) and len(lengths) == 0
    assert len(matches(Ragged.empty(), rows, lengths)) == 0


def test_pieces_without_a_byte_match_nothing_but_the_empty_row() -> None:
    rows = np.zeros((2, 3), np.uint8)
    lengths = np.array([0, 3], np.int32)
    assert matches(Ragged.of([b"", b""]), rows, lengths).tolist() == [True, False]
