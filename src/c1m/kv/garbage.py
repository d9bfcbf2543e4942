"""Large values that nobody refers to any more, taken apart a slice at a time. Pure.

To let go of a million objects takes a tenth of a second. A tick takes some of them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from c1m.kv.sorted_set import SortedSet

LARGE = 1_000  # members of what is not let go at once
SLICE = 1_000  # members let go in one go: about half a millisecond


class Garbage:
    """What is to be let go."""

    def __init__(self) -> None:
        self._waiting: list[Any] = []

    def __bool__(self) -> bool:
        """There is some."""
        return bool(self._waiting)

    def throw(self, value: Any) -> None:
        """Let go of a value that is in nobody's hands now."""
        if isinstance(value, SortedSet):
            value = value.scores  # its blocks are lists of the same objects
        if isinstance(value, dict | set | deque) and len(value) > LARGE:
            self._waiting.append(value)

    def sweep(self, count: int = SLICE) -> None:
        """Let go of some members. A value among them that is large comes apart after it."""
        while self._waiting and count > 0:
            value = self._waiting[-1]
            if isinstance(value, dict):
                while value and count > 0 and self._waiting[-1] is value:
                    count -= 1
                    self.throw(value.popitem()[1])
            else:
                while value and count > 0:
                    count -= 1
                    value.pop()
            if not value and self._waiting[-1] is value:
                self._waiting.pop()
