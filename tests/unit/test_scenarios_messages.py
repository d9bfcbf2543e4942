"""Messages: what a template may be, and the bytes that it makes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.scenarios import messages as message_module
from c1m.scenarios.messages import MESSAGE_MAX, Message, Numbers, matches, unescape


def zeroth(numbers: list[int]) -> tuple[Numbers, Numbers]:
    """The first request of each of these connections."""
    return np.array(numbers, np.int64), np.zeros(len(numbers), np.int64)


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
    assert message.pieces(*zeroth([number])).pieces() == [expected]


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{x}", "{}", "{n", "n}", "{n:d}", "{ n}", "{{n}", "{random}", "{random:0}",
     "{any:-1}", "{seq:3}"],
)  # fmt: skip
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
    zeros = np.zeros_like(numbers)
    sent = message.pieces(numbers, zeros)
    packed = sent.packed()
    data = Ragged(packed.memory.copy(), packed.offsets, packed.lengths)
    assert message.equal(numbers, zeros, data)
    for at in range(len(data.memory)):
        data.memory[at] ^= 1
        assert not message.equal(numbers, zeros, data)
        data.memory[at] ^= 1
    assert message.equal(numbers, zeros, data)


def test_kept_messages_are_sent_from_where_they_are() -> None:
    message = Message("no {n};", 100)
    first, again = message.pieces(*zeroth([3, 99])), message.pieces(*zeroth([99]))
    assert first.memory is again.memory
    assert again.pieces() == [b"no 99;"]


def test_too_many_messages_are_not_kept() -> None:
    message = Message("x" * MESSAGE_MAX, 10_000_000)  # the same for all: kept once
    assert message.pieces(*zeroth([9_999_999])).memory.nbytes == MESSAGE_MAX
    message = Message("x" * 1000 + "{n}", 1 << 40)  # a petabyte of messages
    assert message.pieces(*zeroth([1 << 39])).pieces() == [b"x" * 1000 + b"549755813888"]


def test_no_messages_at_all() -> None:
    message = Message("a{n}", 10)
    rows, lengths = message.matrix(*zeroth([]))
    assert rows.shape == (0, 2) and len(lengths) == 0
    assert len(matches(Ragged.empty(), rows, lengths)) == 0
    assert message.equal(*zeroth([]), Ragged.empty())
    assert len(message.pieces(*zeroth([]))) == 0


def test_pieces_without_a_byte_match_nothing_but_the_empty_row() -> None:
    rows = np.zeros((2, 3), np.uint8)
    lengths = np.array([0, 3], np.int32)
    assert matches(Ragged.of([b"", b""]), rows, lengths).tolist() == [True, False]


def test_what_random_letters_depend_on() -> None:
    message = Message("{random:20} {random:20}\n", 10, seed=7)
    first, second = message.one(3, 5).split()
    assert first != second and len(first) == len(second) == 20
    assert re.fullmatch(rb"[A-Za-z0-9_-]{20}", first)
    assert message.one(3, 5) == Message(message.template, 1000, seed=7).one(3, 5)
    others = [message.one(3, 6), message.one(4, 5), Message(message.template, 10, seed=8).one(3, 5)]
    assert len({message.one(3, 5), *others}) == 4


@pytest.mark.parametrize("seed", [0, -1, 2**32 - 1, 2**80])
def test_any_seed(seed: int) -> None:
    assert len(Message("{random:3}", 10, seed=seed).one(9, 2**32 - 1)) == 3


def test_random_letters_are_all_equally_likely() -> None:
    letters = np.frombuffer(Message("{random:100000}", 1).one(0), np.uint8)
    counts = np.bincount(letters, minlength=128)
    assert np.count_nonzero(counts) == 64
    assert abs(counts[counts > 0] - 100_000 / 64).max() < 6 * (100_000 / 64) ** 0.5


@pytest.mark.parametrize("template", ["a{any:3}b{any:1}", "{any:2}{n}.", "{seq}{any:2}"])
@pytest.mark.parametrize("prefix", [0, 4])
def test_any_is_anything_and_everything_else_is_not(template: str, prefix: int) -> None:
    message = Message(template, 100, prefix=prefix)
    numbers, seqs = np.array([3, 42]), np.array([100, 7])
    came = [message.one(n, s, bytes(range(200, 230))) for n, s in ((3, 100), (42, 7))]
    assert message.equal(numbers, seqs, Ragged.of(came))
    zeros = zip(message.one(3, 100), came[0], strict=True)
    assert sum(a != b for a, b in zeros) == sum(int(k) for k in re.findall(r"any:(\d)", template))
    for at in range(len(came[1])):
        other = came[1][:at] + bytes([came[1][at] ^ 1]) + came[1][at + 1 :]
        is_free = message.one(42, 7, other) == other
        assert message.equal(numbers, seqs, Ragged.of([came[0], other])) == is_free
        matching = message.matching(numbers, seqs, Ragged.of([came[0], other]))
        assert matching.tolist() == [True, is_free]
    assert not message.equal(numbers, seqs, Ragged.of([came[0], came[1] + b"x"]))


def test_bytes_are_sent_as_they_are() -> None:
    assert Message(b"{n} {x} \\n \xff", 10).one(3, 4) == b"{n} {x} \\n \xff"


def test_a_length_stands_before_the_message() -> None:
    message = Message("{n}{seq}", 1000, prefix=4)
    assert message.one(12, 3456) == b"\0\0\0\x06123456"
    assert message.pieces(np.arange(20), np.arange(20)).pieces() == [
        message.one(n, n) for n in range(20)
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"a\nb", b"a\nb"),
        (r"\r\n\t\0", b"\r\n\t\0"),
        (r"\\n", b"\\n"),
        (r"\x00\xff\x41", b"\0\xffA"),
        (r"\xc3\xbc", "ü".encode()),
        (r"\x7bn\x7d {n}", b"{n} 5"),
        (r"\q \x4", rb"\q \x4"),
        ("grüß", "grüß".encode()),
    ],
)
def test_what_is_typed(typed: str, meant: bytes) -> None:
    assert Message(unescape(typed), 10).one(5) == meant


def test_half_a_character_is_told_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="no character"):
        Message("\ud800", 10)


def test_a_pattern_of_a_long_message_is_short() -> None:
    message = Message("{n}" + "x" * (MESSAGE_MAX - 9), 10)
    assert len(message.pattern().pattern) < 1000
    found = message.pattern().fullmatch(message.one(7))
    assert found is not None and found["n"] == b"7"
