"""What a tick's changes are written as: values, commands, and nothing twice."""

from __future__ import annotations

import pytest

from c1m.kv.encoding import CHANGED, FLUSHED, HASH, LIST, REMOVED, STRING, entries, unpack
from c1m.kv.journal import Journal
from kv_session import Session

LARGE = [f"m{number}" for number in range(100)]
PAIRS = [word for member in LARGE for word in (member, "v")]


class Noted(Session):
    """A session whose changes are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal(self.store)

    def took(self) -> list[tuple[int, int, bytes, list[bytes] | None]]:
        """What is to be written: kind, place, key, and of commands their words."""
        data = self.journal.take()
        self.journal.done()
        return [
            (e.kind, e.place, e.key, unpack(e.body) if e.kind == CHANGED else None)
            for e in entries(data)
        ]


@pytest.fixture
def session() -> Noted:
    return Noted()


def test_a_key_is_written_once_a_tick(session: Noted) -> None:
    session("SET", "k", 1)
    session("INCR", "k")
    session("GET", "k")
    assert session.took() == [(STRING, 0, b"k", None)]
    assert session.took() == []


def test_what_is_gone_is_written_as_gone(session: Noted) -> None:
    session("SET", "k", 1)
    session.took()
    session("DEL", "k")
    assert session.took() == [(REMOVED, 0, b"k", None)]
    session("SET", "k", 1, "PX", 5)
    session.took()
    session.wait(10)
    session("GET", "k")
    assert session.took() == [(REMOVED, 0, b"k", None)]


def test_a_small_value_is_written_whole_and_of_a_large_one_the_command(session: Noted) -> None:
    session("HSET", "small", "a", 1)
    session("HSET", "large", *PAIRS)
    session.took()
    session("HSET", "small", "a", 2)
    session("HSET", "large", "a", 2)
    session("HDEL", "large", "m3")
    assert session.took() == [
        (HASH, 0, b"small", None),
        (CHANGED, 0, b"large", [b"HSET", b"large", b"a", b"2"]),
        (CHANGED, 0, b"large", [b"HDEL", b"large", b"m3"]),
    ]


def test_what_cannot_be_done_again_is_written_whole(session: Noted) -> None:
    session("RPUSH", "list", *LARGE)
    session.took()
    session("RPUSH", "list", "x")
    session("RENAME", "list", "other")
    assert sorted(session.took()) == [(REMOVED, 0, b"list", None), (LIST, 0, b"other", None)]
    session("RPUSH", "other", "x")
    session("COPY", "other", "copy")
    assert [(kind, key) for kind, _, key, _ in session.took()] == [
        (LIST, b"copy"),
        (CHANGED, b"other"),
    ]


def test_what_was_drawn_or_moved_is_written_as_what_it_did(session: Noted) -> None:
    session("SADD", "set", *LARGE)
    session("RPUSH", "list", *LARGE)
    session("RPUSH", "there", *LARGE)
    session("EXPIRE", "list", 100)
    session.took()
    drawn = session("SPOP", "set")
    two = session("SPOP", "set", 2)
    session("LMOVE", "list", "there", "LEFT", "RIGHT")
    session("BRPOP", "nothing", "list", 0)
    session("PEXPIRE", "there", 5000)
    when = b"%d" % (session.store.now_ms + 5000)
    words = [e[3] for e in session.took()]
    assert words[0] == [b"srem", b"set", drawn]
    assert words[1] is not None and sorted(words[1][2:]) == sorted(two)
    assert words[2:] == [
        [b"lpop", b"list"],
        [b"rpop", b"list"],
        [b"rpush", b"there", b"m0"],
        [b"pexpireat", b"there", when],
    ]


def test_a_command_that_is_refused_writes_nothing(session: Noted) -> None:
    session("RPUSH", "list", *LARGE)
    session.took()
    session("LPOP", "list", "nothing")
    session("HSET", "list", "a", 1)
    assert session.took() == []


def test_databases_have_places_that_are_swapped(session: Noted) -> None:
    session("SET", "k", 1)
    session.took()
    session("SWAPDB", 0, 3)
    assert session.journal.are_places_new
    assert session.took() == []
    session("SET", "k", 2)
    assert session.took() == [(STRING, 3, b"k", None)]
    session("SELECT", 3)
    session("FLUSHDB")
    session("SET", "new", 2)
    assert session.took() == [(FLUSHED, 0, b"", None), (STRING, 0, b"new", None)]


def test_quick_writes_are_noted(session: Noted) -> None:
    db = session.store.databases[0]
    db.put(b"k", b"v")
    session.store.wrote(db, [b"k", b"k"])
    assert session.took() == [(STRING, 0, b"k", None)]


def test_transactions_and_their_replies(session: Noted) -> None:
    session.journal.is_strict = True
    session("MULTI")
    session("SET", "k", 1)
    assert not session.journal.has_written
    session("EXEC")
    assert session.journal.has_written
    assert session.took() == [(STRING, 0, b"k", None)]
