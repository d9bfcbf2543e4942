"""The pause after a refusal, and its sentence."""

from __future__ import annotations

import errno

import pytest

from c1m.engine.shortage import PAUSE_FIRST_NS, PAUSE_MOST_NS, Shortage
from c1m.kernel.refusals import ERRNOS, refusal

MS = 1_000_000


def refuse(shortage: Shortage, now_ns: int) -> int:
    shortage.refused("ring", "No ring.", "Raise it.", now_ns)
    return shortage.until_ns


def test_the_pause_doubles_up_to_a_second_and_begins_anew_after_a_success() -> None:
    shortage, now, pauses = Shortage(), 5, []
    for _ in range(9):
        until = refuse(shortage, now)
        assert shortage.holds(until - 1) and not shortage.holds(until)
        pauses.append(until - now)
        now = until
    assert pauses == [n * MS for n in (10, 20, 40, 80, 160, 320, 640, 1000, 1000)]
    assert (pauses[0], pauses[-1]) == (PAUSE_FIRST_NS, PAUSE_MOST_NS)
    assert shortage.lasts
    shortage.ends()
    assert not shortage.lasts and not shortage.holds(now)
    assert refuse(shortage, now) - now == PAUSE_FIRST_NS
    assert shortage.counts == {"ring": 10} and shortage.text == "No ring."


def test_what_is_refused_together_is_one_reason_to_pause() -> None:
    shortage = Shortage()
    assert {refuse(shortage, 7) for _ in range(64)} == {7 + PAUSE_FIRST_NS}
    assert shortage.counts["ring"] == 64


def test_what_came_back_is_asked_for_at_once_and_a_refusal_still_lengthens_the_pause() -> None:
    shortage = Shortage()
    refuse(shortage, 0)
    shortage.may_be_over()
    assert not shortage.holds(1) and shortage.lasts
    assert refuse(shortage, 1) == 1 + 2 * PAUSE_FIRST_NS


@pytest.mark.parametrize("what", ["io_uring number 2", "further connection"])
@pytest.mark.parametrize("code", sorted(ERRNOS))
def test_every_shortage_is_a_sentence_with_something_to_do(what: str, code: int) -> None:
    message, remedy = refusal(what, code)
    assert message.startswith(f"The kernel gives no {what}: ") and message.endswith(".")
    assert remedy.endswith(".")


def test_an_errno_that_is_none_and_pythons_own_error() -> None:
    assert refusal("ring", 0)[0] == "The kernel gives no ring: it does not say why."
    assert refusal("ring", MemoryError()) == refusal("ring", errno.ENOMEM)
    assert refusal("ring", OSError(errno.ENFILE, "x")) == refusal("ring", errno.ENFILE)
