"""Expiry in slices against looking at every key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.kv.expiry import FINE_MS, NEAR_MS, STALE_MIN
from c1m.kv.store import Store
from c1m.kv.upkeep import expire_some

START_MS = 1_700_000_000_000

delays = st.one_of(st.integers(1, 500), st.integers(1, 3 * NEAR_MS))
actions = st.lists(
    st.one_of(
        st.tuples(st.just("expire"), st.integers(0, 9), delays),
        st.tuples(st.just("set"), st.integers(0, 9), delays),
        st.tuples(st.just("remove"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("persist"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), delays),
        st.tuples(st.just("swap"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(actions, st.integers(1, 3))
def test_what_has_expired_is_removed_and_nothing_else(
    steps: list[tuple[str, int, int]], count: int
) -> None:
    store = Store()
    store.now_ms = START_MS
    one, other = store.databases[0], store.databases[3]
    kept: dict[bytes, int | None] = {}  # of the two databases' contents, the one that is in use
    where = one
    for action, number, delay in steps:
        key = b"%d" % number
        if action == "set":
            where.put(key, b"x")
            where.expire_at(key, store.now_ms + delay)
            kept[key] = store.now_ms + delay
        elif action == "remove":
            where.remove(key)
            kept.pop(key, None)
        elif action == "swap":
            one.swap(other)
            where = other if where is one else one
        elif action == "wait":
            store.now_ms += delay
            for _ in range(500):
                if store.look_ms > store.now_ms:
                    break
                expire_some(store, count)
            assert store.look_ms > store.now_ms
            late = [k for k, when in kept.items() if when and when <= store.now_ms - FINE_MS]
            assert not [k for k in late if k in where.data]
        elif key in where.data:
            if action == "expire":
                where.expire_at(key, store.now_ms + delay)
                kept[key] = store.now_ms + delay
            else:
                where.persist(key)
                kept[key] = None
        for name, when in list(kept.items()):
            if when is not None and when <= store.now_ms:
                del kept[name]
            else:
                assert name in where.data
        assert set(where.expires) <= set(where.data)


def test_a_key_that_is_put_off_again_and_again_has_one_entry() -> None:
    store = Store()
    store.now_ms = START_MS
    db = store.databases[0]
    db.put(b"key", b"x")
    for _ in range(10_000):
        store.now_ms += 50
        db.expire_at(b"key", store.now_ms + 30_000)
        expire_some(store)
    assert len(db.deadlines) == 1
    assert b"key" in db.data


@pytest.mark.parametrize("ttl_ms", [10_000, 900_000, 86_400_000])
def test_a_key_that_is_set_again_and_again_has_few_entries(ttl_ms: int) -> None:
    store = Store()
    store.now_ms = START_MS
    db = store.databases[0]
    for turn in range(4_000):
        store.now_ms += 1_000
        db.put(b"key%d" % (turn % 3), b"x")
        db.expire_at(b"key%d" % (turn % 3), store.now_ms + ttl_ms)
        if store.now_ms >= store.look_ms:
            expire_some(store)
    assert len(db.deadlines) <= STALE_MIN + 3
    store.now_ms += ttl_ms + 1_000
    while store.now_ms >= store.look_ms:
        expire_some(store)
    assert not db.data
    assert store.expired == 3
