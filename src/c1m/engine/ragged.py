"""Ragged byte strings: many pieces of bytes as one memory and two columns.

Piece i is `memory[offsets[i] : offsets[i] + lengths[i]]`. Pieces may lie anywhere in the memory,
may overlap (one payload for many connections) and keep the memory alive.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.errors import UsageError

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.int32]
Buffer = bytes | bytearray | memoryview | Bytes

LONG = 24  # bytes: pieces that are longer on average are copied one by one
FEW = 32  # pieces that are looked at one by one: measured, arrays are quicker from about here on
PIECE_MAX = (1 << 31) - 1  # bytes: lengths are int32

_BYTE = np.dtype(np.uint8)
_OFFSET, _OFFSET_BITS = np.dtype(np.int64), np.dtype(np.uint64)
_LENGTH, _LENGTH_BITS = np.dtype(np.int32), np.dtype(np.uint32)
_largest = np.maximum.reduce

_NO_OFFSETS = np.zeros(0, np.int64)
_NO_LENGTHS = np.zeros(0, np.int32)
_NO_MEMORY = np.zeros(0, np.uint8)


def read_only(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The column, which from now on cannot be written to by this name.

    So an engine's columns are what it has made of them when they come back to be sent.
    """
    column.setflags(write=False)
    return column


def _column(name: str) -> Any:
    """A property that can be read only, in half the time that one in Python takes."""
    return property(attrgetter(name))


class Ragged:
    """n pieces of bytes: `memory` uint8[m], `offsets` int64[n], `lengths` int32[n].

    Raises UsageError for what cannot be meant as such. Whole numbers of other types are taken, and
    bytes, a bytearray or a memoryview as the memory. Whether the pieces are inside the memory is
    looked at when they are sent (`check`), for arrays can change until then; which arrays these
    are cannot.

    `address` is the memory's first byte's address (int), kept because NumPy takes a microsecond to
    find it; `total` is the bytes in all pieces, where already known. Both are for c1m's own
    arrays, which are not looked at.
    """

    __slots__ = ("_address", "_lengths", "_memory", "_offsets", "_total")

    memory: Bytes = _column("_memory")
    offsets: Offsets = _column("_offsets")
    lengths: Lengths = _column("_lengths")
    address: int = _column("_address")

    def __init__(
        self,
        memory: Bytes,
        offsets: Offsets,
        lengths: Lengths,
        address: int | None = None,
        total: int | None = None,
    ) -> None:
        if address is None:
            memory = _memory_of(memory)
            offsets = _numbers_of("offsets", offsets, _OFFSET)
            lengths = _numbers_of("lengths", lengths, _LENGTH)
            if len(offsets) != len(lengths):
                raise UsageError(
                    f"A Ragged was given {len(offsets):,} offsets and {len(lengths):,} lengths.",
                    "Give one of each for every piece.",
                )
            address = memory.ctypes.data
        self._memory = memory
        self._offsets = offsets
        self._lengths = lengths
        self._address = address
        self._total = total

    @classmethod
    def empty(cls) -> Ragged:
        """No pieces."""
        return cls(_NO_MEMORY, _NO_OFFSETS, _NO_LENGTHS, 0)

    @classmethod
    def of(cls, pieces: Iterable[Buffer], name: str = "pieces") -> Ragged:
        """The given byte strings, copied one after the other.

        Raises UsageError, with the name that the argument goes by, for what is none.
        """
        try:
            pieces = list(pieces)
            lengths = np.fromiter((len(p) for p in pieces), np.int32, len(pieces))
            joined = b"".join(pieces)  # type: ignore[arg-type]  # NumPy's arrays are buffers, too
            starts = starts_of(lengths)
            if len(pieces) and int(starts[-1]) + int(lengths[-1]) != len(joined):
                return cls.of([bytes(piece) for piece in pieces])  # arrays of wider elements
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(
                f"{name} is no row of byte strings ({error}).",
                f"Give a list of bytes, at most {PIECE_MAX:,} in each.",
            ) from error
        memory = np.frombuffer(joined, np.uint8)
        return cls(memory, starts, lengths, memory.ctypes.data)

    @classmethod
    def repeat(cls, payload: Buffer, count: int) -> Ragged:
        """The same payload `count` times, held once. Raises UsageError for what is no bytes."""
        payload = bytes_of("payload", payload)
        if not isinstance(count, int | np.integer) or count < 0:
            raise UsageError(f"A payload cannot be repeated {count!r} times.", "Give a count.")
        memory = np.frombuffer(payload, np.uint8)
        offsets, lengths = np.zeros(count, np.int64), np.full(count, len(payload), np.int32)
        return cls(memory, offsets, lengths, memory.ctypes.data)

    def __len__(self) -> int:
        return len(self.lengths)

    def piece(self, index: int) -> bytes:
        """Piece `index`, copied."""
        start = int(self.offsets[index])
        return self.memory[start : start + int(self.lengths[index])].tobytes()

    def pieces(self) -> list[bytes]:
        """All pieces, copied."""
        if len(self) > FEW and len(self.memory) <= 2 * self.nbytes():
            # Nearly all of the memory: slices of bytes take half the time that those of a view do.
            raw = self.memory.tobytes()
            ends = (self.offsets + self.lengths).tolist()
            return [raw[at:end] for at, end in zip(self.offsets.tolist(), ends, strict=True)]
        view = self.memory.data
        pairs = zip(self.offsets.tolist(), self.lengths.tolist(), strict=True)
        return [bytes(view[start : start + length]) for start, length in pairs]

    def take(self, indices: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | slice) -> Ragged:
        """Some of the pieces (an index array, a mask or a slice); no byte is copied."""
        offsets, lengths = self._offsets[indices], self._lengths[indices]
        if offsets.ndim != 1:
            raise UsageError(
                f"Pieces cannot be taken by {indices!r}.", "Give an index array, a mask or a slice."
            )
        return Ragged(self._memory, offsets, lengths, self._address)

    def check(self, name: str = "data") -> None:
        """Raise UsageError, naming the piece, where one reaches beyond the memory."""
        count, size = len(self._lengths), len(self._memory)
        if count <= FEW:
            pairs = zip(self._offsets.tolist(), self._lengths.tolist(), strict=True)
            for offset, length in pairs:
                if offset < 0 or length < 0 or offset + length > size:
                    break
            else:
                return
        else:
            # What is negative is huge by its bits. No offset is beyond the memory, so no sum wraps.
            starts = self._offsets.view(_OFFSET_BITS)
            if int(_largest(starts)) <= size:
                ends = starts + self._lengths.view(_LENGTH_BITS)
                if int(_largest(ends)) <= size:
                    return
        rows = enumerate(zip(self._offsets.tolist(), self._lengths.tolist(), strict=True))
        index, at, length = next(
            (i, at, n) for i, (at, n) in rows if at < 0 or n < 0 or at + n > size
        )
        raise UsageError(
            f"Piece {index:,} of {name} has offset {at:,} and length {length:,}, which is not "
            f"inside its memory of {size:,} bytes.",
            "Correct the offsets and lengths of the Ragged.",
        )

    def nbytes(self) -> int:
        """Bytes in all pieces together."""
        if self._total is None:
            self._total = int(self.lengths.sum(dtype=np.int64))
        return self._total

    def set_nbytes(self, total: int) -> None:
        """What `nbytes` is from now on: for an engine, whose columns are filled anew."""
        self._total = total

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
            memory = np.frombuffer(joined, np.uint8)
        else:
            index = np.repeat(self.offsets - starts, self.lengths) + np.arange(total)
            memory = self.memory[index]
        return Ragged(memory, starts, self.lengths, memory.ctypes.data)


