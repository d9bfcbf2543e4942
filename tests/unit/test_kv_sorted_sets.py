"""Commands on sorted sets: what they answer, refuse and say of changes."""

from __future__ import annotations

import pytest

from c1m.kv.database import Database
from kv_session import Refused, Session

WRONG_TYPE = Refused("WRONGTYPE Operation against a key holding the wrong kind of value")
NO_FLOAT = "ERR value is not a valid float"
SYNTAX = "ERR syntax error"


def _session(protocol: int = 2) -> Session:
    session = Session(protocol=protocol)
    session("ZADD", "z", 1, "a", 2, "b", 3, "c", 3, "d")
    return session


def _run(session: Session, words: str) -> object:
    return session(*words.split())


def test_adding() -> None:
    session = _session()
    assert _run(session, "ZADD z 1 a 5 e") == 1
    assert _run(session, "ZADD z CH 1 a 6 e 7 f") == 2
    assert _run(session, "ZADD z NX 9 a 9 g") == 1
    assert _run(session, "ZADD z XX 9 a 9 h") == 0
    assert _run(session, "ZADD z GT CH 8 a 10 g") == 1
    assert _run(session, "ZADD z LT CH 8 a 11 g") == 1
    assert _run(session, "ZMSCORE z a g h") == [b"8", b"10", None]
    assert _run(session, "ZADD z INCR 1.5 a") == b"9.5"
    assert _run(session, "ZADD z NX INCR 1 a") is None
    assert _run(session, "ZADD z GT INCR -1 a") is None
    assert _run(session, "ZINCRBY z -9.5 a") == b"0"
    assert _run(session, "ZINCRBY new 1 a") == b"1"
    assert _run(session, "ZADD none XX 1 a") == 0
    assert _run(session, "ZADD none XX INCR 1 a") is None
    assert session.store.databases[0].data.keys() == {b"z", b"new"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("+5", b"5"),
        (".5", b"0.5"),
        ("5.", b"5"),
        ("0.1", b"0.10000000000000001"),
        ("1e17", b"1e+17"),
        ("123456789012345678", b"1.2345678901234568e+17"),
        ("17179869184.5", b"17179869184.5"),
        ("-0", b"0"),
        ("0x1f", b"31"),
        ("infinity", b"inf"),
        ("-INF", b"-inf"),
        ("1e-310", b"9.9999999999999694e-311"),
    ],
)
def test_scores(given: str, shown: bytes) -> None:
    session = Session()
    session("ZADD", "z", given, "a")
    assert session("ZSCORE", "z", "a") == shown
    assert session.raw("ZSCORE", "z", "a") == b"$%d\r\n%b\r\n" % (len(shown), shown)
    session.clients[0].protocol = 3
    assert session.raw("ZSCORE", "z", "a") == b",%b\r\n" % shown


def test_ranks() -> None:
    session = _session()
    assert _run(session, "ZRANK z c") == 2
    assert _run(session, "ZREVRANK z c") == 1
    assert _run(session, "ZRANK z x") is None
    assert _run(session, "ZREVRANK none x") is None
    assert _run(session, "ZCARD z") == 4
    assert _run(session, "ZCOUNT z (1 3") == 3
    assert _run(session, "ZCOUNT z -inf (3") == 2
    assert _run(session, "ZCOUNT z 3 1") == 0
    session("ZADD", "l", 0, "a", 0, "b", 0, "c")
    assert _run(session, "ZLEXCOUNT l - (c") == 2
    assert _run(session, "ZLEXCOUNT l + -") == 0


@pytest.mark.parametrize(
    ("words", "letters"),
    [
        ("ZRANGE z 0 -1", "abcd"),
        ("ZRANGE z -3 -2", "bc"),
        ("ZRANGE z 3 1", ""),
        ("ZRANGE z 0 1 REV", "dc"),
        ("ZRANGE z 2 3 BYSCORE", "bcd"),
        ("ZRANGE z 3 (1 BYSCORE REV", "dcb"),
        ("ZRANGE z (1 +inf BYSCORE LIMIT 1 1", "c"),
        ("ZRANGE z 0 9 BYSCORE LIMIT 1 -1", "bcd"),
        ("ZRANGE z 0 9 BYSCORE LIMIT -1 2", ""),
        ("ZRANGE z 0 9 BYSCORE LIMIT 9 2", ""),
        ("ZRANGE z 9 0 BYSCORE REV LIMIT 1 2", "cb"),
        ("ZRANGE z - + BYLEX", "abcd"),
        ("ZRANGE z + - BYLEX REV LIMIT 0 2", "dc"),
        ("ZRANGE z 0 -1 LIMIT 0 -1", "abcd"),
        ("ZREVRANGE z 0 1", "dc"),
        ("ZRANGEBYSCORE z (1 (3", "b"),
        ("ZREVRANGEBYSCORE z 3 2 LIMIT 1 5", "cb"),
        ("ZRANGEBYLEX z [b (d", "bc"),
        ("ZREVRANGEBYLEX z (d [b", "cb"),
        ("ZRANGE none 0 -1", ""),
    ],
)
def test_ranges(words: str, letters: str) -> None:
    found = _run(_session(), words)
    assert found == [letter.encode() for letter in letters]


