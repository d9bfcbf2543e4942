"""The pause after a refusal, and its sentence."""

from __future__ import annotations

import errno

import pytest

from c1m.engine.shortage import PAUSE_FIRST_NS, PAUSE_MOST_NS, Shortage, refusals
from c1m.kernel.refusals import ERRNOS, refusal
from c1m.testing.manual_clock import ManualClock

MS = 1_000_000


class Refused:
    """A shortage with a clock of its own."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.shortage = Shortage(self.clock)

    def refuse(self, now_ns: int) -> int:
        self.to(now_ns)
        self.shortage.refused("ring", "io_uring number 2", errno.ENFILE)
        return self.shortage.until_ns

    def holds(self, now_ns: int) -> bool:
        self.to(now_ns)
        return self.shortage.holds()

    def to(self, now_ns: int) -> None:
        self.clock.advance(now_ns - self.clock.now_ns())


def test_the_pause_doubles_up_to_a_second_and_begins_anew_after_a_success() -> None:
    refused, now, pauses = Refused(), 5, []
    shortage = refused.shortage
    for _ in range(9):
        until = refused.refuse(now)
        assert refused.holds(until - 1) and not refused.holds(until)
        pauses.append(until - now)
        now = until
    assert pauses == [n * MS for n in (10, 20, 40, 80, 160, 320, 640, 1000, 1000)]
    assert (pauses[0], pauses[-1]) == (PAUSE_FIRST_NS, PAUSE_MOST_NS)
    assert shortage.lasts
    shortage.ends()
    assert not shortage.lasts and not refused.holds(now)
    assert refused.refuse(now) - now == PAUSE_FIRST_NS
    assert shortage.counts == {"ring": 10}
    assert (shortage.text, shortage.remedy) == refusal("io_uring number 2", errno.ENFILE)


def test_what_is_refused_together_is_one_reason_to_pause() -> None:
    refused = Refused()
    assert {refused.refuse(7) for _ in range(64)} == {7 + PAUSE_FIRST_NS}
    assert refused.shortage.counts["ring"] == 64


def test_what_came_back_is_asked_for_at_once_and_a_refusal_still_lengthens_the_pause() -> None:
    refused = Refused()
    refused.refuse(0)
    refused.shortage.may_be_over()
    assert not refused.holds(1) and refused.shortage.lasts
    assert refused.refuse(1) == 1 + 2 * PAUSE_FIRST_NS


def test_statistics_name_what_several_have_refused() -> None:
    rings, accepts = Refused(), Refused()
    assert refusals(rings.shortage, accepts.shortage) == ({}, "")
    accepts.refuse(3)
    assert refusals(rings.shortage, accepts.shortage) == ({"ring": 1}, accepts.shortage.text)


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
