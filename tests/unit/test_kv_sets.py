"""Commands on sets: what they answer, refuse and say of changes."""

from __future__ import annotations

import pytest

from c1m.kv.database import Database
from kv_session import Refused, Session

WRONG_TYPE = Refused("WRONGTYPE Operation against a key holding the wrong kind of value")


def test_members_come_and_go() -> None:
    session = Session(protocol=3)
    assert session("SADD", "s", "a", "b", "a") == 2
    assert session("SADD", "s", "a") == 0
    assert session("SMEMBERS", "s") == {b"a", b"b"}
    assert session("SCARD", "s") == 2
    assert session("SISMEMBER", "s", "a") == 1
    assert session("SMISMEMBER", "s", "x", "b") == [0, 1]
    assert session("SREM", "s", "a", "x") == 1
    assert session("SREM", "s", "b") == 1
    assert session("SCARD", "s") == 0
    assert session.store.databases[0].data == {}
    assert session("SMEMBERS", "s") == set()
    assert session("SREM", "s", "b") == 0


def test_random_members() -> None:
    session = Session(protocol=3)
    names = {b"%d" % n for n in range(20)}
    session("SADD", "s", *names)
    assert session("SRANDMEMBER", "s") in names
    drawn = session("SRANDMEMBER", "s", 15)
    assert len(drawn) == len(set(drawn)) == 15
    assert len(session("SRANDMEMBER", "s", -50)) == 50
    assert session("SRANDMEMBER", "s", 0) == []
    popped = session("SPOP", "s", 8) | {session("SPOP", "s")}
    assert len(popped) == 9
    assert session("SMEMBERS", "s") == names - popped
    assert session("SPOP", "s", 100) == names - popped
    assert session("SPOP", "s") is None
    assert session("SPOP", "s", 1) == set()
    assert session("SRANDMEMBER", "s") is None


def test_a_member_moves() -> None:
    session = Session()
    session("SADD", "from", "a", "b")
    assert session("SMOVE", "from", "to", "a") == 1
    assert session("SMOVE", "from", "to", "a") == 0
    assert session("SMOVE", "to", "to", "a") == 1
    assert session("SMOVE", "from", "to", "b") == 1
    assert sorted(session("SMEMBERS", "to")) == [b"a", b"b"]
    assert session.store.databases[0].data.keys() == {b"to"}


def test_algebra() -> None:
    session = Session(protocol=3)
    session("SADD", "one", 1, 2, 3)
    session("SADD", "two", 2, 3, 4)
    assert session("SINTER", "one", "two") == {b"2", b"3"}
    assert session("SINTER", "one", "none") == set()
    assert session("SUNION", "one", "two", "none") == {b"1", b"2", b"3", b"4"}
    assert session("SDIFF", "one", "two", "none") == {b"1"}
    assert session("SINTERCARD", 2, "one", "two") == 2
    assert session("SINTERCARD", 2, "one", "two", "LIMIT", 1) == 1
    assert session("SINTERSTORE", "one", "one", "two") == 2
    assert session("SUNIONSTORE", "all", "one", "two") == 3
    assert session("SDIFFSTORE", "all", "one", "two") == 0
    assert session("SMEMBERS", "one") == {b"2", b"3"}
    assert session.store.databases[0].data.keys() == {b"one", b"two"}


