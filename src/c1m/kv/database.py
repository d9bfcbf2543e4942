"""One key space: values by key, when keys expire, and who is to know of a change. Pure.

A value is `bytes` (a string), `bytearray` (a string that was changed in place: APPEND, SETRANGE,
SETBIT), `dict` (a hash), `deque` (a list), `Members` (a set) or `SortedSet`. An empty hash, list or
set is no value: the command that empties one removes its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from c1m.kv.errors import WRONG_TYPE, CommandError
from c1m.kv.expiry import NEVER_MS, Deadlines
from c1m.kv.garbage import LARGE, Garbage
from c1m.kv.large_hash import SMALL
from c1m.kv.random_keys import RandomKeys
from c1m.kv.snapshots import Snapshots
from c1m.kv.weights import Weights
from c1m.protocols.resp.requests import BULK_MAX

Value = Any
Listener = Callable[["Database", bytes, bytes, str], object]


class Shared:
    """What all databases share. `now_ms` is the Unix time in milliseconds of the tick."""

    def __init__(self) -> None:
        self.now_ms = 0  # whoever runs commands sets it
        self.value_max = BULK_MAX  # bytes of a string
        self._now_s = 0
        self.changes = 0  # since the start: what INFO calls rdb_changes_since_last_save
        self.expired = 0  # keys
        self.look_ms = NEVER_MS  # when to look which keys have expired
        self.garbage = Garbage()  # what was removed and is too large to go at once
        self.ready: list[tuple[Database, bytes]] = []  # keys that came and are waited for
        self.listeners: list[Listener] = []  # called for each change: see Database.changed
        self.new_key: Callable[[Database, bytes], object] | None = None  # called before it is there
        self.journal: Any = None  # where the data is kept: the Journal
        self.small_hash = SMALL  # what Redis keeps in one piece
        self.snapshots = Snapshots()  # what scans go through

    @property
    def now_s(self) -> int:
        """Unix time in seconds: the same object for all of a second."""
        if self.now_ms // 1000 != self._now_s:
            self._now_s = self.now_ms // 1000
        return self._now_s

    def flushed(self, db: Database) -> None:
        """All keys of a database were removed."""

    def swapped(self, one: Database, other: Database) -> None:
        """Two databases have exchanged their contents."""

    def wrote(self, db: Database, keys: Iterable[bytes]) -> None:
        """Keys of a database were changed by quick forms of commands, without `changed`."""


class Database:
    """`data` and `expires` (Unix time in milliseconds) are read by everybody, written only here
    and by the quick forms of commands, which look at `is_plain` before.
    """

    def __init__(self, index: int, store: Shared) -> None:
        self.index = index
        self.place = index  # where its keys are kept on disk: SWAPDB exchanges these
        self.store = store
        self.data: dict[bytes, Value] = {}
        self.expires: dict[bytes, int] = {}
        self.deadlines = Deadlines()
        self.random_keys = RandomKeys()
        self.weights: Weights | None = None  # where memory is bounded
        self.watchers: dict[bytes, set[Any]] = {}  # the clients that WATCH a key
        self.waiting: dict[bytes, Any] = {}  # a key that a blocked client waits for

    # --- looking ------------------------------------------------------------------------------

    def find(self, key: bytes) -> Value | None:
        """The value of a key that has not expired."""
        if self.expires and self.expires.get(key, NEVER_MS) <= self.store.now_ms:
            self.expire(key)
            return None
        if self.weights is not None and self.weights.used is not None:
            self.note_use(key)
        return self.data.get(key)

    def note_use(self, key: bytes) -> None:
        """The key is used now, where that is to be known."""
        if self.weights is not None and self.weights.used is not None and key in self.data:
            self.weights.used[key] = self.store.now_s

    def find_of(self, key: bytes, kind: type) -> Any:
        """The same, of one type. Raises CommandError (WRONGTYPE) for a value of another one."""
        if self.expires or self.weights is not None:
            value = self.find(key)
        else:
            value = self.data.get(key)
        if value is None or isinstance(value, kind):
            return value
        raise CommandError(WRONG_TYPE)

    def string(self, key: bytes) -> bytes | bytearray | None:
        """A string's bytes. Raises CommandError (WRONGTYPE) for a value of another type."""
        has_care = self.expires or self.weights is not None
        value = self.find(key) if has_care else self.data.get(key)
        if value is None or isinstance(value, bytes | bytearray):
            return value
        raise CommandError(WRONG_TYPE)

    # --- changing: `changed` follows, with the event's name -----------------------------------

    def put(self, key: bytes, value: Value, *, keep_ttl: bool = False) -> None:
        """Set a key, which expires no longer unless `keep_ttl`."""
        if self.waiting and key in self.waiting and key not in self.data:
            self.store.ready.append((self, key))
        if self.store.new_key is not None and key not in self.data:
            self.store.new_key(self, key)
        self.data[key] = value
        if not keep_ttl:
            self.expires.pop(key, None)

    def remove(self, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        self.expires.pop(key, None)
        return self.data.pop(key, None) is not None

    def expire_at(self, key: bytes, when_ms: int) -> None:
        """The key expires then."""
        before = self.expires.get(key)
        self.expires[key] = when_ms
        if before is None or when_ms < before:
            look_ms = self.deadlines.add(key, when_ms, self.store.now_ms)
            if look_ms < self.store.look_ms:
                self.store.look_ms = look_ms

    def persist(self, key: bytes) -> bool:
        """The key expires no longer; whether it was to."""
        return self.expires.pop(key, None) is not None

    def expire(self, key: bytes) -> None:
        """Remove a key whose time has come."""
        self.store.garbage.throw(self.data.get(key))
        self.remove(key)
        self.store.expired += 1
        self.changed(key, b"expired", "x")

    def changed(self, key: bytes, event: bytes, kind: str) -> None:
        """A key was changed: tell those who watch it, and those who keep or count it.

        `event` and `kind` (a letter of notify-keyspace-events) are those of Redis's keyspace
        notifications, https://redis.io/docs/latest/develop/use/keyspace-notifications/.
        """
        store = self.store
        store.changes += 1
        if self.watchers and key in self.watchers:
            for client in self.watchers[key]:
                client.is_stale = True
        if store.listeners:
            for listener in store.listeners:
                listener(self, key, event, kind)
        if store.journal is not None:
            store.journal.changed(self, key, event)

    def changed_all(self, keys: Sequence[bytes], event: bytes, kind: str) -> None:
        """These keys were changed, one after the other."""
        if self.watchers or self.store.listeners:
            for key in keys:
                self.changed(key, event, kind)
        else:
            self.store.changes += len(keys)
            self.store.wrote(self, keys)

    def set_strings(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set keys to strings, in order; says that they are changed."""
        if self.store.new_key is not None:
            for key, value in zip(keys, values, strict=True):
                self.put(key, value)
                self.changed(key, b"set", "$")
            return
        self.data.update(zip(keys, values, strict=True))
        if self.expires:
            for key in keys:
                self.expires.pop(key, None)
        self.changed_all(keys, b"set", "$")

    def all_changed(self, *others: dict[bytes, Value]) -> None:
        """Before all keys are removed, or replaced by `others`: tell those who watch one."""
        for key, clients in self.watchers.items():
            if any(key in data for data in (self.data, *others)):
                for client in clients:
                    client.is_stale = True

    def flush(self) -> None:
        """Remove all keys; their memory goes bit by bit."""
        self.all_changed()
        garbage = self.store.garbage
        garbage.throw(self.data)
        garbage.throw(self.expires)
        if len(self.data) <= LARGE:
            for value in self.data.values():
                garbage.throw(value)
        self.data, self.expires, self.deadlines = {}, {}, Deadlines()
        self.random_keys = RandomKeys()
        if self.weights is not None:
            garbage.throw(self.weights.of)
            garbage.throw(self.weights.used)
            self.weights = self.weights.leave()
        self.store.changes += 1
        self.store.flushed(self)

    def swap(self, other: Database) -> None:
        """Exchange the contents of two databases."""
        self.all_changed(other.data)
        other.all_changed(self.data)
        self.data, other.data = other.data, self.data
        self.expires, other.expires = other.expires, self.expires
        self.deadlines, other.deadlines = other.deadlines, self.deadlines
        self.random_keys, other.random_keys = other.random_keys, self.random_keys
        self.weights, other.weights = other.weights, self.weights
        for db in (self, other):
            self.store.ready += [(db, key) for key in db.waiting if key in db.data]
        self.store.changes += 1
        self.store.swapped(self, other)
