"""MULTI, EXEC, DISCARD, WATCH, UNWATCH."""

from __future__ import annotations

import pytest

from kv_session import Refused, Session

PREVIOUS = Refused("EXECABORT Transaction discarded because of previous errors.")


def test_commands_run_one_after_another() -> None:
    session = Session()
    assert session("multi") == "OK"
    assert session("set", "k", 1) == "QUEUED"
    assert session("incr", "k") == "QUEUED"
    assert session("lpush", "k", 1) == "QUEUED"
    assert session("unwatch") == "QUEUED"
    assert session("get", "k", client=1) is None
    wrong = Refused("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert session("exec") == ["OK", 2, wrong, "OK"]
    assert session("get", "k", client=1) == b"2"
    assert not session.clients[0].is_kept()


def test_what_is_said_out_of_place() -> None:
    session = Session()
    assert session("exec") == Refused("ERR EXEC without MULTI")
    assert session("discard") == Refused("ERR DISCARD without MULTI")
    session("multi")
    assert session("multi") == Refused("ERR MULTI calls can not be nested")
    assert session("watch", "k") == Refused("ERR WATCH inside MULTI is not allowed")
    assert session("exec") == []


def test_a_refused_command_ends_all() -> None:
    session = Session()
    for words in (["nope"], ["get"], ["config", "nope"], ["save"]):
        session("multi")
        session("set", "k", 1)
        assert isinstance(session(*words), Refused)
        assert session("exec") == PREVIOUS
        assert session("get", "k") is None


def test_an_exec_with_arguments_ends_the_transaction() -> None:
    session = Session()
    session("multi")
    assert session("exec", 1) == Refused(
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
    )
    assert session("exec") == Refused("ERR EXEC without MULTI")


def test_discard_forgets() -> None:
    session = Session()
    session("watch", "k")
    session("multi")
    session("set", "k", 1)
    session("nope")
    assert session("discard") == "OK"
    session("set", "k", 2, client=1)
    session("multi")
    assert session("exec") == []
    assert session("get", "k") == b"2"


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    "words",
    [
        ["set", "k", 2], ["del", "k"], ["append", "k", "x"], ["expire", "k", 100], ["flushall"],
        ["flushdb"], ["rename", "k", "l"], ["swapdb", 0, 1], ["getex", "k", "px", 100],
    ],
)  # fmt: skip
def test_a_watched_key_that_changed_stops_exec(words: list[object], protocol: int) -> None:
    session = Session(protocol=protocol)
    session("set", "k", 1)
    session("watch", "k", "other", "k")
    assert session(*words, client=1) != Refused("")
    session("multi")
    session("set", "mine", 1)
    assert session("exec") is None
    assert session("get", "mine") is None
    session("multi")
    assert session("exec") == []
    assert not session.clients[0].is_kept()
    assert not session.store.databases[0].watchers


@pytest.mark.parametrize(
    "words",
    [
        ["set", "other", 2], ["get", "k"], ["del", "none"], ["expire", "none", 100],
        ["touch", "k"], ["persist", "k"], ["setnx", "k", 2],
    ],
)  # fmt: skip
def test_what_changes_nothing_stops_nothing(words: list[object]) -> None:
    session = Session()
    session("set", "k", 1)
    session("watch", "k", "none")
    session(*words, client=1)
    session("multi")
    session("get", "k")
    assert session("exec") == [b"1"]


def test_a_key_of_another_database_is_another_key() -> None:
    session = Session()
    session("watch", "k")
    session("select", 1, client=1)
    session("set", "k", 1, client=1)
    session("flushdb", client=1)
    session("multi")
    assert session("exec") == []
    session("select", 1)
    session("watch", "k")
    session("select", 0)
    session("set", "k", 1, client=1)
    session("multi")
    assert session("exec") is None


def test_a_watched_key_that_expires_has_changed() -> None:
    session = Session()
    session("set", "k", 1, "px", 100)
    session("watch", "k")
    session.wait(101)
    session("multi")
    assert session("exec") is None


def test_a_key_that_had_expired_before_is_not_there() -> None:
    session = Session()
    session("set", "k", 1, "px", 100)
    session.wait(101)
    session("watch", "k")
    session("multi")
    assert session("exec") == []


def test_flushing_what_is_not_there_changes_nothing() -> None:
    session = Session()
    session("watch", "k")
    session("flushall", client=1)
    session("multi")
    assert session("exec") == []


def test_ones_own_changes_count() -> None:
    session = Session()
    session("watch", "k")
    session("set", "k", 1)
    session("multi")
    assert session("exec") is None
    session("watch", "k")
    session("set", "k", 1)
    assert session("unwatch") == "OK"
    session("multi")
    assert session("exec") == []


def test_who_leaves_watches_nothing() -> None:
    session = Session()
    session("watch", "k", "l")
    assert session.clients[0].is_kept()
    session.clients[0].leave()
    assert not session.store.databases[0].watchers


def test_what_a_command_says_itself_is_in_its_place() -> None:
    session = Session()
    session("multi")
    session("set", "k", 1)
    session("subscribe", "a")
    session("get", "k")
    assert session("exec") == ["OK", [b"subscribe", b"a", 1], b"1"]
    assert session.heard() == []


def test_a_pop_that_would_wait_does_not() -> None:
    session = Session()
    session("multi")
    session("blpop", "l", 0)
    session("monitor")
    assert session("exec") == [
        None, Refused("ERR MONITOR isn't allowed for DENY BLOCKING client"),
    ]  # fmt: skip
    assert session("ping") == "PONG"


def test_what_is_queued_is_bounded_for_each_and_in_all() -> None:
    session = Session()
    session.store.settings.apply("maxmemory-clients", "100000")
    assert session("multi") == session("multi", client=1) == "OK"
    assert session("set", "k", "x" * 60_000) == "QUEUED"
    too_much = Refused("OOM too much is queued in transactions")
    assert session("set", "k", "x" * 60_000, client=1) == too_much
    assert session("set", "k", "x", client=1) == "QUEUED"
    assert session("exec", client=1) == PREVIOUS
    assert session("exec") == ["OK"]
    assert session.store.queued_bytes == 0
    session.store.settings.apply("maxmemory-clients", "0")
    session.store.settings.apply("client-query-buffer-limit", 2 << 20)
    assert session("multi") == "OK"
    for _ in range(2):
        assert session("set", "k", "x" * 1_000_000) == "QUEUED"
    assert session("set", "k", "x" * 1_000_000) == too_much
    assert session("discard") == "OK" and session.store.queued_bytes == 0
