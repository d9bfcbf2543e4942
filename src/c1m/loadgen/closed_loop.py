"""A closed loop over an engine: each connection has one request in flight; a reply begins the next.

Not here: opening connections, and time. Whoever measures looks at the clock between two `take`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.base import Engine, EventBatch, Slots
from c1m.loadgen.echo_round import EchoRound
from c1m.loadgen.message import Message, Numbers


class ClosedLoop:
    """Connections 0 .. count - 1 on an engine, each with its own message over and over.

    `round` has the counts: `right` replies so far, `wrong` and `gone` connections, which go no
    further.
    """

    def __init__(self, engine: Engine, message: Message, count: int) -> None:
        self.round = EchoRound("closed", message, count)
        self._engine = engine
        self._numbers: npt.NDArray[np.int32] = np.zeros(engine.capacity, np.int32)  # by slot

    def assign(self, slots: Slots, numbers: Numbers) -> None:
        """These slots have these connections from now on (before anything comes on them)."""
        self._numbers[slots] = numbers

    def begin(self, slots: Slots) -> None:
        """The first request on connections that are open now."""
        if len(slots):
            self._engine.send(slots, self.round.requests(self._numbers_of(slots)))

    def take(self, batch: EventBatch) -> None:
        """Check what came, and answer each right reply with the next request.

        Connections that ended are given up, those that the peer ended are closed.
        """
        slots = batch.data_slots
        if len(slots):
            done, requests = self.round.again(self._numbers_of(slots), batch.data)
            if len(requests):
                self._engine.send(slots[done], requests)
        if len(batch.eof):
            self.round.lost(self._numbers_of(batch.eof))
            self._engine.close(batch.eof)
        if len(batch.closed):
            self.round.lost(self._numbers_of(batch.closed))

    def _numbers_of(self, slots: Slots) -> Numbers:
        return self._numbers.take(slots).astype(np.int64)
