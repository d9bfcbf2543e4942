"""Many connections from one process, on c1m's own engine: what the clients of these tests share."""

from __future__ import annotations

import errno
import time
from collections import Counter

import numpy as np
import numpy.typing as npt

from c1m.addresses import pack_ipv4
from c1m.engine.choose import choose
from c1m.engine.contract import EventBatch, Slots
from c1m.engine.ragged import Ragged
from c1m.loadgen.sources import LOOPBACK_FIRST, AddressPlan

LOOPBACK = 0x7F000001
MESSAGE = np.dtype([("letter", "S1"), ("zero", "V7"), ("number", "<u8")])
MS = 1_000_000

Numbers = npt.NDArray[np.int64]


class Swarm:
    """Connections to these ports of 127.0.0.1, from `sources` addresses, in turns.

    `numbers` has the number of each slot's connection; they count from 0. So many in a row that
    are `alike` have the same addresses.
    """

    alike = 1

    def __init__(self, ports: list[int], sources: int, first_source: int = 0) -> None:
        self.engine = choose("uring")
        targets = np.full(len(ports), LOOPBACK, np.uint32)
        first = LOOPBACK_FIRST + first_source
        froms = np.arange(first, first + sources, dtype=np.uint32)
        self._plan = AddressPlan(
            pack_ipv4(targets, np.array(ports, np.uint16)),
            pack_ipv4(froms, np.zeros(sources, np.uint16)),
        )
        self.numbers: Numbers = np.zeros(self.engine.capacity, np.int64)
        self.begun = 0
        self.opened = 0
        self.failed: Counter[str] = Counter()

    def connect(self, numbers: Numbers) -> Slots:
        """Begin connections with these numbers."""
        slots = self.engine.connect(*self._plan.rows(numbers // self.alike))
        self.numbers[slots] = numbers
        self.begun += len(slots)
        return slots

    def wait(self, timeout_ns: int) -> EventBatch:
        """As the engine's, with connects counted."""
        batch = self.engine.wait(timeout_ns)
        self.opened += len(batch.connected)
        self.failed.update(errno.errorcode.get(n, str(n)) for n in batch.failed_errnos.tolist())
        return batch

    def under_way(self) -> int:
        """Connects."""
        return self.begun - self.opened - sum(self.failed.values())

    def say(self, slots: Slots, letters: npt.NDArray[np.uint8] | bytes = b"E") -> None:
        """Send each its message: a letter and its number, 16 bytes."""
        rows = np.zeros(len(slots), MESSAGE)
        rows["number"] = self.numbers[slots]
        rows["letter"] = letters if isinstance(letters, bytes) else letters.view("S1")
        size = MESSAGE.itemsize
        starts = np.arange(len(slots), dtype=np.int64) * size
        self.engine.send(
            slots, Ragged(rows.view(np.uint8).ravel(), starts, np.full(len(slots), size, np.int32))
        )

    def are_right(self, slots: Slots, data: Ragged) -> npt.NDArray[np.bool_]:
        """Which pieces are a whole message of their connection. (No server or kernel cuts one of
        16 bytes that was sent alone.)"""
        size = MESSAGE.itemsize
        is_right: npt.NDArray[np.bool_] = data.lengths == size
        at = data.offsets[is_right][:, None] + np.arange(size)
        rows = np.ascontiguousarray(data.memory[at]).view(MESSAGE).ravel()
        is_right[is_right] = rows["number"] == self.numbers[slots[is_right]].astype(np.uint64)
        return is_right


class Pace:
    """So many a second, whenever it is asked: none is due twice, and none is forgotten."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate, self._start, self._given = rate_per_s, time.monotonic(), 0

    def due(self, most: int = 1 << 62) -> int:
        """How many are due now, at most so many: the others stay due."""
        due = int((time.monotonic() - self._start) * self._rate) - self._given
        due = max(min(due, most), 0)
        self._given += due
        return due
