"""CONFIG: what is there, what it takes, and that all or nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest

from kv_session import Refused, Session


def shown(session: Session, *patterns: str) -> dict[str, str]:
    pairs = [text.decode() for text in session("config", "get", *patterns)]
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def failed(name: str, reason: str) -> Refused:
    return Refused(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


def test_patterns() -> None:
    session = Session()
    assert shown(session, "databases") == {"databases": "16"}
    assert shown(session, "TIMEOUT", "tim*", "nope") == {"timeout": "0"}
    assert shown(session, "hash-max-*-entries") == {
        "hash-max-listpack-entries": "512",
        "hash-max-ziplist-entries": "512",
    }
    assert len(shown(session, "*")) > 50


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("maxmemory", "100mb", "104857600"),
        ("maxmemory", "1k", "1000"),
        ("timeout", "10", "10"),
        ("MAXMEMORY-POLICY", "ALLKEYS-LRU", "allkeys-lru"),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "g$xlshzetdmn", "Amn"),
        ("notify-keyspace-events", "xK", "xK"),
        ("save", "3600 1  300 100", "3600 1 300 100"),
        ("save", "", ""),
        ("hash-max-ziplist-value", "10", "10"),
        ("lazyfree-lazy-expire", "YES", "yes"),
        ("client-output-buffer-limit", "pubsub 1mb 2mb 30",
         "normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 2097152 30"),
    ],
)  # fmt: skip
def test_what_is_taken(name: str, given: str, value: str) -> None:
    session = Session()
    assert session("config", "set", name, given) == "OK"
    assert shown(session, name) == {name.lower(): value}


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("maxmemory", "1.5gb", "argument must be a memory value"),
        ("maxmemory", "-1", "argument must be a memory value"),
        ("timeout", "x", "argument couldn't be parsed into an integer"),
        ("timeout", "-1", "argument must be between 0 and 43200 inclusive"),
        ("databases", "3", "can't set immutable config"),
        ("lazyfree-lazy-expire", "1", "argument must be 'yes' or 'no'"),
        ("loglevel", "x", "argument(s) must be one of the following: debug, verbose, notice, "
         "warning"),
        ("notify-keyspace-events", "q",
         "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("save", "1 2 3", "Invalid save parameters"),
        ("client-output-buffer-limit", "pubsub 1",
         "Wrong number of arguments in buffer limit configuration."),
        ("client-output-buffer-limit", "nope 1 1 1",
         "Invalid client class specified in buffer limit configuration."),
        ("client-output-buffer-limit", "pubsub x 1 1",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        ("proto-max-bulk-len", "1",
         "argument must be between 1048576 and 9223372036854775807 inclusive"),
    ],
)  # fmt: skip
def test_what_is_refused(name: str, given: str, reason: str) -> None:
    session = Session()
    before = shown(session, "*")
    assert session("config", "set", "maxmemory-samples", 7, name, given) == failed(name, reason)
    assert shown(session, "*") == before


def test_all_or_nothing() -> None:
    session = Session()
    assert session("config", "set", "timeout", 5, "nope", 1) == Refused(
        "ERR Unknown option or number of arguments for CONFIG SET - 'nope'"
    )
    assert session("config", "set", "timeout", 5, "timeout", 6) == failed(
        "timeout", "duplicate parameter"
    )
    assert session("config", "set", "timeout") == Refused(
        "ERR wrong number of arguments for 'config|set' command"
    )
    assert shown(session, "timeout") == {"timeout": "0"}


def test_an_effect_may_refuse_and_all_goes_back() -> None:
    session = Session()
    seen: list[Any] = []

    def refuse(value: Any) -> None:
        raise ValueError("not here")

    session.store.settings.effects |= {"timeout": seen.append, "hz": refuse}
    assert session("config", "set", "timeout", 5, "hz", 20) == failed("hz", "not here")
    assert seen == [5, 0]
    assert shown(session, "timeout") == {"timeout": "0"}


def test_there_is_no_file_to_rewrite() -> None:
    session = Session()
    assert session("config", "rewrite") == Refused(
        "ERR The server is running without a config file"
    )
    assert session("config", "resetstat") == "OK"


def test_the_longest_value_follows_its_setting() -> None:
    session = Session()
    session("config", "set", "proto-max-bulk-len", 1 << 20)
    assert session.store.value_max == 1 << 20
