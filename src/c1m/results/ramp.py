"""When each further 1,000 connections were there: the ramp, in constant memory a step. Pure."""

from __future__ import annotations

import itertools

from c1m.bounds import RAMP_STEP, RAMP_STRIDE
from c1m.results.record import Ramp


class RampTimes:
    """Times at which the count of opened connections passed each multiple of RAMP_STEP.

    Connections come in batches; within a batch they are taken to have come evenly since the last.
    """

    def __init__(self, start_ns: int) -> None:
        self.count = 0
        self.restart(start_ns)

    def restart(self, start_ns: int) -> None:
        """The ramp begins now; nothing has come yet."""
        assert self.count == 0, self.count
        self.start_ns = self.last_ns = start_ns
        self._passed_ns = [float(start_ns)]

    def add(self, opened: int, now_ns: int) -> None:
        """`opened` more connections are there since the last call."""
        if opened <= 0:
            return
        before, since = self.count, self.last_ns
        self.count += opened
        for step in range(before // RAMP_STEP + 1, self.count // RAMP_STEP + 1):
            share = (step * RAMP_STEP - before) / opened
            self._passed_ns.append(since + share * (now_ns - since))
        self.last_ns = now_ns

    def step_seconds(self, step: int = RAMP_STEP) -> list[float]:
        """Seconds that each further `step` (a multiple of RAMP_STEP) connections took."""
        marks = self._passed_ns[:: step // RAMP_STEP]
        return [(b - a) / 1e9 for a, b in itertools.pairwise(marks)]

    def result(self) -> Ramp:
        """The record's."""
        seconds = (self.last_ns - self.start_ns) / 1e9
        rate = self.count / seconds if seconds else 0.0
        return Ramp(self.step_seconds(), self.step_seconds(RAMP_STRIDE), seconds, rate)

    def last_step_ms(self) -> float | None:
        """Milliseconds that the latest whole 1,000 took."""
        if len(self._passed_ns) < 2:
            return None
        return (self._passed_ns[-1] - self._passed_ns[-2]) / 1e6
