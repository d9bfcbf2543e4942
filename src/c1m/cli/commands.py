"""The commands, each imported when it is called; an error becomes one sentence and a status."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable

import click

from c1m.apps import APPS
from c1m.cli.streams import on_one_line
from c1m.errors import C1mError, LimitError, UsageError
from c1m.kernel.refusals import address_space, refusal

# With less, NumPy's library ends the process itself, with a message of its own.
SPACE_LEAST = 100 << 20

COMMANDS = {
    "serve": f"Hold connections: serve {', '.join(APPS)}, an App or asyncio protocols.",
    "top": "Show what a server with --admin is doing, live.",
    "load": "Open connections to a server, check and measure every one of them.",
    "doctor": "Say what a number of connections needs on this machine.",
    "demo": "Doctor, server and client together: a million connections here and now.",
    "compare": "Say what changed between two runs, and whether it is more than noise.",
    "report": "Show the record of a run again, or make its HTML.",
}


_HYPHEN = "\N{NON-BREAKING HYPHEN}"


class HelpFormatter(click.HelpFormatter):
    """Breaks no word at its hyphens: a path or FIRST-LAST stays whole."""

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", _HYPHEN))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        whole = [(name, text.replace("-", _HYPHEN)) for name, text in rows]
        super().write_dl(whole, col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_HYPHEN, "-")


class Context(click.Context):
    """Shows help by it."""

    formatter_class = HelpFormatter


class Commands(click.Group):
    """Imports only the command that is called."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if address_space() < SPACE_LEAST:
            raise LimitError(*refusal("more memory", MemoryError()))
        command = getattr(importlib.import_module(f"c1m.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        command.context_class = Context
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="c1m", message="c1m %(version)s")
def c1m() -> None:
    """A million and more concurrent TCP connections in one Python thread.

    \b
    Try:  c1m demo
    or:   c1m serve echo --listen tcp://127.0.0.1:8001
          c1m load tcp://127.0.0.1:8001 --connections 1M
    """


def _complain(text: str) -> None:
    """Print one line, whatever characters the names in it have."""
    click.echo(f"c1m: {on_one_line(' '.join(text.split()))}", err=True)


def run() -> None:
    """Run the command line; never returns."""
    try:
        # Not standalone: Click would report bad usage in three lines of its own.
        sys.exit(c1m.main(standalone_mode=False) or 0)
    except C1mError as error:
        _complain(str(error))
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except click.UsageError as error:
        if len(sys.argv) < 2:  # newer versions of Click raise to show the help
            error.show()
        else:
            command = "c1m" if error.ctx is None else error.ctx.command_path
            said = error.format_message().rstrip()
            stop = "" if said.endswith((".", "?", "!")) else "."
            _complain(f"{said}{stop} Try `{command} --help`.")
        sys.exit(2)
    except click.Abort:
        _complain("interrupted.")
        sys.exit(1)
