"""The common part of SCAN, HSCAN, SSCAN and ZSCAN: their arguments and the next members."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.glob import Matches, matcher
from c1m.protocols.resp.replies import array, bulk

CURSOR_MAX = (1 << 64) - 1

EMPTY_SCAN = b"*2\r\n$1\r\n0\r\n*0\r\n"  # of a key that is not there


@dataclass(slots=True)
class ScanOptions:
    """What may follow the cursor."""

    matches: Matches | None = None  # None: all
    count: int = 10
    kind: bytes | None = None  # the type's name, as given


def cursor_of(text: bytes) -> int:
    """The cursor. Raises CommandError for what is none."""
    if text.isdigit() and (cursor := int(text[:21])) <= CURSOR_MAX:
        return cursor
    raise CommandError(b"ERR invalid cursor")


def scan_options(args: Args, at: int, *, has_type: bool = False) -> ScanOptions:
    """MATCH, COUNT and, if `has_type`, TYPE from args[at] on. Raises CommandError."""
    options = ScanOptions()
    for index in range(at, len(args), 2):
        word = args[index].lower()
        if index + 1 == len(args):
            raise CommandError(SYNTAX)
        value = args[index + 1]
        if word == b"count":
            options.count = integer(value)
            if options.count < 1:
                raise CommandError(SYNTAX)
        elif word == b"match":
            options.matches = None if value == b"*" else matcher(value)
        elif word == b"type" and has_type:
            options.kind = value
        else:
            raise CommandError(SYNTAX)
    return options


def scan_step(
    client: Client,
    key: bytes | None,
    cursor: int,
    options: ScanOptions,
    container: Collection[bytes],
    small: int = 0,
) -> tuple[int, list[bytes]]:
    """The next cursor (0: this was all) and the members that are still there and match.

    `container` is the value of `key` (None: the keys of the database). One of up to `small`
    members is returned whole, as Redis does with one that has a compact encoding.
    """
    if len(container) <= small:
        following, members = 0, list(container)
    else:
        store = client.store
        following, members = store.snapshots.step(
            (client.db.index, key), cursor, options.count, container, store.changes, store.now_ms
        )
        members = [member for member in members if member in container]
    if options.matches is not None:
        members = list(filter(options.matches, members))
    return following, members


def scan_reply(cursor: int, replies: list[bytes]) -> bytes:
    """The reply of all of them: the next cursor, and what was found, encoded."""
    return array([bulk(b"%d" % cursor), array(replies)])
