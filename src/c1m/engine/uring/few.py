"""The short way of a tick: a few completions that are plain data, in plain Python.

Most servers do little most of the time: a tick brings one message or a dozen. An array operation
costs as much for one as for a hundred, so here is none: completions are looked at where the kernel
has put them, and become numbers at once. Beside data only that the caller's descriptor is readable
is understood here. Where there is anything else all is left where it is, and the tick goes on the
long way, without entering the kernel again.

The way is open while nothing else is to be done: the last tick has left nothing behind (see
`Engine._is_calm`), and since then nothing but a few sends was asked for. So a tick here asks
nothing of those who have nothing to do.

Who was sent to in the last tick may still be sent the bytes of the last batch when this one is
filled: there are two sets of columns, filled in turns.
"""

from __future__ import annotations

import numpy as np

from c1m.clock import Clock
from c1m.engine.contract import EngineStatistics, EventBatch, Pieces, Slots
from c1m.engine.ragged import Ragged, read_only
from c1m.engine.uring.receive import BUSY, Input
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.send import Output
from c1m.engine.uring.submissions import GENERATION_SHIFT, Op
from c1m.engine.uring.table import ConnTable
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import BufferArena

Rows = list[tuple[int, int, int, int]]  # completions: slot, tag, result, flags

_FAILED = 1 << 31  # of a result, signed or not
_GOES_ON = abi.CQE_BUFFER | abi.CQE_MORE  # of a multishot receive: data, and more to come


class _Columns:
    """A batch's columns, filled one by one, and what is made of their first rows: once each."""

    def __init__(self, arena: BufferArena, most: int) -> None:
        columns = np.zeros(most, np.int32), np.zeros(most, np.int64), np.zeros(most, np.int32)
        self.at = tuple(column.data for column in columns)
        self.first: list[tuple[Slots, Ragged]] = []  # slots and data of so many rows
        for count in range(most + 1):
            slots, offsets, lengths = (read_only(column[:count]) for column in columns)
            data = Ragged(arena.memory, offsets, lengths, arena.address)
            self.first.append((slots, data))


class Few:
    """Ticks of at most `Tuning.few` completions. The engine opens the way by `is_open`."""

    def __init__(
        self,
        rings: RingSet,
        table: ConnTable,
        statistics: EngineStatistics,
        clock: Clock,
        input_: Input,
        output: Output,
    ) -> None:
        self.is_open = False
        # A queue that runs full may have left something outside: that is for the long way.
        self.most = min(rings.tuning.few, rings.tuning.cq_entries - 1)
        self._rings = rings
        self._table = table
        self._statistics = statistics
        self._now_ns = clock.now_ns
        self._input = input_
        self._output = output
        self._memory = rings.arena.memory.data
        self._buffer_size = rings.arena.size
        self._columns, self._others = (_Columns(rings.arena, self.most) for _ in range(2))

    def wait(
        self, batch: EventBatch, timeout_ns: int, end_ns: int, pieces: Pieces | None = None
    ) -> bool:
        """One pass: submit, sleep, take what came; False, with the way closed, where it is not
        plain data, or nothing before `end_ns`. With `pieces` the batch is left as it is.
        """
        rings = self._rings
        if rings.watched_is_ready:
            rings.poll_watched(rings.places[0].ring)
        there = rings.enter(timeout_ns)
        if there == 0:
            is_over = timeout_ns == 0 or (timeout_ns > 0 and self._now_ns() >= end_ns)
        else:
            is_over = there <= self.most
        if is_over:
            ring = rings.places[0].ring
            rows = ring.peek(there)
            if pieces is None:
                batch.came_ns = self._now_ns()
                is_taken = self.take(rows, batch)
                if is_taken:
                    ring.skip(there)
            else:
                is_taken = self._are_plain(rows)
                if is_taken:
                    ring.skip(there)
                    self._copy(rows, pieces)
            if is_taken:
                rings.brought = there
                return True
        rings.entered = there
        self.is_open = False
        return False

    def _are_plain(self, rows: Rows) -> bool:
        generations = self._table.generation_at
        is_watched = False
        for slot, tag, result, flags in rows:
            plain = flags & _GOES_ON == _GOES_ON
            if not plain or tag != generations[slot] << GENERATION_SHIFT | Op.RECEIVE:
                if tag != Op.WATCH or result & _FAILED:
                    return False
                is_watched = True
        if is_watched:
            self._rings.watched_came()
        return True

    def _copy(self, rows: Rows, pieces: Pieces) -> None:
        """Plain data as Python's objects: the buffers go back at once."""
        memory, size = self._memory, self._buffer_size
        activity = self._table.activity_at
        used: list[int] = []
        total = 0
        for slot, tag, length, flags in rows:
            if tag == Op.WATCH:
                continue
            buffer = flags >> abi.CQE_BUFFER_SHIFT
            used.append(buffer)
            start = buffer * size
            pieces.append((slot, bytes(memory[start : start + length])))
            activity[slot] = BUSY
            total += length
        self._input.exchange([])
        self._rings.exchange_few(used, used)
        self._output.all_went()
        self._statistics.received_bytes += total

    def take(self, rows: Rows, batch: EventBatch) -> bool:
        """Take completions (slot, tag, result, flags) that are all data of multishot receives that
        go on. False, with nothing taken, where one is anything else.

        No send has completed then: all of the last tick went, and nobody needs their memory.
        """
        table, columns = self._table, self._others
        generations, activity = table.generation_at, table.activity_at
        slot_at, offset_at, length_at = columns.at
        size = self._buffer_size
        held: list[int] = []
        is_watched = False
        count = total = 0
        for slot, tag, length, flags in rows:
            plain = flags & _GOES_ON == _GOES_ON
            if not plain or tag != generations[slot] << GENERATION_SHIFT | Op.RECEIVE:
                if tag != Op.WATCH or length & _FAILED:
                    return False
                is_watched = True
                continue
            buffer = flags >> abi.CQE_BUFFER_SHIFT
            held.append(buffer)
            slot_at[count], offset_at[count], length_at[count] = slot, buffer * size, length
            activity[slot] = BUSY
            total += length
            count += 1
        if is_watched:
            self._rings.watched_came()
        self._others, self._columns = self._columns, columns
        self._input.exchange(held)
        self._output.all_went()
        self._statistics.received_bytes += total
        slots, data = columns.first[count]
        batch.data_slots, batch.data = slots, data
        data.set_nbytes(total)
        batch.is_plain = count > 0
        return True
