"""The quick forms of common commands: many at once, given as columns. Pure.

A quick form does what its command does for each row, in order, for connections that have nothing
unusual about them, and does nothing at all where it would not be the same: then it returns None,
and the commands run one by one. A test holds both forms equal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import Any

from c1m.kv.arguments import INT64_MAX
from c1m.kv.database import Database
from c1m.kv.expiry import NEVER_MS
from c1m.protocols.resp.batch import Column
from c1m.protocols.resp.replies import NULLS, OK, bulk

Replies = list[bytes]  # one for each command
Form = Callable[[Database, int, list[Column]], "Replies | None"]

_SHORT = 1024  # bytes: values whose replies' heads are made already
_HEADS = [b"$%d\r\n" % size for size in range(_SHORT)]
_INTEGERS = [b":%d\r\n" % number for number in range(_SHORT)]
_STRINGS = {bytes}

FORMS: dict[bytes, tuple[int, Form]] = {}  # by name: the number of columns, and the form


def form(name: str, columns: int) -> Callable[[Form], Form]:
    """Enter a quick form for a command with so many arguments."""

    def enter(run: Form) -> Form:
        for spelled in (name.upper().encode(), name.encode()):
            FORMS[spelled] = columns, run
        return run

    return enter


def has_expired(db: Database, keys: Column) -> bool:
    """Whether one of these keys is there no longer."""
    expires = db.expires
    return bool(expires) and min(map(expires.get, keys, repeat(NEVER_MS))) <= db.store.now_ms


def wrote(db: Database, keys: Column, event: bytes, kind: str) -> None:
    """These keys were changed, one after the other: see `Database.changed`."""
    if db.watchers or db.store.listeners:
        for key in keys:
            db.changed(key, event, kind)
    else:
        db.store.changes += len(keys)
        db.store.wrote(db, keys)


def number(value: int) -> bytes:
    """An integer as a reply."""
    return _INTEGERS[value] if 0 <= value < _SHORT else b":%d\r\n" % value


@form("get", 1)
def get(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """Values, as they are in the dict."""
    keys = columns[0]
    if has_expired(db, keys):
        return None
    values: list[Any] = list(map(db.data.get, keys))
    kinds = set(map(type, values))
    if kinds == _STRINGS:
        if max(map(len, values)) < _SHORT:
            return [_HEADS[len(value)] + value + b"\r\n" for value in values]
        return list(map(bulk, values))
    nil = NULLS[protocol]
    if kinds <= {bytes, bytearray, type(None)}:
        return [nil if value is None else bulk(value) for value in values]
    return None


@form("set", 2)
def set_(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """Values go into the dict; no key expires any longer."""
    keys, values = columns
    if max(map(len, values)) > db.store.value_max:
        return None
    db.data.update(zip(keys, values, strict=True))
    if db.expires:
        for key in keys:
            db.expires.pop(key, None)
    wrote(db, keys, b"set", "$")
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
    wrote(db, keys, b"incrby", "$")
    return replies


def aggregates(db: Database, keys: Column, kind: type) -> bool:
    """Whether all these keys hold values of this type now, and nobody wants to know how they change
    (who keeps them keeps the commands, see `execute`).
    """
    if db.store.listeners or db.store.journal is not None:
        return False
    return not has_expired(db, keys) and set(map(type, map(db.data.get, keys))) == {kind}


def _push(is_left: bool, event: bytes) -> Form:
    def push(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
        """One item each, onto lists that are there."""
        keys, items = columns
        if not aggregates(db, keys, deque):
            return None
        data, replies = db.data, []
        for key, item in zip(keys, items, strict=True):
            queue = data[key]
            if is_left:
                queue.appendleft(item)
            else:
                queue.append(item)
            replies.append(b":%d\r\n" % len(queue))
        wrote(db, keys, event, "l")
        return replies

    return push


def _pop(is_left: bool, event: bytes) -> Form:
    def pop(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
        """One item each, from lists that hold more than are taken."""
        keys, data = columns[0], db.data
        if not aggregates(db, keys, deque):
            return None
        if min(len(data[key]) for key in set(keys)) <= len(keys):
            return None
        if is_left:
            items = [data[key].popleft() for key in keys]
        else:
            items = [data[key].pop() for key in keys]
        wrote(db, keys, event, "l")
        return list(map(bulk, items))

    return pop


form("lpush", 2)(_push(True, b"lpush"))
form("rpush", 2)(_push(False, b"rpush"))
form("lpop", 1)(_pop(True, b"lpop"))
form("rpop", 1)(_pop(False, b"rpop"))


@form("hset", 3)
def hset(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One field each, of hashes that are there."""
    keys, fields, values = columns
    if not aggregates(db, keys, dict) or max(map(len, values)) > db.store.value_max:
        return None
    data, replies = db.data, []
    for key, field, value in zip(keys, fields, values, strict=True):
        pairs = data[key]
        size = len(pairs)
        pairs[field] = value
        replies.append(_INTEGERS[len(pairs) - size])
    wrote(db, keys, b"hset", "h")
    return replies


@form("hget", 2)
def hget(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One field each, of hashes that are there."""
    keys, fields = columns
    if not aggregates(db, keys, dict):
        return None
    nil, data = NULLS[protocol], db.data
    values = [data[key].get(field) for key, field in zip(keys, fields, strict=True)]
    return [nil if value is None else bulk(value) for value in values]
