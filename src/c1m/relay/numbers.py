"""Once each, in order per publisher: numbers of what comes and of what is handed over. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

ORIGINS_MAX = 1000  # lives of servers that are remembered; those that speak stay


class NotRelayed(Exception):
    """A publication did not come back from the broker. `is_unknown`: it may have got there."""

    def __init__(self, why: str, *, is_unknown: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_unknown = is_unknown


# What is told who published: what its delivery here came to, or a NotRelayed.
Told = Callable[[Any], object]


def nobody(result: Any) -> None:
    """For what nobody asks about."""


class Incoming:
    """What came so far, by origin: the number that is next.

    A number below that is a double, or comes too late to be in order: it is passed over, on every
    server alike, as the broker's order is the same for all. Numbers that were passed are missed.
    """

    def __init__(self) -> None:
        self._next: OrderedDict[str, int] = OrderedDict()
        self.doubles = 0
        self.missed = 0

    def take(self, origin: str, first: int, count: int) -> tuple[int, int]:
        """Of publications `first` and further ones, `count` in all: how many are to be passed over,
        and how many are missing before them. What an origin said before its first that came here
        is not missed."""
        expected = self._next.get(origin, first)
        doubles = min(max(expected - first, 0), count)
        missing = max(first - expected, 0)
        self._next[origin] = max(expected, first + count)
        self._next.move_to_end(origin)
        if len(self._next) > ORIGINS_MAX:
            self._next.popitem(last=False)
        self.doubles += doubles
        self.missed += missing
        return doubles, missing


class Outgoing:
    """What this server has handed over and is waited for, by number, from 1 on."""

    def __init__(self) -> None:
        self.next = 1
        self._waiting: deque[tuple[int, int, Told]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, size: int, told: Told) -> int:
        """One more, of so many bytes: its number."""
        number = self.next
        self.next += 1
        self._waiting.append((number, size, told))
        self.bytes += size
        return number

    def came(self, number: int) -> tuple[Told, list[Told]]:
        """It came back: who is to be told, and those whose publications before it did not."""
        lost = []
        while self._waiting and self._waiting[0][0] < number:
            lost.append(self._pop())
        is_there = self._waiting and self._waiting[0][0] == number
        return (self._pop() if is_there else nobody), lost

    def broken(self, sent: int) -> tuple[list[Told], list[Told]]:
        """The connection is lost, and numbers up to `sent` may have got there: those who are told
        that this is not known, and those whose publications were never sent. Their numbers are
        given anew."""
        unknown: list[Told] = []
        refused: list[Told] = []
        while self._waiting:
            (unknown if self._waiting[0][0] <= sent else refused).append(self._pop())
        self.next = sent + 1
        return unknown, refused

    def _pop(self) -> Told:
        _, size, told = self._waiting.popleft()
        self.bytes -= size
        return told
