"""Commands on strings and bits: what Redis 7.0 answers, and what becomes of a key's time."""

from __future__ import annotations

import pytest

from kv_session import START_MS, Refused, Session

WRONG_TYPE = Refused("WRONGTYPE Operation against a key holding the wrong kind of value")
TOO_LONG = Refused("ERR string exceeds maximum allowed size (proto-max-bulk-len)")


@pytest.fixture
def session() -> Session:
    made = Session()
    made.clients[0].db.put(b"hash", {b"f": b"v"})
    return made


def test_set_and_its_options(session: Session) -> None:
    assert session("SET", "k", "a", "XX") is None
    assert session("SET", "k", "a", "nx", "get") is None
    assert session("SET", "k", "b", "NX") is None
    assert session("SET", "k", "b", "NX", "GET") == b"a"
    assert session("GET", "k") == b"a"
    assert session("SET", "k", "b", "XX", "EX", 10, "EX", 20) == "OK"
    db = session.clients[0].db
    assert db.expires[b"k"] == START_MS + 20_000
    assert session("SET", "k", "c", "KEEPTTL") == "OK"
    assert db.expires[b"k"] == START_MS + 20_000
    assert session("SET", "k", "d", "GET") == b"c"
    assert db.expires == {}
    assert session("SET", "k", "d", "PXAT", START_MS + 5) == "OK"
    session.wait(5)
    assert session("GET", "k") is None
    assert session("SET", "hash", "d", "GET") == WRONG_TYPE
    assert session("SET", "hash", "d") == "OK"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("NX XX", "ERR syntax error"),
        ("EX 1 PX 1", "ERR syntax error"),
        ("KEEPTTL EX 1", "ERR syntax error"),
        ("EX", "ERR syntax error"),
        ("PERSIST", "ERR syntax error"),
        ("EX x", "ERR value is not an integer or out of range"),
        ("EX 0", "ERR invalid expire time in 'set' command"),
        ("EXAT -1", "ERR invalid expire time in 'set' command"),
        ("PX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("EX 9223372036854776", "ERR invalid expire time in 'set' command"),
    ],
)
def test_options_that_set_refuses(session: Session, options: str, error: str) -> None:
    assert session("SET", "k", "v", *options.split()) == Refused(error)
    assert session("GET", "k") is None


def test_those_that_get_and_do_more(session: Session) -> None:
    session("SET", "k", "v")
    assert session("GETEX", "k", "EX", 1) == b"v"
    assert session.clients[0].db.expires[b"k"] == START_MS + 1000
    assert session("GETEX", "k", "PERSIST") == b"v"
    assert session.clients[0].db.expires == {}
    assert session("GETEX", "k", "PXAT", START_MS) == b"v"
    assert session("GETSET", "k", "w") is None
    assert session("GETDEL", "k") == b"w"
    assert session("GETDEL", "k") is None
    assert session("GETEX", "k", "EX", 0) is None
    assert [session(name, "hash") for name in ("GET", "GETEX", "GETDEL")] == [WRONG_TYPE] * 3
    assert session("GETEX", "k", "KEEPTTL") == Refused("ERR syntax error")


def test_many_at_once(session: Session) -> None:
    assert session("MSETNX", "a", 1, "hash", 2) == 0
    assert session("MSETNX", "a", 1, "b", 2) == 1
    assert session("MSET", "a", 3, "a", 4) == "OK"
    assert session("MGET", "a", "b", "c", "hash") == [b"4", b"2", None, None]
    refused = "ERR wrong number of arguments for '%s' command"
    assert session("MSET", "a", 1, "b") == Refused(refused % "mset")
    assert session("MSETNX", "a", 1, "b") == Refused(refused % "msetnx")


