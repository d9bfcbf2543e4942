"""Connections of a part, numbered as those of the whole run, for scenarios of users' own. Pure.

A load client counts its connections from 0. Where it does a part of a run, a scenario of arrays is
asked for those of the whole instead, so that it says the same as it would if there were no parts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from c1m.results.share import Stretch
from c1m.scenarios.base import Scenario

# Methods whose first argument is a connection's number, or those of many.
BY_NUMBER = (
    "requests", "request", "replies", "are_right", "is_right", "which_right", "took", "reply",
    "accepts", "why_wrong", "reply_size", "reply_sizes", "frame", "mix_up",
)  # fmt: skip
_SPEAKERS = "_c1m_speakers"
_INNER = "_c1m_placed"  # the attribute of such a method: the one in it


def place(scenario: Scenario, stretch: Stretch) -> None:
    """Tell a scenario which connections of a run it has, and speak of them with their numbers
    there, where it does not see to that itself."""
    scenario.stretch = stretch
    names = ("begin", "identify", *BY_NUMBER)
    for name in names:  # of an earlier run with the same object
        placed = vars(scenario).get(name)
        if hasattr(placed, _INNER):
            setattr(scenario, name, getattr(placed, _INNER))
    if scenario.sees_to_stretch:
        return
    speakers = vars(scenario).pop(_SPEAKERS, scenario.speakers)  # of the whole run
    if speakers is not None:
        vars(scenario)[_SPEAKERS] = speakers
        scenario.speakers = stretch.share.count(speakers)
    if stretch.share.is_whole:
        return
    numbered = _Numbered(stretch.first)
    for name in BY_NUMBER:
        _wrap(scenario, name, numbered.by_number)
    _wrap(scenario, "identify", numbered.of_number)
    begin = scenario.begin

    def begin_all(connections: int, seed: int) -> None:
        begin(max(connections, stretch.total), seed)

    setattr(begin_all, _INNER, begin)
    scenario.begin = begin_all  # type: ignore[method-assign]


def _wrap(
    scenario: Scenario, name: str, form: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    inner = getattr(scenario, name)
    wrapped = functools.wraps(inner)(form(inner))
    setattr(wrapped, _INNER, inner)
    setattr(scenario, name, wrapped)


class _Numbered:
    """Adds `first` to numbers on their way in, once: a scenario's methods call each other."""

    def __init__(self, first: int) -> None:
        self._first, self._is_inside = first, False

    def by_number(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(numbers: Any, *others: Any) -> Any:
            if self._is_inside:
                return inner(numbers, *others)
            self._is_inside = True
            try:
                return inner(numbers + self._first, *others)
            finally:
                self._is_inside = False

        return call

    def of_number(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(reply: bytes) -> Any:
            named = inner(reply)
            if named is None or self._is_inside:
                return named
            return named[0] - self._first, named[1]

        return call
