"""What two readers of HTTP could read in two ways is refused, or is read in the one right way."""

from __future__ import annotations

import h11
import httptools
import pytest

from c1m.protocols.http.requests import Bounds, Refused, RequestReader
from http_cases import CASES, Case

TAKEN = [case for case in CASES if case.statuses[-1] == 200]
UNKNOWN = {"unknown method"}  # to llhttp: it has a list


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


class Counted:
    """Requests that llhttp takes."""

    count = 0

    def on_message_complete(self) -> None:
        self.count += 1


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.name)
def test_what_is_taken_here_others_take_too(case: Case) -> None:
    counted = Counted()
    parser = httptools.HttpRequestParser(counted)
    if case.name not in UNKNOWN:
        parser.feed_data(case.stream)
        assert counted.count == len(case.statuses)
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(case.stream.lstrip(b"\r\n"))  # that it passes none over is a SHOULD missed
    request = peer.next_event()
    assert isinstance(request, h11.Request)
    size = 0
    while isinstance(event := peer.next_event(), h11.Data):
        size += len(event.data)
    assert isinstance(event, h11.EndOfMessage) and size == case.bodies[0]
