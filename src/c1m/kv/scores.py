"""Scores of sorted sets and bounds of their ranges, as commands give them. Pure."""

from __future__ import annotations

import math
import re

from c1m.kv.arguments import DECIMAL, HEX
from c1m.kv.errors import NOT_A_FLOAT, CommandError
from c1m.kv.sorted_set import SortedSet

NO_SCORE_BOUND = b"ERR min or max is not a float"
NO_LEX_BOUND = b"ERR min or max not valid string range item"

_HAS_DIGIT = re.compile(rb"[^e]*[1-9]", re.I)  # other than 0, in front of the exponent

ScoreBound = tuple[float, bool]  # the bool: it is outside itself
LexBound = tuple[bytes | None, bool]  # None: below or above all, as the bool says


def score_of(text: bytes, error: bytes = NOT_A_FLOAT) -> float:
    """A score: any form of C's strtod() but NaN, within a double's range. Raises CommandError."""
    if len(text) < 19 and text.isdigit():
        return float(text)
    score = _number(text)
    if score is None:
        raise CommandError(error)
    if math.isinf(score) and b"n" not in text.lower():
        raise CommandError(error)
    if not score and _HAS_DIGIT.match(text):
        raise CommandError(error)
    return score


def score_bound(text: bytes) -> ScoreBound:
    """`1.5`, `(1.5` (outside itself), `-inf`. Raises CommandError."""
    is_outside = text.startswith(b"(")
    number = text[is_outside:].lstrip(b" \t\n\v\f\r")
    score = _number(number) if number else 0.0  # as strtod() says
    if score is None:
        raise CommandError(NO_SCORE_BOUND)
    return score, is_outside


def lex_bound(text: bytes) -> LexBound:
    """`[text`, `(text` (outside itself), `-` (below all), `+` (above all). Raises CommandError."""
    if text in (b"-", b"+"):
        return None, text == b"+"
    if text[:1] not in (b"[", b"("):
        raise CommandError(NO_LEX_BOUND)
    return text[1:], text.startswith(b"(")


def _number(text: bytes) -> float | None:
    """None: it is none."""
    if DECIMAL.fullmatch(text):
        return float(text)
    if HEX.fullmatch(text):
        try:
            return float.fromhex(text.decode())
        except OverflowError:
            return -math.inf if text.startswith(b"-") else math.inf
    return None


# --- ranges: the ranks from the first to before the second ---------------------------------------


def ranks_by_index(size: int, start: int, stop: int) -> tuple[int, int]:
    """Indices from `start` to `stop`, which is in; negative ones count from the end."""
    start = max(start + size, 0) if start < 0 else start
    stop = stop + size if stop < 0 else min(stop, size - 1)
    return start, max(stop + 1, start)


def ranks_by_score(members: SortedSet, low: ScoreBound, high: ScoreBound) -> tuple[int, int]:
    """Scores from `low` to `high`."""
    start = members.rank_of(low[0], after=low[1])
    return start, max(start, members.rank_of(high[0], after=not high[1]))


def ranks_by_lex(
    members: SortedSet, low: LexBound, high: LexBound, *, reverse: bool = False, skip: int = 0
) -> tuple[int, int]:
    """Members from `low` to `high`, where all have one score.

    With different scores the order says nothing of the members: Redis goes to the first that is in
    the range (to the last if `reverse`), skips so many, and goes on as long as they are in it. What
    is skipped is in the result.
    """
    if not members.has_one_score():
        return _lex_run(members, low, high, reverse=reverse, skip=skip)
    start, stop = 0, len(members)
    if low[0] is not None:
        start = members.rank_of_member(low[0], after=low[1])
    elif low[1]:
        return stop, stop
    if high[0] is not None:
        stop = members.rank_of_member(high[0], after=not high[1])
    elif not high[1]:
        return start, start
    return start, max(start, stop)


def _lex_run(
    members: SortedSet, low: LexBound, high: LexBound, *, reverse: bool, skip: int
) -> tuple[int, int]:
    order = members.members()
    size = len(order)

    def is_above_low(member: bytes) -> bool:
        if low[0] is None:
            return not low[1]
        return member > low[0] if low[1] else member >= low[0]

    def is_below_high(member: bytes) -> bool:
        if high[0] is None:
            return high[1]
        return member < high[0] if high[1] else member <= high[0]

    if not (is_above_low(order[-1]) and is_below_high(order[0])):
        return 0, 0
    if reverse:
        stop = size
        while stop and not is_below_high(order[stop - 1]):
            stop -= 1
        if not stop or not is_above_low(order[stop - 1]):
            return 0, 0
        start = max(stop - skip, 0)
        while start and is_above_low(order[start - 1]):
            start -= 1
        return start, stop
    start = 0
    while start < size and not is_above_low(order[start]):
        start += 1
    if start == size or not is_below_high(order[start]):
        return 0, 0
    stop = min(start + skip, size)
    while stop < size and is_below_high(order[stop]):
        stop += 1
    return start, stop
