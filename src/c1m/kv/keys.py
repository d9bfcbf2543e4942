"""Commands on keys of any type, and on databases."""

from __future__ import annotations

from collections import deque
from typing import Any

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.database import Database
from c1m.kv.errors import NO_SUCH_KEY, SYNTAX, CommandError
from c1m.kv.glob import matcher
from c1m.kv.large_hash import LargeHash
from c1m.kv.scan import cursor_of, scan_options, scan_reply, scan_step
from c1m.protocols.resp.replies import NULLS, OK, bulk, bulks
from c1m.protocols.resp.replies import integer as number

TYPES: dict[type, bytes] = {
    bytes: b"string",
    bytearray: b"string",
    dict: b"hash",
    LargeHash: b"hash",
    deque: b"list",
}
SAME_OBJECT = b"ERR source and destination objects are the same"


def type_name(value: Any) -> bytes:
    """What TYPE calls a value."""
    return TYPES.get(type(value)) or (b"set" if isinstance(value, set) else b"zset")


def copy_of(value: Any) -> Any:
    """The same value, which may change alone."""
    return value if isinstance(value, bytes) else value.copy()


def database_of(client: Client, text: bytes) -> Database:
    """A database by its index, as given. Raises CommandError where there is none."""
    index = _index(text)
    if not 0 <= index < len(client.store.databases):
        raise CommandError(b"ERR DB index is out of range")
    return client.store.databases[index]


def _index(text: bytes) -> int:
    index = integer(text)
    if not -(1 << 31) <= index < 1 << 31:
        raise CommandError(
            b"ERR value is out of range, value must between -2147483648 and 2147483647"
        )
    return index


def _not_in_cluster(client: Client, what: bytes) -> None:
    """Raise CommandError in a cluster, which has one database."""
    if client.store.cluster is not None:
        raise CommandError(b"ERR %b is not allowed in cluster mode" % what)


# --- keys by name -----------------------------------------------------------------------------


@command("del", -2, "write", (1, -1, 1))
def del_(client: Client, args: Args) -> bytes:
    """Remove keys."""
    return _remove(client.db, args[1:])


@command("unlink", -2, "write fast", (1, -1, 1))
def unlink(client: Client, args: Args) -> bytes:
    """Remove keys: the same as DEL, which lets go of large values bit by bit, too."""
    return _remove(client.db, args[1:])


def _remove(db: Database, names: list[bytes]) -> bytes:
    count = 0
    for key in names:
        value = db.find(key)
        if value is not None:
            db.remove(key)
            db.store.garbage.throw(value)
            db.changed(key, b"del", "g")
            count += 1
    return number(count)


@command("exists", -2, "readonly fast", (1, -1, 1))
def exists(client: Client, args: Args) -> bytes:
    """How many of the keys there are; one that is named twice counts twice."""
    return _count(client.db, args[1:])


@command("touch", -2, "readonly fast", (1, -1, 1))
def touch(client: Client, args: Args) -> bytes:
    """How many of the keys there are; they count as used."""
    return _count(client.db, args[1:])


def _count(db: Database, names: list[bytes]) -> bytes:
    return number(sum(db.find(key) is not None for key in names))


@command("type", 2, "readonly fast", (1, 1, 1))
def type_(client: Client, args: Args) -> bytes:
    """The type of a key's value."""
    value = client.db.find(args[1])
    return b"+%b\r\n" % (b"none" if value is None else type_name(value))


@command("rename", 3, "write", (1, 2, 1))
def rename(client: Client, args: Args) -> bytes:
    """Give a key another name, in the place of what has it."""
    if client.db.find(args[1]) is None:
        raise CommandError(NO_SUCH_KEY)
    if args[1] != args[2]:
        _move(client.db, args[1], client.db, args[2], b"rename_from", b"rename_to")
    return OK


@command("renamenx", 3, "write fast", (1, 2, 1))
def renamenx(client: Client, args: Args) -> bytes:
    """Give a key another name that no key has."""
    if client.db.find(args[1]) is None:
        raise CommandError(NO_SUCH_KEY)
    if client.db.find(args[2]) is not None:
        return number(0)
    _move(client.db, args[1], client.db, args[2], b"rename_from", b"rename_to")
    return number(1)


@command("move", 3, "write fast", (1, 1, 1))
def move(client: Client, args: Args) -> bytes:
    """Move a key to another database that has none of its name."""
    _not_in_cluster(client, b"MOVE")
    target = database_of(client, args[2])
    if target is client.db:
        raise CommandError(SAME_OBJECT)
    if client.db.find(args[1]) is None or target.find(args[1]) is not None:
        return number(0)
    _move(client.db, args[1], target, args[1], b"move_from", b"move_to")
    return number(1)


