"""Serve an application, or asyncio protocols, in this process until a signal: `c1m.serve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from c1m.asyncio_protocol import ProtocolApp
from c1m.server.server import App, Server
from c1m.server.statistics import ServerStatistics


def serve(app: Any, listen: str | Sequence[str], **options: Any) -> ServerStatistics:
    """Serve an App, or any asyncio.Protocol class, until SIGINT, SIGTERM or SIGHUP.

    `app` is an App object, or a callable that makes asyncio.Protocol objects (a Protocol class
    does). `options` are those of Server. A second signal, unless it is a SIGHUP, ends the process
    at once. Returns the final counters. Outside the main thread there are no signals: use Server
    there, and its `stop`.
    """
    is_class = isinstance(app, type) and issubclass(app, App)
    if callable(app) and not isinstance(app, App) and not is_class:
        app = ProtocolApp(app)
    server = Server(app, listen, **options)
    with server.loop.stopped_by_signals(exits_at_second=True):
        server.run()
    return server.statistics
