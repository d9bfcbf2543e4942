"""Checks by name: what is counted, what is kept of the first that failed, what is no check."""

from __future__ import annotations

import contextvars

import pytest

from c1m.errors import ScenarioError
from c1m.results.outcomes import Check
from c1m.scenarios.checks import DETAIL_MAX, NAMES_MAX, Checks, check, use
from c1m.scenarios.conversation import Conversation


def test_checks_are_counted_by_name_in_the_order_of_their_first_time() -> None:
    checks = Checks()
    use(checks)
    assert check("b", 1) and not check("a", 0, "was 7") and not check("a", [], "was 8")
    assert Conversation.check("b", "yes") and Conversation().check("a", True)
    assert checks.found() == [Check("b", 2, 0, ""), Check("a", 1, 2, "was 7")]


def test_what_was_there_instead_is_kept_of_the_first_only_and_not_without_bound() -> None:
    checks = Checks()
    checks.check("bytes", False, b"\xff!")
    checks.check("long", False, "x" * 1000)
    checks.check("none", False)
    checks.check("lines", False, "a\n  b\n")
    assert [one.first for one in checks.found()] == [
        "\\xff!", "x" * DETAIL_MAX + "...", "", "a b"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", " ", "a\nb", 7, "x" * 81])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ScenarioError):
        Checks().check(name, True)


def test_names_are_bounded() -> None:
    checks = Checks()
    for i in range(NAMES_MAX):
        checks.check(f"user {i}", True)
    checks.check("user 0", True)
    with pytest.raises(ScenarioError, match="one check more than the 200"):
        checks.check("one more", True)


def test_a_check_where_no_conversation_is() -> None:
    with pytest.raises(ScenarioError, match="where no conversation is"):
        contextvars.Context().run(check, "a", True)