def test_scores_of_ranges_in_both_protocols() -> None:
    assert _run(_session(), "ZRANGE z 0 1 WITHSCORES") == [b"a", b"1", b"b", b"2"]
    assert _run(_session(3), "ZRANGE z 0 1 WITHSCORES") == [[b"a", 1.0], [b"b", 2.0]]
    assert _run(_session(3), "ZPOPMAX z") == [b"d", 3.0]
    assert _run(_session(3), "ZPOPMAX z 2") == [[b"d", 3.0], [b"c", 3.0]]
    assert _run(_session(), "ZPOPMIN z 2") == [b"a", b"1", b"b", b"2"]
    assert _run(_session(3), "ZRANDMEMBER z 9 WITHSCORES") == [
        [b"a", 1.0],
        [b"b", 2.0],
        [b"c", 3.0],
        [b"d", 3.0],
    ]
    assert _run(_session(3), "ZMPOP 2 none z MIN COUNT 2") == [
        b"z",
        [[b"a", 1.0], [b"b", 2.0]],
    ]
    assert _session().raw("ZMPOP", 1, "none", "MIN") == b"*-1\r\n"


def test_removing() -> None:
    session = _session()
    assert _run(session, "ZREM z a x") == 1
    assert _run(session, "ZREMRANGEBYRANK z 0 0") == 1
    assert _run(session, "ZREMRANGEBYSCORE z (3 9") == 0
    assert _run(session, "ZREMRANGEBYLEX z [d +") == 1
    assert _run(session, "ZREMRANGEBYSCORE z 3 3") == 1
    assert session.store.databases[0].data == {}
    assert _run(session, "ZPOPMIN z") == []


def test_stored_ranges() -> None:
    session = _session()
    assert _run(session, "ZRANGESTORE d z 1 3 BYSCORE LIMIT 1 2") == 2
    assert _run(session, "ZRANGE d 0 -1 WITHSCORES") == [b"b", b"2", b"c", b"3"]
    assert _run(session, "ZRANGESTORE d z 5 9") == 0
    assert session.store.databases[0].data.keys() == {b"z"}


def test_combinations() -> None:
    session = _session()
    session("ZADD", "y", 10, "a", 20, "b", 30, "e")
    session("SADD", "s", "a", "x")
    for words, expected in (
        ("ZUNION 2 z y", "c d a b e"),
        ("ZUNION 2 z y WITHSCORES", "c 3 d 3 a 11 b 22 e 30"),
        ("ZUNION 2 z y WEIGHTS 1 2 AGGREGATE MAX WITHSCORES", "c 3 d 3 a 20 b 40 e 60"),
        ("ZUNION 2 z s AGGREGATE MIN WITHSCORES", "a 1 x 1 b 2 c 3 d 3"),
        ("ZINTER 2 z y WEIGHTS 2 3 AGGREGATE MIN WITHSCORES", "a 2 b 4"),
        ("ZINTER 2 z none", ""),
        ("ZDIFF 2 z y WITHSCORES", "c 3 d 3"),
        ("ZDIFF 2 z z", ""),
        ("ZUNION 1 z WEIGHTS -inf WITHSCORES", "a -inf b -inf c -inf d -inf"),
    ):
        assert _run(session, words) == expected.encode().split(), words
    assert _run(session, "ZINTERCARD 2 z y") == 2
    assert _run(session, "ZINTERCARD 2 z y LIMIT 1") == 1
    assert _run(session, "ZUNIONSTORE d 2 z y") == 5
    assert _run(session, "ZINTERSTORE d 2 z y WEIGHTS 1 0") == 2
    assert _run(session, "ZRANGE d 0 -1 WITHSCORES") == [b"a", b"1", b"b", b"2"]
    assert _run(session, "ZDIFFSTORE d 2 z z") == 0
    assert b"d" not in session.store.databases[0].data


