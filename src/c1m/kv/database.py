"""One key space: values by key, when keys expire, and who is to know of a change. Pure.

A value is `bytes` (a string), `bytearray` (a string that was changed in place: APPEND, SETRANGE,
SETBIT), `dict` (a hash), `deque` (a list), `Members` (a set) or `SortedSet`. An empty hash, list or
set is no value: the command that empties one removes its key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from c1m.kv.errors import WRONG_TYPE, CommandError
from c1m.kv.snapshots import Snapshots

Value = Any
Listener = Callable[["Database", bytes, bytes, str], object]


class Shared:
    """What all databases share. `now_ms` is the Unix time in milliseconds of the tick."""

    def __init__(self) -> None:
        self.now_ms = 0  # whoever runs commands sets it
        self.changes = 0  # since the start: what INFO calls rdb_changes_since_last_save
        self.expired = 0  # keys
        self.ready: list[tuple[Database, bytes]] = []  # keys that changed and are waited for
        self.listeners: list[Listener] = []  # called for each change: see Database.changed
        self.snapshots = Snapshots()  # what scans go through


class Database:
    """`data` and `expires` (Unix time in milliseconds) are read by everybody, written only here
    and by the quick forms of commands, which look at `is_plain` before.
    """

    def __init__(self, index: int, store: Shared) -> None:
        self.index = index
        self.store = store
        self.data: dict[bytes, Value] = {}
        self.expires: dict[bytes, int] = {}
        self.watchers: dict[bytes, set[Any]] = {}  # the clients that WATCH a key
        self.waiting: dict[bytes, Any] = {}  # a key that a blocked client waits for

    # --- looking ------------------------------------------------------------------------------

    def find(self, key: bytes) -> Value | None:
        """The value of a key that has not expired."""
        if key in self.expires and self.expires[key] <= self.store.now_ms:
            self.expire(key)
            return None
        return self.data.get(key)

    def find_of(self, key: bytes, kind: type) -> Any:
        """The same, of one type. Raises CommandError (WRONGTYPE) for a value of another one."""
        value = self.find(key)
        if value is None or isinstance(value, kind):
            return value
        raise CommandError(WRONG_TYPE)

    def string(self, key: bytes) -> bytes | bytearray | None:
        """A string's bytes. Raises CommandError (WRONGTYPE) for a value of another type."""
        value = self.find(key)
        if value is None or isinstance(value, bytes | bytearray):
            return value
        raise CommandError(WRONG_TYPE)

    # --- changing: `changed` follows, with the event's name -----------------------------------

    def put(self, key: bytes, value: Value, *, keep_ttl: bool = False) -> None:
        """Set a key, which expires no longer unless `keep_ttl`."""
        self.data[key] = value
        if not keep_ttl:
            self.expires.pop(key, None)

    def remove(self, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        self.expires.pop(key, None)
        return self.data.pop(key, None) is not None

    def expire_at(self, key: bytes, when_ms: int) -> None:
        """The key expires then."""
        self.expires[key] = when_ms

    def expire(self, key: bytes) -> None:
        """Remove a key whose time has come."""
        self.remove(key)
        self.store.expired += 1
        self.changed(key, b"expired", "x")

    def changed(self, key: bytes, event: bytes, kind: str) -> None:
        """A key was changed: tell those who watch it, who wait for it, and who keep or count it.

        `event` and `kind` (a letter of notify-keyspace-events) are those of Redis's keyspace
        notifications, https://redis.io/docs/latest/develop/use/keyspace-notifications/.
        """
        self.store.changes += 1
        if self.watchers and key in self.watchers:
            for client in self.watchers[key]:
                client.is_stale = True
        if self.waiting and key in self.waiting:
            self.store.ready.append((self, key))
        for listener in self.store.listeners:
            listener(self, key, event, kind)
