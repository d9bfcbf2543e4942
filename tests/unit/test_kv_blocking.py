"""Commands that wait: who is served, when, in which order, and what ends a wait."""

from __future__ import annotations

from typing import Any

import pytest

from kv_session import Session

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_TIME = "ERR timeout is not a float or out of range"
NEGATIVE = "ERR timeout is negative"


def waits(session: Session, client: int, line: str) -> None:
    """The command has no reply yet."""
    before = session.store.waiting.count
    assert session.raw(*line.split(), client=client) is None
    assert session.store.waiting.count == before + 1
    assert session.clients[client].waiter is not None and session.clients[client].is_kept()


def nobody_waits(session: Session) -> None:
    assert session.store.waiting.count == 0
    assert not session.store.ready
    assert not any(db.waiting for db in session.store.databases)


@pytest.fixture
def session() -> Session:
    return Session(clients=6)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("BLPOP none l 0", [b"l", b"a"]),
        ("BRPOP l none 0", [b"l", b"c"]),
        ("BLMOVE l m LEFT RIGHT 0", b"a"),
        ("BRPOPLPUSH l m 0", b"c"),
        ("BLMPOP 0 2 none l LEFT COUNT 2", [b"l", [b"a", b"b"]]),
        ("BLPOP s 0", WRONG_TYPE),
        ("BLPOP none s l 0", WRONG_TYPE),
        ("BRPOPLPUSH l s 0", WRONG_TYPE),
        ("BLPOP s x", NO_TIME),
        ("BLPOP l nan", NO_TIME),
        ("BLPOP l inf", NEGATIVE),
        ("BLPOP l -1", NEGATIVE),
        ("BLPOP l 9223372036854775807", NEGATIVE),
        ("BLMOVE l m UP LEFT x", "ERR syntax error"),
        ("BLMOVE l m LEFT LEFT x", NO_TIME),
        ("BLMPOP x 0 l LEFT", "ERR numkeys should be greater than 0"),
        ("BLMPOP x 1 l LEFT", NO_TIME),
    ],
)
def test_what_need_not_wait(session: Session, line: str, reply: Any) -> None:
    session("RPUSH", "l", "a", "b", "c")
    session("SET", "s", "text")
    assert session(*line.split()) == reply
    nobody_waits(session)


def test_first_come_first_served(session: Session) -> None:
    for client in (2, 1, 3):
        waits(session, client, "BLPOP l m 0")
    assert session("RPUSH", "l", "a", "b") == 2
    assert session.heard(2) == [[b"l", b"a"]]
    assert session.heard(1) == [[b"l", b"b"]]
    assert session.heard(3) == []
    assert session("EXISTS", "l") == 0
    assert session("RPUSH", "m", "c") == 1
    assert session.heard(3) == [[b"m", b"c"]]
    assert session.store.waiting.unblocked == [session.clients[at] for at in (2, 1, 3)]
    nobody_waits(session)


def test_it_is_served_when_all_items_are_there(session: Session) -> None:
    waits(session, 1, "BLPOP l 0")
    assert session("LPUSH", "l", "a", "b", "c") == 3
    assert session.heard(1) == [[b"l", b"c"]]
    assert session("LRANGE", "l", 0, -1) == [b"b", b"a"]


def test_a_transaction_is_not_interrupted(session: Session) -> None:
    waits(session, 1, "BLPOP l 0")
    session("MULTI")
    for line in ("LPUSH l a", "DEL l", "LPUSH l b", "LPUSH l c"):
        assert session(*line.split()) == "QUEUED"
    assert session("EXEC") == [1, 1, 1, 2]
    assert session.heard(1) == [[b"l", b"c"]]
    waits(session, 2, "BLPOP m 0")
    session("MULTI")
    session("LPUSH", "m", "a")
    session("DEL", "m")
    assert session("EXEC") == [1, 1]
    assert session.heard(2) == []


def test_within_a_transaction_nothing_waits(session: Session) -> None:
    session("MULTI")
    for line in ("BLPOP l 0", "BLMOVE l m LEFT LEFT 0", "BRPOPLPUSH l m 0", "BLMPOP 0 1 l LEFT"):
        assert session(*line.split()) == "QUEUED"
    assert session.raw("EXEC") == b"*4\r\n*-1\r\n$-1\r\n$-1\r\n*-1\r\n"
    nobody_waits(session)


@pytest.mark.parametrize(
    "line",
    ["RENAME m l", "COPY m l", "LMOVE m l LEFT LEFT", "SELECT 1;MOVE l 0"],
)
def test_other_ways_for_a_key_to_come(session: Session, line: str) -> None:
    session("RPUSH", "m", "1", "2")
    session("SELECT", "1", client=2)
    session("RPUSH", "l", "1", "2", client=2)
    waits(session, 1, "BLPOP l 0")
    for words in line.split(";"):
        session(*words.split())
    assert session.heard(1) == [[b"l", b"1"]]


def test_swapped_databases(session: Session) -> None:
    session("SELECT", "9", client=2)
    session("RPUSH", "l", "a", client=2)
    waits(session, 1, "BLPOP l 0")
    assert session("SWAPDB", 0, 9) == "OK"
    assert session.heard(1) == [[b"l", b"a"]]
    nobody_waits(session)


def test_databases_are_apart(session: Session) -> None:
    session("SELECT", "1", client=1)
    waits(session, 1, "BLPOP l 0")
    waits(session, 2, "BLPOP l 0")
    session("LPUSH", "l", "a")
    assert (session.heard(1), session.heard(2)) == ([], [[b"l", b"a"]])