def test_parts(session: Session) -> None:
    assert session("APPEND", "k", "Hello") == 5
    assert session("APPEND", "k", " World") == 11
    assert (session("STRLEN", "k"), session("STRLEN", "none")) == (11, 0)
    whole = b"Hello World"
    for start in range(-13, 14):
        for end in range(-13, 14):
            first = max(start + 11 if start < 0 else start, 0)
            last = max(end + 11 if end < 0 else end, 0)
            is_odd = start < 0 and end < 0 and start > end
            wanted = b"" if is_odd else whole[first : last + 1]
            assert session("GETRANGE", "k", start, end) == wanted
    assert session("SETRANGE", "k", 6, "Redis") == 11
    assert session("SETRANGE", "k", 13, "!") == 14
    assert session("GET", "k") == b"Hello Redis\0\0!"
    assert session("SETRANGE", "none", 9, "") == 0
    assert session("SETRANGE", "k", 536_870_911, "ab") == TOO_LONG
    assert session("SETRANGE", "k", -1, "") == Refused("ERR offset is out of range")
    session.store.value_max = 20
    assert session("APPEND", "k", "1234567") == TOO_LONG
    assert session("APPEND", "k", "123456") == 20


def test_counting(session: Session) -> None:
    assert (session("INCR", "k"), session("DECRBY", "k", 5), session("DECR", "k")) == (1, -4, -5)
    assert session("INCRBY", "k", 9223372036854775807) == 9223372036854775802
    overflow = Refused("ERR increment or decrement would overflow")
    assert session("INCRBY", "k", 6) == overflow
    assert session("DECRBY", "k", -(1 << 63)) == Refused("ERR decrement would overflow")
    not_one = Refused("ERR value is not an integer or out of range")
    for text in ("", " 1", "+1", "01", "-0", "1.0", "9223372036854775808"):
        session("SET", "k", text)
        assert session("INCR", "k") == not_one, text
    assert session("INCRBY", "hash", "x") == not_one
    assert session("INCRBY", "hash", 1) == WRONG_TYPE


@pytest.mark.parametrize(
    ("start", "step", "total"),
    [
        ("3", "0.1", "3.1"),
        ("5.0e3", "200", "5200"),
        ("-0.1", "0.1", "0"),
        ("-1e-20", "0", "0"),
        ("17", "0.000000000000000005", "17.00000000000000001"),
        ("123456789012345678901234567890", "0.5", "123456789012345678899921813504"),
        ("1.", "+1", "2"),
        (".5", "-.5e0", "0"),
        ("0x10", "-0x1.8p-1", "15.25"),
    ],
)
def test_counting_in_long_doubles(session: Session, start: str, step: str, total: str) -> None:
    session("SET", "k", start)
    assert session("INCRBYFLOAT", "k", step) == total.encode()
    assert session("GET", "k") == total.encode()


def test_counting_goes_on_where_the_number_is_long(session: Session) -> None:
    session("SET", "k", "1e310")
    first = session("INCRBYFLOAT", "k", 1)
    assert len(first) == 311
    assert session("INCRBYFLOAT", "k", 1) == first  # too little to be seen


def test_what_is_no_number(session: Session) -> None:
    invalid = Refused("ERR value is not a valid float")
    for text in ("", " 1", "1 ", "x", "1e5000", "nan", "1_0"):
        assert session("INCRBYFLOAT", "k", text) == invalid, text
    endless = Refused("ERR increment would produce NaN or Infinity")
    assert session("INCRBYFLOAT", "k", "-Infinity") == endless
    assert session("INCRBYFLOAT", "hash", "x") == WRONG_TYPE


def test_a_change_in_place_keeps_the_time(session: Session) -> None:
    for words in (
        "APPEND k 1", "INCR k", "INCRBYFLOAT k 1", "SETBIT k 7 1", "SETRANGE k 0 5",
        "BITFIELD k SET u8 0 1",
    ):  # fmt: skip
        session("SET", "k", 1, "EX", 10)
        session(*words.split())
        assert session.clients[0].db.expires == {b"k": START_MS + 10_000}, words


def test_events(session: Session) -> None:
    heard: list[tuple[bytes, bytes, str]] = []
    session.store.listeners.append(lambda db, *what: heard.append(what))
    session("SET", "k", 1, "EX", 10)
    session("GETEX", "k", "PERSIST")
    session("SETBIT", "k", 0, 0)
    session("BITOP", "AND", "k", "none")
    session("GETDEL", "k")
    assert heard == [
        (b"k", b"set", "$"), (b"k", b"expire", "g"), (b"k", b"persist", "g"), (b"k", b"del", "g"),
    ]  # fmt: skip
    heard.clear()
    session("SET", "k", 1, "PX", 1)
    session.wait(1)
    session("SET", "k", 1)
    assert [event for _, event, _ in heard] == [b"set", b"expire", b"expired", b"set"]
