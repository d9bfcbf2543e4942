"""Who is subscribed to what, as arrays: a subscriber to one channel has no Python object. Pure.

A channel has an array of its subscribers' slots. A connection's row says its first channel and its
place in that array; further channels of the few that have several are in dicts. Who leaves makes a
hole (-1); a channel of which a quarter is holes is written anew, so that subscribing, unsubscribing
and closing cost what the batch is, not what the channel is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, Slots

Int32s = npt.NDArray[np.int32]

HOLE = -1
ROOM_MIN = 4  # slots that a channel has room for at first


class Channel:
    """One channel: `slots[:used]` are its subscribers and `holes` holes."""

    __slots__ = ("holes", "is_lent", "name", "slots", "used")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.slots: Slots = np.empty(ROOM_MIN, np.int32)
        self.used = 0
        self.holes = 0
        self.is_lent = False  # somebody has a view of `slots`: copy before a hole is made

    def __len__(self) -> int:
        return self.used - self.holes

    def append(self, slots: int | Slots, count: int = 1) -> int:
        """Add subscribers behind the others; the place of the first."""
        first, end = self.used, self.used + count
        if end > len(self.slots):
            room: Slots = np.empty(max(end, 2 * first), np.int32)
            room[:first] = self.slots[:first]
            self.slots, self.is_lent = room, False
        self.slots[first:end] = slots
        self.used = end
        return first

    def leave(self, places: int | Int32s, count: int = 1) -> None:
        """Those at these places are subscribers no longer."""
        if self.is_lent:
            self.slots, self.is_lent = self.slots.copy(), False
        self.slots[places] = HOLE
        self.holes += count


class Channels:
    """All channels of one kind, by name. Slots are below `capacity`."""

    def __init__(self, capacity: int) -> None:
        self._first: Int32s = np.zeros(capacity, np.int32)  # a channel's number; 0: none
        self._place: Int32s = np.zeros(capacity, np.int32)  # in that channel's `slots`
        self._others: dict[int, dict[int, int]] = {}  # slot -> number -> place: besides the first
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
        return len(self._named(name)) if name in self._numbers else 0

    def slots(self, name: bytes) -> Slots:
        """A channel's subscribers: int32[n], each once, in order. It stays as it is."""
        number = self._numbers.get(name)
        if number is None:
            return NO_SLOTS
        channel = self._at(number)
        if channel.holes:
            self._compact(number, channel)
        channel.is_lent = True
        return channel.slots[: channel.used]

    def count(self, slot: int) -> int:
        """How many channels a connection is subscribed to."""
        if not self._first[slot]:
            return 0
        return 1 + len(self._others.get(slot, ()))

    def of(self, slot: int) -> list[bytes]:
        """Their names."""
        first = int(self._first[slot])
        if not first:
            return []
        return [self._at(number).name for number in (first, *self._others.get(slot, ()))]

    # --- one connection -----------------------------------------------------------------------

    def add(self, slot: int, name: bytes) -> bool:
        """Subscribe; whether that is new."""
        number = self._numbers.get(name) or self._create(name)
        first = int(self._first[slot])
        if not first:
            self._first[slot] = number
            self._place[slot] = self._at(number).append(slot)
            return True
        others = self._others.get(slot)
        if number == first or (others is not None and number in others):
            return False
        if others is None:
            others = self._others[slot] = {}
        others[number] = self._at(number).append(slot)
        return True

    def remove(self, slot: int, name: bytes) -> bool:
        """Unsubscribe; whether it was subscribed."""
        number, first = self._numbers.get(name), int(self._first[slot])
        if number is None or not first:
            return False
        others = self._others.get(slot, {})
        if number == first:
            place = int(self._place[slot])
            # One of the others, if there are any, takes its place in the row.
            self._first[slot], self._place[slot] = others.popitem() if others else (0, 0)
        elif number in others:
            place = others.pop(number)
        else:
            return False
        if not others:
            self._others.pop(slot, None)
        self._at(number).leave(place)
        self._settle(number)
        return True

    # --- many connections ---------------------------------------------------------------------

    def add_all(self, slots: Slots, name: bytes) -> None:
        """Subscribe all of these, int32[n], each once, to one channel."""
        if not len(slots):
            return
        number = self._numbers.get(name) or self._create(name)
        is_new = self._first[slots] == 0
        new = slots[is_new]
        if len(new):
            first = self._at(number).append(new, len(new))
            self._first[new] = number
            self._place[new] = np.arange(first, first + len(new), dtype=np.int32)
        if len(new) < len(slots):
            for slot in slots[~is_new].tolist():
                self.add(slot, name)

    def forget(self, slots: Slots) -> None:
        """These, int32[n], each once, are subscribed to nothing any more: they have ended."""
        slots = slots[self._first[slots] != 0]
        if not len(slots):
            return
        changed: set[int] = set()
        if self._others:
            for slot in slots.tolist():
                for number, place in self._others.pop(slot, {}).items():
                    self._at(number).leave(place)
                    changed.add(number)
        numbers = self._first[slots]
        order = np.argsort(numbers, kind="stable")
        slots, numbers = slots[order], numbers[order]
        bounds = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
        for some in np.split(slots, bounds):
            number = int(self._first[some[0]])
            self._at(number).leave(self._place[some], len(some))
            changed.add(number)
        self._first[slots] = 0
        self._place[slots] = 0
        for number in changed:
            self._settle(number)

    # --- channels -----------------------------------------------------------------------------

    def _at(self, number: int) -> Channel:
        channel = self._channels[number]
        assert channel is not None
        return channel

    def _named(self, name: bytes) -> Channel:
        return self._at(self._numbers[name])

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

    def _settle(self, number: int) -> None:
        """Somebody has left: a channel without subscribers ends, one with many holes is mended."""
        channel = self._at(number)
        if not len(channel):
            del self._numbers[channel.name]
            self._channels[number] = None
            self._free.append(number)
            self._went(channel.name)
        elif 4 * channel.holes >= channel.used:
            self._compact(number, channel)

    def _compact(self, number: int, channel: Channel) -> None:
        """The channel without holes, in the same order."""
        slots = channel.slots[: channel.used]
        slots = slots[slots != HOLE]
        places = np.arange(len(slots), dtype=np.int32)
        is_first = self._first[slots] == number
        self._place[slots[is_first]] = places[is_first]
        others = zip(slots[~is_first].tolist(), places[~is_first].tolist(), strict=True)
        for slot, place in others:
            self._others[slot][number] = place
        channel.slots, channel.used, channel.holes, channel.is_lent = slots, len(slots), 0, False

    def check(self) -> None:
        """A costly check: rows, dicts and channels say the same."""
        for name, number in self._numbers.items():
            channel = self._at(number)
            assert channel.name == name
            slots = channel.slots[: channel.used]
            assert np.count_nonzero(slots == HOLE) == channel.holes < channel.used
            for place in np.flatnonzero(slots != HOLE).tolist():
                slot = int(slots[place])
                if self._first[slot] == number:
                    assert self._place[slot] == place
                else:
                    assert self._others[slot][number] == place
        rows = np.flatnonzero(self._first)
        assert len(rows) + sum(map(len, self._others.values())) == sum(map(self.size, self.names()))
        assert all(others and self._first[slot] for slot, others in self._others.items())
