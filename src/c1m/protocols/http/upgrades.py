"""The batch form of upgrades to WebSocket: heads that differ in their key only. Pure.

A million clients that connect say a few different things: what one library sends to one address is
the same but for Sec-WebSocket-Key. A head is taken apart once, and found by its other bytes again.
Where this finds nothing, the plain form (`RequestReader` and `check`) says what it is.
"""

from __future__ import annotations

import re

from c1m.protocols.http.requests import Bounds, Head, Refused, parse_head
from c1m.protocols.websocket.handshake import check

_KEY = re.compile(rb"\r\nSec-WebSocket-Key: ([A-Za-z0-9+/]{22}==)\r\n", re.IGNORECASE)
KEPT_BYTES = 4 << 20  # of heads
COST = 4 << 10  # bytes that one takes beside its own, at most about


class Upgrades:
    """Heads of upgrades by their bytes without the key."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._heads: dict[tuple[bytes, bytes], Head] = {}
        self._kept = 0

    def find(self, piece: bytes) -> tuple[Head, bytes] | None:
        """The head of a piece that is one whole upgrade, and its key; None: not that, or unsure."""
        match = _KEY.search(piece)
        if match is None:
            return None
        around = piece[: match.start(1)], piece[match.end(1) :]
        head = self._heads.get(around)
        if head is None:
            head = self._parsed(piece)
            if head is None:
                return None
            size = len(piece) + COST
            if self._kept + size > KEPT_BYTES:
                self._heads.clear()
                self._kept = 0
            self._heads[around] = head
            self._kept += size
        return head, match[1]

    def _parsed(self, piece: bytes) -> Head | None:
        if not piece.endswith(b"\r\n\r\n") or len(piece) > self._bounds.head:
            return None
        try:
            head = parse_head(piece, self._bounds)
            check(head)
        except Refused:
            return None
        return head
