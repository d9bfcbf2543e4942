"""Publications of one worker that reach no connection of another are told where all are merged."""

from __future__ import annotations

from c1m.cluster.found import Found
from c1m.cluster.head import Head
from c1m.cluster.merge import unheard
from c1m.results.record import FanOut, RunRecord


def parts(*told: tuple[int, int], lost: str = "") -> list[Found]:
    """A part for each (published, elsewhere)."""
    return [
        Found(
            Head(run="r", part=index, of=len(told)),
            RunRecord(fan_out=FanOut(published=published, elsewhere=elsewhere)),
            lost=lost,
        )
        for index, (published, elsewhere) in enumerate(told)
    ]


def test_all_have_heard_of_all() -> None:
    assert unheard(parts((3, 4), (4, 3))) == []
    assert unheard(parts((7, 0))) == []


def test_some_have_not() -> None:
    said = "publications of one worker reached no connection of another."
    assert unheard(parts((3, 4), (4, 1), (0, 7))) == [f"2 {said}"]
    assert unheard(parts((3, 4), (4, 1), lost="it was silent for 8 s")) == []
