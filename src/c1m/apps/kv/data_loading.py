"""Kept data comes back: the log is read from its first row to its last."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from c1m.apps.kv.data_directory import corrupted
from c1m.apps.kv.data_file import SavedFile
from c1m.clock import Clock
from c1m.kv.arguments import INT64_MAX
from c1m.kv.client import Client
from c1m.kv.commands import TABLE
from c1m.kv.database import Database
from c1m.kv.encoding import (
    CHANGED,
    FLUSHED,
    NEVER,
    REMOVED,
    CorruptData,
    Entry,
    decode,
    entries,
    unpack,
    unseal,
)
from c1m.kv.errors import CommandError
from c1m.kv.store import DATABASES, Store
from c1m.units import format_count

REPORT_NS = 1_000_000_000
LOOK_EACH = 64  # rows: how often the clock is read
PLACES, LIVE = "places", "live"  # facts that the file has: where databases are; see `Loaded`


@dataclass
class Loaded:
    """What the file has besides the data."""

    first: int = 1  # of the log's rows
    last: int = 0
    log_bytes: int = 0
    live_bytes: int = 0  # of the log, when all that lives was last written again


def load(path: str, store: Store, say: Callable[[str], object], clock: Clock) -> Loaded:
    """Fill an empty store, whose time stands at 0 so that nothing expires on the way.

    Raises UsageError for a file that is corrupted; it is not changed.
    """
    is_collecting, value_max = gc.isenabled(), store.value_max
    store.value_max = INT64_MAX  # what could be written once can be read
    gc.disable()  # it would look at all that is there again and again, and find nothing
    try:
        file = SavedFile(path)
        try:
            wrong = file.check()
            if wrong:
                raise CorruptData(wrong)
            return _Loader(file, store, say, clock).read()
        finally:
            file.close()
    except (sqlite3.Error, CorruptData) as why:
        raise corrupted(path, why) from why
    finally:
        store.value_max = value_max
        if is_collecting:
            gc.enable()


class _Loader:
    def __init__(
        self, file: SavedFile, store: Store, say: Callable[[str], object], clock: Clock
    ) -> None:
        self._file = file
        self._client = Client(0, store)  # that runs the log's commands
        self._say, self._clock = say, clock
        self._about = file.about()
        places = self._about.get(PLACES, bytes(range(DATABASES)))
        if sorted(places) != list(range(DATABASES)):
            raise CorruptData("the databases have no order")
        for db, place in zip(store.databases, places, strict=True):
            db.place = place
        self._databases = sorted(store.databases, key=lambda db: db.place)
        self._report_ns = clock.now_ns() + REPORT_NS

    def read(self) -> Loaded:
        """All of the log, in order."""
        first, last = self._file.span()
        size = 0
        for number, row in enumerate(self._file.rows()):
            for entry in entries(unseal(row)):
                self._enter(entry)
            size += len(row)
            if number % LOOK_EACH == 0:
                self._report(number, last - first + 1)
        return Loaded(first, last, size, int.from_bytes(self._about.get(LIVE, b""), "little"))

    def _enter(self, entry: Entry) -> None:
        kind, place, expires, key, body = entry
        if place >= DATABASES:
            raise CorruptData(f"there is no database {place}")
        db = self._databases[place]
        if kind == REMOVED:
            db.remove(key)
        elif kind == CHANGED:
            # Where its value is not there yet, it follows later, with what this command did: the
            # log began before all that lives was written again.
            if key in db.data:
                self._run(db, unpack(body))
        elif kind == FLUSHED:
            db.flush()
        else:
            db.put(key, decode(kind, body))
            if expires != NEVER:
                db.expire_at(key, expires)

    def _run(self, db: Database, args: list[bytes]) -> None:
        self._client.db = db
        command = TABLE.get(args[0].lower()) if args else None
        try:
            if command is None:
                raise CorruptData("the log has a command that is not there")
            command.run(self._client, args)
        except CommandError as refusal:
            said = refusal.text.decode("utf-8", "replace")
            raise CorruptData(f"a command of the log cannot be run again: {said}") from None

    def _report(self, done: int, rows: int) -> None:
        now_ns = self._clock.now_ns()
        if now_ns >= self._report_ns:
            self._report_ns = now_ns + REPORT_NS
            keys = sum(len(db.data) for db in self._databases)
            share = 100 * done // max(rows, 1)
            self._say(f"reading the data: {format_count(keys)} keys, {share} %")
