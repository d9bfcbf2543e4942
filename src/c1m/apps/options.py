"""An option that a server of `c1m serve` brings along: for its command and for its class. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from c1m.arguments import Choice, Kind, Number


@dataclass(frozen=True, slots=True)
class AppOption:
    """`name` is that of the argument, "max_memory"; the command has it as --max-memory."""

    name: str
    kind: Kind | Choice | Number
    help: str
    metavar: str = ""
    default: Any = None

    @property
    def flag(self) -> str:
        """As the command has it."""
        return "--" + self.name.replace("_", "-")

    def check(self, given: Any, name: str = "") -> Any:
        """The value; None stays None. Raises UsageError for what cannot be meant."""
        return None if given is None else self.kind.check(name or self.name, given)
