"""Which arguments of a command are keys. Pure."""

from __future__ import annotations

import re

from c1m.kv.commands import Args, Command
from c1m.kv.errors import CommandError

_INVALID = b"ERR Invalid arguments specified for command"
_NUMBER = re.compile(rb"\s*[+-]?[0-9]{1,18}")  # as C reads it here: 01, or 2x


def named_keys(row: Command, args: Args) -> list[bytes]:
    """The keys among a command's arguments, of which there are enough.

    Raises CommandError where they say that there are more keys than there are.
    """
    if row.key_at > 0:
        return [args[row.key_at]]
    first, last, step = row.keys
    end = (last if last >= 0 else len(args) + last) + 1
    keys = args[first:end:step] if first else []
    if row.counted_keys:
        at = row.counted_keys
        number = _NUMBER.match(args[at])
        count = int(number[0]) if number is not None else 0
        if not 0 < count < len(args) - at:
            raise CommandError(_INVALID)
        keys += args[at + 1 : at + 1 + count]
    if row.name == "sort":
        keys += _stored_by_sort(args)
    return keys


def _stored_by_sort(args: Args) -> list[bytes]:
    """The key behind the last STORE, which is no option's argument."""
    at, found = 2, []
    while at < len(args):
        option = args[at].lower()
        if option == b"store":
            found = args[at + 1 : at + 2]
        at += {b"limit": 3, b"get": 2, b"by": 2, b"store": 2}.get(option, 1)
    return found
