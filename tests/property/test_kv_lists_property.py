"""Lists against plain Python lists: slow forms of each command, with all kinds of positions."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from c1m.kv.lists import part, places
from c1m.protocols.resp.replies import array, bulk, bulks, mapping, mapping_of
from kv_session import Session

items = st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=12)
positions = st.integers(-15, 15)
sides = st.sampled_from(["LEFT", "RIGHT"])


def slow_range(held: list[bytes], first: int, last: int) -> list[bytes]:
    """What lies from one position to another, each looked at."""
    size = len(held)
    first, last = (at + size if at < 0 else at for at in (first, last))
    return [item for at, item in enumerate(held) if first <= at <= last]


def slow_places(held: list[bytes], item: bytes, rank: int, count: int, most: int) -> list[int]:
    size = len(held)
    order = list(range(size)) if rank > 0 else list(range(size))[::-1]
    found = [at for at in order[: most or size] if held[at] == item][abs(rank) - 1 :]
    return found[:count] if count else found


def slow_removed(held: list[bytes], count: int, item: bytes) -> list[bytes]:
    if count < 0:
        return slow_removed(held[::-1], -count, item)[::-1]
    due = count or len(held)
    kept = []
    for other in held:
        if other == item and due:
            due -= 1
        else:
            kept.append(other)
    return kept


def session_with(held: list[bytes]) -> Session:
    session = Session()
    if held:
        assert session("RPUSH", "list", *held) == len(held)
    return session


def held_by(session: Session, key: str = "list") -> Any:
    """All items; a list without any is no key."""
    held = session("LRANGE", key, 0, -1)
    assert session("LLEN", key) == len(held)
    assert (key.encode() in session.store.databases[0].data) == bool(held)
    return held


@given(items, positions, positions)
def test_a_range_and_a_trim(held: list[bytes], first: int, last: int) -> None:
    session = session_with(held)
    expected = slow_range(held, first, last)
    assert session("LRANGE", "list", first, last) == expected
    assert session("LTRIM", "list", first, last) == "OK"
    assert held_by(session) == expected


@given(st.integers(0, 600), st.data())
def test_a_part_of_a_long_list(size: int, data: st.DataObject) -> None:
    held = [b"%d" % at for at in range(size)]
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size))
    assert part(deque(held), start, end) == held[start:end]


@given(items, st.integers(-4, 4).filter(bool), st.integers(0, 4), st.integers(0, 14))
def test_places(held: list[bytes], rank: int, count: int, most: int) -> None:
    assert places(deque(held), b"a", rank, count, most) == slow_places(
        held, b"a", rank, count, most
    )


@given(items, st.integers(-4, 4))
def test_a_removal(held: list[bytes], count: int) -> None:
    session = session_with(held)
    expected = slow_removed(held, count, b"a")
    assert session("LREM", "list", count, "a") == len(held) - len(expected)
    assert held_by(session) == expected


@given(items, positions)
def test_a_position(held: list[bytes], at: int) -> None:
    session = session_with(held)
    is_there = -len(held) <= at < len(held)
    assert session("LINDEX", "list", at) == (held[at] if is_there else None)
    reply = session("LSET", "list", at, "new")
    assert reply == ("OK" if is_there else f"ERR {'index out of range' if held else 'no such key'}")
    if is_there:
        held[at] = b"new"
    assert held_by(session) == held


@given(items, st.sampled_from(["BEFORE", "AFTER"]))
def test_an_insertion(held: list[bytes], where: str) -> None:
    session = session_with(held)
    if b"a" in held:
        held.insert(held.index(b"a") + (where == "AFTER"), b"new")
        assert session("LINSERT", "list", where, "a", "new") == len(held)
    else:
        assert session("LINSERT", "list", where, "a", "new") == (-1 if held else 0)
    assert held_by(session) == held


@given(items, items, sides, sides, st.booleans())
def test_a_move(held: list[bytes], others: list[bytes], source: str, to: str, is_one: bool) -> None:
    session = session_with(held)
    if others:
        session("RPUSH", "others", *others)
    target = "list" if is_one else "others"
    into = held if is_one else others
    item = (held.pop(0) if source == "LEFT" else held.pop()) if held else None
    assert session("LMOVE", "list", target, source, to) == item
    if item is not None:
        into.insert(0 if to == "LEFT" else len(into), item)
    assert held_by(session) == held
    assert held_by(session, "others") == others


@given(items, st.integers(0, 14), st.booleans())
def test_pops(held: list[bytes], count: int, is_left: bool) -> None:
    session = session_with(held)
    name = "LPOP" if is_left else "RPOP"
    order = held if is_left else held[::-1]
    assert session(name, "list", count) == (order[:count] if held else None)
    order = order[count:]
    assert session(name, "list") == (order[0] if order else None)
    order = order[1:]
    assert held_by(session) == (order if is_left else order[::-1])


@given(st.lists(st.binary(max_size=2000) | st.just(b"abc"), max_size=40), st.sampled_from([2, 3]))
def test_bulk_strings_as_one_by_one(texts: list[bytes], protocol: int) -> None:
    assert bulks(texts) == array([bulk(text) for text in texts])
    if len(texts) % 2 == 0:
        assert mapping_of(texts, protocol) == mapping([bulk(text) for text in texts], protocol)
