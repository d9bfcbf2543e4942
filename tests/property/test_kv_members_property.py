"""A set's members against a plain set, and how even its draws are."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.kv.members import Members

NAMES = st.lists(st.integers(0, 12).map(lambda n: b"m%d" % n), max_size=6)
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "take", "pop_random", "choose", "sample"]), NAMES),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_like_a_plain_set(steps: list[tuple[str, list[bytes]]]) -> None:
    members, plain = Members(), set[bytes]()
    for step, names in steps:
        before = len(plain)
        if step == "put":
            plain.update(names)
            assert members.put(names) == len(plain) - before
        elif step == "take":
            plain.difference_update(names)
            assert members.take(names) == before - len(plain)
        elif step == "sample":
            drawn = members.sample(len(names))
            assert len(drawn) == len(set(drawn)) == min(len(names), len(plain))
            assert plain.issuperset(drawn)
        elif plain and step == "choose":
            assert members.choose() in plain
        elif plain:
            plain.remove(members.pop_random())
        assert members == plain


def test_draws_are_even_after_members_went_and_came_back() -> None:
    random.seed(5)
    members = Members(b"%d" % n for n in range(40))
    members.choose()  # the list is made
    members.take([b"%d" % n for n in range(15)])
    members.put([b"%d" % n for n in range(5, 25)])
    counts = Counter(members.choose() for _ in range(35 * 1_000))
    assert set(counts) == members
    assert len(members) == 35
    assert max(abs(count - 1_000) for count in counts.values()) < 200  # 6 standard deviations
    sampled = Counter(member for _ in range(5_000) for member in members.sample(7))
    assert max(abs(count - 1_000) for count in sampled.values()) < 200
