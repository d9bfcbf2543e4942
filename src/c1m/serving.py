"""Serve an application, or asyncio protocols, in this process until a signal: `c1m.serve`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from c1m.aio.serving import ProtocolServer, check_no_loop_is_running, is_protocol
from c1m.loop import stopped_by_signals
from c1m.server.access import reopened_by_signal
from c1m.server.life import Life
from c1m.server.logs import record
from c1m.server.processes import Processes
from c1m.server.server import App, Makes, Server
from c1m.server.statistics import ServerStatistics

AnyServer = Server | ProtocolServer


def serve(
    app: Any, listen: str | Sequence[str] = (), *, takeover: Any = None, **options: Any
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

    Outside the main thread there are no signals: use Server or ProtocolServer there, and its
    `stop`. Raises UsageError inside a running event loop.
    """
    check_no_loop_is_running()
    say = partial(record, "life", level=logging.WARNING)
    life = Life(takeover=takeover, user=options.get("user"), app=_name_of(app), say=say)
    with closing(life):
        server = server_of(app, listen or life.listen(), given=life.given, **options)
        hung_up = reloads_at_hangup(server, life.reloading)
        with (
            stopped_by_signals(lambda: life.stop(server), exits_at_second=True, hung_up=hung_up),
            reopened_by_signal(server),
        ):
            for line in life.notes:
                say(line)
            life.begin(server)
            server.run()
            life.end()
    return server.statistics


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
