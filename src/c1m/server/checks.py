"""The objects that a server is given: an application, a clock, an engine. Each check is a sentence.

What is wrong with one would otherwise show when the first connection comes, or never: a callback
that is a coroutine function is called, and nothing happens.
"""

from __future__ import annotations

import inspect
from typing import Any

from c1m.clock import Clock
from c1m.engine.choose import ENGINES
from c1m.engine.contract import Engine
from c1m.errors import UsageError
from c1m.server.app import App

_CALLBACKS = [name for name in vars(App) if name.startswith("on_")]
_ENGINE = ("listen", "send", "receive", "close", "wait", "wake", "statistics", "shutdown")


def check_app(app: Any) -> None:
    """Raise UsageError for what is no App, and for a callback that cannot be called."""
    if isinstance(app, type) and issubclass(app, App):
        raise UsageError(f"{app.__name__} is a class.", f"Pass an object: {app.__name__}().")
    if not isinstance(app, App):
        raise UsageError(
            f"{app!r} is neither a c1m.App nor an asyncio.Protocol class.",
            "Pass an object whose class derives from c1m.App; c1m.serve takes protocols, too.",
        )
    for name in _CALLBACKS:
        callback = getattr(app, name)
        if not callable(callback):
            raise UsageError(f"{type(app).__name__}.{name} cannot be called.", "Make it a method.")
        if inspect.iscoroutinefunction(callback):
            raise UsageError(
                f"{type(app).__name__}.{name} is a coroutine function, which nobody would await.",
                "Write def, not async def.",
            )


def check_clock(clock: Any) -> Clock | None:
    """Raise UsageError for what does not tell the time."""
    if clock is not None and not callable(getattr(clock, "now_ns", None)):
        raise UsageError(f"{clock!r} is no clock.", "Give it a now_ns(), or leave it out.")
    found: Clock | None = clock
    return found


def check_engine(engine: Any) -> Engine:
    """Raise UsageError for what is no engine."""
    has_all = all(callable(getattr(engine, name, None)) for name in _ENGINE)
    if isinstance(engine, type) or not has_all or not hasattr(engine, "capacity"):
        raise UsageError(f"{engine!r} is no engine.", f"Name one: {', '.join(ENGINES)}.")
    found: Engine = engine
    return found
