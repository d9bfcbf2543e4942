"""Channels whose names are patterns, found by what the names that match begin with. Pure."""

from __future__ import annotations

from collections import Counter

from c1m.fanout.channels import Channels


class Patterns(Channels):
    """Derive from this, and say how a pattern begins and what it matches."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._by_start: dict[bytes, dict[bytes, None]] = {}
        self._sizes: Counter[int] = Counter()  # of these starts

    def _start(self, pattern: bytes) -> bytes:
        """What all names begin with that a pattern matches."""
        raise NotImplementedError

    def _matches(self, pattern: bytes, name: bytes) -> bool:
        raise NotImplementedError

    def _came(self, name: bytes) -> None:
        start = self._start(name)
        if start not in self._by_start:
            self._by_start[start] = {}
            self._sizes[len(start)] += 1
        self._by_start[start][name] = None

    def _went(self, name: bytes) -> None:
        start = self._start(name)
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
            if self._matches(pattern, name)
        ]
