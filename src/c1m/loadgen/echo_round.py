"""One round of echoes: who was sent what, what came back, what of it is right. Pure, by batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.loadgen.message import Message, Numbers, matches

WAITING, RIGHT, WRONG, UNSENT, GONE, PARTLY = range(6)  # PARTLY: waiting, and a part has come
FAILURES_KEPT = 10
FAILURE_BYTES_MAX = 200
COMPARED_MAX = 1 << 18  # bytes compared at once (they are copied: what is near stays near)

Which = npt.NDArray[np.bool_] | slice
ALL = slice(None)


class EchoRound:
    """Checks that every connection gets its own message back, byte for byte, and nothing more.

    Connections are numbers 0 .. count - 1. `outcomes` uint8[count]; `received` uint32[count] bytes
    that have come of a reply that is PARTLY there, else 0.

    Nearly every batch consists of whole, right replies of connections that wait for them, one of
    each. Those are seen to be so by a few operations over the batch; only where that fails each
    piece is looked at.
    """

    def __init__(self, name: str, message: Message, count: int) -> None:
        self.name = name
        self.message = message
        self.outcomes = np.full(count, UNSENT, np.uint8)
        self.received = np.zeros(count, np.uint32)
        self._last = np.zeros(count, np.int32)  # scratch: each connection's last piece in a batch
        self._order = np.arange(64, dtype=np.int32)  # as long as the longest batch so far
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
        """The messages to send now on these connections, none of which has one in flight."""
        self.outcomes[numbers] = WAITING
        self.sent += len(numbers)
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        return self.message.pieces(numbers, np.zeros_like(numbers))

    def take(self, numbers: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        """Pieces that came; returns which of them completed a reply that is right: bool[n]."""
        done = self._take(numbers, data)
        return np.ones(len(numbers), np.bool_) if isinstance(done, slice) else done

    def completed(self, numbers: Numbers, data: Ragged) -> Numbers:
        """Pieces that came; returns the connections that they completed a right reply of."""
        return numbers[self._take(numbers, data)]

    def again(self, numbers: Numbers, data: Ragged) -> tuple[Which, Ragged]:
        """A closed loop: take pieces, and begin anew where they complete a right reply.

        Returns which pieces did (a mask or ALL), and what to send on their connections. Where all
        are whole and right they are the next requests, byte for byte, and are sent as they lie.
        """
        if self._are_right(numbers, data):
            self.sent += len(numbers)
            self.right += len(numbers)
            return ALL, data
        done = self._take_some(numbers, data)
        done &= self.outcomes[numbers] == RIGHT  # and nothing more came behind it
        return done, self.requests(numbers[done])

    def _take(self, numbers: Numbers, data: Ragged) -> Which:
        if not self._are_right(numbers, data):
            return self._take_some(numbers, data)
        self.outcomes[numbers] = RIGHT
        self.right += len(numbers)
        return ALL

    def _are_right(self, numbers: Numbers, data: Ragged) -> bool:
        """Whether each piece is the whole, right and only one, of a connection that waits for it.

        Gathers are compared as `bytes`: see message_rows for why.
        """
        count = len(numbers)
        if np.count_nonzero(self.outcomes.take(numbers)):  # WAITING is 0
            return False
        order = self._order_of(count)
        self._last[numbers] = order
        if self._last.take(numbers).tobytes() != order.tobytes():
            return False
        step = max(COMPARED_MAX // self.message.size_max, 1)
        if count <= step:
            return self.message.equal(numbers, np.zeros_like(numbers), data)
        parts = [slice(at, at + step) for at in range(0, count, step)]
        return all(
            self.message.equal(numbers[part], np.zeros_like(numbers[part]), data.take(part))
            for part in parts
        )

    def _order_of(self, count: int) -> npt.NDArray[np.int32]:
        if count > len(self._order):
            self._order = np.arange(count * 2, dtype=np.int32)
        return self._order[:count]

    def _take_some(self, numbers: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        """A batch in which not all is as it mostly is: bool[n], as `take`."""
        whole = self.outcomes[numbers] == WAITING
        whole &= data.lengths == self.message.lengths(numbers, np.zeros_like(numbers))
        whole &= ~self._several(numbers)
        self._compare(whole, numbers, data)
        self.outcomes[numbers[whole]] = RIGHT
        self.right += int(np.count_nonzero(whole))
        done: npt.NDArray[np.bool_] = whole.copy()
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
            if not self.message.equal(numbers[some], np.zeros_like(numbers[some]), data.take(some)):
                whole[some] = matches(
                    data.take(some),
                    *self.message.matrix(numbers[some], np.zeros_like(numbers[some])),
                )

    def _several(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which pieces are from a connection that has several in this batch."""
        order = self._order_of(len(numbers))
        self._last[numbers] = order
        earlier = self._last[numbers] != order
        return np.isin(numbers, numbers[earlier]) if earlier.any() else earlier

    def _take_piece(self, number: int, piece: bytes) -> bool:
        """A piece that is not simply the whole reply: a part, more than there should be, wrong."""
        outcome = int(self.outcomes[number])
        expected = self.message.one(number)
        start = len(expected) if outcome == RIGHT else int(self.received[number])
        end = start + len(piece)
        if outcome in (WAITING, PARTLY) and expected[start:end] == piece:
            is_whole = end == len(expected)
            self.outcomes[number] = RIGHT if is_whole else PARTLY
            self.received[number] = 0 if is_whole else end
            self.right += is_whole
            return is_whole
        if outcome == RIGHT:
            self.right -= 1  # it was right, and then more came
        if outcome in (WAITING, PARTLY, RIGHT):
            self.wrong += 1
            self.outcomes[number] = WRONG
        if outcome != WRONG and len(self.failures) < FAILURES_KEPT:
            came = expected[:start] + piece
            self.failures.append((number, expected[:FAILURE_BYTES_MAX], came[:FAILURE_BYTES_MAX]))
        return False

    def lost(self, numbers: Numbers) -> None:
        """Connections that ended: a reply that was due will not come."""
        outcomes = self.outcomes[numbers]
        waiting = numbers[(outcomes == WAITING) | (outcomes == PARTLY)]
        self.outcomes[waiting] = GONE
        self.gone += len(waiting)

    def missing(self) -> int:
        """Replies that have not come: still waited for, or their connection is gone."""
        return self.sent - self.right - self.wrong
