"""`c1m load`: open connections, keep load on them, check every reply, report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from c1m.bounds import PID_MAX
from c1m.cli.options import COUNT, DURATION, RATE, ScenarioOption, engine_option
from c1m.cli.streams import say

if TYPE_CHECKING:
    from c1m.results.snapshot import Snapshot

_HELP = """Open connections to TARGET, keep load on them, check and measure every reply.

TARGET is tcp://HOST:PORT (or HOST:PORT), tcp://HOST:FIRST-LAST or unix:///path, or several of them.

\b
How many and how fast:
  c1m load TARGET --connections 100k --hold 30s              open, hold, ask once more
  c1m load TARGET --connections 100k --hold 30s --rate 20k/s     open loop, 20,000/s in all
  c1m load TARGET --connections 1k --hold 30s --think 0s         closed loop, as fast as it can
  c1m load TARGET --stage 'ramp 0..1M in 60s' --stage 'hold 1M for 5m at 50k/s'
  c1m load TARGET --stage 'steps 10k..50k by 10k every 30s at 5k/s'
  c1m load TARGET --plan checkout.toml

Latencies are counted from when a request was due, and beside it from when it was sent. Exit status:
0 all as asked, 1 something was short or a threshold does not hold, 2 bad usage.
"""


class Load(click.Command):
    """Takes what --plan says as the defaults of all other options."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        from c1m.cli.plan_file import read_plan

        path, targets = _plan_in(args), ()
        if path is not None:
            plan = read_plan(path, self)
            targets = plan.pop("target", ())
            extra["default_map"] = plan
        context = super().make_context(info_name, args, parent, **extra)
        context.params["target"] = context.params["target"] or targets
        if not context.params["target"] and not context.resilient_parsing:
            raise click.MissingParameter(ctx=context, param=self.params[0])
        return context


def _plan_in(args: list[str]) -> str | None:
    for index, arg in enumerate(args):
        if arg.startswith("--plan="):
            return arg.partition("=")[2]
        if arg == "--plan" and index + 1 < len(args):
            return args[index + 1]
    return None


