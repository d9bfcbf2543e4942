"""Options that servers bring along (`c1m serve kv`): shown with them, refused with others."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from c1m.apps import APPS
from c1m.arguments import FLAG, TEXTS, AppOption, Choice
from c1m.errors import UsageError
from c1m.guard import options as guard
from c1m.tls import options as tls

_MODULES = {
    name: importlib.import_module(entry.options) for name, entry in APPS.items() if entry.options
}
OPTIONS_OF: dict[str, Sequence[AppOption]] = {n: m.OPTIONS for n, m in _MODULES.items()}
DEFAULT_LISTEN: dict[str, str] = {n: m.LISTEN for n, m in _MODULES.items()}


class Checked(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A text that its option takes; the server reads it."""

    def __init__(self, option: AppOption) -> None:
        self.option = option
        self.name = option.kind.name.replace("duration", "time")  # as help shows it, in capitals

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        self.option.check(value, self.option.flag)
        return value


class OwnOption(click.Option):
    """An option of one server: not among those of all."""

    def __init__(self, option: AppOption) -> None:
        metavar = option.metavar or None
        if isinstance(option.kind, Choice):
            metavar = f"[{'|'.join(option.kind.words)}]"
        given: dict[str, Any] = {"type": Checked(option), "metavar": metavar}
        if option.kind is TEXTS:
            given["multiple"] = True
        if option.kind is FLAG:
            given = {"is_flag": True, "default": None}
        super().__init__([option.flag, option.name], help=option.help, **given)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        return None

    def own_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """What help shows with its server."""
        return super().get_help_record(ctx)


# Those of every server that have a section of their own in its help; the others come first.
SECTIONS = {
    "Stopping and starting": ("drain_ns", "drain_spread_ns", "linger_ns", "takeover", "user"),
    "Logs and figures": ("admin", "log", "log_level", "access_log", "quiet", "json_path"),
}


class ServeCommand(click.Command):
    """`c1m serve`, whose help is also about the server that is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["args"] = list(args)
        ctx.meta["app"] = next((arg for arg in args if arg in OPTIONS_OF), "")
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in ("--port", "-p", "--bind"):
                raise
            raise UsageError(
                f"There is no {error.option_name}.", "Write --listen tcp://127.0.0.1:PORT."
            ) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        titles = {name: title for title, names in SECTIONS.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {"Options": [], **{t: [] for t in SECTIONS}}
        for each in self.get_params(ctx):
            if isinstance(each, click.Option) and (record := each.get_help_record(ctx)):
                rows[titles.get(each.name or "", "Options")].append(record)
        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records)
        app = ctx.meta.get("app", "")
        own = [OwnOption(option) for option in OPTIONS_OF.get(app, ())]
        names = {option.name for option in own}
        limits = [option for option in LIMIT_OPTIONS if option.name not in names]
        _write_section(f"Options of {app}", own, ctx, formatter)
        _write_section("Limits", limits, ctx, formatter)
        _write_section("TLS (tls://, https://, rediss://)", TLS_OPTIONS, ctx, formatter)
        if not app:
            formatter.write_paragraph()
            for name in OPTIONS_OF:
                formatter.write_text(f"{name} has further options: c1m serve {name} --help")


def _write_section(
    title: str, own: Sequence[OwnOption], ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    records = [record for each in own if (record := each.own_help_record(ctx))]
    if records:
        with formatter.section(title):
            formatter.write_dl(records)


LIMIT_OPTIONS = [OwnOption(option) for option in guard.OPTIONS]
_LIMITS = {option.name for option in guard.OPTIONS}
# A server may have one of the limits' names for itself: its own is meant then. Several may have the
# same.
_BY_NAME = {option.name: option for options in OPTIONS_OF.values() for option in options}
APP_OPTIONS = [OwnOption(option) for name, option in _BY_NAME.items() if name not in _LIMITS]
TLS_OPTIONS = [OwnOption(option) for option in tls.OPTIONS]


def taken(app: str, options: dict[str, Any]) -> dict[str, Any]:
    """Make those of TLS and the limits one each, and take the server's own out, which are returned.

    Raises UsageError.
    """
    options["tls"] = tls_options(options)
    options["limits"] = limit_options(app, options)
    return own_options(app, options)


def own_options(app: str, options: dict[str, Any]) -> dict[str, Any]:
    """Take a server's own options out of all. Raises UsageError for those of other servers."""
    own = {}
    names = {option.name for option in OPTIONS_OF.get(app, ())}
    for option in _BY_NAME.values():
        value = options.pop(option.name, None)
        if value is None or value == ():  # none of those that may be given several times
            continue
        if option.name not in names:
            owners = [n for n, theirs in OPTIONS_OF.items() if option in theirs]
            raise UsageError(f"{option.flag} is an option of {' and '.join(owners)}, not of {app}.")
        own[option.name] = value
    return own


def tls_options(options: dict[str, Any]) -> tls.TLS | None:
    """Take those of TLS out of all; None where none is given. Raises UsageError."""
    given = {option.name: options.pop(option.name, None) for option in tls.OPTIONS}
    wanted = {
        name.removeprefix("tls_"): value for name, value in given.items() if value not in (None, ())
    }
    return tls.TLS(**{"cert": (), **wanted}) if wanted else None


def limit_options(app: str, options: dict[str, Any]) -> guard.Limits | None:
    """Take the limits out of all; None where none is given. Raises UsageError."""
    own = {option.name for option in OPTIONS_OF.get(app, ())}
    given = {name: options.pop(name, None) for name in _LIMITS - own}
    wanted = {name: value for name, value in given.items() if value not in (None, ())}
    return guard.Limits(**wanted) if wanted else None
