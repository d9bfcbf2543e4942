"""Templates of topics: whatever a template expands to is covered; tables say what selectors say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uritemplate import expand

from c1m.push.topics import Selected, Selectors, key_of, template_of

LITERALS = st.text("abc/:.-?&=#%2é ü'", max_size=6).filter(lambda text: "%" not in text)
NAMES = st.sampled_from(["a", "b", "id", "x.y", "n_1"])
VARIABLES = st.builds("{}{}".format, NAMES, st.sampled_from(["", "", "*"]))
EXPRESSIONS = st.builds(
    lambda operator, variables: "{" + operator + ",".join(variables) + "}",
    st.sampled_from(["", "+", "#", ".", "/", ";", "?", "&"]),
    st.lists(VARIABLES, min_size=1, max_size=3, unique_by=lambda text: text.rstrip("*")),
)
TEMPLATES = st.builds("".join, st.lists(LITERALS | EXPRESSIONS, min_size=1, max_size=5))
WORDS = st.text("abz019-._~!/?#[]@:%,;= ü☃", max_size=5)
VALUES = (
    WORDS | st.lists(WORDS, max_size=3) | st.dictionaries(WORDS.filter(bool), WORDS, max_size=2)
)


GIVEN = st.fixed_dictionaries({}, optional=dict.fromkeys(["a", "b", "id", "x.y", "n_1"], VALUES))


@given(TEMPLATES, GIVEN)
def test_what_a_template_expands_to_is_covered(template: str, values: dict[str, Any]) -> None:
    topic = expand(template, values)
    assert Selectors(templates=[template]).covers(topic), topic


def test_a_prefix_length_is_read_as_if_it_were_not_there() -> None:
    assert Selectors(templates=["/u/{id:3}"]).covers(expand("/u/{id:3}", id="abcdef"))


SLOW = {  # the same in regular expressions, for what is no list: without a bound of time
    "": r"[\w.~%,-]*", "+": r"[\w.~%:/?#\[\]@!$&'()*+,;=-]*",
}  # fmt: skip
SIMPLE = st.lists(st.sampled_from(["a", "b/", "{x}", "{+y}", ".", "{x,y}"]), min_size=1, max_size=6)


@given(SIMPLE, st.text("ab/.,", max_size=12))
def test_a_name_that_no_value_gives_is_not_covered(parts: list[str], name: str) -> None:
    regex = "".join(
        SLOW["+"] if part == "{+y}" else SLOW[""] if part[0] == "{" else re.escape(part)
        for part in parts
    )
    assert Selectors(templates=["".join(parts)]).covers(name) == bool(
        re.fullmatch(regex, name, re.ASCII)
    )


@pytest.mark.parametrize(
    "template, covered, others",
    [
        ("https://e.com/u/{id}", ["https://e.com/u/7", "https://e.com/u/", "https://e.com/u/a,b"],
         ["https://e.com/u/7/x", "https://e.com/u", "https://e.com/u/7?x", "http://e.com/u/7"]),
        ("/a{/b,c}", ["/a", "/a/1", "/a/1/2"], ["/a/1/2/3", "/ab"]),
        ("/a{/b*}", ["/a", "/a/1", "/a/1/2/3"], ["/a?x"]),
        ("/a{?q,r}", ["/a", "/a?q=1", "/a?q=1&r=2", "/a?r="], ["/a?s=1", "/a?q=1&q=2", "/a/"]),
        ("{+all}", ["", "https://e.com/a?b#c"], []),
        ("x{.f}", ["x", "x.json"], ["x/json"]),
        ("/{é}", [], ["/a", "/é "]),
        ("/é/{a}", ["/é/1", "/%C3%A9/1"], ["/e/1"]),
    ],
)  # fmt: skip
def test_templates_by_example(template: str, covered: list[str], others: list[str]) -> None:
    one = Selectors(templates=[template])
    assert [name for name in [*covered, *others] if one.covers(name)] == covered


@pytest.mark.parametrize("text", ["{", "}", "{}", "a{b", "{=a}", "{a,}", "{a b}", "{{a}}", "x}y"])
def test_what_is_no_template_is_a_name(text: str) -> None:
    assert template_of(text) is None
    assert Selectors(templates=[text]).covers(text)
    assert not Selectors(templates=[text]).covers("a")


TEXTS = st.sampled_from(["*", "a", "a*", "ab", "a/{x}", "a/{+x}", "{x}", "é*", "{", "a/{", "b{/x}"])
CHOSEN = st.tuples(TEXTS, st.booleans())
SLOTS = 8


ASKED = st.sampled_from(["a", "ab", "a/1", "a/1/2", "b/x", "é", "{", "a/{x}", ""])
STEPS = st.lists(st.tuples(st.integers(0, SLOTS - 1), CHOSEN, st.booleans()), max_size=30)


@given(STEPS, st.lists(ASKED))
def test_a_table_finds_whom_selectors_cover(
    steps: list[tuple[int, tuple[str, bool], bool]], names: list[str]
) -> None:
    table = Selected(SLOTS)
    has: dict[int, set[tuple[str, bool]]] = {slot: set() for slot in range(SLOTS)}
    for slot, chosen, comes in steps:
        key = key_of(*chosen)
        (table.add if comes else table.remove)(slot, key)
        has[slot] = {each for each in has[slot] if key_of(*each) != key}
        if comes:
            has[slot].add(chosen)
        for name in names:
            keys = table.covering(name)
            assert len(keys) == len(set(keys))
            found = {slot for key in keys for slot in table.slots(key).tolist()}
            expected = {
                slot
                for slot, texts in has.items()
                if Selectors(
                    [text for text, is_template in texts if not is_template],
                    [text for text, is_template in texts if is_template],
                ).covers(name)
            }
            assert found == expected


def test_the_time_is_the_length_not_the_number_of_ways() -> None:
    """A backtracking matcher would take years; the work is counted, not timed."""
    template = "{+a}" + "x{+a}" * 30
    assert not Selectors(templates=[template + "!y"]).covers("x" * 2000)
    assert not Selectors(templates=["{+a}" * 33]).covers("a"), "beyond a bound it is a name"
