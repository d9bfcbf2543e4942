"""Serve an application, or asyncio protocols, in this process until a signal: `c1m.serve`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from c1m.asyncio_protocol import ProtocolApp
from c1m.kernel import signals
from c1m.server.app import App
from c1m.server.server import Server
from c1m.server.stats import ServerStatistics


def stop_on_signals(server: Server) -> Callable[[], None]:
    """SIGINT, SIGTERM and SIGHUP stop the server in good order; a second one, if it is not a
    SIGHUP, ends the process at once.

    Returns a function that puts back the handlers that were there. Only a process's main thread
    gets signals: in any other one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    before: dict[int, Any] = {}

    def first(number: int, frame: FrameType | None) -> None:
        signals.await_second(dict.fromkeys(before, second))
        server.stop()

    def second(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)

    signals.on_ending(first, before)
    return lambda: signals.put_back(before)


def serve(app: Any, listen: str | Sequence[str], **options: Any) -> ServerStatistics:
    """Serve an App, or any asyncio.Protocol class, until SIGINT, SIGTERM or SIGHUP.

    `app` is an App object, or a callable that makes asyncio.Protocol objects (a Protocol class
    does). `options` are those of Server. Returns the final counters. Outside the main thread there
    are no signals: use Server there, and its `stop`.
    """
    is_class = isinstance(app, type) and issubclass(app, App)
    if callable(app) and not isinstance(app, App) and not is_class:
        app = ProtocolApp(app)
    server = Server(app, listen, **options)
    put_back = stop_on_signals(server)
    try:
        server.run()
    finally:
        put_back()
    return server.statistics
