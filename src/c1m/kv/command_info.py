"""COMMAND: the table of commands, as clients read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from c1m.kv.client import Client
from c1m.kv.command_keys import keys_of, uses_of
from c1m.kv.commands import TABLE, Args, Command, command
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.glob import matcher
from c1m.protocols.resp.replies import EMPTY, NULL_ARRAYS, array, bulk, bulks, mapping, set_of
from c1m.protocols.resp.replies import integer as number

GROUPS = {
    "bits": "bitmap", "blocking": "list", "command": "server", "connection": "connection",
    "hashes": "hash", "information": "server", "lists": "list", "pubsub": "pubsub",
    "server": "server", "sets": "set", "sorted": "sorted-set", "strings": "string",
    "transactions": "transactions",
}  # fmt: skip
_CATEGORIES = {
    "bitmap": "bitmap", "connection": "connection", "generic": "keyspace", "hash": "hash",
    "list": "list", "pubsub": "pubsub", "set": "set", "sorted-set": "sortedset",
    "string": "string", "transactions": "transaction",
}  # fmt: skip
ALL_CATEGORIES = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
    "hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous",
    "connection", "transaction", "scripting",
)  # fmt: skip
_GROUP_OF = {
    "asking": "cluster", "cluster": "cluster", "dbsize": "server", "flushall": "server",
    "flushdb": "server", "function": "scripting", "readonly": "cluster", "readwrite": "cluster",
    "script": "scripting", "select": "connection", "swapdb": "server", "wait": "generic",
}  # fmt: skip
_OTHERS = {
    "asking": {"connection"}, "command": {"connection"}, "dbsize": {"keyspace"},
    "flushall": {"keyspace"},
    "flushdb": {"keyspace"}, "function": {"scripting"}, "lastsave": {"admin", "dangerous"},
    "readonly": {"connection"}, "readwrite": {"connection"}, "role": {"admin"},
    "script": {"scripting"}, "sort": {"set", "sortedset", "list"},
    "sort_ro": {"set", "sortedset", "list"}, "swapdb": {"keyspace"}, "wait": {"connection"},
}  # fmt: skip
_DANGEROUS = {"flushall", "flushdb", "info", "keys", "role", "swapdb", "sort", "sort_ro", "restore"}
_FLAGS = "loading stale"


def group_of(row: Command) -> str:
    """The group of Redis's reference that a command is in."""
    if row.name.startswith("bz"):
        return "sorted-set"
    found = _GROUP_OF.get(row.name.partition("|")[0])
    return found or GROUPS.get(row.group.partition("_")[0], "generic")


def categories(row: Command) -> list[str]:
    """The categories of access control, in Redis's order."""
    container = row.name.partition("|")[0]
    if row.subcommands is not None and container != "command":
        return ["slow"]
    found = set(_OTHERS.get(container, ()))
    if row.name not in ("wait", "pubsub|help", "sort", "sort_ro"):
        found.add(_CATEGORIES.get(group_of(row), ""))
    found |= {"read"} if "readonly" in row.flags else set()
    found |= row.flags & {"write", "admin", "pubsub", "blocking"}
    found.add("fast" if "fast" in row.flags else "slow")
    if "admin" in row.flags or row.name in _DANGEROUS:
        found.add("dangerous")
    return [category for category in ALL_CATEGORIES if category in found]


def rows(container: dict[bytes, Command] | None = None) -> Iterable[Command]:
    """All commands, each container's subcommands behind it."""
    for row in (TABLE if container is None else container).values():
        yield row
        if row.subcommands is not None:
            yield from rows(row.subcommands)


def _described(row: Command, protocol: int) -> bytes:
    flags = [b"+%b\r\n" % flag.encode() for flag in sorted(row.flags)]
    said = [b"+@%b\r\n" % category.encode() for category in categories(row)]
    below = [_described(each, protocol) for each in (row.subcommands or {}).values()]
    return array(
        [
            bulk(row.name.encode()),
            number(row.arity),
            set_of(flags, protocol),
            *map(number, row.keys),
            set_of(said, protocol),
            EMPTY,  # tips
            EMPTY,  # key specifications: what the three numbers above do not say
            array(below),
        ]
    )


