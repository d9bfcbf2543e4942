"""Who is subscribed to what, as arrays: no Python object for a subscriber. Pure.

A subscription is a row of int32 columns: its channel's number, its place in that channel, and the
slot's next row. Row `slot` is the slot's first subscription; further ones have rows from `capacity`
on, with the slot and the row before it in two more columns. A channel has an array of its
subscribers' rows. Who leaves makes a hole (-1); a channel of which a quarter is holes is written
anew, so that subscribing, unsubscribing and closing cost what the batch is, not what the channel
is.

A slot's rows are gone through one after the other, those of many slots at the same time. A slot
with more than CHAIN_MAX of them, for which that would be long, has a dict of its rows besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, Slots

Int32s = npt.NDArray[np.int32]

HOLE = -1
PART = 1 << 14  # rows of a column that are copied together
ROOM_MIN = 4  # rows that a channel has room for at first
CHAIN_MAX = 16  # subscriptions of a slot that are looked for one after the other


class Channel:
    """One channel: `rows[:used]` are its subscribers and `holes` holes.

    `further` of the rows are from `capacity` on. `given` are the slots that were last asked for.
    """

    __slots__ = ("further", "given", "holes", "is_lent", "name", "rows", "used")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.rows: Int32s = np.empty(ROOM_MIN, np.int32)
        self.used = 0
        self.holes = 0
        self.further = 0
        self.given: Slots | None = None
        self.is_lent = False  # somebody has a view of `rows`: copy before one is changed

    def __len__(self) -> int:
        return self.used - self.holes

    def append(self, rows: int | Int32s, count: int = 1) -> int:
        """Add subscribers behind the others; the place of the first."""
        first, end = self.used, self.used + count
        if end > len(self.rows):
            room: Int32s = np.empty(max(end, 2 * first), np.int32)
            room[:first] = self.rows[:first]
            self.rows, self.is_lent = room, False
        self.rows[first:end] = rows
        self.used = end
        self.given = None
        return first

    def put(self, places: int | Int32s, rows: int | Int32s) -> None:
        """Other rows at these places."""
        if self.is_lent:
            self.rows, self.is_lent = self.rows.copy(), False
        self.rows[places] = rows
        self.given = None

    def leave(self, places: int | Int32s, count: int = 1) -> None:
        """Those at these places are subscribers no longer."""
        self.put(places, HOLE)
        self.holes += count


class Channels:
    """All channels of one kind, by name. Slots are below `capacity`."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._number: Int32s = np.zeros(capacity, np.int32)  # a channel's; 0: no subscription
        self._place: Int32s = np.zeros(capacity, np.int32)
        self._next: Int32s = np.zeros(capacity, np.int32)  # 0: none, for that is a first one
        self._owner: Int32s = NO_SLOTS  # of each further row
        self._before: Int32s = NO_SLOTS  # of each further row, the slot's row before it
        self._used = 0  # further rows that were ever used
        self._free_rows: Int32s = NO_SLOTS  # of these: the first `_free_count` may be used again
        self._free_count = 0
        self._many: dict[int, dict[int, int]] = {}  # slot -> number -> row: of long chains
        self._numbers: dict[bytes, int] = {}
        self._channels: list[Channel | None] = [None]  # by number
        self._free: list[int] = []  # numbers that may be used again

    def _came(self, name: bytes) -> None:
        """A channel has its first subscriber."""

    def _went(self, name: bytes) -> None:
        """A channel has no subscriber any more."""

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, name: bytes) -> bool:
        return name in self._numbers

    def names(self) -> Iterable[bytes]:
        """The channels that have subscribers."""
        return self._numbers.keys()

    def size(self, name: bytes) -> int:
        """How many subscribers a channel has."""
        return len(self._at(self._numbers[name])) if name in self._numbers else 0

    def slots(self, name: bytes) -> Slots:
        """A channel's subscribers: int32[n], each once, in order. It stays as it is.

        The same object as before where nothing has changed.
        """
        number = self._numbers.get(name)
        if number is None:
            return NO_SLOTS
        channel = self._at(number)
        if channel.given is None:
            if channel.holes:
                self._compact(channel)
            channel.given = channel.rows[: channel.used]
            if channel.further:
                channel.given = self._slots_of(channel.given)
            else:
                channel.is_lent = True
        return channel.given

    def count(self, slot: int) -> int:
        """How many channels a connection is subscribed to."""
        many = self._many.get(slot)
        return sum(1 for _ in self._rows_of(slot)) if many is None else len(many)

    def counts(self, slots: Slots) -> Int32s:
        """The same of many: int32[n]."""
        counts: Int32s = (self._number.take(slots) != 0).astype(np.int32)
        which, rows = np.arange(len(slots)), self._next.take(slots)
        for _ in range(CHAIN_MAX):
            which, rows = which[rows != 0], rows[rows != 0]
            if not len(rows):
                return counts
            counts[which] += 1
            rows = self._next.take(rows)
        for i in which.tolist():
            counts[i] = self.count(int(slots[i]))
        return counts

    def of(self, slot: int) -> list[bytes]:
        """Their names, in the order in which it has subscribed."""
        return [self._at(int(self._number[row])).name for row in self._rows_of(slot)]

    # --- one connection -----------------------------------------------------------------------

    def add(self, slot: int, name: bytes) -> bool:
        """Subscribe; whether that is new."""
        number = self._numbers.get(name)
        if self._number[slot]:
            if number is not None and self._row(slot, number) is not None:
                return False
            self._subscribe(np.array([slot], np.int32), number or self._create(name))
        else:
            number = number or self._create(name)
            self._number[slot] = number
            self._place[slot] = self._at(number).append(slot)
        return True

    def remove(self, slot: int, name: bytes) -> bool:
        """Unsubscribe; whether it was subscribed."""
        return bool(self.remove_all(np.array([slot], np.int32), name))

    # --- many connections ---------------------------------------------------------------------

    def add_all(self, slots: Slots, name: bytes) -> int:
        """Subscribe all of these, int32[n], each once, to one channel; to how many that is new."""
        if len(slots) < 2:
            return sum(self.add(slot, name) for slot in slots.tolist())
        number = self._numbers.get(name)
        if number is not None and self._number.take(slots).any():
            slots = slots[self._find(slots, number) < 0]
        if len(slots):
            self._subscribe(slots, number or self._create(name))
        return len(slots)

    def remove_all(self, slots: Slots, name: bytes) -> int:
        """Unsubscribe all of these, int32[n], each once, from one channel; how many were."""
        number = self._numbers.get(name)
        if number is None:
            return 0
        rows = self._find(slots, number)
        slots, rows = slots[rows >= 0], rows[rows >= 0]
        if not len(rows):
            return 0
        self._leave(rows)
        for slot in slots.tolist() if self._many else ():
            self._forget_one(slot, number)
        is_first = rows < self._capacity
        self._unlink_first(rows[is_first])
        self._unlink(rows[~is_first])
        self._settle([number])
        return len(rows)

    def forget(self, slots: Slots) -> None:
        """These, int32[n], each once, are subscribed to nothing any more: they have ended."""
        rows = slots[self._number.take(slots) != 0]
        if not len(rows):
            return
        found = [NO_SLOTS]
        if self._many:
            many = [self._many.pop(slot, None) for slot in rows.tolist()]
            rows = rows[[each is None for each in many]]
            found += [np.fromiter(m.values(), np.int32, len(m)) for m in many if m is not None]
        while len(rows):
            found.append(rows)
            rows = self._next.take(rows)
            rows = rows[rows != 0]
        rows = np.concatenate(found)
        changed = self._leave(rows)
        self._free_all(rows)
        self._settle(changed)

    # --- rows of a slot -----------------------------------------------------------------------

    def _rows_of(self, slot: int) -> Iterator[int]:
        """All of them, in the order in which it has subscribed."""
        row = slot
        while self._number[row]:
            yield row
            row = int(self._next[row])
            if not row:
                return

    def _row(self, slot: int, number: int) -> int | None:
        """The row of one channel."""
        many = self._many.get(slot)
        if many is not None:
            return many.get(number)
        return next((row for row in self._rows_of(slot) if self._number[row] == number), None)

    def _find(self, slots: Slots, number: int) -> Int32s:
        """The row that each of these has of one channel, or -1: int32[n]."""
        found: Int32s = np.full(len(slots), -1, np.int32)
        which, rows = np.arange(len(slots)), slots
        for _ in range(CHAIN_MAX):
            is_it = self._number.take(rows) == number
            found[which[is_it]] = rows[is_it]
            rows = self._next.take(rows)
            goes_on = ~is_it & (rows != 0)
            which, rows = which[goes_on], rows[goes_on]
            if not len(rows):
                return found
        for i in which.tolist():
            found[i] = self._many[int(slots[i])].get(number, -1)
        return found

    def _last(self, slots: Slots) -> Int32s:
        """The last row of each of these, which have one: int32[n]."""
        last: Int32s = slots.copy()
        which, rows = np.arange(len(slots)), slots
        for length in range(1, CHAIN_MAX + 1):
            last[which] = rows
            rows = self._next.take(rows)
            which, rows = which[rows != 0], rows[rows != 0]
            if not len(rows):
                return last
            if length + 1 == CHAIN_MAX:
                self._begin_dicts(slots[which])
        for i in which.tolist():
            last[i] = next(reversed(self._many[int(slots[i])].values()))
        return last

    def _begin_dicts(self, slots: Slots) -> None:
        """These have CHAIN_MAX rows at least, and may get one more."""
        for slot in slots.tolist():
            if slot not in self._many:
                self._many[slot] = {int(self._number[row]): row for row in self._rows_of(slot)}

    def _forget_one(self, slot: int, number: int) -> None:
        many = self._many.get(slot)
        if many is not None:
            del many[number]
            if len(many) < CHAIN_MAX:
                del self._many[slot]

    def _subscribe(self, slots: Slots, number: int) -> None:
        """All of these to a channel that none of them has yet."""
        channel = self._at(number)
        is_further = self._number.take(slots) != 0
        owners = slots[is_further]
        rows = slots
        if len(owners):
            before = self._last(owners)
            further = self._new_rows(len(owners))
            self._owner[further - self._capacity] = owners
            self._before[further - self._capacity] = before
            self._next[before] = further
            channel.further += len(owners)
            rows = slots.copy()
            rows[is_further] = further
            for slot, row in (
                zip(owners.tolist(), further.tolist(), strict=True) if self._many else ()
            ):
                if slot in self._many:
                    self._many[slot][number] = row
        first = channel.append(rows, len(rows))
        self._number[rows] = number
        self._place[rows] = np.arange(first, first + len(rows), dtype=np.int32)

    def _leave(self, rows: Int32s) -> set[int]:
        """These make holes in their channels, which are returned."""
        changed = set()
        for number, some in self._by_channel(rows):
            channel = self._at(number)
            channel.leave(self._place[some], len(some))
            channel.further -= int(np.count_nonzero(some >= self._capacity))
            changed.add(number)
        return changed

    def _by_channel(self, rows: Int32s) -> Iterator[tuple[int, Int32s]]:
        numbers = self._number[rows]
        if len(rows) and (numbers == numbers[0]).all():
            yield int(numbers[0]), rows
            return
        order = np.argsort(numbers, kind="stable")
        rows, numbers = rows[order], numbers[order]
        for some in np.split(rows, np.flatnonzero(numbers[1:] != numbers[:-1]) + 1):
            if len(some):
                yield int(self._number[some[0]]), some

    def _unlink_first(self, slots: Slots) -> None:
        """The first rows of these are left: the second ones take their place."""
        second = self._next[slots]
        self._number[slots] = 0
        slots, second = slots[second != 0], second[second != 0]
        if not len(slots):
            return
        owner = self._owner
        for number, some in self._by_channel(second):
            channel = self._at(number)
            channel.put(self._place[some], owner[some - self._capacity])
            channel.further -= len(some)
        self._number[slots] = self._number[second]
        self._place[slots] = self._place[second]
        for slot in slots.tolist() if self._many else ():
            if slot in self._many:
                self._many[slot][int(self._number[slot])] = slot
        self._unlink(second)

    def _unlink(self, rows: Int32s) -> None:
        """These further rows are free."""
        before, following = self._before[rows - self._capacity], self._next[rows]
        self._next[before] = following
        is_there = following != 0
        self._before[following[is_there] - self._capacity] = before[is_there]
        self._free_all(rows)

    # --- rows that are free -------------------------------------------------------------------

    def _new_rows(self, count: int) -> Int32s:
        """Further rows, whose columns are zero."""
        again = min(count, self._free_count)
        self._free_count -= again
        rows: Int32s = self._free_rows[self._free_count : self._free_count + again].copy()
        first, self._used = self._used, self._used + count - again
        if self._used > len(self._owner):
            self._grow(max(self._used, 2 * len(self._owner), self._capacity // 8, ROOM_MIN))
        fresh = np.arange(first, self._used, dtype=np.int32) + np.int32(self._capacity)
        return np.concatenate((rows, fresh))

    def _grow(self, further: int) -> None:
        for name in ("_number", "_place", "_next"):
            setattr(self, name, _longer(getattr(self, name), self._capacity + further))
        for name in ("_owner", "_before", "_free_rows"):
            setattr(self, name, _longer(getattr(self, name), further))

    def _free_all(self, rows: Int32s) -> None:
        self._number[rows] = 0
        self._next[rows] = 0
        rows = rows[rows >= self._capacity]
        self._free_rows[self._free_count : self._free_count + len(rows)] = rows
        self._free_count += len(rows)

    # --- channels -----------------------------------------------------------------------------

    def _at(self, number: int) -> Channel:
        channel = self._channels[number]
        assert channel is not None
        return channel

    def _create(self, name: bytes) -> int:
        channel = Channel(name)
        if self._free:
            number = self._free.pop()
            self._channels[number] = channel
        else:
            number = len(self._channels)
            self._channels.append(channel)
        self._numbers[name] = number
        self._came(name)
        return number

    def _settle(self, numbers: Iterable[int]) -> None:
        """Some have left: a channel without subscribers ends, one with many holes is mended."""
        for number in numbers:
            channel = self._at(number)
            if not len(channel):
                del self._numbers[channel.name]
                self._channels[number] = None
                self._free.append(number)
                self._went(channel.name)
            elif 4 * channel.holes >= channel.used:
                self._compact(channel)

    def _compact(self, channel: Channel) -> None:
        """The channel without holes, in the same order."""
        rows = channel.rows[: channel.used]
        rows = rows[rows != HOLE]
        self._place[rows] = np.arange(len(rows), dtype=np.int32)
        channel.rows, channel.used, channel.holes, channel.is_lent = rows, len(rows), 0, False

    def _slots_of(self, rows: Int32s) -> Slots:
        slots: Slots = rows.copy()
        is_further = rows >= self._capacity
        slots[is_further] = self._owner[rows[is_further] - self._capacity]
        return slots

    def check(self) -> None:
        """A costly check: rows, dicts and channels say the same."""
        total = 0
        for name, number in self._numbers.items():
            channel = self._at(number)
            rows = channel.rows[: channel.used]
            assert channel.name == name
            assert np.count_nonzero(rows == HOLE) == channel.holes < channel.used
            assert np.count_nonzero(rows >= self._capacity) == channel.further
            for place in np.flatnonzero(rows != HOLE).tolist():
                assert (self._number[rows[place]], self._place[rows[place]]) == (number, place)
            total += len(channel)
        assert np.count_nonzero(self._number) == total
        assert self._used - self._free_count == np.count_nonzero(self._number[self._capacity :])
        for slot in np.flatnonzero(self._number[: self._capacity]).tolist():
            chain = list(self._rows_of(slot))
            total -= len(chain)
            for before, row in pairwise(chain):
                assert self._before[row - self._capacity] == before
                assert self._owner[row - self._capacity] == slot
            many = {int(self._number[row]): row for row in chain}
            assert self._many.get(slot, many) == many
            assert len(chain) <= CHAIN_MAX or slot in self._many
        assert total == 0


def _longer(column: Int32s, size: int) -> Int32s:
    """The column with zeros behind it. What of it is zero takes no memory: it is not written."""
    longer: Int32s = np.zeros(size, np.int32)
    for first in range(0, len(column), PART):
        part = column[first : first + PART]
        if part.any():
            longer[first : first + len(part)] = part
    return longer
