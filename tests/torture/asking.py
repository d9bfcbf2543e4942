"""The client of `takeover` and `sigterm`: connections that each want a reply to what they said.

`rate`: connects a second until SIGTERM, each says one thing, has its reply and closes. `count`
instead: so many are opened, each asks and is answered; then all ask once more at the same time, the
server (`pid`) gets SIGTERM when the kernel has all of that, and all is heard to its end.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import EventBatch, Slots
from c1m.engine.ragged import Ragged

from .child import asked, say
from .swarm import MESSAGE, MS, Pace, Swarm

STUCK_S = 90.0
TOGETHER = 256  # connects begun at once
WINDOW = 4_000  # connections at a time, where they come at a rate
HEAD, SIZE = b"*2\r\n$4\r\nECHO\r\n$16\r\n", MESSAGE.itemsize  # of Redis's protocol


class Asking(Swarm):
    """Counts what becomes of those who have asked: `replied` of `said`, or how they ended."""

    def __init__(self, ports: list[int], sources: int, *, is_kv: bool) -> None:
        super().__init__(ports, sources)
        self._is_kv = is_kv
        self._owed: npt.NDArray[np.int32] = np.zeros(self.engine.capacity, np.int32)  # bytes
        self.said = self.replied = self.gone = 0
        self.ended: Counter[str] = Counter()

    def ask(self, slots: Slots) -> None:
        """Each says its number."""
        self.said += len(slots)
        self._owed[slots] = len(b"$16\r\n") + SIZE + 2 if self._is_kv else SIZE
        if not self._is_kv:
            self.say(slots)
            return
        for slot in slots.tolist():
            what = b"E" + b"%015d" % self.numbers[slot]
            self.engine.send(np.array([slot], np.int32), Ragged.of([HEAD + what + b"\r\n"]))

    def heard(self, batch: EventBatch) -> Slots:
        """Replies, which may come in pieces: whose are whole now."""
        slots = batch.data_slots
        if not len(slots):
            return slots
        if not self._is_kv:
            self.ended["wrong reply"] += int(np.count_nonzero(~self.are_right(slots, batch.data)))
        np.subtract.at(self._owed, slots, batch.data.lengths)
        those = np.unique(slots)
        whole: Slots = those[self._owed[those] == 0].astype(np.int32)
        self.ended["more than the reply"] += int(np.count_nonzero(self._owed[those] < 0))
        self.replied += len(whole)
        return whole

    def end(self, batch: EventBatch) -> None:
        """Who was ended by the server: with the reply that it is owed, or without."""
        for slots, how in ((batch.eof, "closed"), (batch.closed, "reset")):
            owed = int(np.count_nonzero(self._owed[slots]))
            self.ended[f"{how} without a reply"] += owed
            self.ended[how] += len(slots) - owed
            self.gone += len(slots)
            self._owed[slots] = 0
        self.engine.close(batch.eof)

    def line(self) -> dict[str, object]:
        """For whoever reads it."""
        return {"opened": self.opened, "failed": +self.failed, "said": self.said,
                "replied": self.replied, "ended": +self.ended}  # fmt: skip


def come(asking: Asking, rate: float) -> None:
    """Until SIGTERM, and then to the end of those that are there."""
    is_over = False

    def end(*_: object) -> None:
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, end)
    pace, told, since = Pace(rate), time.monotonic(), time.monotonic()
    while True:
        there = asking.begun - sum(asking.failed.values()) - asking.gone
        due = 0 if is_over else pace.due(min(WINDOW - there, TOGETHER))
        if due:
            asking.connect(np.arange(asking.begun, asking.begun + due, dtype=np.int64))
        elif is_over and (not there or time.monotonic() - since > STUCK_S):
            break
        batch = asking.wait(5 * MS)
        since = time.monotonic() if len(batch) and not is_over else since
        asking.ask(batch.connected)
        done = asking.heard(batch)
        asking.end(batch)
        done = done[~np.isin(done, np.concatenate((batch.eof, batch.closed)))]
        asking.engine.close(done, abort=True)  # no TIME_WAIT, which would use up the ports
        asking.gone += len(done)
        if time.monotonic() - told > 0.25:
            told = time.monotonic()
            say(**asking.line())
    say(**asking.line(), done=True, stuck=there)


def ask_and_end(asking: Asking, count: int, window: int, pid: int) -> None:
    """See above."""
    slots = np.zeros(0, np.int32)
    since = time.monotonic()
    while asking.replied < count and time.monotonic() - since < STUCK_S:
        under_way = asking.under_way() + asking.opened - asking.replied
        due = min(count - asking.begun, window - under_way, TOGETHER)
        if due > 0:
            asking.connect(np.arange(asking.begun, asking.begun + due, dtype=np.int64))
        batch = asking.wait(10 * MS)
        since = time.monotonic() if len(batch) else since
        asking.ask(batch.connected)
        asking.heard(batch)
        asking.end(batch)
        slots = np.concatenate((slots, batch.connected))
    for at in range(0, len(slots), 10_000):  # what the server has not read waits in its sockets
        asking.ask(slots[at : at + 10_000])
        asking.engine.flush()
    unsent = sum(asking.engine.unsent(slot) for slot in slots.tolist())
    killed = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    say(killed=killed, unsent=unsent, replied_before=asking.replied - count, **asking.line())
    while asking.gone < len(slots) and time.monotonic() - since < STUCK_S:
        batch = asking.wait(10 * MS)
        since = time.monotonic() if len(batch) else since
        asking.heard(batch)
        asking.end(batch)
    say(**asking.line(), done=True, stuck=len(slots) - asking.gone)


def main() -> None:
    """As told."""
    told = asked()
    asking = Asking(told["ports"], told["sources"], is_kv=told.get("kv", False))
    if "rate" in told:
        come(asking, told["rate"])
    else:
        ask_and_end(asking, told["count"], told["window"], told["pid"])
    asking.engine.shutdown()


if __name__ == "__main__":
    main()
