"""Pieces of data of a small batch, one by one: no array is made for them."""

from __future__ import annotations

import numpy as np

from c1m.engine.contract import Slots
from c1m.engine.ragged import Lengths, Offsets, read_only


class FewPieces:
    """Columns for small batches, filled one by one; views of their first rows, made once each."""

    def __init__(self, most: int) -> None:
        self._columns = (
            np.zeros(most, np.int32),
            np.zeros(most, np.int64),
            np.zeros(most, np.int32),
        )
        slots, offsets, lengths = self._columns
        self.slot_at, self.offset_at = slots.data, offsets.data
        self.length_at = lengths.data
        self._views: dict[int, tuple[Slots, Offsets, Lengths]] = {}

    def columns(self, count: int) -> tuple[Slots, Offsets, Lengths]:
        """The first `count` slots, offsets and lengths: valid until they are filled again."""
        if count not in self._views:
            slots, offsets, lengths = self._columns
            self._views[count] = (
                read_only(slots[:count]), read_only(offsets[:count]), read_only(lengths[:count]),
            )  # fmt: skip
        return self._views[count]
