"""Which part of a whole a load client takes, where several take one together. Pure.

What is split is dealt out evenly, and the first parts have one more where it does not come out
even. So all parts together are exactly the whole, no two differ by more than one, and where the
whole grows no part shrinks. A part's connections are neighbours, numbered on from those of the
parts before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Share:
    """Part `index`, from 0, of `of` parts. All of them together are exactly the whole.

    On its machine it is part `here` of `here_of`: they have its addresses and ports in common.
    """

    index: int = 0
    of: int = 1
    here: int = 0
    here_of: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether nobody else takes part."""
        return self.of == 1

    @property
    def on_machine(self) -> Share:
        """Which part of what its machine has."""
        return Share(self.here, self.here_of)

    def first(self, total: int) -> int:
        """Where this part of `total` things begins: the number of its first one."""
        each, left = divmod(total, self.of)
        return self.index * each + min(self.index, left)

    def count(self, total: int) -> int:
        """How many of `total` things are this part's."""
        return total // self.of + (self.index < total % self.of)

    def at_least_one(self, total: int) -> int:
        """The same of what no part can do without."""
        return max(self.count(total), 1)

    def seed(self, seed: int) -> int:
        """A seed of this part's own; of a whole the same."""
        if self.is_whole:
            return seed
        made = np.random.SeedSequence(seed, spawn_key=(self.index,))
        return int(made.generate_state(1, np.uint64)[0])


WHOLE = Share()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part's connections: numbers `first` to `first` + `count` - 1 of the `total` of a run."""

    first: int = 0
    count: int = 0
    total: int = 0
    share: Share = field(default=WHOLE)


ALL = Stretch()  # of a run that has no parts


def shares_of(machines: Sequence[str]) -> list[Share]:
    """A share for each part, by the name of the machine on which it is."""
    many, before = Counter(machines), Counter[str]()
    made = []
    for index, machine in enumerate(machines):
        made.append(Share(index, len(machines), before[machine], many[machine]))
        before[machine] += 1
    return made
