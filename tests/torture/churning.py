"""The client of `churn`: opens `count` connections, `window` at a time, each with its own fate."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots

from .apps import CLOSE, RESET
from .child import asked, say
from .swarm import MS, Swarm

# Fates, by number: who ends the connection, and how.
CLOSES, RESETS, ECHO_CLOSES, ECHO_RESETS, SERVER_CLOSES, SERVER_RESETS = range(6)
FATES = np.array(
    [ECHO_CLOSES, SERVER_CLOSES, ECHO_CLOSES, CLOSES, ECHO_RESETS, SERVER_RESETS, RESETS,
     SERVER_CLOSES], np.uint8)  # fmt: skip
LETTERS = np.array([*b"EEEE", CLOSE, RESET], np.uint8)
STUCK_S = 60.0
TOGETHER = 256  # connects begun at once: a tick's work


class Churn(Swarm):
    """Connections whose fate is told by their number."""

    def __init__(self, ports: list[int], sources: int) -> None:
        super().__init__(ports, sources)
        self.has_reply = np.zeros(self.engine.capacity, np.bool_)
        self.over: Counter[str] = Counter()  # connections, by how they ended
        self.wrong: Counter[str] = Counter()

    def tick(self, to_begin: int) -> int:
        """Begin so many, and one wait; how many events."""
        if to_begin:
            first = self.begun
            self.connect(np.arange(first, first + to_begin, dtype=np.int64))
        batch = self.wait(10 * MS)
        if len(batch.connected):
            self._begin(batch.connected)
        if len(batch.data_slots):
            self._heard(batch.data_slots, self.are_right(batch.data_slots, batch.data))
        if len(batch.eof):
            self._end(batch.eof, "closed by the server", SERVER_CLOSES)
            self.engine.close(batch.eof)
        if len(batch.closed):
            self._end(batch.closed, "reset by the server", SERVER_RESETS)
        return len(batch)

    def _fates(self, slots: Slots) -> npt.NDArray[np.uint8]:
        return FATES[self.numbers[slots] % len(FATES)]

    def _begin(self, slots: Slots) -> None:
        fates = self._fates(slots)
        self.has_reply[slots] = False
        speaks = fates >= ECHO_CLOSES
        self.say(slots[speaks], LETTERS[fates[speaks]])
        self._close(slots[fates == CLOSES], "closed at once")
        self._close(slots[fates == RESETS], "reset at once", abort=True)

    def _heard(self, slots: Slots, is_right: npt.NDArray[np.bool_]) -> None:
        self.wrong["replies"] += int(np.count_nonzero(~is_right))
        self.wrong["replies twice"] += int(np.count_nonzero(self.has_reply[slots]))
        self.has_reply[slots] = True
        fates = self._fates(slots)
        self._close(slots[fates == ECHO_CLOSES], "closed behind a reply")
        self._close(slots[fates == ECHO_RESETS], "reset behind a reply", abort=True)

    def _close(self, slots: Slots, how: str, abort: bool = False) -> None:
        if len(slots):
            self.over[how] += len(slots)
            self.engine.close(slots, abort=abort)

    def _end(self, slots: Slots, how: str, fate: int) -> None:
        """The server has ended these: was that their fate, with their reply?"""
        self.over[how] += len(slots)
        is_so = self._fates(slots) == fate
        self.wrong[how + ", and was not to be"] += int(np.count_nonzero(~is_so))
        if fate == SERVER_CLOSES:  # a reset may overtake the reply
            missing = np.count_nonzero(is_so & ~self.has_reply[slots])
            self.wrong["closed without the reply"] += int(missing)


def main() -> None:
    """All of them, and then the figures."""
    told = asked()
    count, window = told["count"], told["window"]
    churn = Churn(told["ports"], told["sources"])
    start = said = heard = time.monotonic()
    while True:
        there = churn.begun - sum(churn.over.values()) - sum(churn.failed.values())
        to_begin = min(count - churn.begun, window - there, TOGETHER)
        if not to_begin and not there:
            break
        now = time.monotonic()
        if churn.tick(max(to_begin, 0)):
            heard = now
        if now - heard > STUCK_S:
            churn.wrong["stuck"] += there
            break
        if now - said > 1:
            said = now
            say(begun=churn.begun, seconds=now - start)
    seconds = time.monotonic() - start
    churn.engine.wait(0)  # hand the last closes over
    churn.engine.shutdown()
    say(done=True, seconds=seconds, opened=churn.opened, failed=churn.failed, over=churn.over,
        wrong=+churn.wrong)  # fmt: skip


if __name__ == "__main__":
    main()
