"""Callbacks and timers of the event loop: what asyncio's own loop does, in fewer steps.

A request of a server with tasks makes two or three of these objects, in Python: by asyncio's own
`call_soon` (0.42 us) and `call_later` (1.0 us), which ask for debug mode again and again, some
twentieth of uvicorn's time; here they take 0.29 and 0.47 us. In debug mode, and where there is
something to refuse, asyncio's own are called.
"""

from __future__ import annotations

import heapq
from asyncio import Handle, TimerHandle
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from c1m.aio.private import LoopBase


class _Handle(Handle):
    """Made outside of debug mode."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: Any, context: Any
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class _TimerHandle(TimerHandle):
    """The same of a timer, which is in the heap."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: Any,
        context: Any,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self._when = when
        self._scheduled = True


class QuickCalls(LoopBase):  # type: ignore[misc]
    """asyncio's selector loop with quicker `call_soon`, `call_later` and `call_at`."""

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        """As asyncio's."""
        if self._debug or self._closed:
            handle: Handle = super().call_soon(callback, *args, context=context)
            return handle
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> TimerHandle:
        """As asyncio's."""
        if self._debug or self._closed or delay is None:
            handle: TimerHandle = super().call_later(delay, callback, *args, context=context)
            return handle
        handle = _TimerHandle(self.time() + delay, callback, args, self, context)
        heapq.heappush(self._scheduled, handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> TimerHandle:
        """As asyncio's."""
        if self._debug or self._closed or when is None:
            handle: TimerHandle = super().call_at(when, callback, *args, context=context)
            return handle
        handle = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, handle)
        return handle
