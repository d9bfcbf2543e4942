"""Messages by batches against one at a time, and comparing against its slow form."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.scenarios import messages as message_module
from c1m.scenarios.messages import Message, Numbers, matches

PLACES = ["%", "{n}", "{n}", "{seq}", "{seq}", "{random:1}", "{random:19}", "{{", "}}"]

texts = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=6)
pieces_of_templates = st.lists(st.one_of(texts, st.sampled_from(PLACES)), max_size=6)
PREFIXES = st.sampled_from([0, 0, 2, 4])
templates = pieces_of_templates.map("".join).filter(bool)


@st.composite
def messages(draw: st.DrawFn) -> tuple[Message, Numbers, Numbers]:
    """A message for `count` connections, some of their numbers in any order, any seqs."""
    count = draw(st.sampled_from([1, 2, 10, 11, 100, 101, 12345, 10**6, 10**7]))
    edges = [n for e in range(8) for n in (10**e - 1, 10**e) if n < count]
    numbers = st.one_of(st.integers(0, count - 1), st.sampled_from(edges))
    seqs = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 11))
    rows = draw(st.lists(st.tuples(numbers, seqs), max_size=12))
    made = Message(draw(templates), count, draw(st.integers(0, 3)), prefix=draw(PREFIXES))
    return made, np.array([n for n, _ in rows], np.int64), np.array([s for _, s in rows], np.int64)


def slow_of(message: Message, numbers: Numbers, seqs: Numbers) -> list[bytes]:
    return [message.one(n, s) for n, s in zip(numbers.tolist(), seqs.tolist(), strict=True)]


Draw = Callable[[st.SearchStrategy[Any]], Any]


def scattered(draw: Draw, pieces: list[bytes]) -> Ragged:
    """The pieces in one memory, in any order, with other bytes between them."""
    memory, offsets = b"", [0] * len(pieces)
    for i in draw(st.permutations(range(len(pieces)))):
        memory += draw(st.binary(max_size=2))
        offsets[i] = len(memory)
        memory += pieces[i]
    return Ragged(
        np.frombuffer(memory, np.uint8),
        np.array(offsets, np.int64),
        np.array([len(piece) for piece in pieces], np.int32),
    )


@given(messages())
def test_the_matrix_holds_what_one_makes(case: tuple[Message, Numbers, Numbers]) -> None:
    message, numbers, seqs = case
    rows, lengths = message.matrix(numbers, seqs)
    slow = slow_of(message, numbers, seqs)
    assert message.lengths(numbers, seqs).tolist() == [len(one) for one in slow]
    sizes = zip(numbers.tolist(), seqs.tolist(), strict=True)
    assert [message.size(n, s) for n, s in sizes] == [len(one) for one in slow]
    assert [rows[i, :n].tobytes() for i, n in enumerate(lengths.tolist())] == slow
    assert all(not rows[i, n:].any() for i, n in enumerate(lengths.tolist()))
    assert message.pieces(numbers, seqs).pieces() == slow
    assert max(map(len, slow), default=0) <= message.size_max


@given(messages())
def test_a_message_fits_its_pattern(case: tuple[Message, Numbers, Numbers]) -> None:
    message, numbers, seqs = case
    head, tail = message.ends
    for one in slow_of(message, numbers, seqs):
        assert message.pattern().fullmatch(one)
        assert one.startswith(head) and one.endswith(tail)


@given(templates, st.integers(0, 10**7), st.integers(0, 2**32 - 1))
def test_the_text_with_its_number(template: str, number: int, seq: int) -> None:
    template = re.sub("{random:[0-9]+}", "", template) + "."
    message = Message(template, 10**7 + 1)
    assert message.one(number, seq).decode() == template.format(n=number, seq=seq)


@given(st.data())
def test_matches_is_its_slow_form(data: st.DataObject) -> None:
    few = st.binary(max_size=5).map(lambda b: bytes(x % 2 for x in b))  # often equal
    expected = data.draw(st.lists(few, max_size=8))
    came = [data.draw(st.one_of(st.just(e), few)) for e in expected]
    width = max(map(len, expected), default=0) + data.draw(st.integers(0, 2))
    rows = np.zeros((len(expected), width), np.uint8)
    for row, piece in zip(rows, expected, strict=True):
        row[: len(piece)] = np.frombuffer(piece, np.uint8)
    lengths = np.array([len(e) for e in expected], np.int32)
    ragged = scattered(data.draw, came)
    slow = [ragged.piece(i) == rows[i, : lengths[i]].tobytes() for i in range(len(rows))]
    assert matches(ragged, rows, lengths).tolist() == slow


@given(st.data(), messages(), st.sampled_from([0, 1 << 16, 1 << 27]), st.sampled_from([1, 4096]))
def test_batches_are_equal_where_every_piece_is(
    data: st.DataObject, case: tuple[Message, Numbers, Numbers], kept_max: int, block_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_module, "KEPT_BYTES_MAX", kept_max)
        patch.setattr(message_module, "BLOCK_ROWS", block_rows)
        made, numbers, seqs = case
        message = Message(made.template, 10 ** len(str(numbers.max(initial=0))))
        slow = slow_of(message, numbers, seqs)
        for _ in range(3):  # other memories, and rows that are there already
            came = list(slow)
            for i in data.draw(st.lists(st.integers(0, max(len(came) - 1, 0)), max_size=2)):
                if came:
                    came[i] = data.draw(st.sampled_from([*damaged(came[i]), came[i]]))
            ragged = scattered(data.draw, came)
            assert message.equal(numbers, seqs, ragged) == (came == slow)
            same = [a == b for a, b in zip(came, slow, strict=True)]
            assert message.matching(numbers, seqs, ragged).tolist() == same
            assert message.pieces(numbers, seqs).pieces() == slow


def damaged(piece: bytes) -> list[bytes]:
    """Each byte changed in turn, shorter, longer, nothing."""
    flipped = [piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :] for at in range(len(piece))]
    return [*flipped, piece[1:], piece[:-1], piece + b"0", b""]
