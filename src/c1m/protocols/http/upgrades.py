"""The batch form of upgrades to WebSocket: heads that differ in their key only. Pure.

A million clients that connect say a few different things: what one library sends to one address is
the same but for Sec-WebSocket-Key. A head is taken apart once, and found by its other bytes again.
"""

from __future__ import annotations

import re

from c1m.protocols.http.requests import Bounds, Head, Refused, parse_head

_KEY = re.compile(rb"\r\nSec-WebSocket-Key: ([A-Za-z0-9+/]{22}==)\r\n", re.IGNORECASE)
KEPT_MAX = 4096  # heads


class Upgrades:
    """Heads of upgrades by their bytes without the key."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._heads: dict[tuple[bytes, bytes], Head] = {}

    def find(self, piece: bytes) -> tuple[Head, bytes] | None:
        """The head of a piece that is one whole upgrade, and its key; None: not that, or unsure."""
        match = _KEY.search(piece)
        if match is None:
            return None
        around = piece[: match.start(1)], piece[match.end(1) :]
        head = self._heads.get(around)
        if head is None:
            if piece.find(b"\r\n\r\n") != len(piece) - 4 or len(piece) > self._bounds.head:
                return None
            try:
                head = parse_head(piece, self._bounds)
            except Refused:
                return None
            if not head.is_upgrade or head.get(b"sec-websocket-key") != match[1]:
                return None
            if len(self._heads) >= KEPT_MAX:
                self._heads.clear()
            self._heads[around] = head
        return head, match[1]
