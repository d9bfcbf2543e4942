"""Who is connected with which rights and until when, as columns: no object a connection. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.push.tokens import NOTHING, Grant, Rights

ENDED_MAX = 1 << 13  # connections that one look ends


class Holders:
    """Of each slot its grant (a number; grants that say the same are one) and when it ends.

    Who has what `nobody` has, and has it for ever, takes no memory.
    """

    def __init__(self, capacity: int, nobody: Grant = NOTHING.grant) -> None:
        self._grant_of = np.zeros(capacity, np.uint32)  # 0: nobody's
        self._expires = np.zeros(capacity, np.uint32)  # Unix seconds; 0: never
        self._top = 0  # no slot from here on has an end
        self._grants: list[Grant] = [nobody]
        self._counts: list[int] = [0]  # who has it
        self._numbers: dict[int, int] = {id(nobody): 0}  # id of a grant -> its number
        self._free: list[int] = []
        self._look_s = 0  # when to look next; 0: nothing ends

    def enter(self, slots: Slots, rights: Rights) -> None:
        """These, int32[n], each once and new, have these rights."""
        self.enter_all(slots, rights.grant, np.full(len(slots), rights.expires, np.uint32))

    def enter_all(self, slots: Slots, grant: Grant, expires: npt.NDArray[np.uint32]) -> None:
        """The same, each until its own time: uint32[n], Unix seconds, 0 for ever."""
        number = self._numbers.get(id(grant))
        if number is None:
            number = self._number(grant)
        if number:
            self._counts[number] += len(slots)
            self._grant_of[slots] = number
        ends = expires[expires != 0]
        if len(ends):
            self._expires[slots] = expires
            self._top = max(self._top, int(slots.max()) + 1)
            first = int(ends.min())
            self._look_s = min(self._look_s or first, first)

    def of(self, slot: int) -> Grant:
        """What this one may."""
        return self._grants[int(self._grant_of[slot])]

    def who(self, slots: Slots, may: Callable[[Grant], bool]) -> npt.NDArray[np.bool_]:
        """Which of these, int32[n], have a grant that is so: bool[n]. Each grant is asked once."""
        numbers = self._grant_of.take(slots)
        has = np.zeros(len(self._grants), np.bool_)
        is_there = np.zeros(len(self._grants), np.bool_)
        is_there[numbers] = True
        for number in np.flatnonzero(is_there).tolist():
            has[number] = may(self._grants[number])
        found: npt.NDArray[np.bool_] = has.take(numbers)
        return found

    def forget(self, slots: Slots) -> None:
        """They have ended: int32[n], each once."""
        if self._top:
            self._expires[slots] = 0
        numbers = self._grant_of.take(slots)
        is_held = numbers != 0
        if not is_held.any():
            return
        self._grant_of[slots[is_held]] = 0
        found, counts = np.unique(numbers[is_held], return_counts=True)
        for number, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._counts[number] -= count
            if not self._counts[number]:
                self._numbers.pop(id(self._grants[number]))
                self._grants[number] = self._grants[0]
                self._free.append(number)

    def ended(self, now_s: int) -> Slots:
        """Those whose time is over, some at once: ask again while there are any."""
        if not self._look_s or now_s < self._look_s:
            return np.empty(0, np.int32)
        expires = self._expires[: self._top]
        over = np.flatnonzero((expires != 0) & (expires <= now_s))[:ENDED_MAX]
        if not len(over):
            left = expires[expires != 0]
            self._look_s = int(left.min()) if len(left) else 0
        return over.astype(np.int32)

    def _number(self, grant: Grant) -> int:
        if self._free:
            number = self._free.pop()
            self._grants[number] = grant
        else:
            number = len(self._grants)
            self._grants.append(grant)
            self._counts.append(0)
        self._numbers[id(grant)] = number
        return number
