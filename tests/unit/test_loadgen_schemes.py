"""Targets whose scheme says what their servers speak."""

from __future__ import annotations

from dataclasses import replace

import pytest

from c1m.errors import UsageError
from c1m.loadgen.schemes import base
from c1m.loadgen.schemes.known import CONNECTIONS, HOLD_NS, meant
from c1m.results.options import LoadOptions


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("redis://127.0.0.1", "tcp://127.0.0.1:6379"),
        ("Redis://localhost:7000/", "tcp://localhost:7000"),
        ("redis://[::1]/0", "tcp://[::1]:6379"),
        ("redis://[::1]:7000-7003", "tcp://[::1]:7000-7003"),
        ("rediss://me:a%40b@[::1]/3", "tls://[::1]:6379"),
        ("redis://me:a/b:c@127.0.0.1:1/3", "tcp://127.0.0.1:1"),
    ],
)
def test_where_to_connect(text: str, wanted: str) -> None:
    options = meant(LoadOptions(targets=[text, text]))[1]
    assert options.targets == [wanted, wanted] and options.scenario == "resp"
    assert (options.think_ns, options.hold_ns) == (0, HOLD_NS)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("htp://127.0.0.1:80/", "scheme of .* is unknown. Is http:// meant?"),
        ("gopher://127.0.0.1", "scheme of .* is unknown. There are: tcp://, tls://, http://"),
        ("redi://:secret@127.0.0.1", "scheme of .* is unknown. Is redis:// meant?"),
        ("me:secret@127.0.0.1:1", "a user or a password"),
        ("tls://me:secret@127.0.0.1:1", "a user or a password"),
        ("ws://me:secret@127.0.0.1", "a user or a password"),
        ("redis://:secret@127.0.0.1/x", "'/x' where the number of a database should be"),
        ("redis://", "'redis://' has no host"),
        ("redis://[::1", "Write redis://HOST or redis://HOST:PORT"),
        ("http://:80/x", "'http://:80/x' has no host"),
        ("http://:secret@127.0.0.1:99999", "or a port that is none"),
        ("wss://a:b/", "or a port that is none"),
        ("redis://:secret@127.0.0.1/1?db=2", "where the number of a database should be"),
    ],
)
def test_what_is_refused(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as error:
        meant(LoadOptions(targets=[text]))[1]
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://127.0.0.1/3", "redis://127.0.0.1/3"),
        ("redis://me:secret@127.0.0.1/3", "redis://me:***@127.0.0.1/3"),
        ("redis://secret@[::1]", "redis://***@[::1]"),
        ("redis://:sec@ret@127.0.0.1", "redis://:***@127.0.0.1"),
        ("redis://:sec/ret@127.0.0.1", "redis://:***@127.0.0.1"),
        ("--publish-to=http://me:secret@a/b?c@d", "--publish-to=http://me:***@a/b?c@d"),
        ("http://[::1]:80/@me", "http://[::1]:80/@me"),
        ("http://a:80/b:c@me", "http://a:80/b:c@me"),
        ("--message=a@b", "--message=a@b"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert base.shown(text) == shown
    assert "sec" not in repr(base.Url.of(text))


def test_targets_of_redis_that_want_different_things() -> None:
    with pytest.raises(UsageError, match="different passwords or databases") as error:
        meant(LoadOptions(targets=["redis://:secret@a", "redis://:secret2@a"]))
    assert "secret" not in str(error.value)


def test_targets_that_speak_different_things() -> None:
    for targets in (["redis://a", "tcp://a:1"], ["a:1", "redis://a"]):
        with pytest.raises(UsageError, match="speak different things"):
            meant(LoadOptions(targets=targets))[1]


def test_what_is_asked_for_stays() -> None:
    plain = LoadOptions(targets=["127.0.0.1:1", "unix:///x"], connections=3, hold_ns=5)
    assert meant(plain)[1] == replace(plain, scenario="echo")
    asked = LoadOptions(targets=["redis://a:1"], scenario="lines", hold_ns=5)
    options = meant(asked)[1]
    assert (options.scenario, options.think_ns, options.hold_ns) == ("lines", 0, 5)
    for load in (
        {"rate_per_s": 5.0},
        {"think_ns": 7},
        {"churn_per_s": 5.0},
        {"stages": ["ramp 5"]},
    ):
        options = meant(LoadOptions(targets=["redis://a"], **load))[1]
        assert options.hold_ns == (0 if "stages" in load else HOLD_NS)
        assert options.think_ns == load.get("think_ns")


def test_nothing_but_a_target() -> None:
    for target in ("127.0.0.1:1", "http://127.0.0.1/"):
        options = meant(LoadOptions(targets=[target]))[1]
        assert options.connections == CONNECTIONS
        assert (options.think_ns, options.hold_ns) == (0, HOLD_NS)
