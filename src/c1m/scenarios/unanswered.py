"""Scenarios that expect no reply: connections are only held, or say half of a request. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.ledger import MISSING, RIGHT, Resolved
from c1m.scenarios.messages import Message, Numbers

HALF_MESSAGE = "client {n} says half of this line, and then nothing more\n"


class Hold(Scenario):
    """Says nothing: opens connections and sees whether they stay open. What comes is not judged."""

    name = "hold"
    help = "says nothing: connections are only held, and what comes is not judged"
    is_silent = True
    takes_turns = True
    stampedes = False

    def exchange(self, count: int, depth: int) -> Exchange:
        return Unanswered(self, count)


class HalfOpen(Scenario):
    """Each connection says the first half of its request, and then nothing.

    Right is when the server ends the connection; what it says before that is not judged. So the
    latency is the time after which a server gives a client up.
    """

    name = "half-open"
    help = "says the first half of a line, and expects that the server ends the connection"
    schemes = ("tcp",)
    sees_to_stretch = True
    wants_end = True
    takes_turns = True
    stampedes = False

    def __init__(self, message: str | bytes = HALF_MESSAGE) -> None:
        self._text = message

    def begin(self, connections: int, seed: int) -> None:
        self._message = Message(self._text, connections, seed, first=self.stretch.first)

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """The first half, at least a byte."""
        whole = self._message.pieces(numbers, seqs)
        half = np.maximum(whole.lengths // 2, 1).astype(np.int32)
        return Ragged(whole.memory, whole.offsets, half, whole.address)

    def exchange(self, count: int, depth: int) -> Exchange:
        return Unanswered(self, count)


class Unanswered(Exchange):
    """One request a connection at most: RIGHT when the server ends it, MISSING when we do."""

    def __init__(self, scenario: Scenario, count: int) -> None:
        super().__init__(scenario, count)
        self._may_speak = np.full(count, not scenario.is_silent, np.bool_)

    def is_free(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        return self._may_speak[numbers]

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        self._may_speak[numbers] = False
        return super().requests(numbers)

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        """See Exchange: what comes is not judged."""
        return self.ledger.resolved()

    def miss(self, number: int, seq: int) -> None:
        """See Exchange. Only half-open connections speak, and there the end is what is due."""
        note = "the server should have ended the connection"
        self.ledger.fault("missing", number, number, seq, b"", b"", note)
        self.ledger.resolve(number, seq, MISSING)

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """See Exchange: opened anew, they may speak again."""
        self._may_speak[numbers] = not self.scenario.is_silent
        resolved = super().gone(numbers)
        if by_peer and resolved.outcomes is not None:
            resolved.outcomes[:] = RIGHT
        return resolved
