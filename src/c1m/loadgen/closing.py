"""Closes connections by the plan, in drains and churn, without losing a reply.

A connection is closed when it has nothing in flight. One that always has (in a closed loop without
think time, or behind its schedule) is marked as leaving: it sends nothing more, and is closed once
its replies are in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from c1m.clock import Clock
from c1m.loadgen.connections import BLOCK, LEAVING, OPEN, ConnectionPool
from c1m.loadgen.traffic import Traffic
from c1m.scenarios.messages import Numbers

CHURN_STEP_S = 0.01  # fewer than come due in this are not worth a tick of their own


@dataclass(slots=True)
class Closing:
    """`begin` and `end` bracket a stage. `hears`: replies come, so they are waited for."""

    connections: ConnectionPool
    traffic: Traffic
    clock: Clock
    rng: np.random.Generator
    hears: bool
    _leaving: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    _churned: int = 0

    def begin(self) -> None:
        """A stage begins: no connection was churned in it yet."""
        self._churned = 0

    def end(self) -> None:
        """A stage is over: connections that have not left yet stay."""
        if len(self._leaving):
            self._leaving = self._leaving[:0]
            self.connections.stay()

    def close(self, numbers: Numbers, *, abort: bool = False) -> None:
        """Close the open ones among these, whatever they have in flight."""
        numbers = numbers[self.connections.are_open(numbers)]
        if len(numbers):
            self.connections.close(numbers, abort=abort)
            self.traffic.gone(numbers, self.clock.now_ns())

    def surplus(self) -> None:
        """Close connections beyond what is wanted: the highest numbers, idle ones first."""
        self._close_leaving()
        count = self.connections.surplus - len(self._leaving)
        if count <= 0:
            return
        numbers = self.connections.open_numbers()
        are_idle = self._are_idle(numbers)
        idle = numbers[are_idle][-count:]
        if len(idle) < count:
            self._leave(numbers[~are_idle][len(idle) - count :])
        self.close(idle[-BLOCK:])

    def churn(self, rate: float, elapsed_ns: int) -> None:
        """Close connections at this rate, drawn at random; others are opened in their place."""
        count = min(int(rate * elapsed_ns / 1e9) - self._churned, BLOCK)
        if count >= max(int(rate * CHURN_STEP_S), 1):
            drawn = self._drawn(count)
            self._churned += len(drawn)
            self._leave(drawn)
        self._close_leaving()

    def storm(self, share: float) -> Iterator[Numbers]:
        """A share of the open connections, in blocks: to be reset at once."""
        numbers = self.connections.open_numbers()
        count = round(share * len(numbers))
        some = numbers if share == 1 else np.sort(self.rng.permutation(numbers)[:count])
        for start in range(0, len(some), BLOCK):
            yield some[start : start + BLOCK]

    def _drawn(self, count: int) -> Numbers:
        """About so many connections that are not leaving, at random."""
        states, below = self.connections.states, self.connections.below
        if 2 * count >= below:
            drawn = self.connections.open_numbers()
        else:
            drawn = np.unique(self.rng.integers(0, below, 2 * count + 8))
            drawn = drawn[states[drawn] == OPEN]
        return self.rng.permutation(drawn)[:count]

    def _leave(self, numbers: Numbers) -> None:
        self.connections.leave(numbers)
        self._leaving = np.concatenate((self._leaving, numbers))

    def _close_leaving(self) -> None:
        """Close the leaving connections whose replies are in; forget those that were lost."""
        leaving = self._leaving
        if len(leaving):
            leaving = leaving[self.connections.states[leaving] == LEAVING]
            are_idle = self._are_idle(leaving)
            self._leaving = leaving[~are_idle]
            self.close(leaving[are_idle])

    def _are_idle(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        if not self.hears:
            return np.ones(len(numbers), np.bool_)
        return ~self.traffic.ledger.have_in_flight(numbers)
