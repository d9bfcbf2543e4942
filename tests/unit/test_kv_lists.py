"""Commands on lists: what is refused, and what listeners hear."""

from __future__ import annotations

import pytest

from kv_session import Session

SYNTAX = "ERR syntax error"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_POSITIVE = "ERR value is out of range, must be positive"


@pytest.fixture
def session() -> Session:
    session = Session()
    session("RPUSH", "l", "a", "b", "c")
    session("SET", "s", "text")
    return session


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("LPUSH s a", WRONG_TYPE),
        ("LPUSHX s a", WRONG_TYPE),
        ("LPOP l x", NOT_POSITIVE),
        ("LPOP s -1", NOT_POSITIVE),
        ("LPOP s 0", WRONG_TYPE),
        ("LPOP l 1 2", "ERR wrong number of arguments for 'lpop' command"),
        ("LMPOP 0 l LEFT", "ERR numkeys should be greater than 0"),
        ("LMPOP x l LEFT", "ERR numkeys should be greater than 0"),
        ("LMPOP 2 l LEFT", SYNTAX),
        ("LMPOP 1 l UP", SYNTAX),
        ("LMPOP 1 l LEFT COUNT", SYNTAX),
        ("LMPOP 1 l LEFT COUNT 0", "ERR count should be greater than 0"),
        ("LMPOP 1 l LEFT COUNT x", "ERR count should be greater than 0"),
        ("LMPOP 2 none s LEFT", WRONG_TYPE),
        ("LMOVE l l UP LEFT", SYNTAX),
        ("LMOVE l s LEFT LEFT", WRONG_TYPE),
        ("LMOVE s l LEFT LEFT", WRONG_TYPE),
        ("LINDEX l x", "ERR value is not an integer or out of range"),
        ("LSET none x a", "ERR no such key"),
        ("LSET l x a", "ERR value is not an integer or out of range"),
        ("LSET l 3 a", "ERR index out of range"),
        ("LINSERT l UP a b", SYNTAX),
        ("LREM none x a", "ERR value is not an integer or out of range"),
        ("LPOS l a RANK", SYNTAX),
        ("LPOS l a UP 1", SYNTAX),
        ("LPOS l a COUNT -1", "ERR COUNT can't be negative"),
        ("LPOS l a MAXLEN x", "ERR MAXLEN can't be negative"),
        (
            "LPOS s a RANK 0",
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or"
            " use negative to start from the end of the list",
        ),
    ],
)
def test_what_is_refused(session: Session, line: str, refusal: str) -> None:
    assert session(*line.split()) == refusal
    assert session("LRANGE", "l", 0, -1) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        ("LPOP none", b"$-1\r\n"),
        ("LPOP none 1", b"*-1\r\n"),
        ("LPOP l 0", b"*0\r\n"),
        ("LMPOP 1 none LEFT", b"*-1\r\n"),
        ("LMPOP 2 none l RIGHT COUNT 2", b"*2\r\n$1\r\nl\r\n*2\r\n$1\r\nc\r\n$1\r\nb\r\n"),
        ("LMOVE none s LEFT LEFT", b"$-1\r\n"),
        ("LPOS none a", b"$-1\r\n"),
        ("LPOS none a COUNT 0", b"*0\r\n"),
        ("LPOS l none", b"$-1\r\n"),
        ("LPOS l b", b":1\r\n"),
        ("LPUSHX none a", b":0\r\n"),
        ("RPUSHX l d", b":4\r\n"),
        ("RPOPLPUSH l l", b"$1\r\nc\r\n"),
        ("LTRIM none 0 1", b"+OK\r\n"),
        ("LINSERT none BEFORE a b", b":0\r\n"),
    ],
)
def test_replies(session: Session, line: str, raw: bytes) -> None:
    assert session.raw(*line.split()) == raw


def test_what_listeners_hear(session: Session) -> None:
    heard: list[tuple[bytes, bytes, str]] = []
    session.store.listeners.append(lambda db, key, event, kind: heard.append((key, event, kind)))

    def events(line: str) -> list[str]:
        heard.clear()
        session(*line.split())
        return [f"{key.decode()} {event.decode()} {kind}" for key, event, kind in heard]

    assert events("LPUSH m a b") == ["m lpush l"]
    assert events("RPUSHX m c") == ["m rpush l"]
    assert events("LMOVE m n LEFT RIGHT") == ["n rpush l", "m lpop l"]
    assert events("LSET m 0 x") == ["m lset l"]
    assert events("LINSERT m BEFORE x y") == ["m linsert l"]
    assert events("LINSERT m BEFORE none y") == []
    assert events("LREM m 0 none") == []
    assert events("LREM m 0 x") == ["m lrem l"]
    assert events("LTRIM m 0 5") == ["m ltrim l"]
    assert events("LTRIM m 5 6") == ["m ltrim l", "m del g"]
    assert events("RPOP n") == ["n rpop l", "n del g"]
    assert events("LMPOP 1 l LEFT COUNT 5") == ["l lpop l", "l del g"]
    assert events("LPOP l") == []
