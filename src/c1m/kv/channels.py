"""What the key-value server's clients are subscribed to: channels, and patterns of names. Pure."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.fanout.channels import Channels
from c1m.kv.glob import matcher, plain_start

START_MAX = 32  # bytes of a pattern's start by which it is found


class Patterns(Channels):
    """Channels whose names are patterns, found by what the names that match begin with."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._by_start: dict[bytes, dict[bytes, None]] = {}
        self._sizes: Counter[int] = Counter()  # of these starts

    def _came(self, name: bytes) -> None:
        start = plain_start(name, START_MAX)
        if start not in self._by_start:
            self._by_start[start] = {}
            self._sizes[len(start)] += 1
        self._by_start[start][name] = None

    def _went(self, name: bytes) -> None:
        start = plain_start(name, START_MAX)
        del self._by_start[start][name]
        if not self._by_start[start]:
            del self._by_start[start]
            self._sizes[len(start)] -= 1
            if not self._sizes[len(start)]:
                del self._sizes[len(start)]

    def matching(self, name: bytes) -> list[bytes]:
        """The patterns that a name matches."""
        return [
            pattern
            for size in self._sizes
            if size <= len(name)
            for pattern in self._by_start.get(name[:size], ())
            if matcher(pattern)(name)
        ]


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
