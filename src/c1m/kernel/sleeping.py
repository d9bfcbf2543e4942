"""Sleeping no longer than asked.

Facts
- A sleep of a normal thread may end up to 50 us late, so that timers can be handled together
  (PR_SET_TIMERSLACK, prctl(2)). A generator that is to send every 20 us must not be late by that.
- epoll_wait(2) counts in milliseconds, and Python rounds up: what is due would be late.
  epoll_pwait2(2), since Linux 5.11, counts in nanoseconds; Python has it not. select(2) counts in
  microseconds, but takes no descriptor from FD_SETSIZE on.
"""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Iterator

from c1m.kernel.libc import EpollWait, prctl

_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
FD_SETSIZE = 1024

_own = threading.local()


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
    if timeout_ns < 0:
        return epoll.poll(None, most)
    whole, rest = divmod(timeout_ns, 1_000_000)
    if whole or not rest:
        # Half below, so that no rounding of the quotient makes it one more.
        events = epoll.poll(max(whole - 0.5, 0) / 1e3, most)
        if events or not rest:
            return events
    events_of = _own.__dict__.get("events_of") or _begin(most)
    found = events_of.wait(epoll.fileno(), rest)  # for what is left
    if found is not None:
        return found
    if epoll.fileno() >= FD_SETSIZE:
        return epoll.poll(rest / 1e9, most)
    is_ready = select.select((epoll,), (), (), rest / 1e9)[0]
    return epoll.poll(0, most) if is_ready else []


def _begin(most: int) -> EpollWait:
    _own.events_of = EpollWait(most)
    events_of: EpollWait = _own.events_of
    return events_of
