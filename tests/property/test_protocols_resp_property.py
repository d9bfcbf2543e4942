"""Requests: the batch form against the plain form, and that, however cut, against a slow one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from c1m.protocols.resp import batch, requests
from c1m.protocols.resp.batch import Uniform, uniform
from c1m.protocols.resp.replies import command
from c1m.protocols.resp.requests import INLINE_MAX, SHORT_MAX, Args, RequestBounds, Requests, whole
from resp_streams import BOUNDS, NAME, STREAM, WORD, read_slowly

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
        reader = Requests()
        found.append(reader.feed(piece))
        if not reader.is_idle:
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
        b"PING x\r\n",
        b"PING\r\nP",
        b"*0\r\n",
        b"*-1\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI",
        b"*2\r\n$3\r\nGET\r\n\r\n" + b"x" * (SHORT_MAX + 1) + b"\r\n",
        command(b"GET", b"x" * (SHORT_MAX + 1)),
        command(b"GET", b"x") + command(b"get", b"x"),
        command(b"GET", b"x") + command(b"GET", b"x", b"y"),
    ],
)
@pytest.mark.parametrize("count", [1, 30])
def test_what_is_not_uniform(piece: bytes, count: int) -> None:
    assert uniform([piece] * count) is None


def test_a_line_of_one_word() -> None:
    assert uniform([b"PING\r\n" * 2, b"PING\r\n"]) == Uniform(b"PING", [], [2, 1], 3)


def test_arguments_as_long_as_may_be() -> None:
    word = b"x" * SHORT_MAX
    assert uniform([command(b"GET", word)]) == Uniform(b"GET", [[word]], None, 1)


# --- the plain form -----------------------------------------------------------------------------


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(places), len(stream)]
    return [stream[i:j] for i, j in pairwise(ends)]


@given(STREAM, st.lists(st.integers(0, 200), max_size=6), BOUNDS, st.booleans())
@example(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n" * 2, [30], RequestBounds(), True)
@example(b"x" * 24 + b"\r\n", [25], RequestBounds(inline=24), True)
@example(b"*" + b"1" * 23 + b"\r\n", [25], RequestBounds(inline=24), True)
def test_a_stream_is_read_alike_however_it_is_cut(
    stream: bytes, places: list[int], bounds: RequestBounds, is_quick: bool
) -> None:
    wanted = read_slowly(stream, bounds)
    with pytest.MonkeyPatch.context() as patch:
        if not is_quick or bounds != RequestBounds():  # these bounds are below the quick way's
            patch.setattr(requests, "whole", lambda piece: ([], 0))
        for pieces in (cut(stream, places), cut(stream, list(range(len(stream))))):
            reader = Requests(bounds)
            commands = [args for piece in pieces for args in reader.feed(piece)]
            assert (commands, reader.error, reader.is_idle) == wanted


@given(STREAM, st.lists(st.integers(0, 200), max_size=6))
def test_the_quick_way_reads_the_same(stream: bytes, places: list[int]) -> None:
    wanted = read_slowly(stream, RequestBounds())
    reader = Requests()
    commands = [args for piece in cut(stream, places) for args in reader.feed(piece)]
    assert (commands, reader.error, reader.is_idle) == wanted
    quick, size = whole(stream)
    assert read_slowly(stream[:size], RequestBounds()) == (quick, None, True)


@given(
    st.sampled_from([b"PING\r\n", b"ping\n", b"PING \r\n", b"\r\n", b"P\r\r\n", b"*\n", b"a1\n"]),
    st.lists(st.integers(1, 3), min_size=1),
    st.lists(st.integers(0, 40), max_size=2),
)
def test_lines_of_one_word_are_uniform(line: bytes, counts: list[int], cuts: list[int]) -> None:
    pieces = [line * count for count in counts]
    got = uniform(pieces)
    assert (got is not None) == (line in (b"PING\r\n", b"ping\n"))
    for some in (pieces, [piece for piece in cut(b"".join(pieces), cuts) if piece]):
        got = uniform(some)
        if got is not None:
            check(some, got)
            assert got.total == sum(counts)


def test_a_line_of_one_word_has_a_bound() -> None:
    assert uniform([b"x" * (INLINE_MAX + 1) + b"\n"]) is None
