"""`c1m load`: open connections, keep load on them, check every reply, report.

A plan in a TOML file has the options of the command by their names, without the dashes:

    target = "tcp://127.0.0.1:8001"
    stages = ["ramp 0..100k in 10s", "hold 100k for 1m at 20k/s"]
    require = ["p99 < 50ms", "lost == 0"]

What is given on the command line replaces it.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import TYPE_CHECKING, Any

import click

from c1m.cli.options import parameter
from c1m.errors import UsageError
from c1m.results.options import OPTIONS, LoadOptions, grouped

if TYPE_CHECKING:
    from c1m.loadgen.outline import Outline
    from c1m.loadgen.plan import LoadPlan
    from c1m.results.record import RunRecord

_HELP = """Open connections to TARGET, keep load on them, check and measure every reply.

TARGET says where to, and what is spoken there. Several are taken in turns.

\b
  HOST:PORT  tcp://HOST:PORT  unix:///PATH   bytes, which are echoed
  http://HOST/PATH?QUERY                     requests; connections are kept
  ws://HOST/PATH                             WebSockets, messages are echoed
  sse://HOST/PATH                            streams of events, which are held
  mqtt://USER:PASSWORD@HOST                  each subscribes and hears itself
  redis://USER:PASSWORD@HOST/DATABASE        SET, GET of its own key, INCR
  tls:// https:// wss:// sses:// mqtts:// rediss://       the same over TLS

Nothing but a TARGET: 10 connections for 10 seconds, each asks again as soon as it
has its reply. To ask for more, or for something else:

\b
  c1m load http://HOST/ --connections 1k --hold 30s --rate 5k/s
                                   5,000 requests a second are due, in all
  c1m load http://HOST/ --connections 100 --hold 30s --think 0s
                                   as fast as replies come
  c1m load redis://HOST --connections 10k
  c1m load wss://HOST/chat --connections 100k --hold 5m --ca ca.pem
  c1m load mqtt://HOST --connections 10k --scenario publish --rate 10/s
                                   who hears a publication, and how soon
  c1m load tcp://HOST:PORT --connections 1M --hold 60s
                                   open, hold, ask all at the same moment
  c1m load TARGET --stage 'ramp 0..9k in 60s' --stage 'hold for 5m at 5k/s'
  c1m load TARGET --scenario shop.py:Shop --require 'check:total == 0'
  c1m load TARGET --plan checkout.toml
  c1m load TARGET --connections 10M --cluster tcp://SCHEDULER:8786
                                   by many load clients, here (local:4) or elsewhere

