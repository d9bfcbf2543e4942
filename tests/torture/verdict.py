"""What one of these tests has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Verdict:
    """`figures` by name, in the order in which they are shown; `wrong`: sentences, none if all is
    well."""

    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def check(self, is_so: bool, otherwise: str) -> None:
        """Note what is wrong."""
        if not is_so:
            self.wrong.append(otherwise)


@dataclass(frozen=True, slots=True)
class Torture:
    """A test: `run(scale)` does it, whole at 1.0 and in proportion below."""

    name: str
    asked: str  # what it must show, in a sentence
    run: Callable[[float], Verdict]
    replay: Callable[[int], None] | None = None  # one of its seeds again