def test_infinities_that_cancel_are_zero() -> None:
    session = Session()
    session("ZADD", "p", "inf", "a")
    session("ZADD", "q", "-inf", "a")
    assert _run(session, "ZUNION 2 p q WITHSCORES") == [b"a", b"0"]
    assert _run(session, "ZUNION 1 p WEIGHTS 0 WITHSCORES") == [b"a", b"0"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ZADD z nan a", NO_FLOAT),
        ("ZADD z 1e400 a", NO_FLOAT),
        ("ZADD z 1e-400 a", NO_FLOAT),
        ("ZADD z 1_0 a", NO_FLOAT),
        ("ZADD z 1 a x b", NO_FLOAT),
        ("ZADD z NX XX 1 a", "ERR XX and NX options at the same time are not compatible"),
        (
            "ZADD z GT NX 1 a",
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ),
        ("ZADD z INCR 1 a 2 b", "ERR INCR option supports a single increment-element pair"),
        ("ZADD z NX 1", SYNTAX),
        ("ZINCRBY i -inf a", "ERR resulting score is not a number (NaN)"),
        ("ZINCRBY z NX a", SYNTAX),
        ("ZCOUNT z a b", "ERR min or max is not a float"),
        ("ZLEXCOUNT z a [b", "ERR min or max not valid string range item"),
        ("ZRANGE z a 1", "ERR value is not an integer or out of range"),
        ("ZRANGE z 0 1 OTHER", SYNTAX),
        ("ZRANGE z 0 1 BYLEX BYSCORE", SYNTAX),
        (
            "ZRANGE z 0 1 LIMIT 0 1",
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ),
        (
            "ZRANGE z - + BYLEX WITHSCORES",
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("ZREVRANGE z 0 1 REV", SYNTAX),
        ("ZRANGEBYSCORE z 0 1 BYSCORE", SYNTAX),
        ("ZRANGESTORE d z 0 1 WITHSCORES", SYNTAX),
        ("ZPOPMIN z -1", "ERR value is out of range, must be positive"),
        ("ZPOPMIN z 1 1", SYNTAX),
        ("ZUNION 0 z", "ERR at least 1 input key is needed for 'zunion' command"),
        ("ZUNION 2 z", SYNTAX),
        ("ZUNION 1 z WEIGHTS x", "ERR weight value is not a float"),
        ("ZUNION 1 z WEIGHTS", SYNTAX),
        ("ZUNION 1 z AGGREGATE other", SYNTAX),
        ("ZDIFF 1 z WEIGHTS 1", SYNTAX),
        ("ZUNIONSTORE d 1 z WITHSCORES", SYNTAX),
        ("ZINTERCARD 1 z LIMIT -1", "ERR LIMIT can't be negative"),
        ("ZMPOP 0 z MIN", "ERR numkeys should be greater than 0"),
        ("ZMPOP 1 z OTHER", SYNTAX),
        ("ZMPOP 1 z MIN COUNT 0", "ERR count should be greater than 0"),
        ("ZRANDMEMBER z 1 OTHER", SYNTAX),
        ("ZRANDMEMBER z -4611686018427387905 WITHSCORES", "ERR value is out of range"),
        ("ZSCAN z x", "ERR invalid cursor"),
    ],
)
def test_refusals(words: str, error: str) -> None:
    session = _session()
    session("ZADD", "i", "inf", "a")
    assert _run(session, words) == Refused(error)


def test_other_types_are_refused() -> None:
    session = _session()
    session("SET", "text", "x")
    session("SADD", "set", "a")
    for words in [
        "ZADD text 1 a",
        "ZINCRBY text 1 a",
        "ZREM text a",
        "ZSCORE text a",
        "ZMSCORE text a",
        "ZCARD text",
        "ZRANK text a",
        "ZREVRANK text a",
        "ZCOUNT text 1 2",
        "ZLEXCOUNT text - +",
        "ZRANGE text 0 1",
        "ZRANGESTORE d text 0 1",
        "ZREMRANGEBYRANK text 0 1",
        "ZREMRANGEBYSCORE text 0 1",
        "ZREMRANGEBYLEX text - +",
        "ZPOPMIN text",
        "ZPOPMAX text 1",
        "ZMPOP 1 text MIN",
        "ZUNION 2 z text",
        "ZINTER 2 none text",
        "ZDIFF 2 none text",
        "ZINTERCARD 1 text",
        "ZUNIONSTORE d 1 text",
        "ZRANDMEMBER text",
        "ZRANDMEMBER text 1",
        "ZSCAN text 0",
        "ZSCORE set a",
        "ZADD set 1 a",
    ]:
        assert _run(session, words) == WRONG_TYPE, words


