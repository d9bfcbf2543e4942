"""Arguments of public calls and options of commands: what can be meant is taken, all else refused.

A refusal is a UsageError that names the argument, before anything is opened. A *kind* says what may
be given: a count is 1000, "1k" or 1e3, a duration 30 (seconds) or "30s", a rate 50_000 or "50k/s".
Pure.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from c1m.bounds import INT_MAX
from c1m.errors import UsageError
from c1m.units import (
    NS_PER_S,
    format_count,
    format_duration,
    parse_count,
    parse_duration,
    parse_rate,
    parse_size,
)

COUNT_MAX = (1 << 63) - 1  # what a column or a time in nanoseconds can hold
HOUR_NS = 3600 * NS_PER_S


def integer(name: str, given: Any, least: int = 0, most: int = COUNT_MAX) -> int:
    """A whole number from `least` to `most`; 2.0 is one, "2", 2.5 and True are none."""
    span = _span(least, most, format_count)
    number = _whole(name, given, span)
    _in_range(name, given, number, least, most, span)
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


def message(name: str, given: Any) -> str | bytes:
    """A text (a template), or bytes that are meant as they are."""
    if isinstance(given, str):
        return given
    try:
        return bytes(memoryview(given))
    except TypeError:
        raise UsageError(f"{name} is {_shown(given)}.", "Give a str or bytes.") from None


def function(name: str, given: Any) -> Any:
    """Something to call, or None."""
    if given is not None and not callable(given):
        raise UsageError(f"{name} is {_shown(given)}, which cannot be called.", "Give a function.")
    return given


@dataclass(frozen=True, slots=True)
class Kind:
    """What may be given: `check(name, given)` returns it as a plain value."""

    name: str
    check: Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]
    name: str = "choice"

    def check(self, name: str, given: Any) -> str:
        """The word. Raises UsageError for another one."""
        if text(name, given) not in self.words:
            raise UsageError(f"{name} is {_shown(given)}.", f"Use {' or '.join(self.words)}.")
        return str(given)


@dataclass(frozen=True, slots=True)
class Number:
    """A number from `least` to `most`, or a text with a unit that `parse` reads."""

    name: str
    parse: Callable[[str], Any]
    plain: Callable[[str, Any, str], Any]  # the value of what is no text: name, given, the range
    least: float
    most: float
    shown: Callable[[float], str] = format_count

    def within(self, least: float, most: float) -> Number:
        """The same with another range."""
        return replace(self, least=least, most=most)

    def check(self, name: str, given: Any) -> Any:
        """The number. Raises UsageError for what is none, and for one out of the range."""
        span = _span(self.least, self.most, self.shown)
        if isinstance(given, str):
            try:
                value = self.parse(given)
            except UsageError as error:
                raise UsageError(f"{name}: {error.message}", error.remedy) from None
        else:
            value = self.plain(name, given, span)
        _in_range(name, given, value, self.least, self.most, span)
        return value


def _span(least: float, most: float, shown: Callable[[float], str]) -> str:
    """ "1 to 2,147,483,647"; "0 or more" where only what a column holds is the end."""
    if most == COUNT_MAX:
        return f"{shown(least)} or more"
    return f"{shown(least) if least else 0} to {shown(most)}"


def _in_range(name: str, given: Any, value: float, least: float, most: float, span: str) -> None:
    if not least <= value <= most:
        what = "small" if value < least else "large"
        said = given if isinstance(given, str) else _shown(given)
        raise UsageError(f"{said} is too {what} for {name}.", f"Give {span}.")


def _whole(name: str, given: Any, span: str) -> int:
    try:
        is_whole = isinstance(given, float) and given.is_integer()
        number = int(given) if is_whole else operator.index(given)
    except TypeError:
        number = None
    if number is None or isinstance(given, bool):
        raise UsageError(
            f"{name} is {_shown(given)}, no whole number.", f"Give a whole number: {span}."
        )
    return number


def _real(name: str, given: Any, wanted: str) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise UsageError(f"{name} is {_shown(given)}, no number.", f"Give {wanted}.")
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if math.isnan(number):
        raise UsageError(f"{name} is nan.", f"Give {wanted}.")
    return number


def _seconds(name: str, given: Any, span: str) -> float:
    """In nanoseconds."""
    ns = _real(name, given, f"seconds, or a text such as '30s': {span}") * NS_PER_S
    return round(ns) if math.isfinite(ns) else ns


def _per_second(name: str, given: Any, span: str) -> float:
    number = _real(name, given, f"50_000, or '50k/s': {span}")
    if number == 0:
        raise UsageError(f"{name} is 0, which does nothing.", "Give one above zero.")
    return number


def _shown_duration(ns: float) -> str:
    return f"{ns / HOUR_NS:,.0f}h" if ns >= HOUR_NS else format_duration(ns)


def _shown(given: Any) -> str:
    """The value in a few letters, whatever it is."""
    try:
        shown = f"{given:,}" if type(given) is int else repr(given)
    except Exception:
        return f"a value of type {type(given).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:40]}... ({type(given).__name__})"


TEXT = Kind("text", text)
TEXTS = Kind("texts", texts)
FLAG = Kind("flag", flag)
MESSAGE = Kind("message", message)
COUNT = Number("count", parse_count, _whole, 0, INT_MAX)
SIZE = Number("size", parse_size, _whole, 0, 1 << 40)
# Added to the clock it is still an int64.
DURATION = Number("duration", parse_duration, _seconds, 0, 1_000_000 * HOUR_NS, _shown_duration)
RATE = Number("rate", parse_rate, _per_second, 0, 1e12)


def as_flag(name: str) -> str:
    """An argument's name as a command has it: --max-memory."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class AppOption:
    """An option of `c1m serve`, and the argument of a class: `name` is "max_memory", the command
    has it as --max-memory."""

    name: str
    kind: Kind | Choice | Number
    help: str
    metavar: str = ""
    default: Any = None

    @property
    def flag(self) -> str:
        """As the command has it."""
        return as_flag(self.name)

    def check(self, given: Any, name: str = "") -> Any:
        """The value; None stays None. Raises UsageError for what cannot be meant."""
        return None if given is None else self.kind.check(name or self.name, given)
