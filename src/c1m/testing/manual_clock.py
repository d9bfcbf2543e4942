"""A clock that moves only by `advance`: time for tests, and for the fake kernel's sleeps."""

from __future__ import annotations


class ManualClock:
    """Satisfies clock.Clock."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, duration_ns: int) -> None:
        assert duration_ns >= 0, "time does not go back"
        self._now_ns += duration_ns
