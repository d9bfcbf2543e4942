"""The push server on a fake kernel: bounds of what clients and programs ask of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from c1m.apps.push.push import WAITING_BYTES_MAX, Push
from c1m.errors import UsageError
from c1m.push.asked import LINES_MAX, Limits, published_in
from c1m.push.mistakes import Mistake

NDJSON = b"application/x-ndjson"


@pytest.mark.parametrize(
    "body",
    [
        b'{"channel": "a", "data": "x"}\n' + b"\n" * LINES_MAX + b"{",
        b'{"channel": "a", "data": "x"}\n' * (LINES_MAX + 1),
        json.dumps({"channels": [*map(str, range(100))], "data": ""}).encode().join([b"\n"] * 102),
    ],
    ids=["empty lines", "lines", "channels of lines"],
)
def test_one_request_has_a_bound_of_publications(body: bytes) -> None:
    with pytest.raises(Mistake) as raised:
        published_in({}, NDJSON, body, Limits())
    assert raised.value.status == 413


def test_as_many_lines_as_are_allowed() -> None:
    body = b'{"channel": "a", "data": "x"}\n' * LINES_MAX
    assert len(published_in({}, NDJSON, body, Limits())) == LINES_MAX


@pytest.mark.parametrize(
    "given",
    [
        {"channel": "a", "data": "x", "event": "a\nb"},
        {"channel": "a", "data": "x", "id": 5},
        {"channel": "a", "data": "\ud800"},
        {"channel": "a", "data": 5},
        {"channel": "$stats:a", "data": "x"},
    ],
)
def test_what_a_program_cannot_publish_is_refused_where_it_calls(given: dict[str, Any]) -> None:
    push = Push()
    with pytest.raises(UsageError):
        push.publish(**given)
    assert not push.take()


def test_empty_messages_of_a_program_take_room_too() -> None:
    push = Push()
    push._waiting_bytes = WAITING_BYTES_MAX - 1
    assert not push.publish("a", "")