@command("command", -1, _FLAGS)
def command_(client: Client, args: Args) -> bytes:
    """All commands: names, arities, flags, keys."""
    return array([_described(row, client.protocol) for row in TABLE.values()])


@command("command|count", 2, _FLAGS)
def command_count(client: Client, args: Args) -> bytes:
    """How many commands there are."""
    return number(len(TABLE))


@command("command|info", -2, _FLAGS)
def command_info(client: Client, args: Args) -> bytes:
    """The same as COMMAND, of some commands."""
    found = [_named(name) for name in args[2:]] if len(args) > 2 else list(TABLE.values())
    nothing = NULL_ARRAYS[client.protocol]
    return array([_described(row, client.protocol) if row else nothing for row in found])


def _named(name: bytes) -> Command | None:
    container, _, subcommand = name.lower().partition(b"|")
    row = TABLE.get(container)
    if row is None or not subcommand:
        return row
    return (row.subcommands or {}).get(subcommand)


@command("command|docs", -2, _FLAGS)
def command_docs(client: Client, args: Args) -> bytes:
    """Summaries and groups of commands."""
    found = [_named(name) for name in args[2:]] if len(args) > 2 else list(TABLE.values())
    pairs = []
    for row in found:
        if row is not None:
            pairs += [bulk(row.name.encode()), _documented(row, client.protocol)]
    return mapping(pairs, client.protocol)


def _documented(row: Command, protocol: int) -> bytes:
    pairs = [
        bulk(b"summary"), bulk(row.summary.encode()),
        bulk(b"group"), bulk(group_of(row).encode()),
    ]  # fmt: skip
    if row.subcommands is not None:
        below = []
        for each in row.subcommands.values():
            below += [bulk(each.name.encode()), _documented(each, protocol)]
        pairs += [bulk(b"subcommands"), mapping(below, protocol)]
    return mapping(pairs, protocol)


@command("command|list", -2, _FLAGS)
def command_list(client: Client, args: Args) -> bytes:
    """Names: all, or FILTERBY MODULE, ACLCAT or PATTERN."""
    fits: Callable[[Command], object] = bool
    if len(args) > 2:
        if len(args) != 5 or args[2].lower() != b"filterby":
            raise CommandError(SYNTAX)
        kind, wanted = args[3].lower(), args[4]
        if kind == b"pattern":
            matches = matcher(wanted.lower())
            fits = lambda row: matches(row.name.encode())  # noqa: E731
        elif kind == b"aclcat":
            category = wanted.decode("latin-1").lower()
            fits = lambda row: category in categories(row)  # noqa: E731
        elif kind == b"module":
            fits = lambda row: False  # noqa: E731
        else:
            raise CommandError(SYNTAX)
    return set_of([bulk(row.name.encode()) for row in rows() if fits(row)], client.protocol)


# --- the keys of a command --------------------------------------------------------------------


@command("command|getkeys", -4, _FLAGS)
def command_getkeys(client: Client, args: Args) -> bytes:
    """The keys among the arguments of a command."""
    return bulks(keys_of(args[2:])[1])


@command("command|getkeysandflags", -4, _FLAGS)
def command_getkeysandflags(client: Client, args: Args) -> bytes:
    """The same, and what is done to each: RO, RW, OW or RM, and access, update, insert, delete."""
    row, keys = keys_of(args[2:])
    said = []
    for key, words in zip(keys, uses_of(row, args[2:], len(keys)), strict=True):
        flags = set_of([b"+%b\r\n" % word.encode() for word in words], client.protocol)
        said.append(array([bulk(key), flags]))
    return array(said)
