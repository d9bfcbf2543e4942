"""Messages by batches against one at a time, and comparing against its slow form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.loadgen import message as message_module
from c1m.loadgen.message import Message, matches

texts = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=6)
pieces_of_templates = st.lists(st.one_of(texts, st.sampled_from(["{n}", "{{", "}}"])), max_size=6)
templates = pieces_of_templates.map("".join).filter(bool)


@st.composite
def messages(draw: st.DrawFn) -> tuple[Message, list[int]]:
    """A message for `count` connections and some of their numbers, in any order."""
    count = draw(st.sampled_from([1, 2, 10, 11, 100, 101, 12345, 10**6, 10**7]))
    edges = [n for e in range(8) for n in (10**e - 1, 10**e) if n < count]
    numbers = st.one_of(st.integers(0, count - 1), st.sampled_from(edges))
    return Message(draw(templates), count), draw(st.lists(numbers, max_size=12))


def scattered(draw: st.DrawFn, pieces: list[bytes]) -> Ragged:
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
def test_the_matrix_holds_what_one_makes(case: tuple[Message, list[int]]) -> None:
    message, numbers = case
    rows, lengths = message.matrix(np.array(numbers, np.int64))
    slow = [message.one(number) for number in numbers]
    assert message.lengths(np.array(numbers, np.int64)).tolist() == [len(one) for one in slow]
    assert [rows[i, :n].tobytes() for i, n in enumerate(lengths.tolist())] == slow
    assert all(not rows[i, n:].any() for i, n in enumerate(lengths.tolist()))
    assert message.pieces(np.array(numbers, np.int64)).pieces() == slow
    assert max(map(len, slow), default=0) <= message.size_max


@given(templates, st.integers(0, 10**7))
def test_the_text_with_its_number(template: str, number: int) -> None:
    message = Message(template, 10**7 + 1)
    assert message.one(number).decode() == template.format(n=number)


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


@settings(deadline=None)
@given(st.data(), messages(), st.sampled_from([0, 1 << 16, 1 << 27]), st.sampled_from([1, 4096]))
def test_batches_are_equal_where_every_piece_is(
    data: st.DataObject, case: tuple[Message, list[int]], kept_max: int, block_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_module, "KEPT_BYTES_MAX", kept_max)
        patch.setattr(message_module, "BLOCK_ROWS", block_rows)
        made, numbers = case
        message = Message(made.template, 10 ** len(str(max(numbers, default=0))))
        slow = [message.one(number) for number in numbers]
        for _ in range(3):  # other memories, and rows that are there already
            came = list(slow)
            for i in data.draw(st.lists(st.integers(0, max(len(came) - 1, 0)), max_size=2)):
                if came:
                    came[i] = data.draw(st.sampled_from([*damaged(came[i]), came[i]]))
            ragged = scattered(data.draw, came)
            assert message.equal(np.array(numbers, np.int64), ragged) == (came == slow)
            assert message.pieces(np.array(numbers, np.int64)).pieces() == slow


def damaged(piece: bytes) -> list[bytes]:
    """Each byte changed in turn, shorter, longer, nothing."""
    flipped = [piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :] for at in range(len(piece))]
    return [*flipped, piece[1:], piece[:-1], piece + b"0", b""]
