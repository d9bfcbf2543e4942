"""`c1m serve`: a server in one thread, its progress, its final figures."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from c1m.apps import APPS, NAMES, load_app
from c1m.arguments import as_flag
from c1m.bounds import BACKLOG, REPORT_NS, TICK_NS_MAX
from c1m.cli.app_options import (
    APP_OPTIONS,
    DEFAULT_LISTEN,
    LIMIT_OPTIONS,
    OPTIONS_OF,
    TLS_OPTIONS,
    ServeCommand,
    limit_options,
    own_options,
    tls_options,
)
from c1m.cli.logs import FORMS, LEVELS, logging_to
from c1m.cli.options import COUNT, DURATION, ENGINE, SIZE, option
from c1m.cli.streams import say
from c1m.errors import C1mError, UsageError
from c1m.files import STANDARD
from c1m.kernel.procfs import process_sample
from c1m.server import failures
from c1m.server.figures import PAGES, handshakes
from c1m.server.logs import record
from c1m.server.statistics import by_words
from c1m.units import NS_PER_MS, format_bytes, format_count, format_duration, format_rate

if TYPE_CHECKING:
    from c1m.server.life import Life
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
    **options: Any,
) -> None:
    """See _HELP."""
    from c1m.cli.live.plain import Live
    from c1m.cli.outputs import Outputs
    from c1m.loop import stopped_by_signals
    from c1m.server.access import reopened_by_signal
    from c1m.server.life import Life
    from c1m.serving import reloads_at_hangup

    outputs = Outputs({"json": json_path})
    if options["access_log"] == STANDARD:
        if json_path == STANDARD:
            raise UsageError(
                "Standard output cannot have both --json - and --access-log -.",
                "Name a file for one of them.",
            )
        outputs.stream = sys.stderr
    live = Live(outputs.stream, quiet or log is not None)
    with logging_to(log, log_level, outputs.stream, live.done):
        tell = partial(say, stream=outputs.stream) if log is None else partial(record, "start")
        options["access_log_json"] = log == "json"
        warn = partial(record, "life", level=logging.WARNING)
        life = Life(takeover=takeover, user=options["user"], app=app, say=warn)
        server = _made(app, listen or tuple(life.listen()), options, life, tell)
        progress = Progress(server)

        def report(running: AnyServer) -> int:
            live.show(progress.line())
            return running.clock.now_ns() + REPORT_NS

        hung_up = reloads_at_hangup(server, life.reloading)
        with (
            stopped_by_signals(partial(life.stop, server), exits_at_second=True, hung_up=hung_up),
            reopened_by_signal(server),
        ):
            for line in _hello(app, server, options["connections_max"])[log is not None :]:
                tell(line)
            for line in life.notes:
                warn(line)
            life.begin(server)
            is_well = _run(server, report)
            outputs.write_text(json.dumps(_final_figures(server), indent=2) + "\n")
            live.done()
            if log is None:
                click.echo(_final_text(server), file=outputs.stream)
            outputs.end()
            life.end()
    if not is_well:
        sys.exit(1)


def _run(server: AnyServer, report: Callable[[AnyServer], int]) -> bool:
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


def _made(
    app: str,
    listen: Sequence[str],
    options: dict[str, Any],
    life: Life,
    tell: Callable[[str], object],
) -> AnyServer:
    """The server; it listens."""
    from c1m.serving import server_of

    if not listen and app not in DEFAULT_LISTEN:
        if ":" not in app:
            load_app(app)  # which says so if there is none
        raise UsageError("There is nothing to listen on.", "Give --listen URL.")
    options["tls"] = tls_options(options)
    options["limits"] = limit_options(app, options)
    own = own_options(app, options)
    if app in OPTIONS_OF:
        own["say"] = tell
    if own.get("data"):
        life.wait_for_what_is_kept()
    given = {name: value for name, value in options.items() if value is not None}
    where = list(listen) or [DEFAULT_LISTEN[app]]
    try:
        return server_of(load_app(app, **own), where, given=life.given, **given)
    except ImportError as error:
        if options["user"] is None or os.access(os.__file__, os.R_OK):
            raise
        raise UsageError(
            f"{options['user']} (--user) may not read {os.__file__}, and cannot go on: {error}.",
            "Have Python and c1m where everybody may read them, as in /usr or /opt.",
        ) from None


def _hello(app: str, server: AnyServer, asked: int | None) -> list[str]:
    """Where it listens, with what, for how many; `asked`: --connections-max."""
    names = [str(e) for e in server.endpoints]
    shown = ", ".join(names)
    if len(names) > 4:
        shown = f"{names[0]} ... {names[-1]}, ({len(names)} endpoints)"
    engine = server.engine
    room = _room(engine)
    lines = [
        f"{app}: listening on {shown}",
        f"engine {engine.name} ({engine.reason}), one thread, room for {room:,} connections",
    ]
    is_limit = room == engine.room() and (asked is None or asked > room)
    if engine.uses_descriptors and is_limit:
        lines.append(
            f"{engine.name} needs a descriptor for each connection: RLIMIT_NOFILE "
            f"({engine.capacity:,}) is the limit here"
        )
    if server.operators.admin is not None:
        lines.append(f"operators: {server.operators.admin.url} ({PAGES})")
    notes = getattr(getattr(server, "app", None), "notes", None)
    lines += notes(server) if notes is not None else []
    if server.security is not None:
        contexts = server.security.contexts
        lines += [*contexts.facts, *(f"note: {note}" for note in contexts.notes)]
    return lines


def _room(engine: Any) -> int:
    """How many connections fit: by what the engine may have, and by memory as the doctor has it."""
    from c1m.limits.forecast import forecast
    from c1m.limits.memory import CGROUP, MEMORY

    room: int = engine.room()
    findings = forecast(max(room, 1), "server", engine.name).findings
    bounds = (f.fits for f in findings if f.name in (MEMORY, CGROUP))
    return min([room, *(fits for fits in bounds if fits is not None)])


class Progress:
    """Makes one line from what changed since the last one."""

    def __init__(self, server: AnyServer) -> None:
        self._server = server
        self._then_ns = server.clock.now_ns()
        self._opened = self._messages = 0

    def line(self) -> str:
        """Connections, their rate, the last 1,000's time, messages, bytes, memory."""
        statistics, now_ns = self._server.update_statistics(), self._server.clock.now_ns()
        seconds = max((now_ns - self._then_ns) / 1e9, 1e-9)
        opened = (statistics.opened - self._opened) / seconds
        messages = (statistics.messages - self._messages) / seconds
        self._then_ns, self._opened, self._messages = now_ns, statistics.opened, statistics.messages
        step = self._server.ramp.last_step_ms()
        refused = sum(statistics.refused.values())
        limited = sum(statistics.limited.values())
        sample = process_sample()
        parts = [
            f"{format_count(statistics.live)} connections",
            f"+{format_rate(opened)}" if opened else "+0/s",
            f"last 1,000 in {'-' if step is None else format_duration(step * NS_PER_MS)}",
            f"{format_rate(messages)} messages" if messages else "0/s messages",
            f"in {format_bytes(statistics.received_bytes)}",
            f"out {format_bytes(statistics.sent_bytes)}",
            f"memory {format_bytes(sample.rss_bytes)}" if sample else "",
            f"{format_count(refused)} times refused room" if refused else "",
            f"{format_count(limited)} times limited" if limited else "",
            f"{format_count(statistics.opening)} opening" if statistics.opening else "",
        ]
        return "  ".join(part for part in parts if part)


