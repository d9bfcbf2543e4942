r"""Glob patterns of KEYS, SCAN and PSUBSCRIBE: `*`, `?`, `[a-z]`, `[^a]`, `\x`. Pure.

A pattern is made a regular expression. What stands between two stars is looked for once, from the
left (an atomic group): time is at most the product of the two lengths, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

Matches = Callable[[bytes], object]

STAR, ANY, OPEN, CLOSE, ESCAPE, NOT, RANGE = b"*?[]\\^-"


@lru_cache(1024)
def matcher(pattern: bytes) -> Matches:
    """A function that says (by what is true or false) whether a text matches, case and all."""
    if not pattern:
        return lambda text: not text
    pieces = [b""]  # between the stars
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == STAR:
            pieces.append(b"")
            continue
        if char == ANY:
            piece = b"."
        elif char == OPEN:
            piece, at = _class(pattern, at)
        else:
            if char == ESCAPE and at < len(pattern):
                char = pattern[at]
                at += 1
            piece = re.escape(b"%c" % char)
        pieces[-1] += piece
    first, *others = pieces
    if others:
        last = others.pop()
        first += b"".join(b"(?>.*?%b)" % piece for piece in others if piece) + b".*" + last
    # Redis looks at a pattern only while there is text: no text, no match, not even of a star.
    return re.compile(b"(?=.)" + first, re.DOTALL).fullmatch


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """What a class that begins at `at`, after its bracket, becomes, and where it ends.

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
    if not members:
        return b"." if is_not else b"(?!)", at
    texts = b"".join(b"\\x%02x" % member for member in sorted(members))
    return b"[%b%b]" % (b"^" if is_not else b"", texts), at
