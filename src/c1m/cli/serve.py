"""`c1m serve`: a server in one thread, its progress, its final figures."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from c1m.apps import APPS, NAMES, load_app
from c1m.bounds import BACKLOG, REPORT_NS, TICK_NS_MAX
from c1m.cli.app_options import (
    APP_OPTIONS,
    DEFAULT_LISTEN,
    LIMIT_OPTIONS,
    OPTIONS_OF,
    TLS_OPTIONS,
    ServeCommand,
    taken,
)
from c1m.cli.logs import FORMS, LEVELS, logging_to
from c1m.cli.options import COUNT, DURATION, ENGINE, SIZE, option
from c1m.cli.processes import several
from c1m.cli.serve_text import Progress, final_figures, final_text, hello
from c1m.cli.streams import say
from c1m.errors import C1mError, UsageError
from c1m.files import STANDARD
from c1m.server import failures
from c1m.server.logs import record
from c1m.server.spread import PROCESSES_MAX

if TYPE_CHECKING:
    from c1m.server.life import Life
    from c1m.server.member import Member
    from c1m.server.processes import Processes
    from c1m.serving import AnyServer

_HELP = f"""Serve APP until SIGINT, SIGTERM or SIGHUP. APP is: \
{"; ".join(f"{name} ({entry.help})" for name, entry in APPS.items())}; or MODULE:NAME, \
which is a c1m.App or c1m.WebSocketApp, or a class or a factory of asyncio protocols.

On a signal it stops accepting, sends its unsent output, closes every connection, prints the final
figures and exits with status 0. A second signal ends it at once. With TLS, SIGHUP reads the
certificates anew instead, unless the terminal has gone.
"""


class AppName(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """What `load_app` takes."""

    name = "app"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The names."""
        return f"Choose from: {NAMES}"


_OPTIONS = [
    click.Argument(["app"], type=AppName(), metavar="APP"),
    option(["--listen"], multiple=True, metavar="URL",
           help="tcp://HOST:PORT (or HOST:PORT, or http://HOST:PORT), tcp://HOST:FIRST-LAST, "
           "tcp://[IPV6]:PORT or unix:///path (its file's rights: ?mode=0660&group=NAME); tls://, "
           "https:// and rediss:// are the same over TLS. May be given more than once." + "".join(
               f"  [default of {name}: {listen}]" for name, listen in DEFAULT_LISTEN.items())),
    ENGINE,
    option(["--connections-max"], type=COUNT,
           help="The most connections held; of further ones see --when-full.  [default: as many as "
           "fit]"),
    option(["--outbox", "outbox_high"], type=SIZE,
           help="Stop reading from a connection while it has more than this unsent.  [default: 1M; "
           "for asyncio protocols never: they are told to pause at 64K]"),
    option(["--drain", "drain_ns"], type=DURATION, default="10s",
           help="When stopping, wait at most this long for unsent output to go out."),
    option(["--drain-spread", "drain_spread_ns"], type=DURATION,
           help="When stopping, close connections over so long a time before that, not all at "
           "once.  [default: 0]"),
    option(["--processes"], type=COUNT.within(1, PROCESSES_MAX), metavar="COUNT",
           help="Serve the same ports by so many processes of one thread, one for each processor. "
           "One that dies is started again.  [default: this process serves]"),
    option(["--takeover"], metavar="PATH",
           help="A unix socket, by which the next process that is started with this option gets "
           "the listening sockets from the one that serves, which then drains and ends."),
    option(["--user"], metavar="NAME[:GROUP]",
           help="Become this user when ports are bound and keys are read."),
    option(["--linger", "linger_ns"], type=DURATION, default="30s",
           help="Reset a closed connection whose peer takes none of its output for this long."),
    option(["--on-error"], type=click.Choice(failures.WORDS.words), default=failures.CLOSE,
           help="What an exception in the application ends: the connections that it was told of, "
           "or the server. It is logged in any case."),
    option(["--backlog"], type=COUNT, default=BACKLOG, show_default=False,
           help="Length of the accept queue.  [default: as long as net.core.somaxconn allows]"),
    option(["--busy-poll", "busy_poll_ns"], type=DURATION.within(0, TICK_NS_MAX), default="12us",
           help="The uring engine polls this long before it sleeps, while that pays: lower latency "
           "for more processor time. 0: it sleeps at once."),
    option(["--proxy-protocol"], is_flag=True,
           help="Connections come from proxies, which send a PROXY header (version 1 or 2) first; "
           "the address in it is the client's. For one listener of several: tcp+proxy://HOST:PORT "
           "(or unix+proxy:, tls+proxy: ...)."),
    option(["--proxy-from"], multiple=True, metavar="ADDRESS[/BITS]",
           help="Proxies that may connect there; others are refused. May be given more than once.  "
           "[default: all]"),
    option(["--admin"], metavar="URL",
           help="Serve /healthz, /readyz, /metrics, /stats and /connections here: 127.0.0.1:9100, "
           "https://HOST:PORT or unix:///path.  [default: not]"),
    option(["--log"], type=click.Choice(FORMS),
           help="Be a service: all that there is to say is a line of standard error, for people or "
           "as JSON.  [default: progress and final figures, for who looks]"),
    option(["--log-level"], type=click.Choice(LEVELS),
           help="What is said: this and what is more serious.  [default: info with --log, else "
           "warning]"),
    option(["--access-log"], metavar="FILE",
           help="A line for each connection that ends: who, how long, bytes, why; JSON with --log "
           "json; - is standard output. SIGUSR1: go on in a new file of this name."),
    option(["--quiet"], is_flag=True, help="Show no progress."),
    option(["--json", "json_path"], metavar="FILE",
           help="Write the final figures as JSON; - is standard output."),
]  # fmt: skip