def _final_figures(server: AnyServer) -> dict[str, Any]:
    """The final figures as JSON values; opened = live + the sum of closed."""
    statistics = server.update_statistics()
    sample = process_sample()
    return dataclasses.asdict(statistics) | {
        "closed": {reason.name.lower(): count for reason, count in statistics.closed.items()},
        "never_opened": by_words(statistics.never_opened),
        "tls": handshakes(server) or None,
        "engine": {"name": server.engine.name, "reason": server.engine.reason},
        "threads": sample.threads if sample else None,
        "rss_peak_bytes": sample.peak_rss_bytes if sample else None,
        "cpu_user_s": sample.user_s if sample else None,
        "cpu_system_s": sample.system_s if sample else None,
    }


def _handshakes_in_words(server: AnyServer) -> list[str]:
    found = handshakes(server)
    if not found:
        return []
    failed = sum(found["failed"].values())
    said = [
        f"{format_count(found['done'])} done",
        *(f"{format_count(n)} by {name}" for name, n in sorted(found["versions"].items())),
        f"{format_count(found['resumed'])} resumed",
        *([f"{format_count(found['handed'])} handed off"] if found["handed"] else []),
        f"{format_count(failed)} failed",
        *([f"{format_count(found['under_way'])} under way"] if found["under_way"] else []),
    ]
    return [f"TLS handshakes: {', '.join(said)}"]


def _final_text(server: AnyServer) -> str:
    statistics = server.update_statistics()
    sample = process_sample()
    lines = [
        f"{format_count(statistics.opened)} connections opened, at most "
        f"{format_count(statistics.peak)} at once, {format_count(statistics.live)} left open"
    ]
    for reason, count in statistics.closed.items():
        if count:
            lines.append(f"  {format_count(count):>12}  {reason.text}")
    for why, count in by_words(statistics.never_opened).items():
        lines.append(f"  {format_count(count):>12}  never opened: {why}")
    lines += _handshakes_in_words(server)
    lines.append(
        f"{format_count(statistics.messages)} messages, in "
        f"{format_bytes(statistics.received_bytes)}, out {format_bytes(statistics.sent_bytes)}"
        + (
            f", {format_bytes(statistics.unsent_bytes)} owed to peers that had gone"
            if statistics.unsent_bytes
            else ""
        )
    )
    for name, count in statistics.limited.items():
        lines.append(f"  {format_count(count):>12}  times limited by {as_flag(name)}")
    for what, count in statistics.failed.items():
        lines.append(f"  {format_count(count):>12}  times {what} of the application failed")
    for what, count in statistics.refused.items():
        lines.append(f"  {format_count(count):>12}  times the kernel refused a further {what}")
    if statistics.refusal:
        lines.append(f"  {statistics.refusal}")
    if sample is not None:
        lines.append(
            f"memory at most {format_bytes(sample.peak_rss_bytes)}, CPU "
            f"{format_duration(sample.user_s * 1e9)} user and "
            f"{format_duration(sample.system_s * 1e9)} system, {sample.threads} thread"
            + ("s" if sample.threads != 1 else "")
        )
    return "\n".join(lines)