def test_a_stored_result_is_a_set_of_its_own() -> None:
    session = Session(protocol=3)
    session("SADD", "s", "a")
    session("SUNIONSTORE", "t", "s")
    session("SINTERSTORE", "u", "s")
    session("SADD", "t", "b")
    session("SADD", "u", "c")
    assert session("SMEMBERS", "s") == {b"a"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("SPOP s -1", "ERR value is out of range, must be positive"),
        ("SPOP s x", "ERR value is out of range, must be positive"),
        ("SPOP s 1 2", "ERR syntax error"),
        ("SRANDMEMBER s x", "ERR value is not an integer or out of range"),
        ("SRANDMEMBER s 1 2", "ERR syntax error"),
        (
            "SRANDMEMBER s -9223372036854775808",
            "ERR value is out of range, value must between -9223372036854775807 and "
            "9223372036854775807",
        ),
        ("SINTERCARD 0 s", "ERR numkeys should be greater than 0"),
        ("SINTERCARD x s", "ERR numkeys should be greater than 0"),
        ("SINTERCARD 2 s", "ERR Number of keys can't be greater than number of args"),
        ("SINTERCARD 1 s LIMIT", "ERR syntax error"),
        ("SINTERCARD 1 s LIMIT -1", "ERR LIMIT can't be negative"),
        ("SINTERCARD 1 s OTHER 1", "ERR syntax error"),
        ("SSCAN s x", "ERR invalid cursor"),
        ("SADD s", "ERR wrong number of arguments for 'sadd' command"),
    ],
)
def test_refusals(words: str, error: str) -> None:
    session = Session()
    session("SADD", "s", "a")
    assert session(*words.split()) == Refused(error)


def test_other_types_are_refused() -> None:
    session = Session()
    session("SET", "text", "x")
    session("SADD", "s", "a")
    for words in [
        "SADD text a",
        "SREM text a",
        "SISMEMBER text a",
        "SMISMEMBER text a",
        "SCARD text",
        "SMEMBERS text",
        "SPOP text",
        "SPOP text 1",
        "SRANDMEMBER text",
        "SRANDMEMBER text 1",
        "SMOVE text s a",
        "SMOVE s text a",
        "SINTER none text",
        "SUNION none text",
        "SDIFF none text",
        "SINTERSTORE d text",
        "SINTERCARD 1 text",
        "SSCAN text 0",
    ]:
        assert session(*words.split()) == WRONG_TYPE, words
    assert session("SMOVE", "none", "text", "a") == 0


def test_scans_come_by_all() -> None:
    session = Session()
    names = {b"m%d" % n for n in range(1_000)}
    session("SADD", "s", *names)
    found, cursor = set[bytes](), b"0"
    while True:
        cursor, some = session("SSCAN", "s", cursor)
        found.update(some)
        if cursor == b"0":
            break
    assert found == names
    assert session("SSCAN", "none", 0) == [b"0", []]
    session("SADD", "numbers", *range(500))
    assert len(session("SSCAN", "numbers", 0)[1]) == 500  # as Redis does with an intset


def test_changes_are_told() -> None:
    session = Session()
    told: list[tuple[bytes, bytes]] = []

    def listen(db: Database, key: bytes, event: bytes, kind: str) -> None:
        told.append((key, event))

    session.store.listeners.append(listen)
    for words, events in (
        ("SADD s a b c", [(b"s", b"sadd")]),
        ("SADD s a", []),
        ("SREM s x", []),
        ("SMOVE s t a", [(b"s", b"srem"), (b"t", b"sadd")]),
        ("SPOP t", [(b"t", b"spop"), (b"t", b"del")]),
        ("SREM s b c", [(b"s", b"srem"), (b"s", b"del")]),
        ("SINTERSTORE d none", []),
    ):
        told.clear()
        session(*words.split())
        assert told == events, words


def test_a_set_never_becomes_an_intset_again() -> None:
    session = Session()
    session("SADD", "s", 1, 2)
    assert session("OBJECT", "ENCODING", "s") == b"intset"
    session("SREM", "s", 2, "x")
    assert session("OBJECT", "ENCODING", "s") == b"intset"
    session("SADD", "s", "x")
    session("SREM", "s", "x")
    session("COPY", "s", "t")
    for key in "st":
        assert session("OBJECT", "ENCODING", key) == b"hashtable"
    session("SADD", "many", *range(513))
    session("SPOP", "many")
    assert session("OBJECT", "ENCODING", "many") == b"hashtable"
    session("SPOP", "many", 500)  # Redis makes a new one
    assert session("OBJECT", "ENCODING", "many") == b"intset"
