"""Messages ready-made: many connections' bytes in one memory, to be sent and to be compared with.

In a closed loop a connection's message is the same every time, so it is made once. Sending it is
then an offset and a length, and comparing a batch is two gathers and two comparisons of memory.

How a batch is compared without looking at single bytes: all messages of a template are between
`size_min` and `size_max` bytes long, by the digits of their numbers. The first `size_min` bytes of
a message (the head) and its last `size_max - size_min` (the tail) cover all of it and lie within
it, so nothing beyond a piece is read: what lies there is somebody else's. Both are records of one
size, which an index gathers by copying memory, and the records of a whole batch are one `bytes`.
NumPy's `==` and `all` take two microseconds however few they compare; two `bytes` take 0.1.

A row is a message, filled up to `size_max` bytes, and its tail once more, so that heads and tails
are views with a constant step. Pure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Lengths, Ragged
from c1m.protocols.framing import windows

Index = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]
COMPARED_MAX = 1 << 18  # bytes at once: what is near stays near


class MessageRows:
    """n messages of `size_min` to `size_max` bytes: `rows` uint8[n, stride], `lengths` int32[n].

    `put` fills rows; one that was not filled must not be asked for. `tail` is the size of a tail;
    None where a tail may be longer than a message: batches are then put together to be compared.
    """

    def __init__(self, count: int, size_min: int, size_max: int) -> None:
        self.size_min, self.size_max = size_min, size_max
        self.tail = _tail_of(size_min, size_max)
        self.stride = stride_of(size_min, size_max)
        self.lengths: Lengths = np.zeros(count, np.int32)
        self.rows: Bytes = np.zeros((count, self.stride), np.uint8)
        self._memory = self.rows.reshape(-1)
        self._address = self._memory.ctypes.data
        self._heads = _column(self.rows, 0, size_min)
        self._tails = _column(self.rows, size_max, self.tail or 0)
        self._seen: Bytes | None = None  # the memory that these are the windows of
        self._head_windows = self._tail_windows = self._heads

    def put(self, index: Index | slice, messages: Bytes) -> None:
        """Fill rows with messages of one length: uint8[m, length]."""
        length = messages.shape[1]
        self.lengths[index] = length
        self.rows[index, :length] = messages
        if self.tail:
            self.rows[index, self.size_max :] = messages[:, length - self.tail :]

    def pieces(self, index: Index) -> Ragged:
        """The messages of these rows, as pieces of this memory: no byte is copied."""
        return Ragged(self._memory, index * self.stride, self.lengths.take(index), self._address)

    def equal(self, index: Index, data: Ragged) -> bool:
        """Whether every piece is the message of its row, byte for byte.

        The slow form: `data.pieces() == self.pieces(index).pieces()`.
        """
        if self.lengths.take(index).tobytes() != data.lengths.tobytes():
            return False
        if not len(index):
            return True
        if self.tail is None:
            return self.pieces(index).packed().memory.tobytes() == data.packed().memory.tobytes()
        if data.memory is not self._seen:
            self._see(data.memory)
        if self._heads[index].tobytes() != self._head_windows[data.offsets].tobytes():
            return False
        if not self.tail:
            return True
        at = data.offsets + data.lengths
        at -= self.tail
        tails: Records = self._tail_windows[at]
        return self._tails[index].tobytes() == tails.tobytes()

    def _see(self, memory: Bytes) -> None:
        """An engine's memory is mostly the same every time; a view of it takes a microsecond."""
        self._seen = memory
        self._head_windows = windows(memory, f"V{self.size_min}")
        if self.tail:
            self._tail_windows = windows(memory, f"V{self.tail}")


def stride_of(size_min: int, size_max: int) -> int:
    """Bytes that a row takes."""
    return size_max + (_tail_of(size_min, size_max) or 0)


def _tail_of(size_min: int, size_max: int) -> int | None:
    tail = size_max - size_min
    return tail if tail <= size_min else None


def equal_to(data: Ragged, piece: bytes) -> npt.NDArray[np.bool_]:
    """Which pieces are these bytes: `[p == piece for p in data.pieces()]`, as bool[n]."""
    same: npt.NDArray[np.bool_] = data.lengths == len(piece)
    which = np.flatnonzero(same)
    are_equal = equal_at(data.memory, data.offsets[which], piece)
    if are_equal is not None:
        same[which] = are_equal
    return same


def equal_at(memory: Bytes, places: Index, piece: bytes) -> npt.NDArray[np.bool_] | None:
    """At which places in the memory, behind each of which there is as much, these bytes are:
    bool[n]; None: at all of them.

    The bytes are copied to be compared, but no index for each of them is made.
    """
    size, same = len(piece), None
    step = max(COMPARED_MAX // max(size, 1), 1)
    records = windows(memory, f"V{size}")
    for at in range(0, len(places), step):
        rows = records[places[at : at + step]]
        if rows.tobytes() != piece * len(rows):
            if same is None:
                same = np.ones(len(places), np.bool_)
            table = rows.view(np.uint8).reshape(len(rows), size)
            same[at : at + step] = (table == np.frombuffer(piece, np.uint8)).all(axis=1)
    return same


def _column(rows: Bytes, first: int, size: int) -> Records:
    """Bytes `first` to `first + size` of each row as one record: a view."""
    if not size or not len(rows):
        return np.zeros(0, "V1")
    return np.ndarray((len(rows),), f"V{size}", rows.data, first, (rows.shape[1],))
