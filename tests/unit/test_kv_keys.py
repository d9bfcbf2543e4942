"""Commands on keys: what differs from what one would guess."""

from __future__ import annotations

from collections import Counter, deque

import pytest

from c1m.kv.garbage import LARGE, Garbage
from c1m.kv.random_keys import RandomKeys
from c1m.kv.upkeep import upkeep
from kv_session import START_MS, Refused, Session


@pytest.fixture
def run() -> Session:
    return Session()


def test_keys_that_have_expired_are_not_there(run: Session) -> None:
    run("SET", "a", 1)
    run("SET", "b", 1)
    run("PEXPIRE", "a", 10)
    run.wait(10)
    assert run("KEYS", "*") == [b"b"]
    assert run("DBSIZE") == 2  # not removed yet, as in Redis
    assert run("SCAN", 0) == [b"0", [b"b"]]
    assert run("DBSIZE") == 1
    assert run("RENAME", "a", "c") == Refused("ERR no such key")


def test_times_of_expiry(run: Session) -> None:
    assert (run("TTL", "a"), run("PTTL", "a"), run("EXPIRETIME", "a")) == (-2, -2, -2)
    run("SET", "a", 1)
    assert (run("TTL", "a"), run("PTTL", "a"), run("PEXPIRETIME", "a")) == (-1, -1, -1)
    assert run("EXPIRE", "a", 10) == 1
    run.wait(1_500)
    assert (run("TTL", "a"), run("PTTL", "a")) == (9, 8_500)
    assert run("PEXPIRETIME", "a") == START_MS + 10_000
    assert run("EXPIRETIME", "a") == START_MS // 1000 + 10
    assert run("PERSIST", "a") == 1
    assert run("PERSIST", "a") == 0
    assert run("EXPIREAT", "a", 5) == 1
    assert run("EXISTS", "a") == 0


@pytest.mark.parametrize(
    ("before", "condition", "after", "done"),
    [
        (None, "NX", 20, 1), (10, "NX", 20, 0), (None, "XX", 20, 0), (10, "XX", 20, 1),
        (None, "GT", 20, 0), (10, "GT", 20, 1), (20, "GT", 20, 0), (30, "GT", 20, 0),
        (None, "LT", 20, 1), (10, "LT", 20, 0), (20, "LT", 20, 0), (30, "LT", 20, 1),
    ],
)  # fmt: skip
def test_conditions(
    run: Session, before: int | None, condition: str, after: int, done: int
) -> None:
    run("SET", "a", 1)
    if before is not None:
        run("EXPIRE", "a", before)
    assert run("EXPIRE", "a", after, condition) == done
    assert run("TTL", "a") == (after if done else before or -1)


def test_refusals(run: Session) -> None:
    run("SET", "a", 1)
    for words, text in [
        (("EXPIRE", "a", "x", "NX", "foo"), "ERR Unsupported option foo"),
        (
            ("EXPIRE", "a", 10, "NX", "XX"),
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            ("EXPIRE", "a", 10, "GT", "LT"),
            "ERR GT and LT options at the same time are not compatible",
        ),
        (("EXPIRE", "a", 9999999999999999), "ERR invalid expire time in 'expire' command"),
        (("PEXPIRE", "a", 2**63 - 1), "ERR invalid expire time in 'pexpire' command"),
        (("SELECT", "x"), "ERR value is not an integer or out of range"),
        (("SELECT", 16), "ERR DB index is out of range"),
        (("SWAPDB", "x", 1), "ERR invalid first DB index"),
        (("SWAPDB", 1, "x"), "ERR invalid second DB index"),
        (("MOVE", "a", 0), "ERR source and destination objects are the same"),
        (("COPY", "a", "a"), "ERR source and destination objects are the same"),
        (("COPY", "a", "b", "DB"), "ERR syntax error"),
        (("FLUSHALL", "ASYNC", "SYNC"), "ERR syntax error"),
        (("SCAN", "x"), "ERR invalid cursor"),
        (("SCAN", 0, "COUNT", 0), "ERR syntax error"),
        (("SCAN", 0, "MATCH"), "ERR syntax error"),
    ]:
        assert run(*words) == Refused(text), words


def test_copies_change_alone_and_keep_their_time(run: Session) -> None:
    db = run.clients[0].db
    values = {b"hash": {b"f": b"v"}, b"list": deque([b"x"]), b"string": bytearray(b"x")}
    for key, value in values.items():
        db.put(key, value)
        db.expire_at(key, START_MS + 5_000)
        assert run("COPY", key, "copy") == 1
        copied = db.find(b"copy")
        assert copied == value
        assert copied is not value
        assert run("PTTL", "copy") == 5_000
        assert run("COPY", key, "copy") == 0
        assert run("COPY", key, "copy", "REPLACE") == 1
        assert run("COPY", key, "copy", "DB", 3) == 1
        run("DEL", "copy")
        assert run.store.databases[3].find(b"copy") == value
        run.store.databases[3].remove(b"copy")