def test_another_type_leaves_them_waiting(session: Session) -> None:
    waits(session, 1, "BLPOP l 0")
    session("SET", "l", "text")
    session("DEL", "l")
    session("HSET", "l", "a", 1)
    assert session.heard(1) == []
    session("DEL", "l")
    session("RPUSH", "l", "a")
    assert session.heard(1) == [[b"l", b"a"]]


def test_moves_that_serve_each_other(session: Session) -> None:
    waits(session, 1, "BRPOPLPUSH a b 0")
    waits(session, 2, "BRPOPLPUSH b c 0")
    waits(session, 3, "BLMPOP 0 2 x c LEFT")
    session("RPUSH", "a", "item")
    assert session.heard(1) == session.heard(2) == [b"item"]
    assert session.heard(3) == [[b"c", [b"item"]]]
    assert session("DBSIZE") == 0
    nobody_waits(session)


def test_moves_round_a_circle(session: Session) -> None:
    waits(session, 1, "BRPOPLPUSH a b 0")
    waits(session, 2, "BRPOPLPUSH b a 0")
    waits(session, 3, "BRPOPLPUSH b b 0")
    session("RPUSH", "a", "item")
    assert session.heard(1) == session.heard(2) == [b"item"]
    assert session("LRANGE", "a", 0, -1) == [b"item"]
    assert session.heard(3) == []
    session("RPUSH", "b", "other")
    assert session.heard(3) == [b"other"]
    assert session("LRANGE", "b", 0, -1) == [b"other"]


def test_a_move_to_the_wrong_type(session: Session) -> None:
    session("SET", "s", "text")
    waits(session, 1, "BLMOVE l s LEFT LEFT 0")
    waits(session, 2, "BLPOP l 0")
    session("RPUSH", "l", "a")
    assert session.heard(1) == [WRONG_TYPE]
    assert session.heard(2) == [[b"l", b"a"]]


def test_a_key_named_twice(session: Session) -> None:
    waits(session, 1, "BLPOP l l 0")
    session("RPUSH", "l", "a", "b")
    assert session.heard(1) == [[b"l", b"a"]]
    nobody_waits(session)


def test_who_watches_sees_what_was_served(session: Session) -> None:
    session("WATCH", "b", client=2)
    session("MULTI", client=2)
    session("PING", client=2)
    waits(session, 1, "BRPOPLPUSH a b 0")
    session("RPUSH", "a", "item")
    assert session("EXEC", client=2) is None


def test_times_end_in_their_order(session: Session) -> None:
    waiting = session.store.waiting
    waits(session, 1, "BLPOP l 0.02")
    waits(session, 2, "BLMOVE l m LEFT LEFT 0.0001")
    waits(session, 3, "BLPOP l 0")
    assert waiting.next_ms() == session.store.now_ms + 2
    session.wait(1)
    waiting.expire(session.store.now_ms)
    assert session.store.out.replies == {}
    session.wait(1)
    waiting.expire(session.store.now_ms)
    assert session.store.out.replies == {2: [b"*-1\r\n"]}
    assert waiting.next_ms() == session.store.now_ms + 19
    session("RPUSH", "l", "a")
    assert waiting.next_ms() is None
    session.wait(1000)
    waiting.expire(session.store.now_ms)
    assert session.heard(1) == [[b"l", b"a"]]
    assert session.heard(3) == []


def test_times_of_waits_that_are_over_are_forgotten(session: Session) -> None:
    waits(session, 2, "BLPOP m 100")
    for _ in range(1000):
        waits(session, 1, "BLPOP l 1000")
        session("RPUSH", "l", "a")
    assert len(session.store.waiting._times) < 200
    session.wait(200_000)
    session.store.waiting.expire(session.store.now_ms)
    assert session.heard(2) == [None]
    assert session.store.waiting.next_ms() is None


def test_unblocking_by_hand(session: Session) -> None:
    waiting = session.store.waiting
    assert not waiting.unblock(session.clients[1], is_error=False)
    waits(session, 1, "BLPOP l 0")
    waits(session, 2, "BLPOP l 0")
    assert waiting.unblock(session.clients[1], is_error=False)
    assert waiting.unblock(session.clients[2], is_error=True)
    assert session.heard(1) == [None]
    assert session.heard(2) == ["UNBLOCKED client unblocked via CLIENT UNBLOCK"]
    nobody_waits(session)


def test_a_connection_that_ends_leaves_all_queues(session: Session) -> None:
    waits(session, 1, "BLPOP l m 5")
    waits(session, 2, "BLPOP l 0")
    session.clients[1].leave()
    session("RPUSH", "l", "a")
    assert session.heard(2) == [[b"l", b"a"]]
    nobody_waits(session)
    assert session.store.waiting.next_ms() is None


def test_a_silent_client_hears_nothing(session: Session) -> None:
    waits(session, 1, "BLPOP l 0")
    session.clients[1].silence = 2
    session("RPUSH", "l", "a")
    assert session.heard(1) == []
    assert session("EXISTS", "l") == 0


def test_many_at_one_key() -> None:
    session = Session(clients=3001)
    for client in range(1, 3001):
        waits(session, client, "BLPOP l 0")
    session("RPUSH", "l", *range(3000))
    assert [session.heard(client) for client in (1, 2, 3000)] == [
        [[b"l", b"%d" % at]] for at in (0, 1, 2999)
    ]
    nobody_waits(session)
