"""The batch form of upgrades to WebSocket: heads that differ in their key only. Pure.

A million clients that connect say a few different things: what one library sends to one address is
the same but for Sec-WebSocket-Key. A head is taken apart once, and found by its other bytes again.
Where this finds nothing, the plain form (`RequestReader` and `check`) says what it is.
"""

from __future__ import annotations

import re

from c1m.protocols.http.requests import Bounds, Head, Refused, head_like, parse_head
from c1m.protocols.websocket.handshake import check

_KEY = re.compile(rb"\r\nSec-WebSocket-Key: ([A-Za-z0-9+/]{22}==)\r\n", re.IGNORECASE)
KEPT_BYTES = 4 << 20  # of heads
COST = 4 << 10  # bytes that one takes beside its own, at most about
LINE_COST = 600  # bytes that one takes which shares its fields
QUERY_COST = 300  # bytes that a name in its query takes


class Upgrades:
    """Heads of upgrades by their bytes without the key.

    Those that differ in their first line only, by a token perhaps, share their fields.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.kept = 0  # bytes
        self._bounds = bounds
        self._heads: dict[tuple[bytes, bytes], Head] = {}  # by what is before the key, and behind
        self._likes: dict[tuple[bytes, bytes], Head] = {}  # the same without the first line

    def find(self, piece: bytes) -> tuple[Head, bytes] | None:
        """The head of a piece that is one whole upgrade, and its key; None: not that, or unsure."""
        match = _KEY.search(piece)
        if match is None:
            return None
        around = piece[: match.start(1)], piece[match.end(1) :]
        head = self._heads.get(around)
        if head is None:
            head = self._new(piece, around)
            if head is None:
                return None
        return head, match[1]

    def _new(self, piece: bytes, around: tuple[bytes, bytes]) -> Head | None:
        at = piece.find(b"\r\n")
        line, fields = piece[:at], (around[0][at:], around[1])
        like = self._likes.get(fields)
        if like is not None:
            is_bounded = at + 2 <= self._bounds.line and len(piece) <= self._bounds.head
            head, size = (head_like(like, line) if is_bounded else None), len(piece) + LINE_COST
        else:
            head, size = self._parsed(piece), 2 * len(piece) + COST
        if head is None:
            return None
        size += QUERY_COST * line.count(b"&")
        if self.kept + size > KEPT_BYTES:
            self._heads.clear()
            self._likes.clear()
            self.kept = 0
        self.kept += size
        self._heads[around] = head
        if head_like(head, line) == head:  # else of no plain path: its fields are its own
            self._likes[fields] = head
        return head

    def _parsed(self, piece: bytes) -> Head | None:
        if not piece.endswith(b"\r\n\r\n") or len(piece) > self._bounds.head:
            return None
        try:
            head = parse_head(piece, self._bounds)
            check(head)
        except Refused:
            return None
        return head
