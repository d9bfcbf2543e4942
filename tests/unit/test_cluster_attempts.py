"""A part that was begun anew: what its attempts had open is not added up."""

from __future__ import annotations

from c1m.cluster.head import Head
from c1m.cluster.merge import _stage
from c1m.results.record import StageResult


def test_what_was_open_at_the_end_of_a_stage() -> None:
    """The second attempt opens again what the first one had: never were 150 open."""
    ramp = [
        (Head(part=part, attempt=attempt), StageResult("ramp", connections_to=50, open_at_end=50))
        for part, attempt in [(0, 0), (0, 1), (1, 0)]
    ]
    assert _stage(ramp).open_at_end == _stage(ramp).connections_to == 100
    hold = [
        (Head(part=part, attempt=attempt), StageResult("hold", open_at_end=count))
        for part, attempt, count in [(0, 0, 0), (0, 1, 50), (1, 0, 49)]
    ]
    assert _stage(hold).open_at_end == 99
