"""Kept data: a tick's writes go to disk as one transaction, and come back at the start.

`always`: a tick's replies leave after its writes are on disk. `everysec`: each tick writes, and a
helper thread flushes once a second, so that a slow disk stops no tick; it is the only thread, and
spends its time in system calls, without Python's lock. `no`: it flushes when much has gathered.

While the disk fails, what changed stays noted and is tried again, writes are refused, reads go on.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

from c1m.apps.kv.data_directory import DATA, claim
from c1m.apps.kv.data_file import Base, DataFile
from c1m.apps.kv.data_flusher import Flusher
from c1m.apps.kv.data_loading import load
from c1m.apps.kv.options import DURABILITIES
from c1m.clock import Clock, SystemClock
from c1m.errors import C1mError, UsageError
from c1m.kv.database import Database
from c1m.kv.encoding import NEVER, entry_of, seal
from c1m.kv.errors import CommandError
from c1m.kv.journal import Journal
from c1m.kv.store import DATABASES, Store
from c1m.protocols.resp.replies import error

FOLD_LOG_BYTES = 16 << 20  # the log is folded when it has more,
FOLD_LOG_SHARE = 3  # and more than this part of all that is stored
FOLD_KEYS, FOLD_BYTES = 64, 1 << 18  # in a slice: about a millisecond
FORGET_BYTES = 1 << 20  # of the log's rows that go at once
RETRY_NS_MIN, RETRY_NS_MAX = 50_000_000, 2_000_000_000
BUSY_NS = 1_000_000  # the flusher has the file: the next try
MISCONF = b"MISCONF Errors writing to the data store: "


class Persistence:
    """Keeps one store in one directory.

    Made, it has locked the directory; `load` fills a store; `start` begins to keep it; `commit` is
    called at the end of each tick. Raises UsageError for a directory that cannot be used.
    """

    def __init__(
        self, directory: str, durability: str = "everysec", clock: Clock | None = None
    ) -> None:
        if durability not in DURABILITIES:
            raise UsageError(
                f"There is no durability {durability!r}.",
                f"Choose from: {', '.join(DURABILITIES)}.",
            )
        self.durability = durability
        self.path = os.path.join(directory, DATA)
        self.failure = ""  # why the last commit failed; empty: it did not
        self.commits = self.failures = 0
        self.log_bytes = 0  # of rows that are not folded
        self._clock: Clock = clock or SystemClock()
        self._folding: list[dict[bytes, None]] = []  # by place: keys that are being folded
        self._fold_first = self._fold_end = 0  # rows of the log that go then
        self._fold_bytes = 0
        self._retry_ns, self._wait_ns = 0, RETRY_NS_MIN
        self._lock = claim(directory)

    def load(self, store: Store, say: Callable[[str], object] = lambda line: None) -> None:
        """Fill an empty store; `say` is called with a line about once a second.

        Raises UsageError for data that cannot be read.
        """
        self._loaded = load(self.path, store, say, self._clock)

    def start(self, store: Store) -> None:
        """Keep what changes in the store that was loaded from now on."""
        is_strict = self.durability == "always"
        try:
            self._file = DataFile(self.path, is_strict=is_strict)
        except sqlite3.Error as why:
            raise UsageError(
                f"{self.path} cannot be written: {why}.",
                "Give --data a directory that this user may write to, with room on its disk.",
            ) from why
        self._store = store
        self._file.seq, self._file.long = self._loaded.seq, self._loaded.long
        self.log_bytes = self._loaded.log_bytes
        self._first = self._loaded.first  # of the log's rows
        self.journal = Journal(store)
        self.journal.is_strict = is_strict
        self.journal.keys = self._loaded.keys
        self.flusher: Flusher | None = None
        if not is_strict:
            self.flusher = Flusher(
                self.path, store, self._clock, is_each_second=self.durability == "everysec"
            )
            self.flusher.start()

    @property
    def unsaved(self) -> int:
        """Changes that may not be on the disk yet."""
        if self.flusher is not None:
            return self._store.changes - self.flusher.flushed_changes
        return len(self.journal)

    # --- a tick -------------------------------------------------------------------------------

    def commit(self, now_ns: int) -> int | None:
        """The end of a tick: keep what it wrote, before its replies go. When to be called again
        at the latest.
        """
        is_due = len(self.journal) > 0 or self._fold_end > 0
        if is_due and now_ns >= self._retry_ns:
            self._try(now_ns)
        self._say_failure()
        written = self.journal.written
        if written:
            if len(self.journal):
                refusal = error(MISCONF + self.failure.encode())
                for pieces, at in written:
                    pieces[at] = refusal
            written.clear()
        if len(self.journal):
            return self._retry_ns
        return now_ns if self._fold_end else None

    def now_ns(self) -> int:
        """The time that `flusher.flushed_ns` is of."""
        return self._clock.now_ns()

    def save(self) -> None:
        """Keep what was written so far, and flush it. Raises CommandError where that fails."""
        self._try(self._clock.now_ns())
        if self.flusher is not None:
            self.flusher.flush()
        self._say_failure()
        if self._store.write_refusal:
            raise CommandError(self._store.write_refusal)

    def _try(self, now_ns: int) -> None:
        try:
            self._write()
        except sqlite3.Error as why:
            if _is_busy(why):
                self._retry_ns = now_ns + BUSY_NS
                return
            self.failures += 1
            self.failure = str(why)
            self._retry_ns = now_ns + self._wait_ns
            self._wait_ns = min(2 * self._wait_ns, RETRY_NS_MAX)
        else:
            self.failure = ""
            self._retry_ns, self._wait_ns = 0, RETRY_NS_MIN

    def _say_failure(self) -> None:
        """Commands that write are refused while a commit or the flusher fails."""
        why = self.failure or (self.flusher.failure if self.flusher is not None else "")
        refusal = MISCONF + why.encode() if why else b""
        if refusal != self._store.write_refusal:
            self._store.write_refusal = refusal
            self._store.guard()

    def _write(self) -> None:
        journal, file = self.journal, self._file
        count = len(journal)
        entries, flushed = journal.take()
        sealed = seal(entries) if entries else b""
        places = None
        if journal.are_places_new:
            places = bytes(db.place for db in self._store.databases)
        keys, forgotten = self._fold_slice(max(FOLD_KEYS, 2 * count)), 0
        if self._fold_end and not keys:
            forgotten = self._forget_slice()
        bases = [self._base(place, key) for place, key in keys]
        try:
            file.write(sealed, flushed, places, bases, forgotten)
        except BaseException:
            for place, key in keys:
                self._folding[place][key] = None
            raise
        self.commits += 1
        self.log_bytes += len(sealed)
        journal.done()
        if forgotten:
            self._first = forgotten
            if forgotten >= min(self._fold_end + 1, file.seq):
                self._fold_end = 0
        elif not self._fold_end and self.log_bytes > FOLD_LOG_BYTES:
            self._begin_fold()

    # --- folding: the log's keys go to the bases, a slice with each tick ----------------------

    def _begin_fold(self) -> None:
        if self.log_bytes * FOLD_LOG_SHARE > self._file.bytes_stored():
            self._folding, self.journal.keys = self.journal.keys, [{} for _ in range(DATABASES)]
            self._fold_first, self._fold_end = self._first, self._file.seq
            self._fold_bytes, self.log_bytes = self.log_bytes, 0

    def _fold_slice(self, count: int) -> list[tuple[int, bytes]]:
        """The next keys; those that are large make the slice short."""
        keys: list[tuple[int, bytes]] = []
        size = 0
        for place, those in enumerate(self._folding):
            data = self._database(place).data
            while those and len(keys) < count and size < FOLD_BYTES:
                key, _ = those.popitem()
                keys.append((place, key))
                value = data.get(key)
                size += len(value) * (1 if isinstance(value, bytes) else 64) if value else 0
        return keys

    def _base(self, place: int, key: bytes) -> Base:
        db = self._database(place)
        value = db.data.get(key)
        if value is None:
            return Base(place, key, None)
        return Base(place, key, seal(entry_of(place, key, value, db.expires.get(key, NEVER))))

    def _database(self, place: int) -> Database:
        return next(db for db in self._store.databases if db.place == place)

    def _forget_slice(self) -> int:
        """The first row of the log that stays; its newest row always does, so that no base is
        newer than the log.
        """
        rows = self._fold_end - self._fold_first + 1
        count = max(1, rows * FORGET_BYTES // max(self._fold_bytes, 1))
        return min(self._first + count, self._fold_end + 1, self._file.seq)

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is left and leave all of it in one file. Raises C1mError if that fails."""
        try:
            if self.flusher is not None:
                self.flusher.end()
            if len(self.journal):
                self._write()
            self._file.close()
        except sqlite3.Error as why:
            raise C1mError(
                f"The last changes could not be written to {self.path} ({why}).",
                "What was written before is there.",
            ) from why
        finally:
            self.release()

    def release(self) -> None:
        """Let others use the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _is_busy(why: sqlite3.Error) -> bool:
    return getattr(why, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
