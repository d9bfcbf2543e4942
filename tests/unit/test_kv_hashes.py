"""Commands on hashes."""

from __future__ import annotations

from typing import Any

import pytest

from kv_session import Session

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture
def session() -> Session:
    session = Session()
    session("HSET", "h", "a", 1, "b", "two")
    session("SET", "s", "text")
    return session


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("HSET h a 2 c 3 c 4", 1),
        ("HMSET h a 2", "OK"),
        ("HSETNX h a 2", 0),
        ("HSETNX h c 2", 1),
        ("HGET h a", b"1"),
        ("HGET h none", None),
        ("HGET none a", None),
        ("HMGET h a none b", [b"1", None, b"two"]),
        ("HMGET none a", [None]),
        ("HGETALL h", [b"a", b"1", b"b", b"two"]),
        ("HGETALL none", []),
        ("HKEYS h", [b"a", b"b"]),
        ("HVALS h", [b"1", b"two"]),
        ("HLEN h", 2),
        ("HSTRLEN h b", 3),
        ("HSTRLEN h none", 0),
        ("HEXISTS h a", 1),
        ("HEXISTS none a", 0),
        ("HDEL h a a none", 1),
        ("HDEL none a", 0),
        ("HINCRBY h a -3", -2),
        ("HINCRBY h new 5", 5),
        ("HINCRBYFLOAT h a 0.1", b"1.1"),
        ("HINCRBYFLOAT h new 3.0e2", b"300"),
        ("HINCRBYFLOAT h b 1", "ERR hash value is not a float"),
        ("HINCRBYFLOAT s a x", "ERR value is not a valid float"),
        ("HINCRBYFLOAT s a inf", "ERR value is NaN or Infinity"),
        ("HSCAN h 0", [b"0", [b"a", b"1", b"b", b"two"]]),
        ("HSCAN h 0 MATCH b* COUNT 1", [b"0", [b"b", b"two"]]),
        ("HSCAN none 0 COUNT", [b"0", []]),
        ("HSCAN h 0 TYPE hash", "ERR syntax error"),
        ("HSCAN s x", "ERR invalid cursor"),
        ("HSCAN s 0", WRONG_TYPE),
        ("HRANDFIELD none", None),
        ("HRANDFIELD none 5", []),
        ("HRANDFIELD h 0", []),
        ("HRANDFIELD h 3 WITHVALUES", [b"a", b"1", b"b", b"two"]),
        ("HSET h a", "ERR wrong number of arguments for 'hset' command"),
        ("HMSET h a 1 b", "ERR wrong number of arguments for 'hmset' command"),
        ("HINCRBY s a x", NOT_AN_INTEGER),
        ("HINCRBY h b 1", "ERR hash value is not an integer"),
        ("HINCRBY h a 9223372036854775807", "ERR increment or decrement would overflow"),
        ("HRANDFIELD s x", NOT_AN_INTEGER),
        ("HRANDFIELD h 1 WITH", "ERR syntax error"),
        ("HRANDFIELD h 1 WITHVALUES x", "ERR syntax error"),
        ("HRANDFIELD h 9223372036854775807 WITHVALUES", "ERR value is out of range"),
        (
            "HRANDFIELD h -9223372036854775808",
            "ERR value is out of range, value must between -9223372036854775807 and"
            " 9223372036854775807",
        ),
        ("HGET s a", WRONG_TYPE),
        ("HSET s a 1", WRONG_TYPE),
        ("HDEL s a", WRONG_TYPE),
    ],
)
def test_replies(session: Session, line: str, reply: Any) -> None:
    assert session(*line.split()) == reply


def test_resp3_has_maps_and_pairs() -> None:
    session = Session(protocol=3)
    session("HSET", "h", "a", 1, "b", 2)
    assert session("HGETALL", "h") == {b"a": b"1", b"b": b"2"}
    assert session.raw("HGETALL", "none") == b"%0\r\n"
    assert session("HRANDFIELD", "h", 2, "WITHVALUES") == [[b"a", b"1"], [b"b", b"2"]]
    assert session.raw("HGET", "h", "none") == b"_\r\n"


def test_random_fields(session: Session) -> None:
    session("HSET", "h", *[word for at in range(50) for word in (f"f{at}", at)])
    held = set(session("HKEYS", "h"))
    some = session("HRANDFIELD", "h", 20)
    assert len(some) == len(set(some)) == 20 and set(some) <= held
    many = session("HRANDFIELD", "h", -200)
    assert len(many) == 200 and set(many) <= held
    assert len({session("HRANDFIELD", "h") for _ in range(100)}) > 10
    pairs = session("HRANDFIELD", "h", -5, "WITHVALUES")
    assert [session("HGET", "h", field) for field in pairs[::2]] == pairs[1::2]


def test_what_listeners_hear(session: Session) -> None:
    heard: list[str] = []
    session.store.listeners.append(lambda db, key, event, kind: heard.append(f"{event!r} {kind}"))
    for line in ("HSET h a 1", "HSETNX h a 1", "HINCRBY h a 1", "HDEL h none", "HDEL h a b"):
        session(*line.split())
    assert heard == ["b'hset' h", "b'hincrby' h", "b'hdel' h", "b'del' g"]
    assert session("DEL", "h") == 0


def test_a_scan_of_a_large_hash_finds_what_stays(session: Session) -> None:
    session("HSET", "h", *[word for at in range(2000) for word in (f"f{at}", at)])
    found: dict[bytes, bytes] = {}
    cursor, steps = b"0", 0
    while cursor != b"0" or not steps:
        cursor, pairs = session("HSCAN", "h", cursor, "COUNT", 50)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        session("HDEL", "h", f"f{steps}", f"f{1999 - steps}")
        session("HSET", "h", f"new{steps}", steps)
        steps += 1
    assert steps > 10
    assert all(found[b"f%d" % at] == b"%d" % at for at in range(steps, 1999 - steps))


@pytest.mark.parametrize("line", ["HSET h long {}", "HSET h {} 1", "HMSET h a 1 b {}"])
def test_a_hash_that_was_large_stays_so(session: Session, line: str) -> None:
    assert session("OBJECT", "ENCODING", "h") == b"listpack"
    words = line.format("x" * 65).split()
    session(*words)
    assert session("OBJECT", "ENCODING", "h") == b"hashtable"
    session("HSET", "h", words[2], "short")
    session("HDEL", "h", "x" * 65)
    session("COPY", "h", "other")
    assert session("OBJECT", "ENCODING", "h") == b"hashtable"
    assert session("OBJECT", "ENCODING", "other") == b"hashtable"
    assert session("TYPE", "h") == "hash"


def test_a_hash_of_many_fields_is_large(session: Session) -> None:
    session("CONFIG", "SET", "hash-max-listpack-entries", 4)
    session("HSET", "h", "c", 3, "d", 4)
    assert session("OBJECT", "ENCODING", "h") == b"listpack"
    session("HINCRBY", "h", "e", 4)
    session("HDEL", "h", "e", "d")
    assert session("OBJECT", "ENCODING", "h") == b"hashtable"
