"""Scenarios of clients that do not behave: they read late, or say half of what they want. Pure.

What they ask of a server: that the others are served all the same, that its memory is bounded, and
that it does not wait for ever.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.scenarios.base import Scenario, Templates
from c1m.scenarios.matching import RIGHT, Exchange, Resolved
from c1m.scenarios.messages import Message, Numbers
from c1m.scenarios.outcomes import gathered

SLOW_MESSAGE = "client {n} message {seq} {random:1000}\n"
HALF_MESSAGE = "client {n} says half of this line, and then nothing more\n"


class SlowReader(Templates):
    """Sends as an echo does and reads nothing before the last stage is over.

    Then all replies must be there, and right: a server may stop reading from such a client, but not
    lose what it has taken.
    """

    reads = False

    def __init__(
        self, request: str | bytes = SLOW_MESSAGE, reply: str | bytes | None = None
    ) -> None:
        super().__init__("slow-reader", request, request if reply is None else reply)


class HalfOpen(Scenario):
    """Each connection says the first half of its request, and then nothing.

    Right is when the server ends the connection; what it says before that is not judged. So the
    latency is the time in which a server gives a client up.
    """

    name = "half-open"
    wants_end = True

    def __init__(self, message: str | bytes = HALF_MESSAGE) -> None:
        self._text = message

    def begin(self, connections: int, seed: int) -> None:
        """See Scenario. Raises UsageError for a bad template."""
        self._message = Message(self._text, connections, seed)

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """The first half, at least a byte."""
        whole = self._message.pieces(numbers, seqs)
        half = np.maximum(whole.lengths // 2, 1).astype(np.int32)
        return Ragged(whole.memory, whole.offsets, half, whole.address)

    def exchange(self, count: int, depth: int) -> Exchange:
        """Its own: a request is resolved by the connection's end."""
        return _UntilTheEnd(self, count)


class _UntilTheEnd(Exchange):
    """One request a connection, RIGHT when the server ends it, MISSING when we do or give up."""

    def __init__(self, scenario: Scenario, count: int) -> None:
        super().__init__(scenario, count)
        self._has_said = np.zeros(count, np.bool_)

    def is_free(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Those that have said nothing since they were opened."""
        return ~self._has_said[numbers]

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        self._has_said[numbers] = True
        return super().requests(numbers)

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        return gathered([])

    def gone(self, numbers: Numbers) -> Resolved:
        self._has_said[numbers] = False
        return super().gone(numbers)

    def ended(self, numbers: Numbers) -> Resolved:
        resolved = self.gone(numbers)
        return Resolved(resolved.numbers, resolved.seqs, np.full(len(resolved), RIGHT, np.uint8))
