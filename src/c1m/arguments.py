"""Arguments of public calls: what can be meant is taken, all else is a UsageError that names it.

A count may be written as 1000, "1k" or 1e3, a duration as 30 or "30s", a rate as 50_000 or "50k/s".
What is no number, and what is beyond a range, is told before anything is opened. Pure.
"""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

from c1m.errors import UsageError
from c1m.units import parse_count, parse_duration, parse_rate

COUNT_MAX = (1 << 63) - 1  # what a column or a time in nanoseconds can hold
SECONDS_MAX = 1e9  # 31 years


def integer(name: str, given: Any, least: int = 0, most: int = COUNT_MAX) -> int:
    """A whole number from `least` to `most`; 2.0 is one, "2", 2.5 and True are none."""
    try:
        is_whole = isinstance(given, float) and given.is_integer()
        number = int(given) if is_whole else operator.index(given)
    except TypeError:
        number = None
    if number is None or isinstance(given, bool):
        raise UsageError(
            f"{name} is {_shown(given)}, no whole number.", f"Give one from {least:,} on."
        )
    if not least <= number <= most:
        raise UsageError(f"{name} is {_shown(number)}.", f"Give one from {least:,} to {most:,}.")
    return number


def count(name: str, given: Any, least: int = 0, most: int = COUNT_MAX) -> int:
    """A whole number, or its text: "50k", "1M"."""
    return integer(name, _parsed(name, given, parse_count), least, most)


def duration_ns(name: str, given: Any) -> int:
    """Nanoseconds out of seconds or a text such as "30s"; not below zero."""
    if isinstance(given, str):
        return integer(name, _parsed(name, given, parse_duration))
    return round(_number(name, given, "seconds, or a text such as '30s'", SECONDS_MAX) * 1e9)


def rate(name: str, given: Any) -> float:
    """A number per second, or a text such as "50k/s"; above zero."""
    number = _number(name, _parsed(name, given, parse_rate), "50_000, or '50k/s'", 1e12)
    if number == 0:
        raise UsageError(f"{name} is 0, which does nothing.", "Give one above zero.")
    return number


def text(name: str, given: Any) -> str:
    """A text."""
    if not isinstance(given, str):
        raise UsageError(f"{name} is {_shown(given)}, no text.", "Give a str.")
    return given


def texts(name: str, given: Any) -> list[str]:
    """Texts: one, or a row of them."""
    if isinstance(given, str):
        return [given]
    try:
        row = None if isinstance(given, bytes | bytearray | memoryview) else list(given)
    except TypeError:
        row = None
    if row is None:
        raise UsageError(f"{name} is {_shown(given)}.", "Give a text or a list of texts.")
    return [text(f"{name}[{i}]", each) for i, each in enumerate(row)]


def flag(name: str, given: Any) -> bool:
    """True or False: other words for them ("no") mean something else to Python."""
    if given is not True and given is not False:
        raise UsageError(f"{name} is {_shown(given)}.", "Give True or False.")
    return bool(given)


def function(name: str, given: Any) -> Any:
    """Something to call, or None."""
    if given is not None and not callable(given):
        raise UsageError(f"{name} is {_shown(given)}, which cannot be called.", "Give a function.")
    return given


def _parsed(name: str, given: Any, parse: Any) -> Any:
    """What a text says; what is no text as it is. The parser's sentence, with the name before."""
    if not isinstance(given, str):
        return given
    try:
        return parse(given)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", error.remedy) from None


def _number(name: str, given: Any, wanted: str, most: float) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise UsageError(f"{name} is {_shown(given)}, no number.", f"Give {wanted}.")
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if not 0 <= number <= most:
        raise UsageError(f"{name} is {_shown(given)}.", f"Give {wanted}: from 0 to {most:,.0f}.")
    return number


def _shown(given: Any) -> str:
    """The value in a few letters, whatever it is."""
    try:
        shown = f"{given:,}" if type(given) is int else repr(given)
    except Exception:
        return f"of type {type(given).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:40]}... ({type(given).__name__})"
