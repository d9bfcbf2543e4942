"""The bound on memory: every change is weighed, and the right keys go."""

from __future__ import annotations

import random

import pytest

from c1m.kv.upkeep import upkeep
from c1m.kv.weights import ENTRY, value_weight
from kv_session import Refused, Session

OOM = Refused("OOM command not allowed when used memory > 'maxmemory'.")


@pytest.fixture
def run() -> Session:
    return Session()


def bound(run: Session, limit: int, policy: str = "noeviction") -> None:
    run("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", policy)


def weight_of_all(run: Session) -> int:
    """What `used` should be: all keys are weighed anew."""
    kept = run.store.memory.used
    run("CONFIG", "SET", "maxmemory", 0)
    assert run.store.memory.used == 0
    run("CONFIG", "SET", "maxmemory", 1 << 40)
    return run.store.memory.used if kept else 0


@pytest.mark.parametrize("seed", range(5))
def test_every_change_is_weighed(run: Session, seed: int) -> None:
    bound(run, 1 << 40)
    draw = random.Random(seed)
    for _ in range(1_000):
        key, field = f"k{draw.randrange(20)}", f"f{draw.randrange(50)}"
        value = "v" * draw.randrange(200)
        command = draw.choice([
            ("SET", key, value), ("SET", key, value, "PX", 50), ("APPEND", key, value),
            ("HSET", key, field, value), ("HDEL", key, field), ("RPUSH", key, value),
            ("LPOP", key), ("LTRIM", key, 1, 3), ("DEL", key), ("EXPIRE", key, 1), ("PERSIST", key),
            ("RENAME", key, "k1"), ("COPY", key, "k2", "REPLACE"), ("MOVE", key, 3),
            ("SWAPDB", 0, 3), ("SETRANGE", key, 9, value), ("GETDEL", key), ("INCR", key),
        ])  # fmt: skip
        run(*command)
        run.wait(1)
        if draw.random() < 0.01:
            upkeep(run.store)
        if draw.random() < 0.003:
            run("FLUSHDB")
    used = run.store.memory.used
    assert used > 0
    assert weight_of_all(run) == used
    run("FLUSHALL")
    assert run.store.memory.used == 0


def test_without_eviction_what_adds_is_refused_and_all_else_goes_on(run: Session) -> None:
    bound(run, 10_000)
    count = 0
    while run("SET", f"key{count}", "v" * 100) == "OK":
        count += 1
    assert 25 < count < 60
    assert run("SET", "new", "x") == OOM
    assert run("RPUSH", "list", "x") == OOM
    assert run("GET", "key1") == b"v" * 100
    assert upkeep(run.store) is None
    assert run("DEL", "key1", "key2") == 2
    assert run("SET", "new", "x") == "OK"


def test_a_limit_of_zero_is_none(run: Session) -> None:
    bound(run, 1)
    run("SET", "a", 1)
    assert run("SET", "b", 1) == OOM
    bound(run, 0)
    assert run("SET", "b", 1) == "OK"
    assert run.store.listeners == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_keys_are_evicted(run: Session, policy: str) -> None:
    bound(run, 100_000, policy)
    for number in range(2_000):
        assert run("SET", f"key{number}", "v" * 100) == "OK"
    assert run("DBSIZE") == 2_000 - run.store.memory.evicted
    assert 80_000 < run.store.memory.used < 101_000


def test_what_is_used_stays(run: Session) -> None:
    bound(run, 100_000, "allkeys-lru")
    for number in range(2_000):
        run("SET", f"key{number}", "v" * 100)
        run.wait(1_000)
        run("GET", "key7")
        run("GET", "key8")
    assert run("EXISTS", "key7", "key8") == 2
    left = [int(key[3:]) for key in run("KEYS", "*")]
    assert sum(left) / len(left) > 1_700  # those that were set last
    run.wait(5_000)
    assert run("OBJECT", "IDLETIME", "key7") == 5
    run("TOUCH", "key7")
    assert run("OBJECT", "IDLETIME", "key7") == 0


@pytest.mark.parametrize("policy", ["volatile-ttl", "volatile-lru", "volatile-random"])
def test_only_keys_that_expire_are_evicted(run: Session, policy: str) -> None:
    bound(run, 100_000, policy)
    for number in range(100):
        run("SET", f"kept{number}", "v" * 100)
    for number in range(1_000):
        assert run("SET", f"key{number}", "v" * 100, "EX", 1_000 + number) == "OK"
    assert run("DBSIZE") < 600
    assert len(run("KEYS", "kept*")) == 100
    if policy == "volatile-ttl":
        left = [int(key[3:]) for key in run("KEYS", "key*")]
        assert sum(left) / len(left) > 800
    while run("SET", f"more{random.random()}", "v" * 100) == "OK":
        pass
    assert run("KEYS", "key*") == []
    assert len(run("KEYS", "kept*")) == 100


def test_a_lower_limit_is_reached_in_slices(run: Session) -> None:
    bound(run, 1 << 40, "allkeys-random")
    for number in range(2_000):
        run("SET", f"key{number}", "v" * 100)
    run("CONFIG", "SET", "maxmemory", 100_000)
    assert run("DBSIZE") > 1_500
    turns = 0
    while upkeep(run.store) == 0:
        turns += 1
    assert 10 < turns < 40
    assert not run.store.memory.is_over


def test_a_policy_that_is_not_there_is_refused(run: Session) -> None:
    bound(run, 1_000)
    assert "allkeys-lru" in run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    assert run("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]


def test_large_values_are_weighed_by_a_few_members() -> None:
    value = {b"%06d" % n: b"v" * 100 for n in range(10_000)}
    assert value_weight(value) == value_weight(value, 0)
    assert value_weight(b"x" * 1_000) == 1_033
    assert ENTRY > 0


def test_any_number_of_samples_holds_nobody_up() -> None:
    session = Session()
    for name, value in (("samples", (1 << 31) - 1), ("policy", "allkeys-lru")):
        assert session("CONFIG", "SET", f"maxmemory-{name}", value) == "OK"
    assert session("CONFIG", "SET", "maxmemory", 1) == "OK"
    assert session("SET", "k", "v") == "OK"
    session("GET", "k")
    assert session("DBSIZE") == 0