Latencies are counted from when a request was due, and beside it from when it was
sent. Exit status: 0 all as asked, 1 something was short, 2 bad usage; with --require
only the thresholds decide: 0 all hold, 1 one does not.
"""
OUTPUTS = {
    "json": "Write the record of the run as JSON; - is standard output.",
    "report": "Write an HTML report with plots.",
    "hgrm": "Write HdrHistogram's percentile text.",
    "csv": "Write the time series as CSV.",
}


def _take_plan(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    """What the file says is the default of all other options."""
    if path is not None and not ctx.resilient_parsing:
        ctx.default_map = read_plan(path, ctx.command)


def _load(metrics: str | None, live: str | None, quiet: bool, **given: Any) -> None:
    from c1m.cli.live.observer import Observer
    from c1m.cli.outputs import Outputs, summary
    from c1m.loading import run
    from c1m.report.sections import MORE

    plain = {name: list(one) if isinstance(one, tuple) else one for name, one in given.items()}
    found: dict[str, Any] = {option.field: plain[name] for name, option in OPTIONS.items()}
    options = LoadOptions(**found)
    outputs = Outputs({name: given[name] for name in OUTPUTS})

    def on_plan(plan: LoadPlan | Outline) -> None:
        if plan.assumed and not quiet:  # else the summary says so
            click.echo(f"assumed: {plan.assumed}; {MORE}.", file=outputs.stream)

    with Observer(outputs.stream, quiet, metrics, live) as observer:
        record = run(
            options, on_progress=observer.show, on_signals=True, on_end=outputs.write_record,
            on_plan=on_plan,
        )  # fmt: skip
        observer.conclude(_verdict(record))
    click.echo(summary(record), file=outputs.stream)
    for path, what in outputs.written.items():
        click.echo(f"{what}: {path}", file=outputs.stream)
    outputs.end()
    sys.exit(0 if _is_good(record) else 1)


def _is_good(record: RunRecord) -> bool:
    """Thresholds say what is wanted: where there are some, nothing else decides."""
    holds = all(threshold.holds for threshold in record.thresholds)
    return holds if record.thresholds else record.verdict.complete


def _verdict(record: RunRecord) -> dict[str, Any]:
    """What the page of --live ends with."""
    from c1m.report import sections, text

    (headline,) = sections.verdict(record).blocks
    return dataclasses.asdict(headline) | {
        "is_good": _is_good(record),
        "thresholds": [
            {"text": one.text, "shown": one.shown or one.why, "holds": one.holds}
            for one in record.thresholds
        ],
        "summary": text.summary(record),
    }


class _Grouped(click.Command):
    """Its help has the options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Command."""
        groups = {one.name: title for title, some in grouped().items() for one in some}
        last = list(groups.values())[-1]
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in groups.values()}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                rows[groups.get(param.name or "", last)].append(record)
        for title, some in rows.items():
            with formatter.section(title):
                formatter.write_dl(some)


load = _Grouped(
    "load",
    callback=_load,
    help=_HELP,
    params=[
        *map(parameter, OPTIONS.values()),
        click.Option(
            ["--plan"], metavar="FILE", help="Take options from a TOML file.", is_eager=True,
            expose_value=False, callback=_take_plan,
        ),
        *(
            click.Option([f"--{name}"], metavar="FILE", help=what)
            for name, what in OUTPUTS.items()
        ),
        click.Option(
            ["--metrics"], metavar="[HOST]:PORT",
            help="Serve Prometheus metrics while it runs, e.g. :9100.",
        ),
        click.Option(
            ["--live"], metavar="[HOST]:PORT",
            help="Serve the dashboard as a web page while it runs, e.g. :8080.",
        ),
        click.Option(["--quiet"], is_flag=True, help="Show no progress."),
    ],
)  # fmt: skip


# --- a plan in a file -----------------------------------------------------------------------------


def read_plan(path: str, command: click.Command) -> dict[str, Any]:
    """What the file says, by the names of the command's parameters.

    Raises UsageError in one sentence, with the file's name, for what cannot be read.
    """
    import difflib
    import tomllib

    from c1m.files import read_text

    text = read_text(path)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: what Python refuses
        raise UsageError(f"{path} is not TOML: {error}.", "See `c1m load --help`.") from None
    known = _keys(command)
    found: dict[str, Any] = {}
    for key, value in data.items():
        option = key.replace("_", "-")
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f"Is {near[0]!r} meant?" if near else f"There are: {', '.join(sorted(known))}."
            raise UsageError(f"{path} has {key!r}, which `c1m load` does not know.", hint)
        found[known[option].name or option] = _value(path, key, value, known[option])
    return found


def _keys(command: click.Command) -> dict[str, click.Parameter]:
    """The options by their names, and by those that `c1m.load` has for them: plurals."""
    named = {"targets": command.params[0]}
    for one in command.params:
        for name in (one.name or "", *one.opts):
            named[name.lstrip("-").replace("_", "-")] = one
    del named["plan"]
    return named


def _value(path: str, key: str, value: Any, parameter: click.Parameter) -> Any:
    """As it would stand on the command line: texts, or lists of them."""
    is_row = parameter.multiple or parameter.nargs == -1
    if isinstance(value, list) and is_row:
        return tuple(_plain(path, key, item) for item in value)
    is_flag = isinstance(parameter, click.Option) and parameter.is_flag
    one = value if is_flag and isinstance(value, bool) else _plain(path, key, value)
    return (one,) if is_row else one


def _plain(path: str, key: str, value: Any) -> str:
    from decimal import Decimal

    if isinstance(value, float) and math.isfinite(value):
        return f"{Decimal(repr(value)):f}"  # all digits: 1e-05 would be no number behind an option
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise UsageError(
        f"In {path}, {key!r} is {value!r}.", "Give a text or a number, as on the command line."
    )
