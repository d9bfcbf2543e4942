"""DUMP and RESTORE: what goes out comes back, and what is garbled is refused."""

from __future__ import annotations

import random

import pytest

from c1m.kv.encoding import seal
from kv_session import Refused, Session

MADE = [
    ("SET", "k", "text"), ("APPEND", "k", "text"), ("HSET", "k", "f", "v", "g", ""),
    ("RPUSH", "k", "a", "b", "a"), ("SADD", "k", "a", "b"), ("ZADD", "k", 1.5, "a", "inf", "b"),
]  # fmt: skip


@pytest.mark.parametrize("words", MADE)
def test_values_come_back(words: tuple[object, ...]) -> None:
    run = Session()
    run(*words)
    dumped = run("DUMP", "k")
    value = run.clients[0].db.find(b"k")
    assert run("RESTORE", "k", 0, dumped) == Refused("BUSYKEY Target key name already exists.")
    assert run("RESTORE", "new", 500, dumped) == "OK"
    found = run.clients[0].db.find(b"new")
    assert (type(found), run("TYPE", "new")) == (type(value), run("TYPE", "k"))
    if isinstance(value, set):  # whose order is not kept
        assert found == value
    else:
        assert run("DUMP", "new") == dumped
    assert run("PTTL", "new") == 500
    assert run("RESTORE", "k", 1, dumped, "REPLACE", "ABSTTL") == "OK"  # long ago
    assert run("EXISTS", "k") == 0


def test_garbled_bytes_are_refused() -> None:
    run = Session()
    draw = random.Random(1)
    for words in MADE:
        run("DEL", "k")
        run(*words)
        dumped = run("DUMP", "k")
        for _ in range(300):
            inner = bytearray(dumped[4:])
            inner[draw.randrange(2, len(inner))] = draw.randrange(256)
            if draw.random() < 0.3:
                del inner[draw.randrange(2, len(inner)) :]
            reply = run("RESTORE", "new", 0, seal(bytes(inner)), "REPLACE")
            assert reply == "OK" or str(reply).startswith("ERR Bad data format")
            assert run.store.statistics.faults == 0
            assert run("DUMP", "new") is not None or reply != "OK"
    assert run("RESTORE", "x", 0, b"xx") == Refused(
        "ERR DUMP payload version or checksum are wrong"
    )


def test_options() -> None:
    run = Session()
    run("SET", "a", 1)
    for words, text in [
        ((-1, "xx"), "ERR Invalid TTL value, must be >= 0"),
        ((0, "xx", "foo"), "ERR syntax error"),
        ((0, "xx", "IDLETIME", -1), "ERR Invalid IDLETIME value, must be >= 0"),
        ((0, "xx", "IDLETIME"), "ERR syntax error"),
        ((0, "xx", "FREQ", 256), "ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ((0, "xx", "IDLETIME", 1, "FREQ", 1), "ERR syntax error"),
    ]:
        assert run("RESTORE", "b", *words) == Refused(text)
    assert run("DUMP", "none") is None
