"""Who has agreed to compression (permessage-deflate): a byte for each connection, no state."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.protocols.http.requests import Head
from c1m.protocols.websocket.deflate import Deflater, negotiated

KEPT = 16  # payloads that are kept compressed: what goes to many goes in slices over ticks
COMES, GOES = 1, 2  # what may be compressed


class Compression:
    """Made where the application wants it (`compress=True`)."""

    def __init__(self, capacity: int) -> None:
        self._may = np.zeros(capacity, np.uint8)
        self._deflater = Deflater()
        self._asking: dict[int, Head] = {}
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()

    def asked(self, slots: list[int], heads: list[Head]) -> None:
        """These ask for a WebSocket: what they offer is looked at when they are accepted."""
        self._asking.update(zip(slots, heads, strict=True))

    def accepted(self, slot: int) -> bytes:
        """The extension that is agreed to, b"" if none is."""
        head = self._asking.pop(slot, None)
        agreed = negotiated((head and head.get(b"sec-websocket-extensions")) or b"")
        answer, goes = agreed or (b"", False)
        self._may[slot] = COMES * bool(answer) | GOES * goes
        return answer

    def forget(self, slots: Slots) -> None:
        """They have ended."""
        self._may[slots] = 0
        if self._asking:
            for slot in slots.tolist():
                self._asking.pop(slot, None)

    def comes(self, slot: int) -> bool:
        """Whether this one may send what is compressed."""
        return bool(self._may[slot])

    def compressed(self, slots: Slots, frames: Ragged) -> Ragged:
        """Frames that are to be sent, compressed for those who have agreed to that."""
        rows = np.flatnonzero(self._may.take(slots) & GOES)
        if not len(rows):
            return frames
        pairs = zip(frames.offsets[rows].tolist(), frames.lengths[rows].tolist(), strict=True)
        places: dict[tuple[int, int], int] = {}  # of each payload once: its place among `parts`
        which = [places.setdefault(pair, len(places)) for pair in pairs]
        view = frames.memory.data
        is_shared = len(places) < len(rows)
        parts = [self._short(bytes(view[at : at + size]), is_shared) for at, size in places]
        short = Ragged.of([frames.memory.data, *parts])
        offsets, lengths = frames.offsets.copy(), frames.lengths.copy()
        offsets[rows] = short.offsets[1:][which]
        lengths[rows] = short.lengths[1:][which]
        return Ragged(short.memory, offsets, lengths)

    def _short(self, stream: bytes, is_shared: bool) -> bytes:
        if not is_shared:
            return self._deflater.frames(stream)
        short = self._kept.get(stream)
        if short is None:
            short = self._kept[stream] = self._deflater.frames(stream)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return short