def _move(
    db: Database, key: bytes, target: Database, name: bytes, event_from: bytes, event_to: bytes
) -> None:
    value, when_ms = db.data[key], db.expires.get(key)
    target.store.garbage.throw(target.find(name))
    db.remove(key)
    target.remove(name)
    target.put(name, value)
    if when_ms is not None:
        target.expire_at(name, when_ms)
    db.changed(key, event_from, "g")
    target.changed(name, event_to, "g")


@command("copy", -3, "write denyoom", (1, 2, 1))
def copy(client: Client, args: Args) -> bytes:
    """Copy a value to another key, of another database with DB, in another's place with REPLACE."""
    target, is_replacing = client.db, False
    words = args[3:]
    while words:
        word = words.pop(0).lower()
        if word == b"replace":
            is_replacing = True
        elif word == b"db" and words:
            target = database_of(client, words.pop(0))
        else:
            raise CommandError(SYNTAX)
    if target.index:
        _not_in_cluster(client, b"Copying to another database")
    if target is client.db and args[1] == args[2]:
        raise CommandError(SAME_OBJECT)
    value, before = client.db.find(args[1]), target.find(args[2])
    if value is None or (before is not None and not is_replacing):
        return number(0)
    target.store.garbage.throw(before)
    target.remove(args[2])
    target.put(args[2], copy_of(value))
    if args[1] in client.db.expires:
        target.expire_at(args[2], client.db.expires[args[1]])
    target.changed(args[2], b"copy_to", "g")
    return number(1)


# --- keys that are looked for -------------------------------------------------------------------


@command("keys", 2, "readonly")
def keys(client: Client, args: Args) -> bytes:
    """All keys that match a pattern."""
    data, expires, now_ms = client.db.data, client.db.expires, client.store.now_ms
    found = list(data) if args[1] == b"*" else list(filter(matcher(args[1]), data))
    if expires:
        found = [key for key in found if key not in expires or expires[key] > now_ms]
    return bulks(found)


@command("scan", -2, "readonly")
def scan(client: Client, args: Args) -> bytes:
    """Go through all keys, some with each call."""
    cursor = cursor_of(args[1])
    options = scan_options(args, 2, has_type=True)
    db = client.db
    following, found = scan_step(client, None, cursor, options, db.data)
    if options.kind is not None:
        kind = options.kind.lower()
        found = [key for key in found if type_name(db.data[key]) == kind]
    if db.expires:
        found = [key for key in found if db.find(key) is not None]
    return scan_reply(following, list(map(bulk, found)))


@command("randomkey", 1, "readonly")
def randomkey(client: Client, args: Args) -> bytes:
    """A key at random."""
    db = client.db
    for _ in range(100):  # as Redis: where so many have expired, one that has is good enough
        key = db.random_keys.draw(db.data, db.store.changes)
        if key is None:
            break
        if db.find(key) is not None:
            return bulk(key)
    return NULLS[client.protocol] if key is None else bulk(key)


# --- databases ----------------------------------------------------------------------------------


@command("dbsize", 1, "readonly fast")
def dbsize(client: Client, args: Args) -> bytes:
    """How many keys the database has."""
    return number(len(client.db.data))


@command("select", 2, "loading stale fast")
def select(client: Client, args: Args) -> bytes:
    """Use another database from now on."""
    if _index(args[1]):
        _not_in_cluster(client, b"SELECT")
    client.db = database_of(client, args[1])
    return OK


@command("swapdb", 3, "write fast")
def swapdb(client: Client, args: Args) -> bytes:
    """Exchange the contents of two databases."""
    _not_in_cluster(client, b"SWAPDB")
    for text, which in ((args[1], b"first"), (args[2], b"second")):
        if abs(integer(text, b"ERR invalid %b DB index" % which)) >> 31:
            raise CommandError(b"ERR invalid %b DB index" % which)
    one, other = database_of(client, args[1]), database_of(client, args[2])
    if one is not other:
        one.swap(other)
    return OK


@command("flushdb", -1, "write")
def flushdb(client: Client, args: Args) -> bytes:
    """Remove all keys of the database."""
    _check_flush(args)
    client.db.flush()
    return OK


@command("flushall", -1, "write")
def flushall(client: Client, args: Args) -> bytes:
    """Remove all keys of all databases."""
    _check_flush(args)
    for db in client.store.databases:
        if db.data:
            db.flush()
    return OK


def _check_flush(args: Args) -> None:
    """ASYNC and SYNC are the same here: the keys are gone at once, their memory bit by bit."""
    if len(args) > 2 or (len(args) == 2 and args[1].lower() not in (b"async", b"sync")):
        raise CommandError(SYNTAX)
