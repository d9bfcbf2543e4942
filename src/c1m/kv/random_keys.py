"""Keys of a dict, drawn at random in constant time. Pure.

A dict cannot be indexed, so a list of its keys is made, and made again when the dict has changed
by a quarter: a key that has come since the list was made is drawn a little later.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

FEW = 64  # keys: the list is made anew after any change


class RandomKeys:
    """Those of one dict."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._size = -1  # of the dict, when the list was made
        self._changes = 0  # of the store, at that time

    def draw(self, data: Mapping[bytes, object], changes: int) -> bytes | None:
        """One of the keys; None: there are none."""
        margin = self._size // 4 if self._size > FEW else 0
        if abs(len(data) - self._size) > margin or changes - self._changes > margin:
            self._make(data, changes)
        while data:
            keys = self._keys
            if not keys:
                self._make(data, changes)
                continue
            at = int(random.random() * len(keys))
            key = keys[at]
            if key in data:
                return key
            last = keys.pop()
            if at < len(keys):
                keys[at] = last
        return None

    def _make(self, data: Mapping[bytes, object], changes: int) -> None:
        self._keys = list(data)
        self._size, self._changes = len(data), changes
