"""What is on its way to many: handed out in slices, so that no tick is long. Pure.

A publication to a million is some seconds of work. It goes out a slice at a time, and the server
serves everybody else in between. Publications go out in the order in which they came.

A send costs much more than its bytes, so what goes to the same slots is joined: publications one
after the other to the same array; and those of one tick to small arrays that have slots in common,
such as prices of which each client wants a few, so that a connection gets all it wants of a tick in
one send.

Order of one connection. What else is said to a connection must come behind what it waits for: ask
`waits`, and send first what `take_for` gives. That is a step over all that is on its way, so it is
to be done once a tick. Who has ended is forgotten without such a step: a column says up to which
publication a slot has been served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, Slots
from c1m.engine.ragged import Ragged, starts_of

SLICE = 1 << 12  # connections that a tick sends to: some 25 ms of work (ADR 24)
SLICE_BYTES = 1 << 24  # bytes that a tick sends, if it is more than one piece
JOINED_MAX = 1 << 16  # bytes of publications that are joined
LEFT_MAX = 1 << 24  # receivers: what is on its way is bounded, also the memory of their slots
BYTES_MAX = 1 << 26  # bytes of the publications themselves
COPIES_MAX = 1 << 16  # of a tick's publications that are joined slot by slot
NUMBERS_END = 1 << 30

Piece = tuple[Slots, Ragged]  # what a server is to send
Rows = slice | npt.NDArray[np.int64]


class _Publication:
    """`slots[at:]` are to be sent the parts, one behind the other; or piece i of `pieces`.

    `first_number` is that of the first publication that is in it, `number` that of the last one.
    """

    __slots__ = ("at", "first_number", "number", "parts", "pieces", "size", "slots")

    def __init__(self, slots: Slots, payload: bytes, number: int) -> None:
        self.slots = slots
        self.at = 0
        self.parts = [payload]
        self.pieces: Ragged | None = None
        self.size = len(payload)
        self.first_number = self.number = number

    def payload(self) -> bytes:
        if len(self.parts) > 1:
            self.parts = [b"".join(self.parts)]
        return self.parts[0]


class Deliveries:
    """Publications that are not sent to all of their receivers yet. Slots are below `capacity`."""

    slice = SLICE

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[_Publication] = deque()
        self._number = self._before = 0  # publications, and those before the numbers began anew
        self._begin_numbers()
        self.left = 0  # receivers that nothing was sent to yet, those who have ended included
        self.bytes = 0  # bytes of what is on its way, once each

    def _begin_numbers(self) -> None:
        """Columns that have no memory yet."""
        self._before += self._number
        self._number = 0  # of the last publication
        self._last: npt.NDArray[np.int32] = np.zeros(self._capacity, np.int32)  # its last one
        self._served: npt.NDArray[np.int32] = np.zeros(self._capacity, np.int32)  # up to which
        self._served_most = 0
        self._seen = 0  # the last one when `due` was asked
        self._joins: Slots | None = None  # what comes to these slots may be joined to the last

    def __len__(self) -> int:
        """Publications that are on their way."""
        return len(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def added(self) -> int:
        """Publications since the start; those that are joined are one."""
        return self._before + self._number

    @property
    def done(self) -> int:
        """Of these, how many have been taken whole. They go in order."""
        if self._waiting:
            return self._before + self._waiting[0].first_number - 1
        return self.added

    @property
    def is_full(self) -> bool:
        """Whether more is on its way than may be: to be sent before anything is added."""
        return self.left > LEFT_MAX or self.bytes > BYTES_MAX

    def add(self, slots: Slots, payload: bytes) -> None:
        """One more, behind the others, to int32[n], each once, which stay as they are."""
        if not len(slots):
            return
        self.bytes += len(payload)
        if slots is self._joins and self._waiting[-1].size + len(payload) <= JOINED_MAX:
            self._waiting[-1].parts.append(payload)
            self._waiting[-1].size += len(payload)
            return
        self._number += 1
        self._waiting.append(_Publication(slots, payload, self._number))
        self._last[slots] = self._number
        self._joins = slots
        self.left += len(slots)

    def waits(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Which of these may have something on its way to them: bool[n]."""
        if not self._waiting:
            return np.zeros(len(slots), np.bool_)
        first = self._waiting[0].first_number
        last = self._last.take(slots)
        waits: npt.NDArray[np.bool_] = (last >= first) & (last > self._served.take(slots))
        return waits

    def any_waits(self, slots: Sequence[int] | Slots) -> bool:
        """Whether any of these does."""
        return bool(self._waiting) and bool(self.waits(np.asarray(slots, np.int32)).any())

    def take(self, count: int = SLICE, size: int = SLICE_BYTES) -> Piece | None:
        """What is to be sent now: to `count` receivers, and `size` bytes in all or one piece.

        A slot may appear twice. None: there is nothing.
        """
        found: list[Piece] = []
        while self._waiting and count > 0 and size > 0:
            first = self._waiting[0]
            each = first.size if first.pieces is None else first.size // len(first.slots)
            end = first.at + min(count, max(size // max(each, 1), 1))
            slots, pieces = self._unserved(first, slice(first.at, end))
            taken = min(end, len(first.slots)) - first.at
            first.at += taken
            self.left -= taken
            count -= taken
            size -= taken * each
            if len(slots):
                found.append((slots, pieces))
            if first.at == len(first.slots):
                self._waiting.popleft()
                self.bytes -= first.size
            if first is self._last_one:
                self._joins = None  # some have had it already
        self._settle()
        return _joined(found) if found else None

    def take_for(self, slots: Slots) -> Piece | None:
        """What these wait for, int32[n]; they wait no longer. None: for nothing."""
        slots = slots[self.waits(slots)]
        if not len(slots):
            return None
        is_meant = np.zeros(self._capacity, np.bool_)
        is_meant[slots] = True
        found = []
        for each in self._waiting:
            rows = np.flatnonzero(is_meant.take(each.slots[each.at :])) + each.at
            if len(rows):
                found.append(self._unserved(each, rows))
        self.forget(slots)
        return _joined(found) if found else None

    def due(self, first: Slots = NO_SLOTS) -> Iterator[Piece]:
        """What a tick is to send: what `first` wait for, int32[n]; a slice; and more of them while
        too much is on its way, so that who publishes faster than it goes out has to wait."""
        self._join()
        piece = self.take_for(first)
        if piece is not None:
            yield piece
        while self._waiting:
            piece = self.take(self.slice)
            if piece is not None:
                yield piece
            if not self.is_full:
                break

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: their slots may soon be others'."""
        if self._waiting and len(slots):
            self._served[slots] = self._served_most = self._number
            self._joins = None  # what is published from now on is not what they were served

    def _unserved(self, of: _Publication, rows: Rows) -> Piece:
        """These of its rows, and what each is to be sent, without those who were served."""
        slots = of.slots[rows]
        is_left = None
        if of.number <= self._served_most:
            is_left = self._served.take(slots) < of.number
            slots = slots[is_left]
        if of.pieces is None:
            return slots, Ragged.repeat(of.payload(), len(slots))
        pieces = of.pieces.take(rows)
        return slots, pieces if is_left is None else pieces.take(is_left)

    def _is_fresh(self, one: _Publication) -> bool:
        return one.first_number > self._seen and not one.at

    def _join(self) -> None:
        """What was added since the last time becomes one, where its slots have much in common."""
        fresh = [*takewhile(self._is_fresh, reversed(self._waiting))]
        self._seen = self._number
        copies = sum(len(each.slots) for each in fresh)
        size = sum(len(each.slots) * each.size for each in fresh)
        if len(fresh) < 2 or copies > COPIES_MAX or size > SLICE_BYTES:
            return
        slots, pieces = _joined([self._unserved(each, slice(None)) for each in reversed(fresh)])
        if not len(slots):
            return
        order = np.argsort(slots, kind="stable")
        slots = slots[order]
        is_new = np.concatenate(([True], slots[1:] != slots[:-1]))
        if 4 * np.count_nonzero(is_new) > 3 * len(slots):
            return
        starts = np.flatnonzero(is_new)
        packed = pieces.take(order).packed()
        lengths = np.add.reduceat(packed.lengths, starts, dtype=np.int32)
        one = _Publication(slots[starts], b"", self._number)
        one.pieces = Ragged(packed.memory, packed.offsets[starts], lengths, packed.address)
        one.size, one.first_number = packed.nbytes(), fresh[-1].first_number
        for each in fresh:
            self._waiting.pop()
            self.bytes -= each.size
        self._waiting.append(one)
        self.bytes += one.size
        self.left += len(one.slots) - copies
        self._joins = None

    @property
    def _last_one(self) -> _Publication | None:
        return self._waiting[-1] if self._waiting else None

    def _settle(self) -> None:
        if not self._waiting:
            self._joins = None
            if self._number >= NUMBERS_END:
                self._begin_numbers()


def _joined(found: list[Piece]) -> Piece:
    """All of these, at least one, as one."""
    if len(found) == 1:
        return found[0]
    parts = [data if len(data.memory) <= data.nbytes() else data.packed() for _, data in found]
    starts = starts_of(np.array([len(part.memory) for part in parts], np.int64))
    memory = np.concatenate([part.memory for part in parts])
    offsets = [part.offsets + start for part, start in zip(parts, starts.tolist(), strict=True)]
    lengths = np.concatenate([part.lengths for part in parts])
    pieces = Ragged(memory, np.concatenate(offsets), lengths, memory.ctypes.data)
    return np.concatenate([slots for slots, _ in found]), pieces
