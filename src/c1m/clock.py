"""The only module that reads time. Everybody else is given a Clock or a number."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """A source of monotonic nanoseconds."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The kernel's CLOCK_MONOTONIC."""

    now_ns = staticmethod(time.monotonic_ns)


def wall_time_s() -> float:
    """Seconds since 1970, for the records' time stamps only."""
    return time.time()


def unix_time_ms() -> int:
    """Milliseconds since 1970: what keys expire by."""
    return time.time_ns() // 1_000_000


def unix_time_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000
