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
from c1m.kv.deltas import DELTAS, Delta
from c1m.kv.encoding import CHANGED, FLUSHED, NEVER, REMOVED, entry, entry_of, pack
from c1m.kv.store import DATABASES, Store

SMALL_ITEMS = 16  # an aggregate of so many is written whole
SMALL_BYTES = 1024  # and a string that commands change in place, of so many


class Changes:
    """Of one place: keys to be written whole, and the commands since for others."""

    def __init__(self) -> None:
        self.whole: dict[bytes, None] = {}
        self.deltas: dict[bytes, list[Args]] = {}
        self.is_flushed = False  # before all of these


class Journal:
    """A store's changes, by the places in which its databases are kept (`Database.place`).

    `keys` are all that have changed since it was last replaced, and are kept.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_strict = False  # a reply leaves only after its write is on disk
        self.has_written = False  # the command that ran last, if `is_strict`: who marks resets it
        self.written: list[tuple[list[bytes], int]] = []  # replies of writes: pieces, and which
        self.are_places_new = False  # databases were swapped
        self.changes = [Changes() for _ in range(DATABASES)]
        self.keys: list[dict[bytes, None]] = [{} for _ in range(DATABASES)]
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
        self.has_written = self.is_strict
        if self._touched is None or event == b"expired":
            self.changes[db.place].whole[key] = None
        else:
            self._touched.append((db.place, key))

    def wrote(self, db: Database, keys: Iterable[bytes]) -> None:
        """Keys were changed without `changed`."""
        self.has_written = self.is_strict
        self.changes[db.place].whole.update(dict.fromkeys(keys))

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
        reply = None
        self._touched = touched
        try:
            reply = command.run(client, args)
        finally:
            self._touched = None
            if touched:
                self._note(client.db, args, touched, reply, delta)
        return reply

    def _note(
        self,
        db: Database,
        args: Args,
        touched: list[tuple[int, bytes]],
        reply: bytes | None,
        delta: Delta,
    ) -> None:
        """What a command did: deltas of the keys that it touched, if these explain all."""
        deltas = [] if reply is None else delta(db, args, reply, touched[0][1])
        changes = self.changes[db.place]
        if {key for _, key in touched} <= {delta[1] for delta in deltas}:
            for made in deltas:
                if made[1] not in changes.whole:
                    changes.deltas.setdefault(made[1], []).append(made)
        else:
            for place, key in touched:
                self.changes[place].whole[key] = None

    # --- what is written ----------------------------------------------------------------------

    def __len__(self) -> int:
        """How many keys and databases are to be written."""
        count = int(self.are_places_new)
        for changes in self.changes:
            count += len(changes.whole) + len(changes.deltas) + changes.is_flushed
        return count

    def take(self) -> tuple[bytes, list[int]]:
        """The entries of all changes, and the places that are flushed first. `done` follows once
        they are kept.
        """
        parts: list[bytes] = []
        emptied: list[int] = []
        for db in self.store.databases:
            changes, place = self.changes[db.place], db.place
            if changes.is_flushed:
                emptied.append(place)
                parts.append(entry(FLUSHED, place, b"", b""))
            for key in changes.whole:
                parts.append(_whole(db, key))
            for key, commands in changes.deltas.items():
                if key in changes.whole:
                    continue
                if _is_small(db.data.get(key), len(commands)):
                    parts.append(_whole(db, key))
                else:
                    parts += [entry(CHANGED, place, key, pack(args)) for args in commands]
        return b"".join(parts), emptied

    def done(self) -> None:
        """What `take` gave is kept."""
        for place, changes in enumerate(self.changes):
            if changes.is_flushed:
                self.keys[place] = {}
            if changes.whole or changes.deltas or changes.is_flushed:
                self.keys[place].update(changes.whole)
                self.keys[place].update(dict.fromkeys(changes.deltas))
                self.changes[place] = Changes()
        self.are_places_new = False


def _whole(db: Database, key: bytes) -> bytes:
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
