"""What the key-value server's clients are subscribed to: channels, and patterns of names. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.fanout import patterns
from c1m.fanout.channels import Channels
from c1m.kv.glob import matcher, plain_start

START_MAX = 32  # bytes of a pattern's start by which it is found


class Patterns(patterns.Patterns):
    """Channels whose names are glob patterns."""

    def _start(self, pattern: bytes) -> bytes:
        return plain_start(pattern, START_MAX)

    def _matches(self, pattern: bytes, name: bytes) -> bool:
        return bool(matcher(pattern)(name))


class Subscriptions:
    """What all connections are subscribed to: channels, patterns, and shard channels apart."""

    def __init__(self, capacity: int) -> None:
        self.channels = Channels(capacity)
        self.patterns = Patterns(capacity)
        self.shards = Channels(capacity)
        self.states: npt.NDArray[np.uint8] = np.zeros(capacity, np.uint8)  # those of Clients

    def count(self, slot: int) -> int:
        """What replies to SUBSCRIBE and PSUBSCRIBE say."""
        return self.channels.count(slot) + self.patterns.count(slot)

    def has_any(self, slot: int) -> bool:
        """Whether a connection is subscribed to anything at all."""
        return bool(self.count(slot) or self.shards.count(slot))

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: int32[n], each once."""
        for kind in (self.channels, self.patterns, self.shards):
            if len(kind):
                kind.forget(slots)
