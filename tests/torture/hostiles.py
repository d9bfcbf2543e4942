"""Hostile peers, until the process is stopped: each kind as many as it is told.

`request` is what a good client would say. Kinds: `slow` say it byte by byte, one a second;
`unread` say it `at_once` times a second and never read; `silent` say nothing; `half` say half of it
and end their output; `garbage` say 200 random bytes a second. Whoever is ended by the server comes
back within a second. And so many a second, `resets` say half of it and reset, `floods` connect and
go.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import Any

import numpy as np

from c1m.engine.contract import EventBatch, Slots
from c1m.engine.ragged import Ragged

from .child import asked, say
from .swarm import MS, Pace, Swarm

SLOW, UNREAD, SILENT, HALF, GARBAGE, RESET, FLOOD = range(7)
NAMES = ("slow", "unread", "silent", "half", "garbage", "resets", "floods")
KINDS = 8  # or fewer
SLICES = 50  # of a second: who says something in which of them is by number
TOGETHER = 512


class Hostiles(Swarm):
    """A connection's number modulo KINDS is its kind, so each source has all kinds."""

    alike = KINDS

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["ports"], told["sources"], told["first_source"])
        self._request = told["request"].encode("latin-1")
        self._block = self._request * told["at_once"]
        self._random = np.random.default_rng(1)
        self._counts: dict[str, int] = told["counts"]
        self._said = np.zeros(self.engine.capacity, np.int32)  # bytes, by the slow ones
        self._is_there = np.zeros(self.engine.capacity, np.bool_)
        self._next = [0] * len(NAMES)
        self._to_begin = [self._counts.get(name, 0) for name in NAMES[:RESET]] + [0, 0]
        self._to_return = [0] * RESET
        self._paces = {kind: Pace(self._counts.get(NAMES[kind], 0)) for kind in (RESET, FLOOD)}
        self.ended: Counter[str] = Counter()  # by the server
        self.done: Counter[str] = Counter()  # by us

    def _kinds(self, slots: Slots) -> Slots:
        return (self.numbers[slots] % KINDS).astype(np.int32)

    def begin(self) -> None:
        """Connects that are due."""
        for kind, pace in self._paces.items():
            self._to_begin[kind] += pace.due(TOGETHER)
        for kind, count in enumerate(self._to_begin):
            count = min(count, TOGETHER)
            if count:
                self._to_begin[kind] -= count
                first = self._next[kind]
                self._next[kind] += count
                self.connect(np.arange(first, first + count, dtype=np.int64) * KINDS + kind)

    def take(self, batch: EventBatch) -> None:
        """What has come. What it says does not matter to them."""
        if len(batch.connected):
            self._opened(batch.connected)
        for slots in (batch.failed, batch.eof, batch.closed):
            if len(slots):
                self._over(slots)
        if len(batch.eof):
            self.engine.close(batch.eof, abort=True)

    def _opened(self, slots: Slots) -> None:
        kinds = self._kinds(slots)
        self._said[slots] = 0
        self._is_there[slots] = kinds < RESET
        half = self._request[: len(self._request) // 2 or 1]
        speaking = slots[(kinds == HALF) | (kinds == RESET)]
        if len(speaking):
            self.engine.send(speaking, Ragged.repeat(half, len(speaking)))
        self.engine.receive(slots[kinds == UNREAD], False)
        for slot in slots[kinds == HALF].tolist():
            self.engine.end_output(slot)
        for kind in (RESET, FLOOD):
            those = slots[kinds == kind]
            self.done[NAMES[kind]] += len(those)
            if len(those):
                self.engine.close(those, abort=kind == RESET)

    def _over(self, slots: Slots) -> None:
        self._is_there[slots] = False
        for kind, count in Counter(self._kinds(slots).tolist()).items():
            self.ended[NAMES[kind]] += count
            if kind < RESET:
                self._to_return[kind] += count

    def slice(self, number: int) -> None:
        """What those say whose turn it is in this slice of a second."""
        slots = np.flatnonzero(self._is_there[: 1 << 20]).astype(np.int32)
        slots = slots[self.numbers[slots] // KINDS % SLICES == number % SLICES]
        if number % SLICES == 0:
            self._to_begin[:RESET] = np.add(self._to_begin[:RESET], self._to_return).tolist()
            self._to_return = [0] * RESET
        kinds = self._kinds(slots)
        slow = slots[kinds == SLOW]
        memory = np.frombuffer(self._request, np.uint8)
        at = (self._said[slow] % len(memory)).astype(np.int64)
        self._said[slow] += 1
        self._send(slow, Ragged(memory, at, np.ones(len(slow), np.int32)))
        unread = slots[kinds == UNREAD]
        self._send(unread, Ragged.repeat(self._block, len(unread)))
        garbage = slots[kinds == GARBAGE]
        self._send(garbage, Ragged.repeat(self._random.bytes(200), len(garbage)))

    def _send(self, slots: Slots, data: Ragged) -> None:
        if len(slots):
            self.engine.send(slots, data)

    def figures(self) -> dict[str, Any]:
        """How many are there, and what became of others."""
        slots = np.flatnonzero(self._is_there[: 1 << 20]).astype(np.int32)
        there = Counter(NAMES[kind] for kind in self._kinds(slots).tolist())
        return {"there": there, "ended": self.ended, "done": self.done, "failed": self.failed}


def main() -> None:
    """Until SIGTERM."""
    them = Hostiles(asked())
    is_over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: is_over.append(number))
    slices, number = Pace(SLICES), 0
    say(**them.figures())
    started = time.monotonic()
    while not is_over:
        them.begin()
        them.take(them.wait(5 * MS))
        if not slices.due(1):
            continue
        number += 1
        them.slice(number)
        if number % SLICES == 0:
            say(seconds=time.monotonic() - started, **them.figures())
    say(**them.figures(), has_ended=True)
    them.engine.shutdown()


if __name__ == "__main__":
    main()
