"""A sorted set against a list that is sorted again at every step; small blocks, so that many come
and go."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.kv import sorted_set
from c1m.kv.scores import lex_bound, ranks_by_index, ranks_by_lex, ranks_by_score
from c1m.kv.sorted_set import SortedSet

MEMBER = st.integers(0, 40).map(lambda n: b"m%d" % n)
SCORE = st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0, 3.0, -1.0, math.inf, -math.inf])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), MEMBER, SCORE),
        st.tuples(st.just("put"), MEMBER, SCORE),
        st.tuples(st.just("put"), MEMBER, st.floats(allow_nan=False)),
        st.tuples(st.just("remove"), MEMBER, st.just(0.0)),
        st.tuples(st.just("pop"), st.booleans(), st.just(0.0)),
        st.tuples(st.just("cut"), st.integers(0, 30), st.integers(0, 12)),
    ),
    max_size=150,
)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    whole = sorted_set.BLOCK_MAX, sorted_set.BLOCK_MIN
    sorted_set.BLOCK_MAX, sorted_set.BLOCK_MIN = 8, 3
    yield
    sorted_set.BLOCK_MAX, sorted_set.BLOCK_MIN = whole


def _order(scores: dict[bytes, float]) -> list[tuple[float, bytes]]:
    return sorted((score, member) for member, score in scores.items())


def _check(members: SortedSet, scores: dict[bytes, float]) -> None:
    order = _order(scores)
    assert members.scores == scores
    assert len(members) == len(scores)
    assert members.members() == [member for _, member in order]
    assert [members.rank(member) for _, member in order] == list(range(len(order)))
    for start in range(0, len(order), 5):
        for stop in (start, start + 1, start + 9, len(order)):
            expected = [member for _, member in order[start:stop]]
            assert members.members(start, min(stop, len(order))) == expected
    for score in (0.0, 1.0, 1.2, math.inf, -math.inf):
        below = [entry for entry, _ in order]
        assert members.rank_of(score) == bisect_left(below, score)
        assert members.rank_of(score, after=True) == bisect_right(below, score)


@settings(deadline=None)
@given(STEPS, st.integers(1, 20))
def test_like_a_list_that_is_sorted_again(
    steps: list[tuple[str, bytes, float]], often: int
) -> None:
    members, scores = SortedSet(), dict[bytes, float]()
    for at, (step, first, second) in enumerate(steps):
        if step == "put":
            members.put(first, second)
            scores[first] = second
        elif step == "remove":
            assert members.remove(first) == (scores.pop(first, None) is not None)
        elif step == "pop":
            if scores:
                score, member = _order(scores)[-1 if first else 0]
                assert members.pop(highest=bool(first)) == (member, score)
                del scores[member]
        else:
            start = min(int(first), len(scores))
            stop = min(start + int(second), len(scores))
            for _, member in _order(scores)[start:stop]:
                del scores[member]
            members.remove_range(start, stop)
        if at % often == 0:
            _check(members, scores)
    _check(members, scores)
    _check(members.copy(), scores)


@given(st.dictionaries(MEMBER, SCORE, max_size=40), SCORE, st.booleans(), SCORE, st.booleans())
def test_ranges_of_scores(
    scores: dict[bytes, float], low: float, low_out: bool, high: float, high_out: bool
) -> None:
    start, stop = ranks_by_score(SortedSet(dict(scores)), (low, low_out), (high, high_out))
    expected = [
        member
        for score, member in _order(scores)
        if (low < score or (low == score and not low_out))
        and (score < high or (score == high and not high_out))
    ]
    assert SortedSet(dict(scores)).members(start, stop) == expected


BOUND = st.one_of(
    st.sampled_from([b"-", b"+"]), MEMBER.map(lambda m: b"[" + m), MEMBER.map(b"(".__add__)
)


@given(st.sets(MEMBER, max_size=40), BOUND, BOUND)
def test_ranges_of_bytes(names: set[bytes], low: bytes, high: bytes) -> None:
    def is_in(member: bytes) -> bool:
        above = low == b"-" or (low != b"+" and member >= low[1:])
        below = high == b"+" or (high != b"-" and member <= high[1:])
        return above and below and b"(" + member not in (low, high)

    members = SortedSet(dict.fromkeys(names, 1.0))
    start, stop = ranks_by_lex(members, lex_bound(low), lex_bound(high))
    assert members.members(start, stop) == sorted(filter(is_in, names))


@given(st.integers(0, 12), st.integers(-20, 20), st.integers(-20, 20))
def test_ranges_of_indices(size: int, start: int, stop: int) -> None:
    first, end = ranks_by_index(size, start, stop)
    counted = [i for i in range(size) if (start if start >= 0 else start + size) <= i]
    assert list(range(first, end)) == [
        i for i in counted if i <= (stop if stop >= 0 else stop + size)
    ]
