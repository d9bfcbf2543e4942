"""The table of commands: what each is called, takes and does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from c1m.kv.client import Client
from c1m.protocols.resp.replies import array

Args = list[bytes]
Run = Callable[[Client, Args], bytes | None]  # None: no reply (yet)
_DATA = {"bits", "expiring", "hashes", "keys", "lists", "sets", "sorted", "strings"}  # modules

R = TypeVar("R", bound=Run)

TABLE: dict[bytes, Command] = {}
SPELLED: dict[bytes, Command] = {}  # those without subcommands, in the two usual spellings


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table. `arity` counts the name; negative: at least so many.

    `keys` says which arguments are keys: the first, the last (negative: from the end), the step;
    (0, 0, 0): none, or they move (`flags` has movablekeys). All as COMMAND INFO says them.
    `counted_keys` is the index of the argument that says how many more keys follow it; 0: none.
    """

    name: str
    arity: int
    flags: frozenset[str]  # write, readonly, denyoom, fast, admin, pubsub, noscript, blocking, ...
    keys: tuple[int, int, int]
    group: str  # of the reference: string, hash, connection, ...
    summary: str  # the first line of the function's docstring
    run: Run
    is_slow: bool = False  # it may take long: it is timed
    subcommands: dict[bytes, Command] | None = None  # of a container
    counted_keys: int = 0
    key_at: int = field(init=False)  # the argument that is its only key; 0: none, -1: several

    def __post_init__(self) -> None:
        first, last, _ = self.keys
        is_one = first == last and "movablekeys" not in self.flags
        object.__setattr__(self, "key_at", first if is_one else -1)

    def only_key(self, count: int) -> int:
        """The same for `count` arguments behind the name: -1 where there may be several."""
        at = 1 if self.key_at < 0 and count == 1 else self.key_at
        return at if at <= count else -1

    @property
    def is_of_data(self) -> bool:
        """It concerns nothing but the data, and is answered at once; or PING."""
        is_it = self.group.partition("_")[0] in _DATA and "blocking" not in self.flags
        return is_it or self.name == "ping"

    @property
    def is_repeatable(self) -> bool:
        """It takes its time, and says the same until something is written."""
        return (
            self.is_slow and "readonly" in self.flags
            and not any(part in self.name for part in ("rand", "scan"))
        )  # fmt: skip

    @property
    def has_keys(self) -> bool:
        """Keys are among its arguments."""
        return self.keys != (0, 0, 0) or self.counted_keys != 0

    @property
    def is_write(self) -> bool:
        """It may change the data."""
        return "write" in self.flags


def command(
    name: str,
    arity: int,
    flags: str,
    keys: tuple[int, int, int] = (0, 0, 0),
    *,
    counted_keys: int = 0,
) -> Callable[[R], R]:
    """Put a function into the table; its module's name is its group, its docstring its summary.

    "config|get" is a subcommand: its container comes into the table with it.
    """

    def enter(run: R) -> R:
        group = run.__module__.rpartition(".")[2]
        summary = (run.__doc__ or "").partition("\n")[0]
        words = frozenset(flags.split())
        is_slow = "fast" not in words and name != "set"
        made = Command(
            name, arity, words, keys, group, summary, run, is_slow, counted_keys=counted_keys
        )
        container, _, subcommand = name.encode().partition(b"|")
        if subcommand:
            _container(container.decode(), group)[subcommand] = made
        else:
            TABLE[container] = SPELLED[container] = SPELLED[container.upper()] = made
        return run

    return enter


def _container(name: str, group: str) -> dict[bytes, Command]:
    """The subcommands of a command, most of which have no other use."""
    found = TABLE.get(name.encode())
    if found is not None and found.subcommands is not None:
        return found.subcommands
    subcommands: dict[bytes, Command] = {}

    def say_help(client: Client, args: Args) -> bytes:
        usage = f"{name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        lines = [usage]
        for subcommand, row in sorted(subcommands.items()):
            lines += [subcommand.decode().upper(), f"    {row.summary}"]
        return array([b"+%b\r\n" % line.encode() for line in lines])

    helped = "Say what the subcommands are."
    subcommands[b"help"] = Command(
        f"{name}|help", 2, frozenset({"loading", "stale"}), (0, 0, 0), group, helped, say_help
    )
    summary = f"What begins with {name.upper()}."
    row = found or Command(name, -2, frozenset(), (0, 0, 0), group, summary, say_help)
    TABLE[name.encode()] = replace(row, subcommands=subcommands)
    for spelled in (name, name.upper()):
        SPELLED.pop(spelled.encode(), None)
    return subcommands
