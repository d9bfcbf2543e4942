"""`c1m load`: open connections, check every one, report."""

from __future__ import annotations

import sys

import click

from c1m.cli.options import COUNT, DURATION, RATE, engine_option


@click.command()
@click.argument("target", nargs=-1, required=True)
@click.option(
    "--connections", type=COUNT, required=True, metavar="COUNT", help="How many, e.g. 10k or 1M."
)
@click.option(
    "--connect-rate",
    type=RATE,
    metavar="RATE",
    help="Open so many a second, e.g. 50k/s.  [default: as fast as it can]",
)
@click.option(
    "--hold",
    type=DURATION,
    default="0s",
    show_default=True,
    metavar="TIME",
    help="Keep all of them open for so long before the stampede.",
)
@click.option(
    "--message",
    default="client connections {n}\n",
    metavar="TEXT",
    help="What each connection sends; {n} is its number.  [default: 'client connections {n}' and "
    "a newline]",
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
    help="Give up what is missing when nothing at all has happened for so long.",
)
@click.option(
    "--connect-window",
    type=COUNT,
    metavar="COUNT",
    help="At most so many connects under way.  [default: as many as the server's accept queue "
    "takes, 128 where that is not known]",
)
@click.option(
    "--server-pid",
    type=int,
    metavar="PID",
    help="Measure this process as the server.  [default: found by its port on this machine]",
)
@click.option("--json", "json_path", metavar="FILE", help="Write the record of the run as JSON.")
@click.option("--report", "report_path", metavar="FILE", help="Write an HTML report with plots.")
@click.option("--quiet", is_flag=True, help="No progress.")
def load(
    target: tuple[str, ...],
    connections: int,
    connect_rate: float | None,
    hold: int,
    message: str,
    sources: tuple[str, ...],
    engine: str,
    timeout: int,
    connect_window: int | None,
    server_pid: int | None,
    json_path: str | None,
    report_path: str | None,
    quiet: bool,
) -> None:
    """Open connections to TARGET, have each message echoed, and check every reply.

    TARGET is tcp://HOST:PORT, tcp://HOST:FIRST-LAST or unix:///path, or several of them. Each
    connection sends its message as soon as it is open; after the hold all of them send once more at
    the same moment (the stampede).

    Exit status: 0 all as asked, 1 something was short, 2 bad usage.
    """
    from c1m.cli.live import Live
    from c1m.cli.load_text import progress_line
    from c1m.loadgen.run import load as run
    from c1m.report import text
    from c1m.report.files import check_writable

    if json_path is not None:
        check_writable(json_path)
    if report_path is not None:
        from c1m.report import html

        check_writable(report_path)
        html.check_available()
    live = Live(quiet=quiet)
    record = run(
        list(target),
        connections=connections,
        hold=hold / 1e9,
        connect_rate=connect_rate,
        message=message.replace("\\n", "\n"),
        sources=",".join(sources),
        engine=engine,
        timeout=timeout / 1e9,
        connect_window=connect_window,
        server_pid=server_pid,
        on_progress=lambda progress: live.show(progress_line(progress)),
        on_signals=True,
    )
    live.done()
    click.echo(text.summary(record))
    if json_path is not None:
        record.write(json_path)
        click.echo(f"record: {json_path}")
    if report_path is not None:
        html.write_html(record, report_path)
        click.echo(f"report: {report_path}")
    sys.exit(0 if record.verdict.complete else 1)
