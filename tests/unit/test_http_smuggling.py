"""What two readers of HTTP could read in two ways is refused, or is read in the one right way."""

from __future__ import annotations

import pytest

from c1m.protocols.http.requests import Bounds, Refused, RequestReader
from http_cases import CASES, Case


def answers(pieces: list[bytes]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Statuses, and the sizes of bodies, of a stream."""
    reader, statuses, bodies = RequestReader(Bounds()), [], []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (request := reader.next()) is not None:
                statuses.append(200)
                bodies.append(len(request.body))
        except Refused as refused:
            statuses.append(refused.status)
            break
    return tuple(statuses), tuple(bodies)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_is_answered_as_it_must_be(case: Case) -> None:
    wanted = case.statuses, case.bodies
    assert answers([case.stream]) == wanted
    if len(case.stream) < 10_000:
        assert answers([case.stream[i : i + 1] for i in range(len(case.stream))]) == wanted
    for size in (2, 3, 7, 1000):
        pieces = [case.stream[i : i + size] for i in range(0, len(case.stream), size)]
        assert answers(pieces) == wanted


def test_no_name_stands_twice() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
