"""The quick forms of common commands: many at once, given as columns. Pure.

A quick form does what its command does for each row, in order, for connections that have nothing
unusual about them, and does nothing at all where it would not be the same: then it returns None,
and the commands run one by one. A test holds both forms equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from typing import Any

from c1m.kv.arguments import INT64_MAX
from c1m.kv.commands import SPELLED, TABLE, Run
from c1m.kv.database import Database
from c1m.kv.expiry import NEVER_MS
from c1m.protocols.resp.batch import Column
from c1m.protocols.resp.replies import NULLS, OK, bulk

Replies = list[bytes]  # one for each command
Form = Callable[[Database, int, list[Column]], "Replies | None"]

SUM_MAX = 8 << 20  # bytes of values that are not copied all at once
_SHORT = 1024  # bytes: values whose replies' heads are made already
_HEADS = [b"$%d\r\n" % size for size in range(_SHORT)]
_STRINGS = {bytes}

FORMS: dict[bytes, tuple[int, Form]] = {}  # by name: the number of columns, and the form


def form(name: str, columns: int) -> Callable[[Form], Form]:
    """Enter a quick form for a command with so many arguments."""

    def enter(run: Form) -> Form:
        for spelled in (name.upper().encode(), name.encode()):
            FORMS[spelled] = columns, run
        return run

    return enter


def override(name: str, run: Run) -> None:
    """Another function does what a command did, also where many of it come at once."""
    lower = name.encode()
    TABLE[lower] = replace(TABLE[lower], run=run)
    for spelled in (lower, lower.upper()):
        SPELLED[spelled] = TABLE[lower]
        FORMS.pop(spelled, None)


def has_expired(db: Database, keys: Column) -> bool:
    """Whether one of these keys is there no longer."""
    expires = db.expires
    return bool(expires) and min(map(expires.get, keys, repeat(NEVER_MS))) <= db.store.now_ms


@form("get", 1)
def get(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """Values, as they are in the dict."""
    keys = columns[0]
    if has_expired(db, keys):
        return None
    values: list[Any] = list(map(db.data.get, keys))
    kinds = set(map(type, values))
    if kinds == _STRINGS and max(map(len, values)) < _SHORT:
        return [_HEADS[len(value)] + value + b"\r\n" for value in values]
    nil = NULLS[protocol]
    if kinds <= {bytes, bytearray, type(None)}:
        if sum(len(value) for value in values if value is not None) > SUM_MAX:
            return None
        return [nil if value is None else bulk(value) for value in values]
    return None


@form("set", 2)
def set_(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """Values go into the dict; no key expires any longer."""
    keys, values = columns
    if has_expired(db, keys) or max(map(len, values)) > db.store.value_max:
        return None
    db.set_strings(keys, values)
    return [OK] * len(keys)


@form("incr", 1)
def incr(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """Numbers as Redis writes them, one more each time."""
    keys, data = columns[0], db.data
    if has_expired(db, keys):
        return None
    totals: dict[bytes, int] = {}
    replies = []
    for key in keys:
        total = totals.get(key)
        if total is None:
            value = data.get(key, b"0")
            if type(value) is not bytes or len(value) > 19:
                return None
            try:
                total = int(value)
            except ValueError:
                return None
            if b"%d" % total != value:
                return None
        if total >= INT64_MAX:
            return None
        totals[key] = total = total + 1
        replies.append(b":%d\r\n" % total)
    for key, total in totals.items():
        data[key] = b"%d" % total
    db.changed_all(keys, b"incrby", "$")
    return replies
