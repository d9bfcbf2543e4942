"""Mistakes in a user's scenario: whatever it raises becomes one ScenarioError, with file and line.

A mistake in the tenth minute of a run is reported like one in the first second, and the run ends in
good order with what it has measured. Pure.
"""

from __future__ import annotations

import difflib
import functools
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError, UsageError
from c1m.scenarios.base import Scenario

_OURS = __file__.rpartition("scenarios")[0]
_LIBRARY = "/lib/python"
_MARK = "_c1m_guard"  # the attribute of a method that is guarded: itself
_PIECES = ("requests", "replies")  # methods that return a piece for each connection


def guard(scenario: Scenario) -> Scenario:
    """The same object; what its own methods raise, when anybody calls them, is a ScenarioError."""
    for name, inherited in vars(Scenario).items():
        if name.startswith("_") or not callable(inherited):
            continue
        method = getattr(scenario, name)
        is_own = getattr(method, "__func__", method) is not inherited
        # `functools.wraps` hands our mark on to a user's decorator: only on itself is it ours.
        if is_own and getattr(method, _MARK, None) is not method:
            setattr(scenario, name, _guarded(scenario, name, method))
    return scenario


def _guarded(scenario: Scenario, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            result = method(*arguments, **keywords)
        except UsageError:
            raise
        except Exception as error:
            raise mistake(error, f"{name} raised") from error
        if name in _PIECES and arguments:
            return check_pieces(scenario.name, name, result, len(arguments[0]))
        return result

    setattr(call, _MARK, call)
    return call


def check_pieces(name: str, method: str, pieces: object, count: int) -> Ragged:
    """What a scenario's method returned: a piece with a byte in it for each connection.

    Raises ScenarioError for all else, as for a piece that is not inside its memory: it would be
    sent.
    """
    if not isinstance(pieces, Ragged):
        raise ScenarioError(
            f"{name}: {method} returned {type(pieces).__name__}, no c1m.Ragged.",
            "Use c1m.Ragged.of(list of bytes).",
        )
    if len(pieces) != count:
        raise ScenarioError(
            f"{name}: {method} returned {len(pieces)} pieces for {count} connections.",
            "Return one for each.",
        )
    try:
        pieces.check(f"what {method} returned")
    except UsageError as error:
        raise ScenarioError(f"{name}: {error.message}", error.remedy) from None
    if count and int(pieces.lengths.min()) < 1:
        raise ScenarioError(
            f"{name}: {method} returned a piece without a byte.", "Return at least one."
        )
    return pieces


def mistake(error: BaseException, what: str) -> ScenarioError:
    """An exception from a user's scenario as one of ours."""
    if isinstance(error, ScenarioError):
        return error
    return ScenarioError(f"{described(error)} ({what}).", "Correct the scenario.")


def described(error: BaseException) -> str:
    """An exception in a line, with where it was raised: "shop.py:12: ValueError: no number"."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{where(error)}: {text}"


def where(error: BaseException) -> str:
    """File and line that raised, as a user knows them: the innermost that is not of a library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if not f.filename.startswith(_OURS) and _LIBRARY not in f.filename]
    frame = (ours or list(frames))[-1] if frames else None
    return "somewhere" if frame is None else f"{frame.filename}:{frame.lineno}"


def nearest(name: str, names: Iterable[str]) -> str:
    """ "; did you mean 'echo'?" without the sign, or "" where nothing is like it."""
    near = difflib.get_close_matches(name, list(names), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?"[:-1] if near else ""