@click.command(
    cls=ServeCommand, help=_HELP, params=[*_OPTIONS, *LIMIT_OPTIONS, *TLS_OPTIONS, *APP_OPTIONS]
)
def serve(
    app: str,
    listen: tuple[str, ...],
    quiet: bool,
    json_path: str | None,
    takeover: str | None,
    log: str | None,
    log_level: str | None,
    processes: int | None,
    **options: Any,
) -> None:
    """See _HELP."""
    from c1m.cli.live.plain import Live
    from c1m.cli.outputs import Outputs
    from c1m.loop import stopped_by_signals
    from c1m.server.access import reopened_by_signal
    from c1m.server.life import Life
    from c1m.server.member import member
    from c1m.serving import reloads_at_hangup

    this = member()  # of several; the one that has started it says what there is to say
    outputs = Outputs({"json": json_path if this is None else None})
    if options["access_log"] == STANDARD:
        if json_path == STANDARD:
            raise UsageError(
                "Standard output cannot have both --json - and --access-log -.",
                "Name a file for one of them.",
            )
        outputs.stream = sys.stderr
    live = Live(outputs.stream, quiet or log is not None or this is not None)
    with logging_to(log, log_level, outputs.stream, live.done):
        tell = partial(say, stream=outputs.stream) if log is None else partial(record, "start")
        options["access_log_json"] = log == "json"
        warn = partial(record, "life", level=logging.WARNING)
        life = Life(takeover=takeover, user=options["user"], app=app, say=warn)
        listen = tuple(this.listen) if this else listen or tuple(life.listen())
        server: AnyServer | Processes
        if processes is None or this is not None:
            server = _made(app, listen, options, life, tell, this)
        else:
            server = several(app, _where(app, listen), options, processes, life, takeover)
        progress = Progress(server)

        def report(running: AnyServer | Processes) -> int:
            live.show(progress.line())
            now_ns: int = running.clock.now_ns()
            return now_ns + REPORT_NS

        hung_up = reloads_at_hangup(server, life.reloading)
        with (
            stopped_by_signals(partial(life.stop, server), exits_at_second=True, hung_up=hung_up),
            reopened_by_signal(server),
        ):
            if this is None:
                for line in hello(app, server, options["connections_max"])[log is not None :]:
                    tell(line)
            for line in life.notes:
                warn(line)
            life.begin(server)
            is_well = _run(server, report)
            if this is not None:
                this.end()
            outputs.write_text(json.dumps(final_figures(server), indent=2) + "\n")
            live.done()
            if log is None and this is None:
                click.echo(final_text(server), file=outputs.stream)
            outputs.end()
            life.end()
    if not is_well:
        sys.exit(1)


def _run(server: AnyServer | Processes, report: Callable[[Any], int]) -> bool:
    """To its end; False where an error was the end, which is in the log."""
    try:
        server.run(report)
    except C1mError:
        raise
    except Exception as error:
        said = f"The server has ended by an error ({type(error).__name__})."
        server.log.say("ended-by-error", said, logging.CRITICAL, exc_info=error)
        return False
    return True


def _where(app: str, listen: Sequence[str]) -> list[str]:
    """URLs. Raises UsageError where there are none."""
    if not listen and app not in DEFAULT_LISTEN:
        if ":" not in app:
            load_app(app)  # which says so if there is none
        raise UsageError("There is nothing to listen on.", "Give --listen URL.")
    return list(listen) or [DEFAULT_LISTEN[app]]


def _made(
    app: str,
    listen: Sequence[str],
    options: dict[str, Any],
    life: Life,
    tell: Callable[[str], object],
    this: Member | None,
) -> AnyServer:
    """The server; it listens."""
    from c1m.serving import server_of

    where = _where(app, listen)
    own = taken(app, options)
    if app in OPTIONS_OF:
        own["say"] = tell
    if own.get("data"):
        life.wait_for_what_is_kept()
    given = {name: value for name, value in options.items() if value is not None}
    given["given"] = life.given
    try:
        if this is None:
            return server_of(load_app(app, **own), where, **given)
        own = this.own_options(OPTIONS_OF.get(app, ()), own)
        server = server_of(load_app(app, **own), where, **this.options(given))
        this.begin(server)
        return server
    except ImportError as error:
        if options["user"] is None or os.access(os.__file__, os.R_OK):
            raise
        raise UsageError(
            f"{options['user']} (--user) may not read {os.__file__}, and cannot go on: {error}.",
            "Have Python and c1m where everybody may read them, as in /usr or /opt.",
        ) from None
    except UsageError as error:
        if this is None:
            raise
        this.refuse(error)  # which says it once
        sys.exit(2)