def starts_of(lengths: npt.NDArray[np.integer]) -> Offsets:
    """Where each piece starts when pieces of these lengths lie one after the other."""
    starts = np.zeros(len(lengths), np.int64)
    np.cumsum(lengths[:-1], out=starts[1:])
    return starts


def whole_numbers(name: str, given: Any) -> npt.NDArray[np.integer]:
    """Integers [n] out of what can be meant as such: an array or any other row of them, or one.

    Raises UsageError, naming the argument, for all else; a mask, say, or 2.0.
    """
    what = ""
    try:
        is_row = isinstance(given, Iterable) and not isinstance(given, np.ndarray | np.generic)
        if isinstance(given, str | bytes | bytearray):
            what = f"of type {type(given).__name__}"
        numbers = np.asarray(list(given) if is_row else given)
    except (TypeError, ValueError, OverflowError) as error:
        what = f"{name} is no row of whole numbers ({error})."
        raise UsageError(what, "Give int32[n].") from None
    if not what and numbers.ndim <= 1:
        if numbers.dtype.kind in "iu":
            return numbers.reshape(-1)
        if numbers.ndim and not numbers.size:
            return _NO_OFFSETS
    if not what:
        what = f"{numbers.dtype}{list(numbers.shape)}" if numbers.shape else repr(given)[:40]
    remedy = "np.flatnonzero(mask) makes row numbers of a mask." if numbers.dtype == bool else ""
    raise UsageError(f"{name} is {what}, no row of whole numbers.", remedy or "Give int32[n].")


def bytes_of(name: str, given: Any) -> bytes:
    """One byte string out of bytes, a bytearray, a memoryview or uint8[m]; else a UsageError.

    What can change is copied: what is being sent may not.
    """
    if type(given) is bytes and len(given) <= PIECE_MAX:
        return given
    is_array = isinstance(given, np.ndarray) and given.dtype == _BYTE and given.ndim == 1
    if not is_array and not isinstance(given, bytes | bytearray | memoryview):
        remedy = "Encode it: text.encode()." if isinstance(given, str) else "Give bytes."
        raise UsageError(f"{name} is of type {type(given).__name__}, not bytes.", remedy)
    try:
        size = memoryview(given).nbytes
    except ValueError as error:  # a memoryview that was released
        raise UsageError(f"{name} has no bytes ({error}).", "Give bytes.") from None
    if size > PIECE_MAX:
        raise UsageError(
            f"{name} has {size:,} bytes; one piece has at most {PIECE_MAX:,}.", "Send it in pieces."
        )
    return given if type(given) is bytes else bytes(given)


def _numbers_of(name: str, given: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A column of this type: as it is where it has it."""
    if type(given) is np.ndarray and given.dtype is dtype and given.ndim == 1:
        return given
    numbers = whole_numbers(name, given)
    column = numbers.astype(dtype)
    if np.count_nonzero(column != numbers):
        raise UsageError(f"{name} has a number that is no {dtype}.", f"Give {dtype}[n].")
    return column


def _memory_of(given: Any) -> Bytes:
    """Bytes one behind the other, as they are where they lie so; with a stride they are copied."""
    if isinstance(given, np.ndarray) and given.dtype == _BYTE and given.ndim == 1:
        return np.ascontiguousarray(given)
    if isinstance(given, bytes | bytearray | memoryview):
        try:
            return np.frombuffer(given, np.uint8)
        except (ValueError, BufferError):  # a memoryview with a stride, or one that was released
            return np.frombuffer(bytes_of("The memory of a Ragged", given), np.uint8)
    what = f"{given.dtype}{list(given.shape)}" if isinstance(given, np.ndarray) else repr(given)
    raise UsageError(f"The memory of a Ragged is {what[:40]}, no bytes.", "Give uint8[m].")
