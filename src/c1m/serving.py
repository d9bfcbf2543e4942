"""Serve an application, or asyncio protocols, in this process until a signal: `c1m.serve`."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from c1m.aio.serving import ProtocolServer, check_no_loop_is_running, is_protocol
from c1m.errors import UsageError
from c1m.loop import stopped_by_signals
from c1m.server.access import reopened_by_signal
from c1m.server.life import Life
from c1m.server.logs import record
from c1m.server.member import Member, member
from c1m.server.processes import NO_TAKEOVER, Processes
from c1m.server.server import App, Makes, Server
from c1m.server.statistics import ServerStatistics

AnyServer = Server | ProtocolServer


def serve(
    app: Any,
    listen: str | Sequence[str] = (),
    *,
    takeover: Any = None,
    processes: int | None = None,
    **options: Any,
) -> ServerStatistics:
    """Serve an App, or any asyncio protocol, until SIGINT, SIGTERM or SIGHUP.

    `app` is an App or WebSocketApp object, or a callable that makes asyncio protocols (a Protocol
    class does); they run on a c1m.EventLoop of this server. `options` are those of Server. A second
    signal, unless it is a SIGHUP, ends the process at once. With TLS, SIGHUP reads the certificates
    anew, unless the terminal has gone; the logger "c1m.server" says so. Returns the final counters.

    `takeover`: the path of a unix socket, on which it listens for the process that comes next, and
    by which it takes the listening sockets of the one before over. Sockets that systemd has opened
    are used for the endpoints of `listen` that they fit, or, where that is left out, instead; it is
    told when this is ready, stops, and lives (sd_notify).

    `processes`: so many serve the same ports, one thread each (`c1m serve --processes`). Each is
    this program, run again up to here, where it ends; this one only starts them, and returns the
    sums.

    Outside the main thread there are no signals: use Server or ProtocolServer there, and its
    `stop`. Raises UsageError inside a running event loop.
    """
    check_no_loop_is_running()
    say = partial(record, "life", level=logging.WARNING)
    life = Life(takeover=takeover, user=options.get("user"), app=_name_of(app), say=say)
    this = member()
    with closing(life):
        where = listen or life.listen()
        server: AnyServer | Processes
        if this is not None:
            server = _of_several(app, this, options)
        elif processes is not None:
            server = _several(app, where, processes, life, takeover, options)
        else:
            server = server_of(app, where, given=life.given, **options)
        hung_up = reloads_at_hangup(server, life.reloading)
        with (
            stopped_by_signals(lambda: life.stop(server), exits_at_second=True, hung_up=hung_up),
            reopened_by_signal(server),
        ):
            for line in life.notes:
                say(line)
            life.begin(server)
            server.run()
            if this is not None:
                this.end()
                sys.exit()  # what follows is the first process's to do
            life.end()
    return server.statistics


def _several(
    app: Any, listen: Any, count: int, life: Life, takeover: Any, options: dict[str, Any]
) -> Processes:
    if takeover is not None:
        raise UsageError(*NO_TAKEOVER)
    if len(sys.orig_argv) < 2 or hasattr(sys, "ps1"):
        raise UsageError(
            "Several processes (processes) run this program again, and there is none: it is typed.",
            "Put it into a file.",
        )
    command = [sys.executable, *sys.orig_argv[1:]]
    return Processes(app, listen, count=count, command=command, given=life.given, **options)


def _of_several(app: Any, this: Member, options: dict[str, Any]) -> AnyServer:
    try:
        server = server_of(app, this.listen, **this.options(options))
    except UsageError as error:
        this.refuse(error)  # the first process says it
        sys.exit(2)
    this.begin(server)
    return server


def _name_of(app: Any) -> str:
    return str(getattr(app, "__name__", type(app).__name__))


def server_of(app: Any, listen: str | Sequence[str], **options: Any) -> AnyServer:
    """The server of an App object or of a callable that makes protocols; it listens."""
    is_app = isinstance(app, App | Makes) or (
        isinstance(app, type) and issubclass(app, App | Makes)
    )
    if not is_app and (callable(app) or inspect.iscoroutine(app) or is_protocol(app)):
        return ProtocolServer(app, listen, **options)  # which says what it cannot serve
    return Server(app, listen, **options)


def reloads_at_hangup(server: AnyServer | Processes, around: Callable[[], Any]) -> Any:
    """What SIGHUP is to this server where it has TLS: see `server/security.py`; else None."""
    if server.security is None:
        return None
    from c1m.server import security

    return security.reloads_at_hangup(server, around)
