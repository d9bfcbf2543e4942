"""RecordInbox against a slow model: bytes a connection, cut at multiples of the record's size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import c1m
from c1m.engine.ragged import Ragged
from c1m.server.records import RecordInbox, whole_records

SLOTS = 6
DTYPES = [np.dtype("u1"), np.dtype("<u2"), np.dtype([("a", "<u4"), ("b", "u1")]), np.dtype("V16")]

batches = st.lists(st.lists(st.tuples(st.integers(0, SLOTS - 1), st.binary(max_size=40))))


@given(batches=batches, dtype=st.sampled_from(DTYPES), ended=st.sets(st.integers(0, SLOTS - 1)))
def test_records_are_those_of_the_streams(
    batches: list[list[tuple[int, bytes]]], dtype: np.dtype, ended: set[int]
) -> None:
    inbox = RecordInbox(dtype, SLOTS)
    streams = [b""] * SLOTS
    found = [b""] * SLOTS
    for batch in batches:
        for slot, piece in batch:
            streams[slot] += piece
        slots = np.array([slot for slot, _ in batch], np.int32)
        owners, records = inbox.take(slots, Ragged.of(piece for _, piece in batch))
        assert records.dtype == dtype
        assert len(owners) == len(records)
        for owner, record in zip(owners.tolist(), records, strict=True):
            found[owner] += record.tobytes()
    size = dtype.itemsize
    assert found == [stream[: len(stream) // size * size] for stream in streams]
    assert len(inbox) == sum(len(stream) % size != 0 for stream in streams)
    lost = inbox.forget(np.array(sorted(ended), np.int32))
    assert lost == sum(len(streams[slot]) % size for slot in ended)
    assert inbox.forget(np.array(sorted(ended), np.int32)) == 0


@given(
    memory=st.binary(max_size=100),
    cuts=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 50)), max_size=8),
    dtype=st.sampled_from(DTYPES),
)
def test_whole_records_wherever_the_pieces_lie(
    memory: bytes, cuts: list[tuple[int, int]], dtype: np.dtype
) -> None:
    cuts = [(at, n) for at, n in cuts if at + n <= len(memory)]
    data = Ragged(
        np.frombuffer(memory, np.uint8),
        np.array([at for at, _ in cuts], np.int64),
        np.array([n for _, n in cuts], np.int32),
    )
    size = dtype.itemsize
    slow = b"".join(p[: len(p) // size * size] for p in data.pieces())
    assert whole_records(data, dtype).tobytes() == slow


def test_a_dtype_without_a_size_is_refused() -> None:
    for dtype in ("O", "V0"):
        with pytest.raises(c1m.UsageError, match="fixed size"):
            RecordInbox(dtype, 10)


@pytest.mark.parametrize(
    ("slots", "data", "words"),
    [
        ([-1], [b"ab"], r"slots\[0\] is -1"),
        ([SLOTS], [b"ab"], r"slots are 0 to 5"),
        ([1.5], [b"ab"], "slots is float64"),
        ([0, 1], [b"ab"], "1 pieces were given for 2"),
        ([0], Ragged(b"ab", [1], [2]), "Piece 0 of data"),  # type: ignore[arg-type]
        ([0], "ab", "data is of type str"),
    ],
)
def test_arrays_that_cannot_be_meant_are_told(slots: Any, data: Any, words: str) -> None:
    inbox = RecordInbox("<u2", SLOTS)
    with pytest.raises(c1m.UsageError, match=words):
        inbox.take(slots, data)
    assert len(inbox) == 0
    if "slots" in words:
        with pytest.raises(c1m.UsageError, match=words):
            inbox.forget(slots)


def test_what_can_be_meant_is_taken() -> None:
    inbox = RecordInbox("<u2", SLOTS)
    owners, records = inbox.take([3, 4], [b"\1\0\2\0\3", bytearray(b"\4\0")])  # type: ignore[arg-type]
    assert (owners.tolist(), records.tolist()) == ([4, 3, 3], [4, 1, 2])
    assert inbox.forget([3]) == 1  # type: ignore[arg-type]


def test_an_inbox_of_what_is_no_dtype_is_refused() -> None:
    with pytest.raises(c1m.UsageError, match="dtype is not a NumPy dtype"):
        RecordInbox("no such", 5)
    with pytest.raises(c1m.UsageError, match="-1 is too small for capacity"):
        RecordInbox("u1", -1)
