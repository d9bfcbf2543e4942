"""What is no application: said before anything is opened."""

from __future__ import annotations

import inspect
from asyncio import BaseProtocol
from typing import Any

from c1m.errors import UsageError


def check_app(app: Any, base: type, makes: type) -> None:
    """Raise UsageError for what is not an App, and for a callback that cannot be called.

    Without this a callback that is a coroutine function would be called, and nothing would happen.
    """
    if isinstance(app, type) and issubclass(app, base | makes):
        raise UsageError(f"{app.__name__} is a class.", f"Pass an object: {app.__name__}().")
    if not isinstance(app, base):
        if isinstance(app, type) and issubclass(app, BaseProtocol):
            raise UsageError(
                f"{app.__name__} is a class of asyncio protocols, which need an event loop.",
                "Use c1m.serve or c1m.ProtocolServer, which have one.",
            )
        raise UsageError(
            f"{app!r} is neither a c1m.App nor an asyncio.Protocol class.",
            "Pass an object whose class derives from c1m.App; c1m.serve takes protocols, too.",
        )
    check_callbacks(app, base)


def check_callbacks(app: Any, base: type) -> None:
    """Raise UsageError for a callback, one that `base` has, that cannot be called."""
    for name in (name for name in vars(base) if name.startswith("on_")):
        callback = getattr(app, name)
        if not callable(callback):
            raise UsageError(f"{type(app).__name__}.{name} cannot be called.", "Make it a method.")
        if inspect.iscoroutinefunction(callback):
            raise UsageError(
                f"{type(app).__name__}.{name} is a coroutine function, which nobody would await.",
                "Write def, not async def.",
            )