def test_scans_come_by_all() -> None:
    session = Session()
    session("ZADD", "z", *(word for n in range(500) for word in (n, f"m{n}")))
    found, cursor = dict[bytes, bytes](), b"0"
    while True:
        cursor, some = session("ZSCAN", "z", cursor)
        found.update(zip(some[::2], some[1::2], strict=True))
        if cursor == b"0":
            break
    assert found == {b"m%d" % n: b"%d" % n for n in range(500)}
    session("ZADD", "small", *(word for n in range(100) for word in (100 - n, f"m{n}")))
    assert session("ZSCAN", "small", 0)[1][:2] == [b"m99", b"1"]
    assert session("ZSCAN", "none", 0) == [b"0", []]


def test_changes_are_told() -> None:
    session = Session()
    told: list[tuple[bytes, bytes]] = []

    def listen(db: Database, key: bytes, event: bytes, kind: str) -> None:
        assert kind in "zg"
        told.append((key, event))

    session.store.listeners.append(listen)
    for words, events in (
        ("ZADD z 1 a 2 b 3 c", [(b"z", b"zadd")]),
        ("ZADD z 1 a", []),
        ("ZINCRBY z 1 a", [(b"z", b"zincr")]),
        ("ZINCRBY z 0 a", []),
        ("ZRANGESTORE d z 0 -1", [(b"d", b"zrangestore")]),
        ("ZPOPMIN d 9", [(b"d", b"zpopmin"), (b"d", b"del")]),
        ("ZREM z x", []),
        ("ZREMRANGEBYSCORE z 0 9", [(b"z", b"zremrangebyscore"), (b"z", b"del")]),
        ("ZUNIONSTORE d 1 none", []),
    ):
        told.clear()
        _run(session, words)
        assert told == events, words


def test_pops_that_wait() -> None:
    session = _session(3)
    assert _run(session, "BZPOPMIN none z 0") == [b"z", b"a", 1.0]
    assert _run(session, "BZPOPMAX z 0") == [b"z", b"d", 3.0]
    assert _run(session, "BZMPOP 0 2 none z MAX COUNT 9") == [b"z", [[b"c", 3.0], [b"b", 2.0]]]
    session = Session(clients=3)
    assert session.raw("BZPOPMIN", "y", "z", 0) is None
    assert session.raw("BZMPOP", 0, 1, "z", "MAX", "COUNT", 2, client=1) is None
    assert _run(session, "RPUSH y text") == 1  # another type: nobody is served
    assert session("ZADD", "z", 1, "a", 2, "b", 3, "c", client=2) == 3
    assert session.heard(0) == [[b"z", b"a", b"1"]]
    assert session.heard(1) == [[b"z", [[b"c", b"3"], [b"b", b"2"]]]]
    assert session.store.databases[0].data.keys() == {b"y"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("BZPOPMIN z x", "ERR timeout is not a float or out of range"),
        ("BZPOPMAX z -1", "ERR timeout is negative"),
        ("BZMPOP x 0 z MIN", "ERR numkeys should be greater than 0"),
        ("BZMPOP x 1 z MIN", "ERR timeout is not a float or out of range"),
        ("BZMPOP 0 1 z MIN COUNT 0", "ERR count should be greater than 0"),
        ("BZPOPMIN none text 0", WRONG_TYPE),
    ],
)
def test_pops_that_are_refused(words: str, error: str) -> None:
    session = _session()
    session("SET", "text", "x")
    assert _run(session, words) == Refused(error)


def test_a_sorted_set_never_becomes_a_listpack_again() -> None:
    session = _session()
    session("ZPOPMIN", "z")
    assert session("OBJECT", "ENCODING", "z") == b"listpack"
    session("ZADD", "z", 1, "x" * 65)
    session("ZPOPMIN", "z")
    session("COPY", "z", "y")
    for key in "zy":
        assert session("OBJECT", "ENCODING", key) == b"skiplist"
    assert _run(session, "ZUNIONSTORE z 1 z") == 3
    assert session("OBJECT", "ENCODING", "z") == b"listpack"