def test_rename_and_move_take_the_time_along(run: Session) -> None:
    run("SET", "a", 1)
    run("PEXPIRE", "a", 500)
    run("SET", "b", 2)
    assert run("RENAMENX", "a", "b") == 0
    assert run("RENAME", "a", "b") == "OK"
    assert run("PTTL", "b") == 500
    assert run("MOVE", "b", 4) == 1
    assert run("EXISTS", "b") == 0
    run("SELECT", 4)
    assert run("PTTL", "b") == 500


def test_swapping_and_flushing_tell_those_who_watch(run: Session) -> None:
    for change in [("FLUSHDB",), ("SWAPDB", 0, 1), ("FLUSHALL",)]:
        run("SET", "a", 1)
        run("WATCH", "a")
        run("MULTI")
        run("PING")
        run(*change, client=1)
        assert run("EXEC") is None
    assert run("DBSIZE") == 0


def test_scan_goes_through_all_and_looks_at_types(run: Session) -> None:
    for number in range(100):
        run("SET", f"key:{number}", 1)
    run.clients[0].db.put(b"hash", {b"f": b"v"})
    cursor, seen = b"0", []
    while True:
        cursor, found = run("SCAN", cursor, "COUNT", 7, "MATCH", "key:*5")
        seen += found
        if cursor == b"0":
            break
    assert sorted(seen) == sorted(b"key:%d" % n for n in range(100) if n % 10 == 5)
    assert run("SCAN", 0, "TYPE", "hash", "COUNT", 1000) == [b"0", [b"hash"]]
    assert run("SCAN", 0, "TYPE", "nonsense", "COUNT", 1000) == [b"0", []]


def test_encodings(run: Session) -> None:
    db = run.clients[0].db
    for value, name in [
        (b"12", b"int"), (b"-9223372036854775808", b"int"), (b"9223372036854775808", b"embstr"),
        (b"012", b"embstr"), (b"x" * 44, b"embstr"), (b"x" * 45, b"raw"), (bytearray(b"1"), b"raw"),
        ({b"f": b"v"}, b"listpack"), ({b"f": b"v" * 65}, b"hashtable"),
        ({b"%d" % n: b"" for n in range(513)}, b"hashtable"), (deque([b"x"]), b"quicklist"),
    ]:  # fmt: skip
        db.put(b"key", value)
        assert run("OBJECT", "ENCODING", "key") == name
    run("CONFIG", "SET", "hash-max-listpack-entries", 1)
    db.put(b"key", {b"f": b"v", b"g": b"v"})
    assert run("OBJECT", "ENCODING", "key") == b"hashtable"
    assert run("OBJECT", "ENCODING", "none") is None


def test_large_values_go_bit_by_bit() -> None:
    garbage = Garbage()
    garbage.throw({b"k": b"v"})
    assert not garbage
    inner = dict.fromkeys(range(2 * LARGE))
    for value in [
        dict.fromkeys(range(5_000)),
        set(range(5_000)),
        deque(range(5_000)),
        {n: inner if n == 50 else b"v" for n in range(5_000)},
    ]:
        garbage.throw(value)
        turns = 0
        while garbage:
            garbage.sweep(100)
            turns += 1
        assert 50 <= turns <= 80
        assert not value
    assert not inner


def test_flushing_leaves_no_work_for_one_tick(run: Session) -> None:
    for number in range(20_000):
        run.clients[0].db.put(b"%d" % number, b"v")
    data = run.clients[0].db.data
    run("FLUSHALL")
    assert (run("DBSIZE"), len(data)) == (0, 20_000)
    assert upkeep(run.store) == 0
    assert len(data) < 20_000
    while upkeep(run.store) is not None:
        pass
    assert not data


def test_random_keys_are_uniform_and_those_that_are_there() -> None:
    keys = RandomKeys()
    assert keys.draw({}, 0) is None
    data = dict.fromkeys([b"%d" % n for n in range(1_000)])
    counts = Counter(keys.draw(data, 1) for _ in range(100_000))
    assert len(counts) == 1_000
    assert max(counts.values()) < 200
    for n in range(900):
        del data[b"%d" % n]
    assert {keys.draw(data, 901) for _ in range(5_000)} == set(data)
    data[b"new"] = None
    assert b"new" in {keys.draw(data, 10_000) for _ in range(5_000)}
