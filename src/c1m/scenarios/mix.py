"""Several scenarios in one run: each has connections by its weight. Pure.

Connection n belongs to the same scenario for the whole run. Of weights 3 and 1 every four
connections in a row are three of the first and one of the second, however many are open. Each
scenario has an exchange of its own, and all of them the run's one ledger.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.results.outcomes import Check, Share
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.ledger import MISSING, RIGHT, Resolved
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.messages import Numbers

MOST = 64  # scenarios
WEIGHT_MAX = 1_000

_WEIGHED = re.compile(r"(.*?)=\s*([^=\s]+)\s*")


def weighed(wanted: Any) -> list[tuple[Any, int]]:
    """Scenarios and their weights: of "shop.py:Browse=3, shop.py:Buy", a mapping, or a row of such;
    of anything else that one. Raises UsageError."""
    if isinstance(wanted, Mapping):
        pairs = list(wanted.items())
    elif isinstance(wanted, list | tuple):
        pairs = [pair for each in wanted for pair in weighed(each)]
    elif isinstance(wanted, str):
        pairs = [_pair(each.strip()) for each in wanted.split(",")]
    else:
        pairs = [(wanted, 1)]
    if not 0 < len(pairs) <= MOST:
        raise UsageError(f"{len(pairs)} scenarios were given.", f"Give 1 to {MOST}.")
    for what, weight in pairs:
        if type(weight) is not int or not 0 < weight <= WEIGHT_MAX:
            raise UsageError(
                f"The weight of {what!r} is {weight!r}.",
                f"Give a whole number from 1 to {WEIGHT_MAX:,}.",
            )
    return pairs


def _pair(text: str) -> tuple[str, Any]:
    match = _WEIGHED.fullmatch(text)
    if match is None:
        return text, 1
    weight = match[2]
    return match[1].strip(), int(weight) if weight.isascii() and weight.isdigit() else weight


def pattern(weights: Sequence[int]) -> Numbers:
    """Which scenario the connections in a row belong to, before it begins again: int64[sum].

    The j-th of weight w is put at (j + 1/2) / w, so all are spread evenly.
    """
    least = math.gcd(*weights)
    counts = [weight // least for weight in weights]
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    return np.repeat(np.arange(len(counts)), counts)[np.argsort(places, kind="stable")]


class Mix(Scenario):
    """Several scenarios as one; `parts` in the order in which they were given."""

    stampedes = True
    sees_to_stretch = True

    def __init__(self, parts: Sequence[Scenario], weights: Sequence[int]) -> None:
        for each in parts:
            if each.is_silent or each.wants_end or each.storms or not each.reads or (
                each.speakers is not None
            ):  # fmt: skip
                raise UsageError(
                    f"The scenario {each.name!r} cannot be mixed with others.",
                    "Mix such as ask on every connection, and are answered.",
                )
        self.parts, self._weights = list(parts), list(weights)
        self._pattern = pattern(weights)
        self.takes_turns = any(each.takes_turns for each in parts)
        self.name = ", ".join(f"{p.name}={w}" for p, w in zip(parts, weights, strict=True))
        self._exchange: Mixed | None = None

    def owners(self, count: int) -> Numbers:
        """Which part each of so many connections belongs to: int64[count]."""
        return np.resize(np.roll(self._pattern, -self.stretch.first), count)

    def begin(self, connections: int, seed: int) -> None:
        """Each with all connections: a number means the same to all of them."""
        total = max(self.stretch.total, connections)
        without = np.setdiff1d(np.arange(len(self.parts)), self.owners(total))
        if len(without):
            raise UsageError(
                f"With {total:,} connections {self.parts[without[0]].name!r} has none.",
                "Open more, or give it another weight.",
            )
        for each in self.parts:
            each.begin(connections, seed)

    def set_up(self) -> None:
        done: list[Scenario] = []
        try:
            for each in self.parts:
                each.set_up()
                done.append(each)
        except UsageError:
            _each(done, Scenario.tear_down.__name__)
            raise

    def tear_down(self) -> None:
        if errors := _each(self.parts, Scenario.tear_down.__name__):
            raise errors[0]

    def judges(self) -> bool:
        return True  # each does

    def reply(self, number: int, seq: int) -> bytes:
        owner = int(self._pattern[(self.stretch.first + number) % len(self._pattern)])
        return self.parts[owner].reply(number, seq)

    def doubts(self) -> list[str]:
        return list(dict.fromkeys(doubt for each in self.parts for doubt in each.doubts()))

    def notes(self) -> list[str]:
        return [note for each in self.parts for note in each.notes()]

    def checks(self) -> list[Check]:
        """Those of the same name are one."""
        found: dict[str, Check] = {}
        for one in (one for each in self.parts for one in each.checks()):
            other = found.get(one.name, Check())
            first = other.first or one.first
            passed, failed = other.passed + one.passed, other.failed + one.failed
            found[one.name] = Check(one.name, passed, failed, first)
        return list(found.values())

    def shares(self) -> list[Share]:
        return [] if self._exchange is None else self._exchange.shares()

    def exchange(self, count: int, depth: int) -> Exchange:
        self._exchange = Mixed(self, count, depth)
        return self._exchange


def _each(scenarios: Sequence[Scenario], method: str) -> list[UsageError]:
    """Call that of each, whatever the others say; what they said."""
    errors = []
    for each in scenarios:
        try:
            getattr(each, method)()
        except UsageError as error:
            errors.append(error)
    return errors


class Mixed(Exchange):
    """The exchanges of all parts as one; see Exchange."""

    def __init__(self, mix: Mix, count: int, depth: int) -> None:
        super().__init__(mix, count, depth)
        self._names = [each.name for each in mix.parts]
        self._owners = mix.owners(count).astype(np.uint8)
        self._parts = [exchange_of(each, count, depth) for each in mix.parts]
        for each in self._parts:
            each.ledger = self.ledger
        self.says_nothing_at_times = any(each.says_nothing_at_times for each in self._parts)
        self._sent, self._right, self._missing, self._resolved = np.zeros((4, MOST), np.int64)

    def shares(self) -> list[Share]:
        """What each part had of connections and requests."""
        connections = np.bincount(self._owners, minlength=MOST)
        return [
            Share(
                name,
                int(connections[at]),
                int(self._sent[at]),
                int(self._right[at]),
                int(self._resolved[at] - self._right[at] - self._missing[at]),
                int(self._sent[at] - self._resolved[at] + self._missing[at]),
            )
            for at, name in enumerate(self._names)
        ]

    @property
    def awaited(self) -> int:
        """See Exchange."""
        in_flight = self.ledger.in_flight
        return in_flight + sum(each.awaited - in_flight for each in self._parts)

    def _split(self, numbers: Numbers) -> list[tuple[Exchange, Numbers]]:
        """The parts that these belong to, and where in them theirs are."""
        owners = self._owners.take(numbers)
        there = np.flatnonzero(np.bincount(owners, minlength=1))
        return [(self._parts[at], np.flatnonzero(owners == at)) for at in there.tolist()]

    def opened(self, numbers: Numbers) -> None:
        """See Exchange."""
        for part, which in self._split(numbers):
            part.opened(numbers[which])

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        """See Exchange."""
        split = self._split(numbers)
        seqs = np.zeros(len(numbers), np.int64)
        said: list[Ragged] = []
        for part, which in split:
            pieces, seqs[which] = part.requests(numbers[which])
            said.append(pieces)
        self._sent += np.bincount(self._owners.take(numbers), minlength=MOST)
        return _in_order(split, said), seqs

    def unanswered(self, number: int) -> list[int]:
        """See Exchange."""
        part: Exchange = self._parts[int(self._owners[number])]
        return part.unanswered(number)

    def again(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """See Exchange."""
        split = self._split(numbers)
        return _in_order(split, [part.again(numbers[at], seqs[at]) for part, at in split])

    def pauses(self, numbers: Numbers) -> Numbers | None:
        """See Exchange."""
        found = None
        for part, which in self._split(numbers):
            if (some := part.pauses(numbers[which])) is not None:
                found = np.zeros(len(numbers), np.int64) if found is None else found
                found[which] = some
        return found

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        """See Exchange."""
        return self._together(numbers, lambda part, at: part.take(numbers[at], data.take(at)))

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """See Exchange."""
        return self._together(numbers, lambda part, at: part.gone(numbers[at], by_peer=by_peer))

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        """See Exchange."""
        return self._together(numbers, lambda part, at: part.give_up(numbers[at], seqs[at]))

    def _together(self, numbers: Numbers, of: Callable[[Exchange, Numbers], Resolved]) -> Resolved:
        """What all parts have resolved, and counted."""
        each = [of(part, which) for part, which in self._split(numbers)]
        outcomes = [
            np.full(len(one), RIGHT, np.uint8) if one.outcomes is None else one.outcomes
            for one in each
        ]
        empty = np.zeros(0, np.int64)
        made = Resolved(
            np.concatenate([empty, *(one.numbers for one in each)]),
            np.concatenate([empty, *(one.seqs for one in each)]),
            np.concatenate([np.zeros(0, np.uint8), *outcomes]),
        )
        owners = self._owners.take(made.numbers)
        self._resolved += np.bincount(owners, minlength=MOST)
        self._right += np.bincount(owners[made.outcomes == RIGHT], minlength=MOST)
        self._missing += np.bincount(owners[made.outcomes == MISSING], minlength=MOST)
        return made


def _in_order(split: Sequence[tuple[Exchange, Numbers]], said: Sequence[Ragged]) -> Ragged:
    """What the parts said, in the order of the connections that were split."""
    if len(said) < 2:
        return said[0] if said else Ragged.empty()
    order = np.argsort(np.concatenate([which for _, which in split]))
    return _one_behind_the_other(said).take(order)


def _one_behind_the_other(pieces: Sequence[Ragged]) -> Ragged:
    memory = np.concatenate([each.memory for each in pieces])
    starts = np.cumsum([0, *(len(each.memory) for each in pieces[:-1])])
    offsets = [each.offsets + start for each, start in zip(pieces, starts, strict=True)]
    lengths = np.concatenate([each.lengths for each in pieces])
    return Ragged(memory, np.concatenate(offsets), lengths)
