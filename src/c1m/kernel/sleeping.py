"""Sleeping no longer than asked.

Facts
- A sleep of a normal thread may end up to 50 us late, so that timers can be handled together
  (PR_SET_TIMERSLACK, prctl(2)). A generator that is to send every 20 us must not be late by that.
- epoll_wait(2) counts in milliseconds, and Python rounds up: what is due would be late. select(2)
  counts in microseconds, but takes no descriptor from FD_SETSIZE on.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Iterator

from c1m.kernel.libc import prctl

_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
FD_SETSIZE = 1024


@contextlib.contextmanager
def precise_timers() -> Iterator[None]:
    """This thread's timers end within a microsecond; as before afterwards."""
    before = prctl(_PR_GET_TIMERSLACK, 0)
    prctl(_PR_SET_TIMERSLACK, 1_000)
    try:
        yield
    finally:
        if before > 0:
            prctl(_PR_SET_TIMERSLACK, before)


def poll(epoll: select.epoll, timeout_ns: int, most: int) -> list[tuple[int, int]]:
    """At most `most` events of the epoll set, on time: (descriptor, mask). Negative: for ever."""
    if timeout_ns < 0 or epoll.fileno() >= FD_SETSIZE:
        return epoll.poll(None if timeout_ns < 0 else timeout_ns / 1e9, most)
    whole, rest = divmod(timeout_ns, 1_000_000)
    if whole or not rest:
        # Half below, so that no rounding of the quotient makes it one more.
        events = epoll.poll(max(whole - 0.5, 0) / 1e3, most)
        if events or not rest:
            return events
    is_ready = select.select((epoll,), (), (), rest / 1e9)[0]  # for what is left
    return epoll.poll(0, most) if is_ready else []
