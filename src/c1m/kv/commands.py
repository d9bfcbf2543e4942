"""The table of commands: what each is called, takes and does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from c1m.kv.client import Client

Args = list[bytes]
Run = Callable[[Client, Args], bytes | None]  # None: no reply (yet)
R = TypeVar("R", bound=Run)

TABLE: dict[bytes, Command] = {}


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table. `arity` counts the name; negative: at least so many.

    `keys` says which arguments are keys: the first, the last (negative: from the end), the step;
    (0, 0, 0): none, or they move (`flags` has movablekeys). All as COMMAND INFO says them.
    """

    name: str
    arity: int
    flags: frozenset[str]  # write, readonly, denyoom, fast, admin, pubsub, noscript, blocking, ...
    keys: tuple[int, int, int]
    group: str  # of the reference: string, hash, connection, ...
    summary: str  # the first line of the function's docstring
    run: Run

    @property
    def is_write(self) -> bool:
        """It may change the data."""
        return "write" in self.flags


def command(
    name: str, arity: int, flags: str, keys: tuple[int, int, int] = (0, 0, 0)
) -> Callable[[R], R]:
    """Put a function into the table; its module's name is its group, its docstring its summary."""

    def enter(run: R) -> R:
        group = run.__module__.rpartition(".")[2]
        summary = (run.__doc__ or "").partition("\n")[0]
        key = name.encode()
        TABLE[key] = Command(name, arity, frozenset(flags.split()), keys, group, summary, run)
        return run

    return enter
