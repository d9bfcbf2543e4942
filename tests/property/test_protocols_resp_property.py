"""Requests in the batch form against the plain form, which reads one piece after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from c1m.protocols.resp import batch
from c1m.protocols.resp.batch import Uniform, uniform
from c1m.protocols.resp.replies import command
from c1m.protocols.resp.requests import Args, Requests

# Words that look like what stands around them, and some of one length.
WORD = st.one_of(
    st.text("\r\n$*10", max_size=6).map(str.encode),
    st.binary(min_size=2, max_size=2),
    st.binary(max_size=12).map(lambda word: word.replace(b"\r\n", b"")),
)
NAME = st.sampled_from([b"GET", b"SET", b"get", b"*1", b"", b"\r\n"])
EDGES = st.sampled_from([b"\r\n", b"\n", b"*2", b"$1\r\n", b"*1\r\n$4\r\nPING\r\n", b"$-1\r\n"])


@pytest.fixture(scope="module", autouse=True)
def arrays_at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "ARRAYS_MIN", 2)
        yield


def plain(pieces: list[bytes]) -> list[list[Args]] | None:
    """The commands of each piece; None where one is not whole or no request."""
    found = []
    for piece in pieces:
        requests = Requests()
        found.append(requests.feed(piece))
        if not requests.is_idle:
            return None
    return found


def check(pieces: list[bytes], got: Uniform) -> None:
    """`got` is what the plain form reads."""
    found = plain(pieces)
    assert found is not None
    flat = [args for commands in found for args in commands]
    assert [[got.name, *args] for args in zip(*got.columns, strict=True)] == flat or (
        not got.columns and all(args == [got.name] for args in flat)
    )
    counts = [len(commands) for commands in found]
    assert got.counts == (None if set(counts) == {1} else counts)


@given(
    NAME,
    st.integers(0, 3).flatmap(
        lambda count: st.lists(st.lists(WORD, min_size=count, max_size=count), min_size=1)
    ),
    st.lists(st.integers(0, 200), max_size=4),
    st.lists(st.tuples(st.integers(0, 400), EDGES), max_size=2),
)
@example(b"GET", [[b"a"], [b"b"]], [20], [])
@example(b"GET", [[b"*\n"], [b"b"]], [22], [])
def test_what_is_uniform_is_what_the_plain_form_reads(
    name: bytes, commands: list[list[bytes]], cuts: list[int], put: list[tuple[int, bytes]]
) -> None:
    stream = b"".join(command(name, *args) for args in commands)
    for at, garbage in put:
        stream = stream[:at] + garbage + stream[at:]
    places = [0, *sorted(cuts), len(stream)]
    pieces = [stream[i:j] for i, j in pairwise(places) if stream[i:j]]
    got = uniform(pieces)
    if got is not None:
        check(pieces, got)


@given(
    st.integers(0, 3).flatmap(
        lambda count: st.lists(
            st.lists(st.lists(WORD, min_size=count, max_size=count), min_size=1, max_size=4),
            min_size=1,
        )
    )
)
def test_whole_commands_of_one_kind_are_uniform(parts: list[list[list[bytes]]]) -> None:
    pieces = [b"".join(command(b"SET", *args) for args in part) for part in parts]
    got = uniform(pieces)
    words = [word for part in parts for args in part for word in args]
    if got is None:
        assert any(b"\r\n" in word for word in words)
    else:
        check(pieces, got)


@pytest.mark.parametrize(
    "piece",
    [
        b"PING\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI",
        b"*2\r\n$3\r\nGET\r\n\r\n" + b"x" * (batch.SHORT_MAX + 1) + b"\r\n",
        command(b"GET", b"x" * (batch.SHORT_MAX + 1)),
        command(b"GET", b"x") + command(b"get", b"x"),
        command(b"GET", b"x") + command(b"GET", b"x", b"y"),
    ],
)
@pytest.mark.parametrize("count", [1, 30])
def test_what_is_not_uniform(piece: bytes, count: int) -> None:
    assert uniform([piece] * count) is None


def test_arguments_as_long_as_may_be() -> None:
    word = b"x" * batch.SHORT_MAX
    assert uniform([command(b"GET", word)]) == Uniform(b"GET", [[word]], None)
