"""One round of echoes: who was sent what, what came back, what of it is right. Pure, by batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.loadgen.message import Message, Numbers, matches

WAITING, RIGHT, WRONG, UNSENT, GONE = 0, 1, 2, 3, 4
FAILURES_KEPT = 10
FAILURE_BYTES_MAX = 200
COMPARED_MAX = 1 << 22  # bytes of messages made to be compared at once: more go in turns


class EchoRound:
    """Checks that every connection gets its own message back, byte for byte, and nothing more.

    Connections are numbers 0 .. count - 1. `outcomes` uint8[count]; `received` uint32[count] bytes
    that have come and were right so far.
    """

    def __init__(self, name: str, message: Message, count: int) -> None:
        self.name = name
        self.message = message
        self.outcomes = np.full(count, UNSENT, np.uint8)
        self.received = np.zeros(count, np.uint32)
        self._last = np.zeros(count, np.int32)  # scratch: each connection's last piece in a batch
        self.sent = 0
        self.right = 0
        self.wrong = 0
        self.gone = 0
        self.in_flight_peak = 0
        self.failures: list[tuple[int, bytes, bytes]] = []  # number, expected, received

    @property
    def in_flight(self) -> int:
        """Requests sent whose reply has not been taken."""
        return self.sent - self.right - self.wrong - self.gone

    def requests(self, numbers: Numbers) -> Ragged:
        """The messages to send now on these connections, each sent once a round."""
        self.outcomes[numbers] = WAITING
        self.sent += len(numbers)
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        return self.message.pieces(numbers)

    def take(self, numbers: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        """Pieces that came; returns which of them completed a reply that is right: bool[n]."""
        done = np.zeros(len(numbers), bool)
        lengths = self.message.lengths(numbers)
        whole = (self.outcomes[numbers] == WAITING) & (self.received[numbers] == 0)
        whole &= data.lengths == lengths
        whole &= ~self._several(numbers)
        self._compare(whole, numbers, data)
        self.outcomes[numbers[whole]] = RIGHT
        self.received[numbers[whole]] = lengths[whole]
        count = int(np.count_nonzero(whole))
        self.right += count
        done[whole] = True
        if count < len(numbers):
            for i in np.flatnonzero(~whole).tolist():
                done[i] = self._take_piece(int(numbers[i]), data.piece(i))
        return done

    def _compare(self, whole: npt.NDArray[np.bool_], numbers: Numbers, data: Ragged) -> None:
        """Leave set in `whole` only the pieces that equal their message.

        Only those of the right length come here: a long reply in a thousand parts must not cost a
        thousand whole messages.
        """
        which = np.flatnonzero(whole)
        step = max(COMPARED_MAX // self.message.size_max, 1)
        for at in range(0, len(which), step):
            some = which[at : at + step]
            rows, lengths = self.message.matrix(numbers[some])
            whole[some] = matches(data.take(some), rows, lengths)

    def _several(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which pieces are from a connection that has several in this batch."""
        order = np.arange(len(numbers), dtype=np.int32)
        self._last[numbers] = order
        earlier = self._last[numbers] != order
        return np.isin(numbers, numbers[earlier]) if earlier.any() else earlier

    def _take_piece(self, number: int, piece: bytes) -> bool:
        """A piece that is not simply the whole reply: a part, more than there should be, wrong."""
        outcome = int(self.outcomes[number])
        start = int(self.received[number])
        expected = self.message.one(number)
        if outcome == WAITING and expected[start : start + len(piece)] == piece:
            self.received[number] = start + len(piece)
            if start + len(piece) == len(expected):
                self.outcomes[number] = RIGHT
                self.right += 1
                return True
            return False
        if outcome == RIGHT:
            self.right -= 1  # it was right, and then more came
        if outcome in (WAITING, RIGHT):
            self.wrong += 1
            self.outcomes[number] = WRONG
        if outcome != WRONG and len(self.failures) < FAILURES_KEPT:
            came = expected[:start] + piece
            self.failures.append((number, expected[:FAILURE_BYTES_MAX], came[:FAILURE_BYTES_MAX]))
        return False

    def lost(self, numbers: Numbers) -> None:
        """Connections that ended: a reply that was due will not come."""
        waiting = numbers[self.outcomes[numbers] == WAITING]
        self.outcomes[waiting] = GONE
        self.gone += len(waiting)

    def missing(self) -> int:
        """Replies that have not come: still waited for, or their connection is gone."""
        return self.sent - self.right - self.wrong
