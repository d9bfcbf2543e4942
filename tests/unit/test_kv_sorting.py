"""SORT, in the forms that clients use."""

from __future__ import annotations

import pytest

from kv_session import Refused, Session


@pytest.fixture
def run() -> Session:
    run = Session()
    run("RPUSH", "list", 3, 1, 2, 10)
    run("SADD", "set", "c", "a", "b")
    run("ZADD", "zset", 3, "a", 1, "b", 2, "c")
    for number, word in [(1, "pear"), (2, "apple"), (10, "fig")]:
        run("SET", f"word:{number}", word)
        run("HSET", f"hash:{number}", "weight", -number)
    return run


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("list", "1 2 3 10"),
        ("list DESC", "10 3 2 1"),
        ("list ALPHA", "1 10 2 3"),
        ("list LIMIT 1 2", "2 3"),
        ("list LIMIT -1 -1", "1 2 3 10"),
        ("list LIMIT 5 1", ""),
        ("list BY nosort", "3 1 2 10"),
        ("list BY nosort DESC LIMIT 0 2", "10 2"),
        ("list BY nosort BY word:* ALPHA", "3 1 2 10"),
        ("list BY word:* ALPHA", "3 2 10 1"),
        ("list BY word:* ALPHA DESC", "1 10 2 3"),
        ("list BY hash:*->weight", "10 2 1 3"),
        ("list BY hash:*->none", "1 10 2 3"),
        ("list GET # GET word:*", "1 pear 2 apple 3 - 10 fig"),
        ("list GET hash:*->weight", "-1 -2 - -10"),
        ("list GET word", "- - - -"),
        ("set ALPHA", "a b c"),
        ("zset ALPHA DESC", "c b a"),
        ("zset BY nosort", "b c a"),
        ("none", ""),
    ],
)
def test_orders(run: Session, words: str, reply: str) -> None:
    expected = [None if word == "-" else word.encode() for word in reply.split()]
    assert run("SORT", *words.split()) == expected
    assert run("SORT_RO", *words.split()) == expected


def test_store(run: Session) -> None:
    assert run("SORT", "list", "GET", "word:*", "STORE", "made") == 4
    assert run("LRANGE", "made", 0, -1) == [b"pear", b"apple", b"", b"fig"]
    assert run("SORT", "none", "STORE", "made") == 0
    assert run("EXISTS", "made") == 0


def test_refusals(run: Session) -> None:
    run("SET", "text", 1)
    for words, text in [
        ("list LIMIT 0", "ERR syntax error"),
        ("list LIMIT x 1", "ERR value is not an integer or out of range"),
        ("list BY", "ERR syntax error"),
        ("list foo", "ERR syntax error"),
        ("set", "ERR One or more scores can't be converted into double"),
        ("text", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ]:
        assert run("SORT", *words.split()) == Refused(text)
    assert run("SORT_RO", "list", "STORE", "x") == Refused("ERR syntax error")


def test_the_key_where_it_stores_is_a_key_of_the_command(run: Session) -> None:
    assert run("COMMAND", "GETKEYS", "SORT", "list", "STORE", "x", "BY", "STORE", "STORE", "y") == [
        b"list",
        b"y",
    ]
    assert run("COMMAND", "GETKEYS", "SORT", "list", "LIMIT", 0, "STORE") == [b"list"]


def test_weights_are_read_as_c_reads_them() -> None:
    """Up to a zero byte, behind blanks, in any form of strtod(); nothing is 0."""
    session = Session()
    session("RPUSH", "l", "a", "b", "c", "d")
    session("MSET", "w_a", " 0x10", "w_b", "\0no number", "w_c", "2\0", "w_d", "-1e1")
    assert session("SORT", "l", "BY", "w_*") == [b"d", b"b", b"c", b"a"]
    session("SET", "w_a", " ")
    refused = Refused("ERR One or more scores can't be converted into double")
    assert session("SORT", "l", "BY", "w_*") == refused
    session("ZADD", "z", 1, "a")
    session("SORT", "z", "ALPHA")
    assert session("OBJECT", "ENCODING", "z") == b"skiplist"
