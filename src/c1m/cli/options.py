"""Options as click has them: kinds of arguments as its types, a load run's options, the engine."""

from __future__ import annotations

import functools
from typing import Any

import click

from c1m import arguments
from c1m.arguments import Choice, Number
from c1m.bounds import PID_MAX
from c1m.engine.choose import AUTO, ENGINES
from c1m.errors import UsageError
from c1m.results.options import OPTIONS, LoadOptions, Option, plain


class Unit(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number with a unit, read and bounded as the `kind` says."""

    def __init__(self, kind: Number) -> None:
        self.kind = kind
        self.name = kind.name.replace("duration", "time")  # as help shows it, in capitals

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):  # a default
            return value
        return self.kind.check("this" if param is None else param.opts[-1], value)

    def within(self, least: float, most: float) -> Unit:
        """The same unit with another range."""
        return Unit(self.kind.within(least, most))


COUNT = Unit(arguments.COUNT)
SIZE = Unit(arguments.SIZE)
DURATION = Unit(arguments.DURATION)
RATE = Unit(arguments.RATE)


class Pid(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """The id of a process; whether it is there is seen later."""

    name = "pid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= PID_MAX):
            name = "this" if param is None else param.opts[-1]
            raise UsageError(
                f"{name}: {text!r} is not a process id.", f"Give a number from 1 to {PID_MAX}."
            )
        return int(text)


class MessageText(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """`@FILE` -> its bytes (`@-`: of standard input); else the text with its escapes."""

    name = "message"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from c1m.files import read_bytes
        from c1m.scenarios.messages import MESSAGE_MAX, unescape

        text = str(value)
        return read_bytes(text[1:], MESSAGE_MAX) if text.startswith("@") else unescape(text)


class ScenarioOption(click.Option):
    """--scenario, several of which are one text with commas; its help names the scenarios, which
    are imported only to be shown."""

    def __init__(self, names: list[str], **more: Any) -> None:
        more |= {"default": (more["default"],), "multiple": True}
        super().__init__(names, **more)

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        return ", ".join(super().process_value(ctx, value))

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from c1m.scenarios.loader import SCENARIOS

        self.help = (self.help or "").replace("the name of a scenario", ", ".join(SCENARIOS))
        return super().get_help_record(ctx)


_OF_KIND: dict[str, dict[str, Any]] = {
    "text": {},
    "texts": {"multiple": True},
    "flag": {"is_flag": True},
    "pid": {"type": Pid()},
    "message": {"type": MessageText()},
}


def _targets(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> Any:
    """An argument has no default for Click: those of a plan are taken here."""
    targets = given or ctx.lookup_default("target")
    if not targets and not ctx.resilient_parsing:
        raise click.MissingParameter(ctx=ctx, param=param)
    return targets


def parameter(option: Option) -> click.Parameter:
    """An option of a load run as a command has it."""
    if option.name == "target":
        return click.Argument([option.name], nargs=-1, metavar=option.metavar, callback=_targets)
    if option.name == "engine":
        return ENGINE
    more: dict[str, Any] = {
        "default": getattr(LoadOptions(), option.field),
        "help": option.plain_help + (f"  [default: {plain(option.unset)}]" if option.unset else ""),
        "metavar": option.metavar or None,
    }
    if isinstance(option.kind, Number):
        more["type"] = Unit(option.kind)
    elif isinstance(option.kind, Choice):
        more["type"] = click.Choice(option.kind.words)
    else:
        more |= _OF_KIND[option.kind.name]
    made = ScenarioOption if option.name == "scenario" else click.Option
    return made([option.flags, option.name], **more)


option = functools.partial(click.Option, show_default=True)
ENGINE = option(
    ["--engine"], type=click.Choice([AUTO, *ENGINES]), default=AUTO,
    help=OPTIONS["engine"].plain_help,
)  # fmt: skip
