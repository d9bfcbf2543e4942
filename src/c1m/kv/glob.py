r"""Glob patterns of KEYS, SCAN and PSUBSCRIBE: `*`, `?`, `[a-z]`, `[^a]`, `\x`. Pure.

A pattern of plain parts and stars, as most are, is compared part by part. Another one is made a
regular expression, in which what stands between two stars is looked for once, from the left (an
atomic group). To make one takes some 40 us a star, so a long pattern is gone through byte by byte.
In all three time is at most the product of the two lengths, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial

Matches = Callable[[bytes], object]
One = tuple[set[int], bool, int]  # see _one

STAR, ANY, OPEN, CLOSE, ESCAPE, NOT, RANGE = b"*?[]\\^-"
LONG = 256  # bytes of a pattern that is made no regular expression, and not remembered
_SPECIAL = re.compile(rb"[?\[\\]")


def matcher(pattern: bytes) -> Matches:
    """A function that says (by what is true or false) whether a text matches, case and all."""
    return _matcher(pattern) if len(pattern) <= LONG else _made(pattern)


def plain_start(pattern: bytes, most: int) -> bytes:
    """What each text that matches begins with, up to `most` bytes of it."""
    start = pattern[:most].partition(b"*")[0]
    special = _SPECIAL.search(start)
    return start[: special.start()] if special else start


def _made(pattern: bytes) -> Matches:
    if not _SPECIAL.search(pattern):
        parts = pattern.split(b"*")
        if len(parts) == 1:
            return pattern.__eq__
        least = len(pattern) - len(parts) + 1
        middle = [part for part in parts[1:-1] if part]
        return partial(_has_parts, parts[0], middle, parts[-1], least or 1)
    return partial(_matches, pattern, {}) if len(pattern) > LONG else _compiled(pattern)


_matcher = lru_cache(1024)(_made)


def _has_parts(first: bytes, middle: list[bytes], last: bytes, least: int, text: bytes) -> bool:
    """Whether a text of at least so many bytes has these parts, in this order.

    Redis looks at a pattern only while there is text: no text, no match, not even of a star.
    """
    if len(text) < least or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _compiled(pattern: bytes) -> Matches:
    pieces: list[list[bytes]] = [[]]  # between the stars
    at = 0
    while at < len(pattern):
        if pattern[at] == STAR:
            pieces.append([])
            at += 1
            continue
        members, is_not, at = _one(pattern, at)
        if not members:
            pieces[-1].append(b"." if is_not else b"(?!)")
        elif len(members) == 1 and not is_not:
            pieces[-1].append(re.escape(bytes(members)))
        else:
            texts = b"".join(b"\\x%02x" % member for member in sorted(members))
            pieces[-1].append(b"[%b%b]" % (b"^" if is_not else b"", texts))
    first, *others = map(b"".join, pieces)
    if others:
        last = others.pop()
        first += b"".join(b"(?>.*?%b)" % piece for piece in others if piece) + b".*" + last
    return re.compile(b"(?=.)" + first, re.DOTALL).fullmatch


def _matches(pattern: bytes, classes: dict[int, One], text: bytes) -> bool:
    """The same without a regular expression. Where it fails, the last star takes one byte more.

    `classes`: those of the pattern that were read before, by where they are.
    """
    at = place = 0
    star, tried = -1, 0  # what is behind the last star, and the place from which it was tried
    while place < len(text):
        if at < len(pattern):
            if pattern[at] == STAR:
                at += 1
                star, tried = at, place
                continue
            members, is_not, following = found = classes.get(at) or _one(pattern, at)
            if pattern[at] == OPEN:
                classes[at] = found
            if (text[place] in members) != is_not:
                at, place = following, place + 1
                continue
        if star < 0:
            return False
        tried += 1
        at, place = star, tried
    return bool(text) and not pattern[at:].strip(b"*")


def _one(pattern: bytes, at: int) -> One:
    """What of a pattern, which is no star there, stands for one byte: bytes, whether it is none of
    these, and where the next one begins.
    """
    char = pattern[at]
    if char == ANY:
        return set(), True, at + 1
    if char == OPEN:
        return _class(pattern, at + 1)
    if char == ESCAPE and at + 1 < len(pattern):
        at += 1
    return {pattern[at]}, False, at + 1


def _class(pattern: bytes, at: int) -> One:
    """The same for a class that begins at `at`, after its bracket.

    One without an end goes on to the end of the pattern.
    """
    members: set[int] = set()
    is_not = pattern[at : at + 1] == b"^"
    at += is_not
    while at < len(pattern):
        char = pattern[at]
        left = len(pattern) - at
        if char == ESCAPE and left >= 2:
            members.add(pattern[at + 1])
            at += 2
        elif char == CLOSE:
            at += 1
            break
        elif left >= 3 and pattern[at + 1] == RANGE:
            low, high = sorted((char, pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(char)
            at += 1
    return members, is_not, at
