"""What may go wrong in the fake kernel, how often, and how often it did."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities, each between 0 and below 1, drawn wherever the thing could happen."""

    short_send: float = 0.0  # a send takes only a part of what would fit
    refuse_send: float = 0.0  # a send that must not wait gets EAGAIN although there is room
    no_buffers: float = 0.0  # a receive finds no buffer although there is one
    reset: float = 0.0  # the network resets a connection while it is sent to or read
    end_multishot: float = 0.0  # a multishot's completion is valid, but its last
    accept_error: float = 0.0  # an accept fails (no connection is taken)
    sticky_taskrun: float = 0.0  # TASKRUN stays set with nothing left to do
    interrupt: float = 0.0  # a sleep ends early, as by a signal

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} = {value} is no probability below 1")


class Chance:
    """Draws faults from one seeded source; `counts` says what happened, by name."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.counts: Counter[str] = Counter()

    def strikes(self, fault: str) -> bool:
        """Whether this fault happens here and now."""
        probability: float = getattr(self.faults, fault)
        # No draw for what is switched off: a run without faults is the same whatever others add.
        if probability == 0 or self.random.random() >= probability:
            return False
        self.counts[fault] += 1
        return True
