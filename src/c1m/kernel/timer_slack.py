"""How late the kernel may wake this thread: its timer slack.

Facts. A sleep of a normal thread may end up to 50 us late, so that timers can be handled together
(PR_SET_TIMERSLACK, prctl(2)). A generator that is to send every 20 us must not be late by that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from c1m.kernel.libc import prctl

_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30


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
