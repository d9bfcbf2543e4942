"""`c1m serve`: a server in one thread, its progress, its final figures."""

from __future__ import annotations

import json
from typing import Any

import click

from c1m.bounds import BACKLOG, REPORT_NS, TICK_NS_MAX
from c1m.cli.options import COUNT, DURATION, SIZE, engine_option
from c1m.cli.streams import say

APPS = {"echo": "sends every byte back"}


@click.command()
@click.argument("app", type=click.Choice(list(APPS)), metavar="APP")
@click.option(
    "--listen",
    multiple=True,
    required=True,
    metavar="URL",
    help="tcp://HOST:PORT (or HOST:PORT), tcp://HOST:FIRST-LAST, tcp://[IPV6]:PORT or "
    "unix:///path. May be given more than once.",
)
@engine_option
@click.option(
    "--connections-max",
    type=COUNT,
    metavar="COUNT",
    help="The most connections held; further ones wait in the accept queue.  [default: as many "
    "as fit]",
)
@click.option(
    "--outbox",
    type=SIZE,
    default="1M",
    show_default=True,
    metavar="SIZE",
    help="Stop reading from a connection while it has more than this unsent.",
)
@click.option(
    "--drain",
    type=DURATION,
    default="10s",
    show_default=True,
    metavar="TIME",
    help="When stopping, wait at most this long for unsent output to go out.",
)
@click.option(
    "--linger",
    type=DURATION,
    default="30s",
    show_default=True,
    metavar="TIME",
    help="Reset a closed connection whose peer takes none of its output for this long.",
)
@click.option(
    "--backlog",
    type=COUNT,
    metavar="COUNT",
    help="Length of the accept queue.  [default: as long as net.core.somaxconn allows]",
)
@click.option(
    "--busy-poll",
    type=DURATION.within(0, TICK_NS_MAX),
    default="50us",
    show_default=True,
    metavar="TIME",
    help="The uring engine polls this long before it sleeps, while that pays: lower latency for "
    "more processor time. 0: it sleeps at once.",
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    help="Write the final figures as JSON; - is standard output.",
)
def serve(
    app: str,
    listen: tuple[str, ...],
    engine: str,
    connections_max: int | None,
    outbox: int,
    drain: int,
    linger: int,
    backlog: int | None,
    busy_poll: int,
    quiet: bool,
    json_path: str | None,
) -> None:
    """Serve APP until SIGINT, SIGTERM or SIGHUP. APP is: echo (sends every byte back).

    On a signal it stops accepting, sends its unsent output, closes every connection, prints the
    final figures and exits with status 0. A second signal ends it at once.
    """
    from c1m.apps.echo import Echo
    from c1m.cli.live.line import Live
    from c1m.cli.outputs import Writing, check_outputs
    from c1m.cli.server_text import Progress, final_figures, final_text, refusal_text
    from c1m.server.server import Server

    stream = check_outputs({"json": json_path})
    server = Server(
        Echo(),
        list(listen),
        engine=engine,
        connections_max=connections_max,
        outbox_high=outbox,
        drain_ns=drain,
        linger_ns=linger,
        backlog=BACKLOG if backlog is None else backlog,
        busy_poll_ns=busy_poll,
    )
    live = Live(stream, quiet)
    progress = Progress(server.clock.now_ns())
    is_told = False

    def report(running: Server) -> int:
        nonlocal is_told
        now = running.clock.now_ns()
        live.show(progress.line(running, now))
        if running.statistics.refusal and not is_told:
            is_told = True
            live.done()
            click.echo(f"c1m: {refusal_text(running)}", err=True)
        return now + REPORT_NS

    with server.loop.stopped_by_signals(exits_at_second=True):
        for line in _hello(app, server):
            say(line, stream)
        server.run(report)
        writing = Writing()
        writing.text(json_path, json.dumps(final_figures(server), indent=2) + "\n")
        live.done()
        click.echo(final_text(server), file=stream)
        writing.end()


def _hello(app: str, server: Any) -> list[str]:
    shown = [str(e) for e in server.endpoints]
    if len(shown) > 4:
        shown = [shown[0], "...", shown[-1], f"({len(server.endpoints)} endpoints)"]
    engine = server.engine
    lines = [
        f"{app}: listening on {', '.join(shown).replace(', ...,', ' ...')}",
        f"engine {engine.name} ({engine.reason}), one thread, "
        f"room for {_room(engine):,} connections",
    ]
    if engine.name == "epoll":
        lines.append(
            f"epoll needs a descriptor a connection: RLIMIT_NOFILE ({engine.capacity:,}) is the "
            "limit here"
        )
    return lines


def _room(engine: Any) -> int:
    """How many connections fit: by what the engine may have, and by memory as the doctor has it."""
    from c1m.limits.forecast import diagnose
    from c1m.limits.memory import CGROUP, MEMORY

    room: int = engine.room()
    found = diagnose(max(room, 1), "server", engine.name).findings
    bounds = (f.fits for f in found if f.name in (MEMORY, CGROUP))
    return min([room, *(fits for fits in bounds if fits is not None)])
