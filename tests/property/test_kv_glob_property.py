"""Glob patterns: their three forms against a slow one that goes character by character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.kv.glob import _compiled, _matches, matcher, plain_start


def slow(pattern: bytes, text: bytes) -> bool:
    """Whether a text that was not empty at first matches."""
    if not pattern or not text:
        return not text and not pattern.strip(b"*")
    if pattern[:1] == b"*":
        return any(slow(pattern[1:], text[at:]) for at in range(len(text) + 1))
    if pattern[:1] == b"?":
        return slow(pattern[1:], text[1:])
    if pattern[:1] == b"[":
        is_in, rest = slow_class(pattern[1:], text[0])
        return is_in and slow(rest, text[1:])
    if pattern[:1] == b"\\" and len(pattern) > 1:
        pattern = pattern[1:]
    return pattern[0] == text[0] and slow(pattern[1:], text[1:])


def slow_class(rest: bytes, char: int) -> tuple[bool, bytes]:
    """Whether a class has a character, and the pattern behind the class."""
    is_not = rest[:1] == b"^"
    rest = rest[is_not:]
    is_in = False
    while rest and rest[:1] != b"]":
        if rest[:1] == b"\\" and len(rest) > 1:
            is_in |= rest[1] == char
            rest = rest[2:]
        elif len(rest) > 2 and rest[1:2] == b"-":
            is_in |= min(rest[0], rest[2]) <= char <= max(rest[0], rest[2])
            rest = rest[3:]
        else:
            is_in |= rest[0] == char
            rest = rest[1:]
    return is_in != is_not, rest[1:]


def expected(pattern: bytes, text: bytes) -> bool:
    return slow(pattern, text) if text else not pattern


letters = st.sampled_from([bytes([c]) for c in b"abc*?[]^-\\\n\xff"])
patterns = st.lists(letters, max_size=8).map(b"".join)
texts = st.lists(st.sampled_from([bytes([c]) for c in b"abc*]\n\xff"]), max_size=6).map(b"".join)


@given(patterns, texts)
def test_a_pattern_matches_as_its_slow_form(pattern: bytes, text: bytes) -> None:
    matches = expected(pattern, text)
    assert bool(matcher(pattern)(text)) == matches
    assert _matches(pattern, {}, text) == matches or not text
    assert bool(_compiled(pattern)(text)) == matches or not text
    if matches:
        assert text.startswith(plain_start(pattern, 3))


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (b"*", b"", False),
        (b"", b"", True),
        (b"a*", b"a", True),
        (b"h[a-c]llo", b"hbllo", True),
        (b"h[^e]llo", b"hello", False),
        (b"[c-a]", b"b", True),
        (b"[", b"a", False),
        (b"[^", b"a", True),
        (b"[A-]", b"Z", True),
        (b"a\\", b"a\\", True),
        (b"\\*", b"x", False),
        (b"*\n*", b"a\nb", True),
    ],
)
def test_corners(pattern: bytes, text: bytes, matches: bool) -> None:
    assert bool(matcher(pattern)(text)) == matches


def test_many_stars_end() -> None:
    assert not matcher(b"a*" * 50 + b"b")(b"a" * 20_000)


@pytest.mark.parametrize("unit", [b"a", b"*a", b"?", b"[a]", b"\\a", b"[^b]", b"[b", b"*"])
def test_a_pattern_of_a_megabyte_holds_nobody_up(unit: bytes) -> None:
    pattern = unit * ((1 << 20) // len(unit))
    matches = matcher(pattern)
    assert bool(matches(b"a")) == (unit == b"*")
    assert not matches(b"")
    for text in (b"%d" % number for number in range(1000)):
        assert bool(matches(text)) == (unit == b"*")


def test_long_patterns_are_not_remembered() -> None:
    first, second = (matcher(b"?" * 10_000) for _ in range(2))
    assert first is not second
