"""Ragged byte strings: many pieces of bytes as one memory and two columns.

Piece i is `memory[offsets[i] : offsets[i] + lengths[i]]`. Pieces may lie anywhere in the memory,
may overlap (one payload for many connections) and keep the memory alive.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.int32]

LONG = 24  # bytes: pieces that are longer on average are copied one by one

_NO_OFFSETS = np.zeros(0, np.int64)
_NO_LENGTHS = np.zeros(0, np.int32)
_NO_MEMORY = np.zeros(0, np.uint8)


class Ragged:
    """n pieces of bytes: `memory` uint8[m], `offsets` int64[n], `lengths` int32[n].

    `address` is the memory's first byte's address (int), kept because NumPy takes a microsecond to
    tell it; `total` the bytes in all pieces, where that is known already. The lengths of an object
    do not change.
    """

    __slots__ = ("_total", "address", "lengths", "memory", "offsets")

    def __init__(
        self,
        memory: Bytes,
        offsets: Offsets,
        lengths: Lengths,
        address: int | None = None,
        total: int | None = None,
    ) -> None:
        self.memory = memory
        self.offsets = offsets
        self.lengths = lengths
        self.address = memory.ctypes.data if address is None else address
        self._total = total

    @classmethod
    def empty(cls) -> Ragged:
        """No pieces."""
        return cls(_NO_MEMORY, _NO_OFFSETS, _NO_LENGTHS, 0)

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> Ragged:
        """The given byte strings, copied one after the other."""
        pieces = list(pieces)
        lengths = np.fromiter((len(p) for p in pieces), np.int32, len(pieces))
        return cls(np.frombuffer(b"".join(pieces), np.uint8), starts_of(lengths), lengths)

    @classmethod
    def repeat(cls, payload: bytes, count: int) -> Ragged:
        """The same payload `count` times, held once."""
        memory = np.frombuffer(payload, np.uint8)
        return cls(memory, np.zeros(count, np.int64), np.full(count, len(payload), np.int32))

    def __len__(self) -> int:
        return len(self.lengths)

    def piece(self, index: int) -> bytes:
        """Piece `index`, copied."""
        start = int(self.offsets[index])
        return self.memory[start : start + int(self.lengths[index])].tobytes()

    def pieces(self) -> list[bytes]:
        """All pieces, copied: for people and tests, not for the hot path."""
        return [self.piece(i) for i in range(len(self))]

    def take(self, indices: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | slice) -> Ragged:
        """Some of the pieces (an index array, a mask or a slice); no byte is copied."""
        return Ragged(self.memory, self.offsets[indices], self.lengths[indices], self.address)

    def nbytes(self) -> int:
        """Bytes in all pieces together."""
        if self._total is None:
            self._total = int(self.lengths.sum(dtype=np.int64))
        return self._total

    def packed(self) -> Ragged:
        """The same pieces copied one after the other into a memory of their own."""
        starts = starts_of(self.lengths)
        total = self.nbytes()
        if total > LONG * len(self):
            # An index is 16 bytes for each byte to copy: for long pieces, slices are far cheaper.
            view = self.memory.data
            ends = (self.offsets + self.lengths).tolist()
            pairs = zip(self.offsets.tolist(), ends, strict=True)
            joined = b"".join([view[start:end] for start, end in pairs])
            return Ragged(np.frombuffer(joined, np.uint8), starts, self.lengths)
        index = np.repeat(self.offsets - starts, self.lengths) + np.arange(total)
        return Ragged(self.memory[index], starts, self.lengths)


def starts_of(lengths: npt.NDArray[np.integer]) -> Offsets:
    """Where each piece starts when pieces of these lengths lie one after the other."""
    starts = np.zeros(len(lengths), np.int64)
    np.cumsum(lengths[:-1], out=starts[1:])
    return starts
