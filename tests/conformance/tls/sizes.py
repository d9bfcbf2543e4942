"""A scenario of c1m's load client: echoes of sizes around what a record holds."""

from __future__ import annotations

from random import Random

from c1m.engine.ragged import Ragged
from c1m.scenarios.base import Scenario
from c1m.scenarios.messages import Numbers

SIZES = (1, 100, 16_383, 16_384, 16_385, 100_000)


class Sizes(Scenario):
    """Random bytes of each size in turn; the same come back."""

    name = "sizes"

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """See Scenario.requests."""
        rows = zip(numbers.tolist(), seqs.tolist(), strict=True)
        return Ragged.of([_payload(number, seq) for number, seq in rows])

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """See Scenario.replies."""
        return self.requests(numbers, seqs)


def _payload(number: int, seq: int) -> bytes:
    return Random(f"{number}/{seq}").randbytes(SIZES[seq % len(SIZES)])
