"""Records of a fixed size out of streams of bytes, as arrays.

A piece of a stream may end in the middle of a record. Most do not and go through array operations
only; the loop is over the pieces of the few connections that have half a record pending or leave
one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c1m import arguments
from c1m.bounds import INT_MAX
from c1m.engine.contract import distinct
from c1m.engine.given import given_pieces, given_slots
from c1m.engine.ragged import Ragged, starts_of
from c1m.errors import UsageError
from c1m.protocols.framing import windows
from c1m.protocols.inbox import Inbox

Slots = npt.NDArray[np.int32]
Records = npt.NDArray[Any]


def whole_records(data: Ragged, dtype: npt.DTypeLike) -> Records:
    """All records of all pieces, copied: dtype[sum(lengths // itemsize)].

    Bytes after the last whole record of a piece are dropped. The slow form:

        np.frombuffer(b"".join(p[: len(p) // size * size] for p in data.pieces()), dtype)
    """
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    counts = data.lengths // size
    first = data.offsets - starts_of(counts) * size
    places = np.repeat(first, counts) + np.arange(counts.sum(dtype=np.int64)) * size
    records: Records = windows(data.memory, dtype)[places]
    return records


class RecordInbox:
    """Turns what connections sent into records of `dtype`, for a server of `capacity` slots.

    Call `take` in on_data; `forget` in on_eof and on_close, and for connections that the
    application closes itself. Half records (less than `itemsize` bytes each) are in a dict by slot,
    so connections without one cost nothing. Raises UsageError for a dtype without a size, and as
    `Server.send` does for invalid arrays.
    """

    def __init__(self, dtype: npt.DTypeLike, capacity: int) -> None:
        try:
            self.dtype = np.dtype(dtype)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"dtype is not a NumPy dtype ({error}).", "Use np.dtype(...)."
            ) from None
        self._capacity = arguments.integer("capacity", capacity, most=INT_MAX)
        if self.dtype.itemsize == 0 or self.dtype.hasobject:
            raise UsageError(
                f"{self.dtype} has no fixed size in bytes.", "Use a dtype of plain numbers."
            )
        self._has_half = np.zeros(self._capacity, np.bool_)
        self._halves = Inbox()

    def __len__(self) -> int:
        """Connections with half a record pending."""
        return len(self._halves)

    def take(self, slots: Slots, data: Ragged) -> tuple[Slots, Records]:
        """Piece i came from slots[i] -> (int32[n], dtype[n]): the slot of each record, the record.

        Records of one slot are in order. They are copies, which the caller may keep.
        """
        slots = given_slots(slots, self._capacity)
        data = given_pieces(data, len(slots))
        size = self.dtype.itemsize
        is_odd = data.lengths % size != 0
        if len(self._halves):
            is_odd |= self._has_half[slots]
        if is_odd.any():
            is_odd = np.isin(slots, slots[is_odd])  # all pieces of such a connection are shifted
            odd_slots, odd = self._complete(slots[is_odd], data.take(is_odd))
            slots, data = slots[~is_odd], data.take(~is_odd)
            slots = np.concatenate((slots.repeat(data.lengths // size), odd_slots))
            return slots, np.concatenate((whole_records(data, self.dtype), odd))
        return slots.repeat(data.lengths // size), whole_records(data, self.dtype)

    def _complete(self, slots: Slots, data: Ragged) -> tuple[Slots, Records]:
        size = self.dtype.itemsize
        streams: dict[int, list[bytes]] = {}
        for slot, piece in zip(slots.tolist(), data.pieces(), strict=True):
            if slot not in streams:
                streams[slot] = [self._halves.pop(slot)]
            streams[slot].append(piece)
        counts, whole = [], []
        for slot, pieces in streams.items():
            stream = b"".join(pieces)
            count, left = divmod(len(stream), size)
            counts.append(count)
            whole.append(stream[: count * size])
            self._has_half[slot] = left > 0
            if left:
                self._halves.keep(slot, stream[-left:])
        owners = np.fromiter(streams, np.int32, len(streams)).repeat(counts)
        return owners, np.frombuffer(b"".join(whole), self.dtype)

    def forget(self, slots: Slots) -> int:
        """These connections have ended; returns how many bytes of half records are lost."""
        slots = given_slots(slots, self._capacity)
        if not len(self._halves):
            return 0
        gone = slots[self._has_half[slots]]
        self._has_half[gone] = False
        return sum(len(self._halves.pop(slot)) for slot in distinct(gone).tolist())
