"""A client that keeps `count` connections, each of which has had one echo, until it is stopped.

`window`: the most connects under way. `returns`: whoever is lost connects again at once, and whose
connect fails tries again after RETRY_S; `rest_s`: those that take longer are given up as timed
out, and tried again. `churn`: closes so many a second, and opens others.
"""

from __future__ import annotations

import signal
import time
from collections import deque

import numpy as np

from c1m.engine.contract import EventBatch, Slots

from .child import asked, say
from .swarm import MS, Numbers, Pace, Swarm

TOGETHER = 1024  # connects begun at once
EVERY_S = 0.25
RETRY_S = 1.0


class Holding(Swarm):
    """See above. `held`: those that are open and have had their echo."""

    def __init__(self, ports: list[int], sources: int, first_source: int, count: int) -> None:
        super().__init__(ports, sources, first_source)
        self.is_held = np.zeros(self.engine.capacity, np.bool_)
        self._since = np.zeros(self.engine.capacity)  # of connects under way
        self._is_connecting = np.zeros(self.engine.capacity, np.bool_)
        self._to_begin: deque[Numbers] = deque([np.arange(count, dtype=np.int64)])
        self._later: deque[tuple[float, Numbers]] = deque()
        self.held = self.lost = self.timed_out = self.wrong = self.churned = 0
        self.returns = False

    def begin(self, most: int) -> None:
        """Connects of those who are due, at most so many."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._to_begin.append(self._later.popleft()[1])
        most = min(most, TOGETHER)
        while most > 0 and self._to_begin:
            numbers = self._to_begin.popleft()
            if len(numbers) > most:
                self._to_begin.appendleft(numbers[most:])
            slots = self.connect(numbers[:most])
            self._since[slots] = now
            self._is_connecting[slots] = True
            most -= len(slots)

    def under_way(self) -> int:
        """Connects."""
        return super().under_way() - self.timed_out

    def take(self, batch: EventBatch) -> None:
        """What has come."""
        if len(batch.connected):
            self._is_connecting[batch.connected] = False
            self.say(batch.connected)
        if len(batch.failed):
            self._is_connecting[batch.failed] = False
            self._again(batch.failed, RETRY_S)
        if len(batch.data_slots):
            slots = batch.data_slots
            is_right = self.are_right(slots, batch.data) & ~self.is_held[slots]
            self.wrong += int(np.count_nonzero(~is_right))
            self.is_held[slots] = True
            self.held += int(np.count_nonzero(is_right))
        if len(batch.eof):
            self._lose(batch.eof)
            self.engine.close(batch.eof)
        if len(batch.closed):
            self._lose(batch.closed)

    def _lose(self, slots: Slots) -> None:
        self.lost += len(slots)
        self._let_go(slots)
        self._again(slots, 0)

    def _let_go(self, slots: Slots) -> None:
        self.held -= int(np.count_nonzero(self.is_held[slots]))
        self.is_held[slots] = False

    def _again(self, slots: Slots, after_s: float) -> None:
        if self.returns:
            self._later.append((time.monotonic() + after_s, self.numbers[slots].copy()))

    def give_up(self, after_s: float) -> None:
        """Connects that have taken longer."""
        slots = np.flatnonzero(self._is_connecting).astype(np.int32)
        slots = slots[self._since[slots] < time.monotonic() - after_s]
        self._is_connecting[slots] = False
        self.timed_out += len(slots)
        self._again(slots, 0)
        self.engine.close(slots, abort=True)

    def change(self, count: int) -> None:
        """Close so many, by chance, and open others in their place."""
        there = np.flatnonzero(self.is_held[: 1 << 20]).astype(np.int32)
        slots = np.random.default_rng(self.churned).permutation(there)[:count]
        self.churned += len(slots)
        self._let_go(slots)
        self._to_begin.append(self.numbers[slots].copy())
        self.engine.close(slots)


def main() -> None:
    """Until SIGTERM."""
    told = asked()
    them = Holding(told["ports"], told["sources"], told.get("first_source", 0), told["count"])
    them.returns = told.get("returns", False)
    rest_s, window = told.get("rest_s", 0.0), told["window"]
    churn = Pace(told.get("churn", 0))
    is_over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: is_over.append(number))
    said = 0.0
    while not is_over:
        them.begin(window - them.under_way())
        them.take(them.wait(10 * MS))
        now = time.monotonic()
        if now - said < EVERY_S:
            continue
        said = now
        if rest_s:
            them.give_up(rest_s)
        if to_change := churn.due():
            them.change(to_change)
        say(t=now, held=them.held, lost=them.lost, failed=them.failed, wrong=them.wrong,
            timed_out=them.timed_out, churned=them.churned, under_way=them.under_way())  # fmt: skip
    them.engine.shutdown()


if __name__ == "__main__":
    main()
