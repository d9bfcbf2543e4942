"""Odd values to every argument of Server, serve and load: taken, or a UsageError that names it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import c1m
from c1m.apps.echo import Echo
from c1m.loadgen import run
from c1m.loadgen.plan import make_plan
from c1m.results.options import LoadOptions
from c1m.results.thresholds import parse as parse_threshold

ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            None, True, False, 2**31, 2**40, 2**63, 2**70, -(2**70), math.nan, math.inf, -math.inf,
            2.5, 3.0, 1e300, "", "5", "1M", "NaN", "a\0b", "\ud800", b"5", bytearray(b"x"), object,
            object(), [], [None], [[]], {}, {"a": 1}, (), set(), np.int64(3), np.zeros(2), len,
            np.array("x"), 1j, memoryview(b"x"), range(3), Echo,
        ]
    ),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.one_of(st.text(max_size=4), st.integers(), st.none()), max_size=3),
)  # fmt: skip

SERVER = [name for name in inspect.signature(c1m.Server).parameters if name != "self"]
LOAD = list(inspect.signature(c1m.load).parameters)


def names_it(error: c1m.UsageError, name: str, value: Any) -> bool:
    """Whether the sentence has the argument's name, or the value that was given."""
    known = [name, str(value)[:10], repr(value)[:10], getattr(value, "__name__", name)]
    return any(word in str(error) for word in known)


class Quiet:
    """An engine that does nothing, so that a server costs nothing."""

    name, reason, capacity, live_max = "quiet", "a test", 10, 10
    sends_in_wait = uses_descriptors = reports_ends = watched_is_ready = False
    thread = None
    is_shut = False

    def listen(self, endpoints: Sequence[Any], backlog: int) -> list[Any]:
        assert type(backlog) is int and 0 <= backlog < 2**31
        return list(endpoints)

    def nothing(self, *_: Any, **__: Any) -> None: ...

    room = connect = send = receive = close = wait = wake = statistics = nothing
    send_each = flush = unsent = failure = limit_output = end_output = nothing
    adopt = descriptor = peers = watch = owed = nothing

    def shutdown(self) -> None:
        self.is_shut = True


@settings(max_examples=300)
@given(name=st.sampled_from(SERVER), value=ODD)
def test_a_server_takes_it_or_says_why_not(name: str, value: Any) -> None:
    # A number is a user whom root would become; any name is a file's.
    assume(name != "user" or not str(value).isdigit())
    assume(name != "access_log" or not isinstance(value, str))
    wanted: dict[str, Any] = {"app": Echo(), "listen": "tcp://127.0.0.1:0", "engine": Quiet()}
    wanted[name] = value
    try:
        server = c1m.Server(**wanted)
    except c1m.UsageError as error:
        assert names_it(error, name, value) or name == "listen"
        return
    assert 0 <= server.outbox_high < 2**63
    assert 0 <= server.drain_ns < 2**63
    if name == "engine":
        server.shutdown()


@settings(max_examples=300)
@given(value=ODD)
def test_serve_says_what_it_cannot_serve(value: Any) -> None:
    with pytest.raises(c1m.UsageError):
        c1m.serve(value, [])  # what could be served has nowhere to listen


@settings(max_examples=300)
@given(name=st.sampled_from(LOAD), value=ODD)
def test_load_takes_it_or_says_why_not(name: str, value: Any) -> None:
    wanted: dict[str, Any] = {"target": "tcp://127.0.0.1:9", "connections": 3}
    if name in ("rate", "think", "churn"):
        wanted["hold"] = 5
    wanted[name] = value

    def planned(options: LoadOptions, **_: Any) -> Any:
        for text in options.require:
            parse_threshold(text)
        return make_plan(options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run", planned)
        try:
            c1m.load(**wanted)
        except c1m.UsageError as error:
            assert str(error)