@click.command(cls=Load, help=_HELP)
@click.argument("target", nargs=-1, metavar="TARGET...")
@click.option("--connections", type=COUNT, metavar="COUNT", help="How many, e.g. 10k or 1M.")
@click.option(
    "--hold",
    type=DURATION,
    default="0s",
    metavar="TIME",
    help="How long to keep all of them open, under load where a rate or think time is given.",
)
@click.option("--rate", type=RATE, metavar="RATE", help="Requests a second over all, e.g. 100k/s.")
@click.option(
    "--arrivals",
    type=click.Choice(["constant", "poisson"]),
    default="constant",
    show_default=True,
    help="How the requests of --rate are spaced.",
)
@click.option(
    "--spread",
    default="uniform",
    show_default=True,
    metavar="HOW",
    help="Which connections send: uniform, zipf or zipf:1.2 (its exponent).",
)
@click.option(
    "--think",
    type=DURATION,
    metavar="TIME",
    help="Instead of --rate: each connection sends its next request this long after its reply.",
)
@click.option(
    "--churn",
    type=RATE,
    metavar="RATE",
    help="Close and reopen this many connections a second.",
)
@click.option(
    "--stage",
    "stages",
    multiple=True,
    metavar="STAGE",
    help="A stage of the plan, in order: ramp, hold, steps, spike, drain, stampede, storm (see "
    "docs/reference/stages.md). Instead of --hold.",
)
@click.option("--plan", metavar="FILE", help="Take options from a TOML file.")
@click.option(
    "--scenario",
    cls=ScenarioOption,
    default="echo",
    show_default=True,
    metavar="NAME",
)
@click.option(
    "--message",
    metavar="TEXT",
    help="The request: a text with {n} (the connection), {seq} (its request), {random:64}, and "
    "\\n, \\r, \\x00 as in Python; or @FILE.",
)
@click.option(
    "--expect",
    metavar="TEXT",
    help="The right reply, where it is not the scenario's; may contain {any:10}.",
)
@click.option(
    "--pipeline",
    type=COUNT,
    default="1",
    show_default=True,
    metavar="COUNT",
    help="The most requests in flight on a connection.",
)
@click.option(
    "--publishers",
    type=COUNT,
    metavar="COUNT",
    help="With the scenario publish: how many connections publish.  [default: 1]",
)
@click.option(
    "--connect-rate",
    type=RATE,
    metavar="RATE",
    help="Open this many connections a second, e.g. 50k/s.  [default: as fast as possible]",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="ADDRESSES",
    help="Where to connect from: an address, FIRST-LAST or a network; may be given more than "
    "once.  [default: on loopback from 127.0.0.0/8, elsewhere the kernel's choice]",
)
@engine_option
@click.option(
    "--timeout",
    type=DURATION,
    default="30s",
    show_default=True,
    metavar="TIME",
    help="Give up a connect or a reply that takes longer.",
)
@click.option(
    "--connect-window",
    type=COUNT,
    metavar="COUNT",
    help="The most connects in progress.  [default: as many as the server's accept queue "
    "takes, 128 where that is not known]",
)
@click.option(
    "--server-pid",
    type=click.IntRange(1, PID_MAX),
    metavar="PID",
    help="Measure this process as the server.  [default: found by its port on this machine]",
)
@click.option(
    "--spin",
    is_flag=True,
    help="While there is load, look for replies instead of sleeping: no wake-up is in the "
    "latencies, and a whole core is taken.",
)
@click.option(
    "--seed",
    type=COUNT.within(0, 1 << 53),
    default="0",
    metavar="N",
    help="Seed of all random choices.",
)
@click.option(
    "--require",
    multiple=True,
    metavar="THRESHOLD",
    help="What must hold, e.g. 'p99 < 50ms' or 'lost == 0'; may be given more than once.",
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    help="Write the record of the run as JSON; - is standard output.",
)
@click.option("--report", "report_path", metavar="FILE", help="Write an HTML report with plots.")
@click.option("--hgrm", "hgrm_path", metavar="FILE", help="Write HdrHistogram's percentile text.")
@click.option("--csv", "csv_path", metavar="FILE", help="Write the time series as CSV.")
@click.option(
    "--metrics", metavar="[HOST]:PORT", help="Serve Prometheus metrics while it runs, e.g. :9100."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
def load(
    target: tuple[str, ...],
    stages: tuple[str, ...],
    plan: str | None,
    hold: int,
    think: int | None,
    message: str | None,
    expect: str | None,
    sources: tuple[str, ...],
    timeout: int,
    require: tuple[str, ...],
    json_path: str | None,
    report_path: str | None,
    hgrm_path: str | None,
    csv_path: str | None,
    metrics: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """See _HELP."""
    from c1m.cli.live.observer import Observer, best_mode
    from c1m.cli.outputs import Writing, check_outputs, summary
    from c1m.loadgen.run import load as run

    outputs = {"json": json_path, "report": report_path, "hgrm": hgrm_path, "csv": csv_path}
    stream = check_outputs(outputs)
    writing = Writing()
    observer = Observer(stream)
    observer.start(best_mode(stream, quiet), metrics)
    is_told = quiet or not observer.metrics_url

    def show(snapshot: Snapshot) -> None:
        nonlocal is_told
        if not is_told:  # not before the plan was found to be good
            say(f"metrics: {observer.metrics_url}", sys.stderr)
            is_told = True
        observer.show(snapshot)

    try:
        record = run(
            list(target),
            stages=list(stages),
            hold=hold / 1e9,
            think=None if think is None else think / 1e9,
            message=message_of(message),
            expect=message_of(expect),
            sources=",".join(_named(sources)),
            timeout=timeout / 1e9,
            require=list(require),
            on_progress=show,
            on_signals=True,
            on_end=lambda record: writing.record(record, outputs),
            **options,
        )
    finally:
        observer.close()
    click.echo(summary(record), file=stream)
    for path, what in writing.written.items():
        click.echo(f"{what}: {path}", file=stream)
    writing.end()
    holds = all(threshold.holds for threshold in record.thresholds)
    # Thresholds say what is wanted: where there are some, nothing else decides.
    is_good = holds if record.thresholds else record.verdict.complete
    sys.exit(0 if is_good else 1)


def _named(sources: tuple[str, ...]) -> tuple[str, ...]:
    """As they are. Raises UsageError for one that names no address: it would ask for nothing."""
    from c1m.loadgen.sources import parse_sources

    for text in sources:
        parse_sources(text)
    return sources


def message_of(text: str | None) -> str | bytes | None:
    """`@FILE` -> its bytes (`@-`: of standard input); else the text with its escapes."""
    from c1m.files import read_bytes
    from c1m.scenarios.messages import MESSAGE_MAX, unescape

    if text is None or not text.startswith("@"):
        return None if text is None else unescape(text)
    return read_bytes(text[1:], MESSAGE_MAX)
