"""A row for each connection, in columns: what most connections have in common costs 8 bytes. Pure.

Facts. A connection's id grows and is never given again. Idle seconds are right up to 13 hours; what
is idle for longer is shown as about that.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots

RESP3 = 1  # HELLO 3 was said
IS_KEPT = 2  # `kept` has an object for it
IS_GUEST = 4  # it must say AUTH before anything else
IS_SUBSCRIBER = 8  # of any channel
DATABASE_SHIFT = 4  # the rest is the number of its database

IDLE_MAX_S = 12 * 3600  # of an idle timeout: `active` counts seconds modulo 2^16
_SATURATED_S = 13 * 3600
_AHEAD_S = 14 * 3600  # nobody is idle for so long: the clock went back, by up to four hours
_LABELS_MAX = 255
_TIMES_MAX = 4096  # entries in the table of ages


class Label(NamedTuple):
    """What a client says of itself: CLIENT SETNAME, CLIENT SETINFO."""

    name: bytes = b""
    library: bytes = b""
    version: bytes = b""


NO_LABEL = Label()


class Rows:
    """Columns by slot. A row of zeros is no connection; unused rows have no memory.

    `state`: bits as above, `active`: when it last sent something, `label_of` and `label`: what it
    says of itself, a number of which for what several say.
    """

    def __init__(self, capacity: int) -> None:
        self.state: npt.NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self.active: npt.NDArray[np.uint16] = np.zeros(capacity, np.uint16)
        self.kept: dict[int, Any] = {}  # objects of the unusual ones
        self.first_state = 0  # of a new connection: IS_GUEST where a password is asked for
        self.second = 0  # of the tick, as `active` has it
        self.count = 0
        self.top = 0  # no row from here on was ever used
        self._ids: npt.NDArray[np.uint32] = np.zeros(capacity, np.uint32)  # modulo 2^32; 0: no one
        self._large_ids: dict[int, int] = {}  # of those beyond 2^32
        self._next_id = 1
        self._times: list[tuple[int, int]] = []  # (id, second): connections from this id on
        self._labels: npt.NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._interned: dict[Label, int] = {NO_LABEL: 0}
        self._by_number: list[Label | None] = [NO_LABEL]
        self._own_labels: dict[int, Label] = {}  # where there was no number left
        self._tries = 0  # to find a number in vain

    def look_at(self, now_ms: int) -> None:
        """The time of the tick."""
        self.second = now_ms // 1000 & 0xFFFF

    # --- coming and going ---------------------------------------------------------------------

    def open(self, slots: Slots, now_ms: int) -> None:
        """New connections: int32[n], each once."""
        first, self._next_id = self._next_id, self._next_id + len(slots)
        ids = np.arange(first, self._next_id, dtype=np.int64)
        if self._next_id > 1 << 32:
            self._large_ids.update(zip(slots.tolist(), ids.tolist(), strict=True))
        self._ids[slots] = np.maximum(ids & 0xFFFFFFFF, 1)
        second = now_ms // 1000
        if not self._times or self._times[-1][1] != second:
            if len(self._times) >= _TIMES_MAX:
                del self._times[1::2]
            self._times.append((first, second))
        self.look_at(now_ms)
        self.active[slots] = self.second
        if self.first_state:
            self.state[slots] = self.first_state
        self.count += len(slots)
        self.top = max(self.top, int(slots.max()) + 1)

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: int32[n], each once; those without a row are left out."""
        slots = slots[self._ids[slots] != 0]
        self.count -= len(slots)
        if self._own_labels or self._large_ids:
            for slot in slots.tolist():
                self._own_labels.pop(slot, None)
                self._large_ids.pop(slot, None)
        for column in (self.state, self._ids, self.active, self._labels):
            column[slots] = 0

    # --- who they are -------------------------------------------------------------------------

    def slots(self) -> Slots:
        """All connections, by id: int32[count]."""
        found = np.flatnonzero(self._ids[: self.top]).astype(np.int32)
        ids = self._ids[found].astype(np.int64)
        if self._large_ids:
            ids = np.array([self.id_of(slot) for slot in found.tolist()], np.int64)
        return found[np.argsort(ids)]

    def id_of(self, slot: int) -> int:
        """A connection's id; 0: there is none."""
        return self._large_ids.get(slot) or int(self._ids[slot])

    def find(self, number: int) -> int | None:
        """The slot of the connection with this id."""
        if number <= 0:
            return None
        low = max(number & 0xFFFFFFFF, 1)
        for slot in np.flatnonzero(self._ids[: self.top] == low).tolist():
            if self.id_of(slot) == number:
                return int(slot)
        return None

    def age_s(self, slot: int, now_ms: int) -> int:
        """Seconds since it came: exact for the youngest."""
        at = bisect_right(self._times, (self.id_of(slot), 1 << 62)) - 1
        return now_ms // 1000 - self._times[at][1] if at >= 0 else 0

    def idle_s(self, slot: int, now_ms: int) -> int:
        """Seconds since it sent something."""
        idle = (now_ms // 1000 - int(self.active[slot])) & 0xFFFF
        return idle if idle <= _AHEAD_S else 0

    # --- who is idle --------------------------------------------------------------------------

    def idle(self, first: int, last: int, limit_s: int, now_ms: int) -> Slots:
        """Those of a slice of the rows that sent nothing for longer: int32[n].

        Subscribers are left out. Each row must be looked at once in an hour: see `_SATURATED_S`.
        """
        active, now_s = self.active[first:last], now_ms // 1000
        idle = np.uint16(now_s & 0xFFFF) - active
        is_ahead = idle > _AHEAD_S
        active[is_ahead] = now_s & 0xFFFF
        idle[is_ahead] = 0
        active[idle > _SATURATED_S] = (now_s - _SATURATED_S) & 0xFFFF
        if not limit_s:
            return np.zeros(0, np.int32)
        is_late = (idle > limit_s) & (self._ids[first:last] != 0)
        is_late &= (self.state[first:last] & IS_SUBSCRIBER) == 0
        found: Slots = (np.flatnonzero(is_late) + first).astype(np.int32)
        return found

    # --- what they say of themselves ----------------------------------------------------------

    def label(self, slot: int) -> Label:
        """What a client says of itself."""
        own = self._own_labels.get(slot)
        return own or self._by_number[int(self._labels[slot])] or NO_LABEL

    def set_label(self, slot: int, label: Label) -> None:
        """The same label is kept once, as long as numbers last."""
        self._own_labels.pop(slot, None)
        self._labels[slot] = 0
        number = self._interned.get(label)
        if number is None:
            number = self._new_number()
            if not number:
                self._own_labels[slot] = label
                return
            self._interned[label] = number
            self._by_number[number] = label
        self._labels[slot] = number

    def _new_number(self) -> int:
        """A number for a label; 0: all are in use."""
        if len(self._by_number) <= _LABELS_MAX:
            self._by_number.append(None)
            return len(self._by_number) - 1
        if None not in self._by_number:
            self._tries += 1
            if self._tries % 1000 != 1:
                return 0
            used = np.bincount(self._labels[: self.top], minlength=_LABELS_MAX + 1)
            for number in np.flatnonzero(used[1:] == 0).tolist():
                unused = self._by_number[number + 1]
                self._by_number[number + 1] = None
                if unused is not None:
                    del self._interned[unused]
        return self._by_number.index(None) if None in self._by_number else 0
