"""The differential test itself: when two replies say the same, and how a difference shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from conformance.differential.grammar import compiled
from conformance.differential.replies import Said, is_same, parse, shown
from conformance.differential.sequences import Generator, Unit
from conformance.differential.shrinking import shrunk

NOTHING = b"_\r\n"
HASH = b"*4\r\n+a\r\n:1\r\n+b\r\n:2\r\n"


def same(command: str, theirs: bytes, ours: bytes, before: bytes = NOTHING) -> bool:
    their, our, was = (parse(reply)[0] for reply in (theirs, ours, before))
    return is_same(Said(command.encode().split(), our, their, was, was))


@pytest.mark.parametrize(
    ("command", "theirs", "ours", "before", "wanted"),
    [
        ("GET k", b"$1\r\na\r\n", b"$1\r\na\r\n", NOTHING, True),
        ("GET k", b"$1\r\na\r\n", b"$1\r\nb\r\n", NOTHING, False),
        ("GET k", b"$-1\r\n", b"*-1\r\n", NOTHING, False),
        ("ZSCORE z m", b",3\r\n", b",3.0\r\n", NOTHING, False),
        ("KEYS *", b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+a\r\n", NOTHING, True),
        ("KEYS *", b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+b\r\n", NOTHING, False),
        ("SMEMBERS s", b"*1\r\n+a\r\n", b"~1\r\n+a\r\n", NOTHING, False),
        ("HGETALL h", HASH, b"*4\r\n+b\r\n:2\r\n+a\r\n:1\r\n", NOTHING, True),
        ("HGETALL h", HASH, b"*4\r\n+b\r\n:1\r\n+a\r\n:2\r\n", NOTHING, False),
        ("TTL k", b":100\r\n", b":99\r\n", NOTHING, True),
        ("TTL k", b":-1\r\n", b":0\r\n", NOTHING, False),
        ("SPOP s", b"$1\r\na\r\n", b"$1\r\nb\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", True),
        ("SPOP s", b"$1\r\na\r\n", b"$1\r\nc\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", False),
        ("SPOP s 2", b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+a\r\n+a\r\n", b"*2\r\n+a\r\n+b\r\n", False),
        ("SPOP s", b"$1\r\na\r\n", b"$-1\r\n", b"*1\r\n$1\r\na\r\n", False),
    ],
)  # fmt: skip
def test_when_replies_say_the_same(
    command: str, theirs: bytes, ours: bytes, before: bytes, wanted: bool
) -> None:
    assert same(command, theirs, ours, before) == wanted


def test_replies_on_one_line() -> None:
    assert shown(parse(b"*3\r\n$1\r\n\xff\r\n:1\r\n*-1\r\n")[0]) == "*[$'\\xff', :'1', nil]"
    with pytest.raises(IndexError):
        parse(b"*2\r\n:1\r\n")


def test_shapes() -> None:
    draw, drawn = Random(1), set()
    make = compiled("A [B|C] <D|E->f> (F)+ {bit}")
    for _ in range(300):
        words: list[bytes] = []
        make(draw, words)
        assert words[0] == b"A" and words[-1] in (b"0", b"1")
        assert b"F" in words and (b"D" in words) != (b"E->f" in words)
        drawn |= set(words)
    assert {b"B", b"C", b"D", b"E->f"} <= drawn


def test_sequences_are_the_same_for_a_seed() -> None:
    one, same_one, other = (Generator().sequence(seed, 200) for seed in ("a", "a", "b"))
    assert one == same_one != other
    assert sum(len(unit.commands) for unit in one) >= 200


def test_a_difference_shrinks_to_what_shows_it() -> None:
    units = [Unit(0, ((b"%d" % number,),)) for number in range(500)]
    needed = [units[17], units[300], units[499]]

    def differs(trial: Sequence[Unit]) -> bool:
        return all(unit in trial for unit in needed)

    assert shrunk(units, differs) == needed
