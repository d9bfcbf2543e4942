"""Which part of a whole a load client takes, where several take one together. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Part `index`, from 0, of `of` parts. All of them together are exactly the whole."""

    index: int = 0
    of: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether nobody else takes part."""
        return self.of == 1

    def first(self, total: int) -> int:
        """Where this part of `total` things begins: the number of its first one."""
        return total * self.index // self.of

    def count(self, total: int) -> int:
        """How many of `total` things are this part's."""
        return total * (self.index + 1) // self.of - self.first(total)


WHOLE = Share()
