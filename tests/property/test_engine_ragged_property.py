"""Ragged against lists of bytes, which say the same in the slow way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged, starts_of
from c1m.errors import UsageError

Make = Callable[[], object]
PIECES = st.lists(st.binary(max_size=20), max_size=20)


def check(ragged: Ragged, pieces: list[bytes]) -> None:
    assert ragged.pieces() == pieces
    assert len(ragged) == len(pieces)
    assert ragged.nbytes() == sum(map(len, pieces))
    columns = (ragged.memory, ragged.offsets, ragged.lengths)
    assert [column.dtype.type for column in columns] == [np.uint8, np.int64, np.int32]


@given(PIECES)
def test_of_keeps_the_pieces(pieces: list[bytes]) -> None:
    check(Ragged.of(pieces), pieces)
    check(Ragged.of(iter(pieces)), pieces)
    assert [Ragged.of(pieces).piece(i) for i in range(len(pieces))] == pieces


@given(st.binary(max_size=50), st.integers(0, 50))
def test_repeat_holds_the_payload_once(payload: bytes, count: int) -> None:
    ragged = Ragged.repeat(payload, count)
    check(ragged, [payload] * count)
    assert ragged.memory.nbytes == len(payload)


def test_empty() -> None:
    check(Ragged.empty(), [])
    check(Ragged.empty().packed(), [])


@given(PIECES, st.data())
def test_take_by_index_mask_and_slice(pieces: list[bytes], data: st.DataObject) -> None:
    ragged = Ragged.of(pieces)
    indices = data.draw(st.lists(st.integers(0, len(pieces) - 1))) if pieces else []
    taken = ragged.take(np.array(indices, np.int64))
    check(taken, [pieces[i] for i in indices])
    assert taken.memory is ragged.memory
    mask = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    check(ragged.take(np.array(mask, bool)), [p for p, m in zip(pieces, mask, strict=True) if m])
    bounds = data.draw(st.slices(len(pieces)))
    check(ragged.take(bounds), pieces[bounds])


@given(st.binary(min_size=1, max_size=60), st.data())
def test_pieces_that_overlap_and_leave_gaps_can_be_packed(
    memory: bytes, data: st.DataObject
) -> None:
    starts = data.draw(st.lists(st.integers(0, len(memory) - 1), max_size=10))
    lengths = [data.draw(st.integers(0, len(memory) - start)) for start in starts]
    ragged = Ragged(
        np.frombuffer(memory, np.uint8),
        np.array(starts, np.int64),
        np.array(lengths, np.int32),
    )
    pieces = [memory[s : s + n] for s, n in zip(starts, lengths, strict=True)]
    check(ragged, pieces)
    packed = ragged.packed()
    check(packed, pieces)
    assert packed.memory.tobytes() == b"".join(pieces)
    assert not np.shares_memory(packed.memory, ragged.memory)


@given(PIECES)
def test_address_is_where_the_memory_is(pieces: list[bytes]) -> None:
    ragged = Ragged.of(pieces)
    assert ragged.address == ragged.memory.ctypes.data
    assert ragged.take(slice(1)).address == ragged.address


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_starts_of_is_the_sum_of_what_is_before(lengths: list[int]) -> None:
    starts = starts_of(np.array(lengths, np.int32))
    assert starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
    assert starts.dtype == np.int64


@given(st.binary(max_size=40), st.lists(st.integers(-5, 45), max_size=80), st.data())
def test_a_check_is_that_every_piece_is_inside(
    memory: bytes, starts: list[int], data: st.DataObject
) -> None:
    """Also beyond so many pieces that they are looked at as arrays."""
    lengths = [data.draw(st.integers(-2, max(len(memory) - at, 0))) for at in starts]
    ragged = Ragged(memory, starts, lengths)  # type: ignore[arg-type]
    outside = [not (0 <= a <= a + n <= len(memory)) for a, n in zip(starts, lengths, strict=True)]
    if not any(outside):
        ragged.check()
        return
    with pytest.raises(UsageError, match=f"Piece {outside.index(True)} of these has"):
        ragged.check("these")


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("at", [-(2**63), -1, 5, 2**40, 2**63 - 1])
@pytest.mark.parametrize("length", [-(2**31), -1, 1, 2**31 - 1])
def test_numbers_that_wrap_are_outside_too(at: int, length: int, few: bool) -> None:
    rows = 1 if few else 100
    with pytest.raises(UsageError, match="is not inside its memory of 4 bytes"):
        Ragged(b"abcd", [0] * rows + [at], [0] * rows + [length]).check()  # type: ignore[arg-type]


@given(PIECES)
def test_columns_of_other_kinds_are_taken(pieces: list[bytes]) -> None:
    ragged = Ragged.of(pieces)
    joined = b"".join(pieces)
    for memory in (joined, bytearray(joined), memoryview(joined), np.repeat(ragged.memory, 2)[::2]):
        for offsets in (ragged.offsets.tolist(), ragged.offsets.astype(">u4")):
            check(Ragged(memory, offsets, tuple(ragged.lengths.tolist())), pieces)  # type: ignore[arg-type]
    check(Ragged.of(map(memoryview, pieces)), pieces)
    check(Ragged.of([bytearray(p) for p in pieces]), pieces)


def test_pieces_of_wider_elements_are_their_bytes() -> None:
    numbers = np.array([1, 2], "<u4")
    check(Ragged.of([b"a", memoryview(numbers.data)]), [b"a", numbers.tobytes()])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Ragged("text", [], []), "memory of a Ragged is 'text'"),  # type: ignore[arg-type]
        (lambda: Ragged(np.zeros((2, 2), np.uint8), [], []), r"uint8\[2, 2\], no bytes"),  # type: ignore[arg-type]
        (lambda: Ragged(b"ab", [0, 1], [1]), "2 offsets and 1 lengths"),  # type: ignore[arg-type]
        (lambda: Ragged(b"ab", [0.5], [1]), "offsets is float64"),  # type: ignore[arg-type]
        (lambda: Ragged(b"ab", [0], [2**31]), "lengths has a number that is no int32"),  # type: ignore[arg-type]
        (lambda: Ragged(b"ab", [2**63], [1]), "offsets has a number that is no int64"),  # type: ignore[arg-type]
        (lambda: Ragged(b"ab", [2**70], [1]), "offsets is object"),  # type: ignore[arg-type]
        (lambda: Ragged(b"ab", "0", [1]), "offsets is of type str"),  # type: ignore[arg-type]
        (lambda: Ragged.of(["text"]), "pieces is no row of byte strings"),  # type: ignore[list-item]
        (lambda: Ragged.of(b"text"), "pieces is no row of byte strings"),  # type: ignore[arg-type]
        (lambda: Ragged.of(None), "pieces is no row of byte strings"),  # type: ignore[arg-type]
        (lambda: Ragged.repeat("x", 2), "payload is of type str, not bytes. Encode it"),  # type: ignore[arg-type]
        (lambda: Ragged.repeat(b"x", -1), "repeated -1 times"),
        (lambda: Ragged.repeat(b"x", 1.5), "repeated 1.5 times"),  # type: ignore[arg-type]
        (lambda: Ragged.of([b"ab"]).take(0), "cannot be taken by 0"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_meant_is_told(make: Make, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_a_piece_too_long_for_its_column() -> None:
    long = memoryview(np.zeros(1 << 31, np.uint8).data)  # never touched: no memory
    makes: list[Make] = [lambda: Ragged.repeat(long, 1), lambda: Ragged.of([long])]
    for make in makes:
        with pytest.raises(UsageError, match="2,147,483,647"):
            make()


def test_which_arrays_a_ragged_has_cannot_change() -> None:
    ragged = Ragged.of([b"a", b"b"])
    for name in ("memory", "offsets", "lengths", "address"):
        with pytest.raises(AttributeError):
            setattr(ragged, name, None)


def test_a_released_memoryview_is_no_memory() -> None:
    view = memoryview(b"abc")
    view.release()
    makes: list[Make] = [lambda: Ragged(view, [], []), lambda: Ragged.repeat(view, 1)]  # type: ignore[arg-type]
    for make in makes:
        with pytest.raises(UsageError, match="has no bytes"):
            make()
