"""Option types that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from c1m.units import parse_count, parse_duration, parse_rate, parse_size


class Unit(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number with a unit, parsed by one of c1m.units' functions."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._parse(value) if isinstance(value, str) else value


COUNT = Unit("count", parse_count)
SIZE = Unit("size", parse_size)
DURATION = Unit("duration", parse_duration)
RATE = Unit("rate", parse_rate)

engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "uring", "epoll"]),
    default="auto",
    show_default=True,
    help="auto: uring where it works, else epoll.",
)
