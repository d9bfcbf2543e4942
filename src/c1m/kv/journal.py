"""What has changed and is not on disk yet: keys and commands, as entries of one tick. Pure.

A key that changed is written with its whole value, unless that is large: then the commands that
changed it are written, so that the cost follows the change and not the size. `deltas` says which
commands can be run again, and how.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from c1m.kv.client import Client
from c1m.kv.commands import Args, Command
from c1m.kv.database import Database
from c1m.kv.deltas import DELTAS
from c1m.kv.encoding import CHANGED, FLUSHED, NEVER, REMOVED, entry, entry_of, pack, string_entry
from c1m.kv.store import Store

SMALL_ITEMS = 16  # an aggregate of so many is written whole
SMALL_BYTES = 1024  # and a string that commands change in place, of so many
_BY_NOBODY = {b"expired", b"evicted"}  # no command did it, so no reply is to say so


class Changes:
    """Of one place: keys to be written whole, and the commands since for others."""

    def __init__(self) -> None:
        self.whole: dict[bytes, None] = {}
        self.deltas: dict[bytes, list[Args]] = {}
        self.is_flushed = False  # before all of these


class Journal:
    """A store's changes, by the places in which its databases are kept (`Database.place`)."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_strict = False  # a reply leaves only after its write is on disk
        self.has_written = False  # the command that ran last, if `is_strict`: who marks resets it
        self.written: list[tuple[list[bytes], int]] = []  # replies of writes: pieces, and which
        self.are_places_new = False  # databases were swapped
        self.changes: dict[int, Changes] = {}  # by place
        self._touched: list[tuple[int, bytes]] | None = None  # by the command that runs
        store.journal = self

    def mark(self, slot: int) -> None:
        """A connection's last reply is of a command that wrote: should that not be kept, the reply
        is not to say so.
        """
        pieces = self.store.out.of(slot)
        if pieces:  # a client may have asked for silence
            self.written.append((pieces, len(pieces) - 1))

    # --- what happens -------------------------------------------------------------------------

    def changed(self, db: Database, key: bytes, event: bytes) -> None:
        """A key was changed."""
        if event not in _BY_NOBODY:
            self.has_written = self.is_strict
        if self._touched is None or event == b"expired":
            self._of(db.place).whole[key] = None
        else:
            self._touched.append((db.place, key))

    def wrote(self, db: Database, keys: Iterable[bytes]) -> None:
        """Keys were changed without `changed`."""
        self.has_written = self.is_strict
        self._of(db.place).whole.update(dict.fromkeys(keys))

    def flushed(self, db: Database) -> None:
        """All keys of a database are gone."""
        self.has_written = self.is_strict
        changes = self.changes[db.place] = Changes()
        changes.is_flushed = True

    def swapped(self, one: Database, other: Database) -> None:
        """Two databases have each other's keys now."""
        one.place, other.place = other.place, one.place
        self.are_places_new = True
        self.has_written = self.is_strict

    def run(self, client: Client, command: Command, args: Args) -> bytes | None:
        """Run a command that may write. Raises CommandError."""
        delta = DELTAS.get(command.name)
        if delta is None:
            return command.run(client, args)
        touched: list[tuple[int, bytes]] = []
        there = {word for word in args[1:] if word in client.db.data}
        reply = None
        self._touched = touched
        try:
            reply = command.run(client, args)
        finally:
            self._touched = None
            if touched:
                deltas = delta(client.db, args, reply, touched[0][1]) if reply else []
                self._note(client.db.place, touched, deltas, there)
        return reply

    def _note(
        self, place: int, touched: list[tuple[int, bytes]], deltas: list[Args], there: set[bytes]
    ) -> None:
        """What a command did: deltas of the keys that it touched, if these explain all.

        A key that was not `there` is written whole, so that a delta always has a value before it.
        """
        changes = self._of(place)
        if {key for _, key in touched} <= {delta[1] for delta in deltas}:
            for delta in deltas:
                if delta[1] not in there:
                    changes.whole[delta[1]] = None
                elif delta[1] not in changes.whole:
                    changes.deltas.setdefault(delta[1], []).append(delta)
        else:
            for other, key in touched:
                self._of(other).whole[key] = None

    def _of(self, place: int) -> Changes:
        changes = self.changes.get(place)
        if changes is None:
            changes = self.changes[place] = Changes()
        return changes

    # --- what is written ----------------------------------------------------------------------

    @property
    def has_changes(self) -> bool:
        """There is something to be written."""
        return bool(self.changes) or self.are_places_new

    def __len__(self) -> int:
        """How many keys and databases are to be written."""
        count = int(self.are_places_new)
        for changes in self.changes.values():
            count += len(changes.whole) + len(changes.deltas) + changes.is_flushed
        return count

    def take(self) -> bytes:
        """The entries of all changes. `done` follows once they are kept."""
        parts: list[bytes] = []
        for db in self.store.databases if self.changes else ():
            changes = self.changes.get(db.place)
            if changes is None:
                continue
            place, data, expires = db.place, db.data, db.expires
            if changes.is_flushed:
                parts.append(entry(FLUSHED, place, b"", b""))
            for key in changes.whole:
                value = data.get(key)
                if type(value) is bytes:
                    parts += string_entry(place, key, value, expires.get(key, NEVER))
                else:
                    parts.append(whole(db, key))
            for key, commands in changes.deltas.items():
                if key in changes.whole:
                    continue
                if _is_small(data.get(key), len(commands)):
                    parts.append(whole(db, key))
                else:
                    parts += [entry(CHANGED, place, key, pack(args)) for args in commands]
        return b"".join(parts)

    def done(self) -> None:
        """What `take` gave is kept."""
        self.changes.clear()
        self.are_places_new = False


def whole(db: Database, key: bytes) -> bytes:
    """The entry of a key as it is now."""
    value = db.data.get(key)
    if value is None:
        return entry(REMOVED, db.place, key, b"")
    return entry_of(db.place, key, value, db.expires.get(key, NEVER))


def _is_small(value: Any, commands: int) -> bool:
    """Written whole it costs about what the commands do."""
    if value is None or isinstance(value, bytes):
        return True
    if isinstance(value, bytearray):
        return len(value) <= SMALL_BYTES + 64 * commands
    assert isinstance(value, dict | deque | set) or hasattr(value, "scores")
    return len(value) <= SMALL_ITEMS + commands
