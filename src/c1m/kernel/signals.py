"""Which signals ask a process to end, and what a second one means.

Facts. Where a terminal is closed, its shell sends SIGHUP to its jobs and the kernel sends another
to those in the foreground: the second is no second request.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


def on_ending(first: Handler, before: dict[int, Any]) -> None:
    """Have `first` called at the first SIGINT, SIGTERM or SIGHUP; `before` gets the handlers that
    were there.

    A SIGHUP that is ignored (nohup) stays so. `await_second` is for `first` to call, which may be
    called before this returns.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        before[number] = signal.signal(number, first)


def await_second(handlers: dict[int, Any]) -> None:
    """From now on these handlers, but no SIGHUP any more."""
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else handler)


def put_back(handlers: dict[int, Any]) -> None:
    """The handlers that `on_ending` found; SIGHUP stays ignored where one has come."""
    for number, handler in handlers.items():
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
