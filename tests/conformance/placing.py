"""Puts a loop where a foreign suite makes asyncio's selector loop, or uvloop's.

The suites' own code is used as it is: only the names by which it gets a loop are set anew.
"""

from __future__ import annotations

import asyncio
import asyncio.selector_events
import asyncio.unix_events
import os
import sys
from typing import Any


class Counter:
    """How many loops of the placed kind have been made."""

    def __init__(self) -> None:
        self.made = 0


def place(loop: str, engine: str) -> Counter:
    """Make `loop` the selector loop of this process, before a suite is imported."""
    selector_loop: Any = asyncio.SelectorEventLoop
    if loop == "c1m":
        import c1m

        os.environ["C1M_ENGINE"] = engine
        selector_loop = _c1m_in_place(c1m)
        _name_everywhere(selector_loop)
    if "uvloop" in sys.modules or _is_there("uvloop"):
        _instead_of_uvloop(selector_loop)
    return _counting(selector_loop)


def _c1m_in_place(c1m: Any) -> Any:
    class EventLoop(c1m.EventLoop):  # type: ignore[misc]
        """c1m's loop, by the arguments of `asyncio.SelectorEventLoop`."""

        def __init__(self, selector: Any = None) -> None:
            # Tests that ask for another selector of the standard library's get the loop's own.
            if selector is not None:
                selector.close()
            super().__init__()

    # uvloop's tests tell by this what to expect: of ours, what they expect of asyncio's.
    EventLoop.__module__ = "asyncio.in_place"
    return EventLoop


def _name_everywhere(selector_loop: Any) -> None:
    """All names by which asyncio's code and tests find the class, from Python 3.11 to 3.14."""
    unix: Any = asyncio.unix_events
    for module in (asyncio, unix):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, selector_loop)
    unix._UnixDefaultEventLoopPolicy._loop_factory = selector_loop


def _is_there(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _instead_of_uvloop(selector_loop: Any) -> None:
    """uvloop's test cases make their loops by two names of its package."""
    import uvloop

    unix: Any = asyncio.unix_events

    class EventLoopPolicy(unix._UnixDefaultEventLoopPolicy):  # type: ignore[misc]
        _loop_factory = selector_loop

    uvloop.new_event_loop = selector_loop
    uvloop.EventLoopPolicy = EventLoopPolicy


def _counting(selector_loop: Any) -> Counter:
    counter = Counter()
    base: Any = asyncio.selector_events.BaseSelectorEventLoop
    plain_init = base.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        counter.made += isinstance(self, selector_loop)
        plain_init(self, *args, **kwargs)

    base.__init__ = init
    return counter
