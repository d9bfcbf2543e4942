"""Requests of a record that are one for each connection: the first ones, each stampede's."""

from __future__ import annotations

from c1m.results.record import Requests, RunRecord


def one_each(record: RunRecord) -> list[tuple[str, Requests]]:
    """("first", ...) where any was sent, then ("stampede", ...) for each of these stages."""
    first = [("first", record.first)] if record.first.sent else []
    return first + [(s.name, s.requests) for s in record.stages if s.is_stampede]


def right_of_each(record: RunRecord) -> list[tuple[str, int, int]]:
    """("first", sent, right), then ("stampede", sent, right) for each stampede."""
    return [(name, one.sent, one.right) for name, one in one_each(record)]
