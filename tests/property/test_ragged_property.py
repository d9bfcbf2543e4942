"""Ragged against lists of bytes, which say the same in the slow way."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged, starts_of

PIECES = st.lists(st.binary(max_size=20), max_size=20)


def check(ragged: Ragged, pieces: list[bytes]) -> None:
    assert ragged.pieces() == pieces
    assert len(ragged) == len(pieces)
    assert ragged.nbytes() == sum(map(len, pieces))
    assert (ragged.memory.dtype, ragged.offsets.dtype, ragged.lengths.dtype) == (
        np.uint8,
        np.int64,
        np.int32,
    )


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
