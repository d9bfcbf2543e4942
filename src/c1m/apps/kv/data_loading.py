"""Kept data comes back: the bases, and then what the log has that is newer."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from c1m.apps.kv.data_directory import corrupted
from c1m.apps.kv.data_file import SavedFile
from c1m.clock import Clock
from c1m.kv.client import Client
from c1m.kv.commands import TABLE
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
LOOK_EACH = 1 << 12  # rows: how often the clock is read


@dataclass
class Loaded:
    """What the file has besides the data."""

    first: int  # of the log's rows
    seq: int  # of the last one
    log_bytes: int = 0
    long: set[tuple[int, bytes]] = field(default_factory=set)  # keys whose bases have several parts
    keys: list[dict[bytes, None]] = field(  # by place: those that the log has something of
        default_factory=lambda: [{} for _ in range(DATABASES)]
    )


def load(path: str, store: Store, say: Callable[[str], object], clock: Clock) -> Loaded:
    """Fill an empty store, whose time stands at 0 so that nothing expires on the way.

    Raises UsageError for a file that is corrupted; it is not changed.
    """
    is_collecting = gc.isenabled()
    gc.disable()  # it would look at all that is there again and again, and find nothing
    try:
        file = SavedFile(path)
        try:
            loader = _Loader(file, store, say, clock)
            loader.read_bases()
            loader.read_log()
        finally:
            file.close()
    except (sqlite3.Error, CorruptData) as why:
        raise corrupted(path, why) from why
    finally:
        if is_collecting:
            gc.enable()
    return loader.loaded


class _Loader:
    def __init__(
        self, file: SavedFile, store: Store, say: Callable[[str], object], clock: Clock
    ) -> None:
        self._file = file
        self._client = Client(0, store)  # that runs the log's commands
        self._say, self._clock = say, clock
        self.loaded = Loaded(*file.log_span())
        places = file.places() or bytes(range(DATABASES))
        if sorted(places) != list(range(DATABASES)):
            raise CorruptData("the databases have no order")
        for db, place in zip(store.databases, places, strict=True):
            db.place = place
        self._databases = sorted(store.databases, key=lambda db: db.place)
        # Bases that were written while the log was folded, and the row that they include.
        self._newer: list[dict[bytes, int]] = [{} for _ in range(DATABASES)]
        self._bytes = self._rows = 0
        self._bytes_stored = max(file.bytes_stored(), 1)
        self._report_ns = clock.now_ns() + REPORT_NS

    def read_bases(self) -> None:
        """Keys with their values."""
        for seq, body, is_long in self._file.bases():
            for entry in entries(unseal(body)):
                self._put(entry)
                if is_long:
                    self.loaded.long.add((entry.place, entry.key))
                if seq >= self.loaded.first:
                    self._newer[entry.place][entry.key] = seq
            self._progress(len(body))

    def read_log(self) -> None:
        """What became of keys since."""
        for seq, body, _ in self._file.log():
            for entry in entries(unseal(body)):
                self._again(entry, seq)
            self.loaded.log_bytes += len(body)
            self._progress(len(body))

    def _put(self, entry: Entry) -> None:
        kind, place, expires, key, body = entry
        if place >= DATABASES:
            raise CorruptData(f"there is no database {place}")
        db = self._databases[place]
        db.put(key, decode(kind, body))
        if expires != NEVER:
            db.expire_at(key, expires)

    def _again(self, entry: Entry, seq: int) -> None:
        kind, place, _, key, body = entry
        if place >= DATABASES:
            raise CorruptData(f"there is no database {place}")
        db, newer = self._databases[place], self._newer[place]
        if kind == FLUSHED:
            self.loaded.keys[place].clear()
            for there in list(db.data):
                if newer.get(there, 0) < seq:
                    db.remove(there)
            return
        self.loaded.keys[place][key] = None
        if newer.get(key, 0) >= seq:
            return
        if kind == REMOVED:
            db.remove(key)
        elif kind == CHANGED:
            self._run(db.index, unpack(body))
        else:
            self._put(entry)

    def _run(self, index: int, args: list[bytes]) -> None:
        self._client.db = self._client.store.databases[index]
        command = TABLE.get(args[0].lower()) if args else None
        try:
            if command is None:
                raise CorruptData("the log has a command that is not there")
            command.run(self._client, args)
        except CommandError as refusal:
            said = refusal.text.decode("utf-8", "replace")
            raise CorruptData(f"a command of the log cannot be run again: {said}") from None

    def _progress(self, size: int) -> None:
        self._bytes += size
        self._rows += 1
        if self._rows % LOOK_EACH:
            return
        now_ns = self._clock.now_ns()
        if now_ns >= self._report_ns:
            self._report_ns = now_ns + REPORT_NS
            keys = sum(len(db.data) for db in self._databases)
            share = min(100 * self._bytes // self._bytes_stored, 99)
            self._say(f"reading the data: {format_count(keys)} keys, {share} %")
