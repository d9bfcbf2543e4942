"""Values and entries come back as they were, and changed bytes are noticed."""

from __future__ import annotations

import contextlib
import math
import struct
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.kv.encoding import (
    HASH,
    NEVER,
    SET,
    SORTED_SET,
    CorruptData,
    Entry,
    decode,
    encode,
    entries,
    entry,
    entry_of,
    pack,
    seal,
    unpack,
    unseal,
)
from c1m.kv.members import Members
from c1m.kv.sorted_set import SortedSet
from kv_kept import comparable

small = st.binary(max_size=20)
values = st.one_of(
    st.binary(),
    st.binary().map(bytearray),
    st.dictionaries(small, small, min_size=1),
    st.lists(small, min_size=1).map(deque),
    st.sets(small, min_size=1).map(Members),
    st.dictionaries(small, st.floats(allow_nan=False), min_size=1).map(SortedSet),
)
keys = st.tuples(st.integers(0, 15), small, values, st.none() | st.integers(0, 2**62))


@given(values)
def test_a_value_comes_back(value: Any) -> None:
    back = decode(*encode(value))
    assert type(back) is type(value)
    assert comparable(back) == comparable(value)


@given(st.lists(keys, max_size=5))
def test_entries_come_back_sealed(written: list[Any]) -> None:
    data = b"".join(
        entry_of(place, key, value, NEVER if when is None else when)
        for place, key, value, when in written
    )
    read = list(entries(unseal(seal(data))))
    assert len(read) == len(written)
    for one, (place, key, value, when) in zip(read, written, strict=True):
        assert (one.place, one.key, one.expires) == (place, key, NEVER if when is None else when)
        assert comparable(decode(one.kind, one.body)) == comparable(value)


@given(st.lists(keys, min_size=1, max_size=3), st.data())
def test_a_changed_byte_is_noticed(written: list[Any], data: st.DataObject) -> None:
    sealed = bytearray(seal(b"".join(entry_of(*one[:3]) for one in written)))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptData):
        unseal(bytes(sealed))


@given(st.lists(keys, min_size=1, max_size=3), st.data())
def test_what_is_cut_off_is_noticed(written: list[Any], data: st.DataObject) -> None:
    whole = b"".join(entry_of(*one[:3]) for one in written)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(CorruptData):
        unseal(seal(whole)[: 4 + len(cut)])
    with contextlib.suppress(CorruptData):
        assert len(list(entries(cut))) < len(written)


@given(st.integers(0, 255), st.binary())
def test_bytes_of_any_kind_are_a_value_or_refused(kind: int, body: bytes) -> None:
    with contextlib.suppress(CorruptData):
        decode(kind, body)


@given(st.binary())
def test_bytes_of_any_kind_are_entries_or_refused(data: bytes) -> None:
    with contextlib.suppress(CorruptData):
        assert (
            b"".join(entry(e.kind, e.place, e.key, e.body, e.expires) for e in entries(data))
            == data
        )


@given(st.lists(small))
def test_packed_items_come_back(items: list[bytes]) -> None:
    assert unpack(pack(items)) == items


def test_what_is_no_value_is_refused() -> None:
    nan = struct.pack("<Id", 1, math.nan) + pack([b"a"])
    for kind, body in ((HASH, pack([])), (SET, pack([])), (SORTED_SET, nan), (HASH, pack([b"a"]))):
        with pytest.raises(CorruptData):
            decode(kind, body)


def test_an_entry_is_what_was_said_of_it() -> None:
    assert list(entries(entry(7, 3, b"key", b"body", 12))) == [Entry(7, 3, 12, b"key", b"body")]
