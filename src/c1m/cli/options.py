"""Option types that several commands share. Each has a range: no number goes to the kernel, or into
a column, that does not fit there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from c1m.bounds import INT_MAX
from c1m.engine.choose import AUTO, ENGINES
from c1m.errors import UsageError
from c1m.units import (
    format_count,
    format_duration,
    parse_count,
    parse_duration,
    parse_rate,
    parse_size,
)

HOUR_NS = 3600 * 1_000_000_000


class Unit(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number with a unit, parsed by one of c1m.units' functions, from `least` to `most`.

    Raises UsageError for what is no such number, and beyond that range.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any],
        least: float,
        most: float,
        shown: Callable[[float], str] = format_count,
    ) -> None:
        self.name = name
        self._parse = parse
        self.least, self.most = least, most
        self._shown = shown

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = self._parse(value) if isinstance(value, str) else value
        if self.least <= number <= self.most:
            return number
        what = "small" if number < self.least else "large"
        raise UsageError(
            f"{value} is too {what} for {'this' if param is None else param.opts[-1]}.",
            f"Give {self._shown(self.least)} to {self._shown(self.most)}.",
        )

    def within(self, least: float, most: float) -> Unit:
        """The same unit with another range."""
        return Unit(self.name, self._parse, least, most, self._shown)


def _shown_duration(ns: float) -> str:
    return f"{ns / HOUR_NS:,.0f}h" if ns >= HOUR_NS else format_duration(ns)


COUNT = Unit("count", parse_count, 0, INT_MAX)
SIZE = Unit("size", parse_size, 0, 1 << 40)
# Added to the clock it is still an int64.
DURATION = Unit("duration", parse_duration, 0, 1_000_000 * HOUR_NS, _shown_duration)
RATE = Unit("rate", parse_rate, 0, 1e12)


class ScenarioOption(click.Option):
    """--scenario; its help names the scenarios, which are imported only to be shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from c1m.scenarios.loader import SCENARIOS

        self.help = f"What connections say and expect: {', '.join(SCENARIOS)}, or FILE.py:NAME."
        return super().get_help_record(ctx)


engine_option = click.option(
    "--engine",
    type=click.Choice([AUTO, *ENGINES]),
    default=AUTO,
    show_default=True,
    help="auto: uring where it works, else epoll.",
)
