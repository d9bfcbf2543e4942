"""A run done by several load clients, as by the workers of a cluster, in threads of one process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from c1m.clock import SystemClock
from c1m.loadgen.outline import outline
from c1m.loadgen.run import run
from c1m.loadgen.steps import Steps
from c1m.results.options import checked
from c1m.results.record import RunRecord
from c1m.results.share import shares_of

_CLOCK = SystemClock()
AHEAD_NS = 500_000_000  # so far ahead a stage begins, for all


class Together:
    """Of so many load clients: all begin a stage when all have ended the one before."""

    def __init__(self, of: int) -> None:
        self._come: dict[int, int] = {}
        self._begins: dict[int, int] = {}
        self._of, self._lock = of, threading.Condition()

    def come(self, number: int) -> None:
        """One of them has come to this stage."""
        with self._lock:
            self._come[number] = self._come.get(number, 0) + 1
            if self._come[number] == self._of:
                self._begins[number] = _CLOCK.now_ns() + AHEAD_NS
                self._lock.notify_all()

    def begins(self, number: int, *, waits: bool = False) -> int | None:
        """When it begins, if that is known."""
        with self._lock:
            if waits:
                assert self._lock.wait_for(lambda: number in self._begins, 60)
            return self._begins.get(number)


class InStep(Steps):
    """See Steps."""

    def __init__(self, together: Together) -> None:
        self._together, self._last = together, 0

    def ready(self) -> int | None:
        self._together.come(0)
        return self._together.begins(0, waits=True)

    def begins(self, number: int) -> int | None:
        if number > self._last:
            self._last = number
            self._together.come(number)
        return self._together.begins(number)


def run_parts(of: int, target: Any, **given: Any) -> list[RunRecord]:
    """The records of the parts of a run. Each has a scenario of its own where that is a class."""
    made = given.pop("scenario", None)
    options = [
        checked({"target": target, "scenario": made() if callable(made) else made} | given)
        for _ in range(of)
    ]
    assert outline(options[0]).over(of).parts == of
    together = Together(of)
    with ThreadPoolExecutor(of) as pool:
        runs = [
            pool.submit(run, one, share=share, steps=InStep(together))
            for one, share in zip(options, shares_of(["here"] * of), strict=True)
        ]
        return [one.result() for one in runs]
